"""Hugging Face's tokenizer.json, the same vocabularies spelled as a pipeline: the reader.

Its model is a table from piece to id and a list of merges, and two neighbours join only if the list has the
pair. Ours join if what they spell is a piece, so the list must hold every way to cut a piece in two, in the
order of the pieces. Byte-level BPE (ours, Llama 3's) writes a byte as a printable character; SentencePiece's
BPE (Llama 2's) writes U+2581 for the space first and falls back to bytes. Which ids begin and end a text
stands in the files beside it, tokenizer_config.json and generation_config.json. The writer is
huggingface_write.py.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from llama_mini.tokenizer.base import Tokenizer
from llama_mini.tokenizer.bpe import BPE, STOP_NAMES
from llama_mini.tokenizer.merges import merges_of, unprintable
from llama_mini.tokenizer.sentencepiece import SPACE, Kind, Piece, SentencePiece

BYTE_KINDS = {f"<0x{byte:02X}>": Kind.BYTE for byte in range(256)}
COLLAPSE = [  # what collapse_spaces does, as three rules
    {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
    for pattern, content in ((r"\A +", ""), (rf"[ {SPACE}]+\z", ""), (" +", " "))
]
PREPEND = {"type": "Prepend", "prepend": SPACE}
TO_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
ROLES = ("bos", "eos", "pad")


class OtherTokenizer(ValueError):
    """A whole tokenizer.json, but of a kind that no class here can stand for."""


def token_names(tokenizer: Tokenizer) -> dict[str, int]:
    """The tokens that are taken whole: the special ones, and SentencePiece's unknown one."""
    if isinstance(tokenizer, SentencePiece):
        kinds = tokenizer.kinds
        return {text: i for text, i in tokenizer.ids.items() if kinds[i] in (Kind.UNKNOWN, Kind.CONTROL)}
    return tokenizer.special_tokens


def load_huggingface(path: str | Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json, its roles from the files beside it; OtherTokenizer for other kinds.

    Added tokens are markers, which only encode(special=True) looks for; Hugging Face always does. After a
    marker a SentencePiece vocabulary begins again, with a space, as Hugging Face's files for Llama 2 do.
    """
    path = Path(path)
    content = read_object(path)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or "merges" not in model:
        kind = model.get("type") if isinstance(model, dict) else model
        raise OtherTokenizer(f"a tokenizer of type {kind!r}, but only BPE with its merges is read here")
    added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or []}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    tokens = in_order(model["vocab"] | added)
    byte_level = [step for step in steps(content, "pre_tokenizer") if step["type"] == "ByteLevel"]
    if byte_level:
        tokenizer: Tokenizer = read_bpe(content, tokens, added, merges)
    else:
        tokenizer = read_sentencepiece(content, tokens, added, merges)
    set_roles(tokenizer, path)
    return tokenizer


def read_object(path: Path) -> dict[str, Any]:
    """The object in a json file, empty where there is no such file; ValueError for other content."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path.name} is not json: {error}; fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, but a json object is needed")
    return content


