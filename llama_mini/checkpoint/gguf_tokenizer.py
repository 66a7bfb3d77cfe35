"""The tokenizer in a GGUF file, both ways: SentencePiece's is called "llama" there, byte-level BPE "gpt2".

Byte-level BPE is written as GPT-2 wrote it: every byte as a printable character, and the pairs that may join
as a list of merges. llama.cpp cuts words by one of a few patterns that it knows by name; "llama-bpe" is
Llama 3's, and a key of our own keeps another pattern for the way back. With our tokens Llama 3's pattern
gives the same ids, since it cuts more coarsely and no token reaches over our cuts, but for words right behind
an apostrophe, as in 'Though, where it takes 'T for a contraction.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_mini.tokenizer import BPE, SentencePiece, Tokenizer
from llama_mini.tokenizer.merges import merges_of, printable, unprintable
from llama_mini.tokenizer.sentencepiece import Kind, Piece
from llama_mini.tokenizer.tiktoken import LLAMA3_PATTERN

PATTERNS = {"llama-bpe": LLAMA3_PATTERN}
OWN_PATTERN = "llama_mini.pattern"  # after the prefix
ROLES = {"bos": "bos_id", "eos": "eos_id", "padding": "pad_id"}
PREFIX = "tokenizer.ggml."


def fields_of(tokenizer: Tokenizer | None, vocab_size: int) -> dict[str, Any]:
    """The metadata for a tokenizer, filled up with unused pieces to the model's vocab_size.

    ValueError for a tokenizer with more ids than the model, or of another kind.
    """
    if tokenizer is None:
        return {PREFIX + "model": "no_vocab"}
    if len(tokenizer) > vocab_size:
        raise ValueError(
            f"a tokenizer of {len(tokenizer)} ids does not belong to a model of vocab_size={vocab_size}"
        )
    if isinstance(tokenizer, SentencePiece):
        fields = sentencepiece_fields(tokenizer)
    elif isinstance(tokenizer, BPE):
        fields = bpe_fields(tokenizer)
    else:
        raise ValueError(f"a {type(tokenizer).__name__} cannot be written: only BPE and SentencePiece can")
    fill(fields, len(tokenizer), vocab_size)
    for role, attribute in ROLES.items():
        if (token := getattr(tokenizer, attribute)) is not None:
            fields[f"{role}_token_id"] = token
    fields |= {"add_bos_token": tokenizer.bos_id is not None, "add_eos_token": False}
    return {PREFIX + name: value for name, value in fields.items()}


def fill(fields: dict[str, Any], n: int, vocab_size: int) -> None:
    """Add unused pieces up to the vocab_size: llama.cpp wants a piece for every row of the embeddings."""
    fields["tokens"] += [f"[PAD{i}]" for i in range(n, vocab_size)]
    fields["token_type"] += [int(Kind.UNUSED)] * (vocab_size - n)
    if "scores" in fields:
        fields["scores"] += [0.0] * (vocab_size - n)


def sentencepiece_fields(tokenizer: SentencePiece) -> dict[str, Any]:
    return {
        "model": "llama",
        "pre": "default",
        "tokens": list(tokenizer.ids),
        "scores": [float(-tokenizer.ranks.get(text, 0)) for text in tokenizer.ids],  # only the order matters
        "token_type": [int(kind) for kind in tokenizer.kinds],
        "unknown_token_id": tokenizer.kinds.index(Kind.UNKNOWN),
        "add_space_prefix": tokenizer.dummy_space,
        "remove_extra_whitespaces": tokenizer.collapse_spaces,
    }


def bpe_fields(tokenizer: BPE) -> dict[str, Any]:
    names, special = [printable(token) for token in tokenizer.ranks], [*tokenizer.special_tokens]
    fields = {
        "model": "gpt2",
        "pre": "llama-bpe",
        "tokens": names + special,
        "token_type": [int(Kind.NORMAL)] * len(names) + [int(Kind.CONTROL)] * len(special),
        "merges": merges_of(names, set(names)),
    }
    return fields if tokenizer.pattern == LLAMA3_PATTERN else fields | {OWN_PATTERN: tokenizer.pattern}


def tokenizer_from(path: Path, fields: Mapping[str, Any]) -> Tokenizer | None:
    """The tokenizer in the metadata, None if it is of a kind not encoded here; ValueError if broken."""
    ggml = {name.removeprefix(PREFIX): value for name, value in fields.items()}
    readers = {"llama": read_sentencepiece, "gpt2": read_bpe}
    if ggml.get("model") not in readers:
        return None
    try:
        return readers[ggml["model"]](ggml)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: the tokenizer in its metadata cannot be read: {error}") from error


def used(ggml: Mapping[str, Any]) -> int:
    """How many pieces there are before the unused ones that fill the vocabulary up."""
    kinds = ggml["token_type"]
    return next((i + 1 for i in reversed(range(len(kinds))) if kinds[i] != Kind.UNUSED), 0)


def read_sentencepiece(ggml: Mapping[str, Any]) -> SentencePiece:
    columns = zip(ggml["tokens"], ggml["scores"], ggml["token_type"], strict=True)
    pieces = [Piece(text, score, Kind(kind)) for text, score, kind in columns][: used(ggml)]
    roles = {attribute: ggml.get(f"{role}_token_id", -1) for role, attribute in ROLES.items()}
    return SentencePiece(
        pieces,
        **{role: token if 0 <= token < len(pieces) else None for role, token in roles.items()},
        dummy_space=ggml.get("add_space_prefix", True),
        collapse_spaces=ggml.get("remove_extra_whitespaces", False),
    )


def read_bpe(ggml: Mapping[str, Any]) -> BPE | None:
    """None where words are cut by a pattern, or pairs join in an order, that BPE does not have."""
    pattern = ggml.get(OWN_PATTERN, PATTERNS.get(ggml.get("pre", "")))
    names, kinds, merges = ggml["tokens"][: used(ggml)], ggml["token_type"][: used(ggml)], ggml["merges"]
    n_plain = kinds.count(Kind.NORMAL)
    if pattern is None or kinds[:n_plain].count(Kind.NORMAL) < n_plain:
        return None
    plain, special = names[:n_plain], names[n_plain:]
    places = {name: place for place, name in enumerate(plain)}
    order = [places[pair.replace(" ", "", 1)] for pair in merges]
    if order != sorted(order) or set(merges) != set(merges_of(plain, places)):
        return None
    return BPE([unprintable(name) for name in plain], pattern=pattern, special_tokens=special)
