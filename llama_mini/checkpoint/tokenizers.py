"""The tokenizer travels with the weights: found beside them, and written beside them."""

import struct
import warnings
from pathlib import Path

from llama_mini.checkpoint.files import replacing
from llama_mini.tokenizer import BPE, NAMES, SentencePiece, Tokenizer, load_tokenizer
from llama_mini.tokenizer.huggingface import OtherTokenizer
from llama_mini.tokenizer.llama2c import FIRST_KINDS
from llama_mini.tokenizer.sentencepiece import SPACE, Kind
from llama_mini.tokenizer.tiktoken import is_llama3, tiktoken_file


def tokenizer_beside(folder: Path, vocab_size: int) -> Tokenizer | None:
    """The first tokenizer in a folder, or in its original/, whose ids fit the model, or None.

    Warns where it leaves aside a tokenizer.json of a kind that is not read here.
    """
    patterns = [*NAMES, "original/tokenizer.model"]
    for file in (file for pattern in patterns for file in sorted(folder.glob(pattern))):
        try:
            tokenizer = load_tokenizer(file)
        except OtherTokenizer as error:
            warnings.warn(f"left aside: {error}", stacklevel=2)
            continue
        if tokenizer.vocab_size <= vocab_size:
            return tokenizer
    return None


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer where it is found: ours as tokenizer.json, Llama 2's and 3's as tokenizer.model."""
    if isinstance(tokenizer, BPE) and is_llama3(tokenizer):
        with replacing(folder / "tokenizer.model") as file:
            file.write_bytes(tiktoken_file(tokenizer))
    elif isinstance(tokenizer, BPE):
        with replacing(folder / "tokenizer.json") as file:
            tokenizer.save(file)
    elif isinstance(tokenizer, SentencePiece):
        with replacing(folder / "tokenizer.model") as file:
            file.write_bytes(sentencepiece_model(tokenizer))
    else:
        raise ValueError(f"a {type(tokenizer).__name__} cannot be written: only BPE and SentencePiece can")


def llama2c_tokenizer(tokenizer: SentencePiece, vocab_size: int) -> bytes:
    """The tokenizer.bin of llama2.c for a model of this vocab_size.

    ValueError for a vocabulary that would come back as another: run.c reads exactly vocab_size pieces, the
    first of them unknown, bos, eos and 256 bytes, and always puts a space in front.
    """
    n, first = len(tokenizer), len(FIRST_KINDS)
    kinds_fit = tokenizer.kinds == FIRST_KINDS + [Kind.NORMAL] * (n - first)
    if n != vocab_size or not kinds_fit or not tokenizer.dummy_space:
        raise ValueError(
            f"llama2.c's tokenizer.bin has as many pieces as the model, {vocab_size}: <unk>, <s>, </s>, 256 "
            f"bytes and normal ones, and a space in front; this one of {n} does not fit: write another format"
        )
    texts = [
        f"\n{text}\n" if i in (1, 2) else text.replace(SPACE, " ") for i, text in enumerate(tokenizer.ids)
    ]
    scores = [float(-tokenizer.ranks.get(text, 0)) for text in tokenizer.ids]
    pieces = [(score, text.encode()) for score, text in zip(scores, texts, strict=True)]
    records = [struct.pack("<fi", score, len(raw)) + raw for score, raw in pieces]
    return struct.pack("<i", max(len(raw) for _, raw in pieces)) + b"".join(records)


def sentencepiece_model(tokenizer: SentencePiece) -> bytes:
    """SentencePiece's own model file; field numbers are those of sentencepiece_model.proto."""
    pieces = b""
    for text, kind in zip(tokenizer.ids, tokenizer.kinds, strict=True):
        score = float(-tokenizer.ranks.get(text, 0))  # only the order of scores matters
        piece = field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + field(3, kind)
        pieces += field(1, piece)
    roles = [tokenizer.kinds.index(Kind.UNKNOWN), tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id]
    trainer = field(3, 2) + field(4, len(tokenizer)) + field(35, bool(tokenizer.byte_ids))
    trainer += b"".join(field(number, -1 if i is None else i) for number, i in enumerate(roles, start=40))
    normalizer = field(1, b"identity") + field(3, tokenizer.dummy_space) + field(4, tokenizer.collapse_spaces)
    return pieces + field(2, trainer) + field(3, normalizer + field(5, True))


def field(number: int, value: int | bytes) -> bytes:
    """One protobuf field: its key, then an integer, or a length and that many bytes."""
    if isinstance(value, bytes):
        return varint(8 * number + 2) + varint(len(value)) + value
    return varint(8 * number) + varint(value & (2**64 - 1))  # negative numbers as 64-bit two's complement


def varint(value: int) -> bytes:
    """An unsigned integer in groups of seven bits, the lowest first."""
    head = b""
    while value >= 0x80:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])
