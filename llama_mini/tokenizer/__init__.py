"""Text to ids and back: our own byte-level BPE, and readers for the files of LLaMA 1-3 and llama2.c."""

import re
from collections.abc import Callable
from pathlib import Path

from llama_mini.tokenizer.base import Tokenizer
from llama_mini.tokenizer.bpe import BPE
from llama_mini.tokenizer.huggingface import OtherTokenizer, load_huggingface
from llama_mini.tokenizer.llama2c import load_llama2c
from llama_mini.tokenizer.sentencepiece import SentencePiece, load_sentencepiece
from llama_mini.tokenizer.tiktoken import load_tiktoken

__all__ = ["BPE", "SentencePiece", "Tokenizer", "find_tokenizer", "load_tokenizer"]

NAMES = ("tokenizer.model", "tokenizer.json", "tokenizer.bin", "tok*.model", "tok*.bin")


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a file, recognised by its first bytes, or in the tokenizer file of a folder.

    Reads our own JSON, Hugging Face's tokenizer.json, SentencePiece models, tiktoken rank files and
    llama2.c's .bin; ValueError for anything else.
    """
    path = Path(path)
    file = find_tokenizer(path) if path.is_dir() else path
    if file is None:
        raise ValueError(
            f"{path}: no tokenizer in this folder; looked for {', '.join(NAMES)}. Name the file itself"
        )
    with file.open("rb") as stream:
        head = stream.read(512)
    try:
        return recognise(head)(file)
    except OtherTokenizer as error:
        raise OtherTokenizer(f"{file}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def find_tokenizer(folder: str | Path) -> Path | None:
    """The tokenizer file of a folder: the first that fits one of NAMES, or None."""
    found = (file for name in NAMES for file in sorted(Path(folder).glob(name)) if file.is_file())
    return next(found, None)


def recognise(head: bytes) -> Callable[[Path], Tokenizer]:
    """The reader for a file that starts with head; ValueError if it is none of the five kinds."""
    if re.match(rb'\s*{\s*"(pattern|special_tokens|tokens)"', head):
        return BPE.load
    if head.lstrip().startswith(b"{"):
        return load_huggingface
    if re.match(rb"[A-Za-z0-9+/]+=* \d+\r?(\n|$)", head):
        return load_tiktoken
    if re.match(rb"\n[^\0].?\n", head, re.DOTALL):  # field 1, its length, in it field 1
        return load_sentencepiece
    if re.match(rb"[^\0].\0\0.{4}[^\0].\0\0", head, re.DOTALL):  # two small integers around a score
        return load_llama2c
    raise ValueError(
        f"starts with {head[:16]!r}, which is no tokenizer known here: expected our tokenizer.json, "
        "a SentencePiece tokenizer.model, Llama 3's tokenizer.model (ranks) or llama2.c's tokenizer.bin"
    )
