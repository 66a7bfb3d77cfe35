"""Hugging Face's tokenizer.json: the writer. What the parts mean stands in huggingface.py, the reader."""

from collections.abc import Mapping
from typing import Any

from llama_mini.tokenizer.base import Tokenizer
from llama_mini.tokenizer.bpe import BPE
from llama_mini.tokenizer.huggingface import BYTE_LEVEL, COLLAPSE, PREPEND, ROLES, TO_SPACE, token_names
from llama_mini.tokenizer.merges import merges_of, printable
from llama_mini.tokenizer.sentencepiece import SPACE, Kind, SentencePiece


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of a tokenizer.json with the same ids; ValueError for a tokenizer it cannot express."""
    if isinstance(tokenizer, BPE):
        own = bpe_pipeline(tokenizer)
    elif isinstance(tokenizer, SentencePiece):
        own = sentencepiece_pipeline(tokenizer)
    else:
        raise ValueError(f"a {type(tokenizer).__name__} cannot be written: only BPE and SentencePiece can")
    names = token_names(tokenizer)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [
        {"id": i, "content": name, **flags} for name, i in sorted(names.items(), key=lambda item: item[1])
    ]
    head = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}
    return head | {"post_processor": begin_with(tokenizer, names)} | own


def begin_with(tokenizer: Tokenizer, names: Mapping[str, int]) -> dict[str, Any] | None:
    """The rule that puts the bos before a text, as both families were trained; None without a bos."""
    name = next((name for name, i in names.items() if i == tokenizer.bos_id), None)
    if name is None:
        return None

    def bos(text: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": text}}

    def sequence(letter: str, text: int) -> dict[str, Any]:
        return {"Sequence": {"id": letter, "type_id": text}}

    return {
        "type": "TemplateProcessing",
        "single": [bos(0), sequence("A", 0)],
        "pair": [bos(0), sequence("A", 0), bos(1), sequence("B", 1)],
        "special_tokens": {name: {"id": name, "ids": [tokenizer.bos_id], "tokens": [name]}},
    }


def bpe_model(vocab: Mapping[str, int], merges: list[str], **changes: Any) -> dict[str, Any]:
    """The model part of a tokenizer.json."""
    fixed = dict.fromkeys(["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
    flags = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **changes}
    return {"type": "BPE", **fixed, **flags, "vocab": dict(vocab), "merges": merges}


def bpe_pipeline(tokenizer: BPE) -> dict[str, Any]:
    """Cut by the pattern, spell bytes as characters, join; a word that is a token is taken whole."""
    vocab = {printable(token): rank for token, rank in tokenizer.ranks.items()}
    split = {
        "type": "Split",
        "pattern": {"Regex": tokenizer.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]},
        "decoder": BYTE_LEVEL,
        "model": bpe_model(vocab, merges_of(vocab, vocab), ignore_merges=True),
    }


def sentencepiece_pipeline(tokenizer: SentencePiece) -> dict[str, Any]:
    """Write spaces as U+2581, join by score, fall back to bytes; ValueError for pieces it cannot express."""
    if tokenizer.fixed:
        raise ValueError(
            f"{len(tokenizer.fixed)} pieces, such as {tokenizer.fixed[0]!r}, are user-defined, which a "
            "tokenizer.json takes in another way: keep the tokenizer.model"
        )
    rules: list[dict[str, Any]] = []
    if tokenizer.collapse_spaces:
        rules += COLLAPSE
    if tokenizer.dummy_space:
        rules.append(PREPEND)
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": int(tokenizer.dummy_space), "stop": 0},
    ]
    ranks, unknown = tokenizer.ranks, tokenizer.kinds.index(Kind.UNKNOWN)
    model = bpe_model(
        tokenizer.ids,
        merges_of(sorted(ranks, key=lambda piece: ranks[piece]), ranks),
        unk_token=next(text for text, i in tokenizer.ids.items() if i == unknown),
        fuse_unk=True,
        byte_fallback=bool(tokenizer.byte_ids),
    )
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*rules, TO_SPACE]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }


def tokenizer_config(tokenizer: Tokenizer, max_seq_len: int) -> dict[str, Any]:
    """The content of tokenizer_config.json: the tokens with a role, and how long a text may be."""
    names = {i: name for name, i in token_names(tokenizer).items()}
    roles = {f"{role}_token": names.get(getattr(tokenizer, f"{role}_id")) for role in ROLES}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_seq_len,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    } | {name: token for name, token in roles.items() if token is not None}