def steps(content: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """The steps of one part of the pipeline, one after the other."""
    step = content.get(part)
    if step is None or step.get("type") != "Sequence":
        return [] if step is None else [step]
    return step["normalizers" if part == "normalizer" else "pretokenizers"]


def in_order(ids: Mapping[str, int]) -> list[str]:
    """The tokens by id; OtherTokenizer for a gap or two tokens with one id."""
    tokens = sorted(ids, key=lambda token: ids[token])
    for i, token in enumerate(tokens):
        if ids[token] != i:
            raise OtherTokenizer(f"{token!r} has id {ids[token]}, expected {i}: ids must count up from 0")
    return tokens


def order_of(merges: list[str], pieces: Collection[str]) -> dict[str, int]:
    """The pieces that merges make, each with its place among them, from 0.

    OtherTokenizer if they are not all the ways to cut the pieces, those of one piece together: such a file
    joins pairs, not pieces, and its ids could differ from ours.
    """
    made = [merge.replace(" ", "", 1) for merge in merges]
    order: dict[str, int] = {}
    for piece in made:
        order.setdefault(piece, len(order))
    apart = [order[piece] for piece in made] != sorted(order[piece] for piece in made)
    expected = merges_of(pieces, pieces)
    if apart or set(expected) != set(merges):
        raise OtherTokenizer(
            f"its {len(merges)} merges {'mix their pieces' if apart else f'are not the {len(expected)}'} "
            "that join two pieces wherever they spell a third"
        )
    return order


def read_bpe(content: Mapping[str, Any], tokens: list[str], added: Collection[str], merges: list[str]) -> BPE:
    """Byte-level BPE; its ids must be the order of its merges, and its special tokens must come last."""
    cut = steps(content, "pre_tokenizer")
    pattern = cut[0].get("pattern", {}).get("Regex") if len(cut) == 2 else None
    plainly = cut[-1] | {"trim_offsets": True} == BYTE_LEVEL and cut[0].get("behavior") == "Isolated"
    if pattern is None or not plainly or cut[0].get("invert") or content.get("normalizer"):
        raise OtherTokenizer(
            "it does not cut text by one pattern and then spell its bytes, as Llama 3's does"
        )
    plain = [token for token in tokens if token not in added]
    if tokens[: len(plain)] != plain:
        raise OtherTokenizer("its special tokens do not come after all others")
    ids = {token: i for i, token in enumerate(plain)}
    made = [ids[token] for token in order_of(merges, ids)]
    if made != sorted(made):
        raise OtherTokenizer("its merges do not make its tokens in the order of their ids")
    return BPE(list(map(unprintable, plain)), pattern=pattern, special_tokens=tokens[len(plain) :])


def read_sentencepiece(
    content: Mapping[str, Any], tokens: list[str], added: Collection[str], merges: list[str]
) -> SentencePiece:
    """SentencePiece's BPE; a piece scores by its first merge, and special tokens become control pieces."""
    dummy, collapse = read_spaces(steps(content, "normalizer"), steps(content, "pre_tokenizer"))
    model = content["model"]
    kinds = (BYTE_KINDS if model.get("byte_fallback") else {}) | dict.fromkeys(added, Kind.CONTROL)
    kinds |= {model.get("unk_token") or "<unk>": Kind.UNKNOWN}
    order = order_of(merges, {token: 0 for token in tokens if token not in kinds})
    last = len(order)  # single characters, which nothing joins
    pieces = [Piece(token, -float(order.get(token, last)), kinds.get(token, Kind.NORMAL)) for token in tokens]
    bos_id, eos_id = (tokens.index(name) if name in added else None for name in ("<s>", "</s>"))
    return SentencePiece(pieces, bos_id=bos_id, eos_id=eos_id, dummy_space=dummy, collapse_spaces=collapse)


def read_spaces(rules: list[dict[str, Any]], cut: list[dict[str, Any]]) -> tuple[bool, bool]:
    """Whether a space goes before a text, and whether runs of spaces collapse; OtherTokenizer for the rest.

    Newer files ask a pre-tokenizer called Metaspace for the space, which puts none before a text that begins
    with one: that is not what Llama 2 was trained with, and not read.
    """
    collapses = rules[: len(COLLAPSE)] == COLLAPSE
    rest = rules[len(COLLAPSE) :] if collapses else rules
    if cut or rest not in ([PREPEND, TO_SPACE], [TO_SPACE]):
        found = ", ".join(step["type"] for step in [*rules, *cut]) or "nothing"
        raise OtherTokenizer(
            f"before it joins it applies {found}; read are files that spell bytes (ByteLevel), as Llama 3's, "
            "or put a space in front and write U+2581 for it (Prepend, Replace), as Llama 2's: take the "
            "tokenizer.model of this model"
        )
    return PREPEND in rest, collapses


def set_roles(tokenizer: Tokenizer, path: Path) -> None:
    """Take begin, end and padding from tokenizer_config.json, and the ends from generation_config.json."""
    config = read_object(path.with_name("tokenizer_config.json"))
    names = token_names(tokenizer)
    for role in ROLES:
        token = config.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token in names:
            setattr(tokenizer, f"{role}_id", names[token])
    ends = read_object(path.with_name("generation_config.json")).get("eos_token_id")
    if ends is None:
        ends = [names[name] for name in STOP_NAMES if name in names] + [tokenizer.eos_id]
    ends = ends if isinstance(ends, list) else [ends]
    tokenizer.stop_ids = frozenset(end for end in ends if end is not None)
