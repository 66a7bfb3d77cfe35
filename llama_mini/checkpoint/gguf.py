"""GGUF, the format of llama.cpp: typed metadata, a table of tensors, then their bytes, made to be mapped.

Rows of wq and wk lie in Meta's order of adjacent pairs already. Dimensions are written fastest first.
"""

import math
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.checkpoint.files import map_bytes, map_tensor
from llama_mini.checkpoint.stored import Checkpoint, Stored, is_tied, names, select, stored
from llama_mini.config import Config, RopeScaling
from llama_mini.model import rope_frequencies
from llama_mini.tokenizer import SentencePiece, Tokenizer
from llama_mini.tokenizer.sentencepiece import Kind, Piece

TABLE = {
    "tok_embeddings.weight": "token_embd.weight",
    "layers.{}.attention_norm.weight": "blk.{}.attn_norm.weight",
    "layers.{}.attention.wq.weight": "blk.{}.attn_q.weight",
    "layers.{}.attention.wk.weight": "blk.{}.attn_k.weight",
    "layers.{}.attention.wv.weight": "blk.{}.attn_v.weight",
    "layers.{}.attention.wo.weight": "blk.{}.attn_output.weight",
    "layers.{}.ffn_norm.weight": "blk.{}.ffn_norm.weight",
    "layers.{}.feed_forward.w1.weight": "blk.{}.ffn_gate.weight",
    "layers.{}.feed_forward.w2.weight": "blk.{}.ffn_down.weight",
    "layers.{}.feed_forward.w3.weight": "blk.{}.ffn_up.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
ROPE_FACTORS = "rope_freqs.weight"
DTYPES = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
NO_TOKEN = 2**32 - 1


class Cursor:
    """Reads one value after the other from mapped bytes; ValueError where they end too early."""

    def __init__(self, path: Path, data: Tensor):
        self.path, self.data, self.at = path, data.numpy().data, 0

    def take(self, n_bytes: int) -> memoryview:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise ValueError(f"{self.path}: the file ends at byte {len(self.data)}, inside its own header")
        return self.data[start : self.at]

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize("<" + code)))

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def string(self) -> str:
        return bytes(self.take(self.number("Q"))).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """A value of a metadata type: a number, a string, or an array of one type."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind, count = self.number("I"), self.number("Q")
            if kind in NUMBERS:
                return list(self.numbers(NUMBERS[kind], count))
            return [self.value(kind) for _ in range(count)]
        if kind not in NUMBERS:
            raise ValueError(
                f"{self.path}: metadata of type {kind} at byte {self.at} is unknown; the file is damaged"
            )
        return self.number(NUMBERS[kind])


def read_tensors(cursor: Cursor, data: Tensor, count: int, alignment: int) -> dict[str, Stored]:
    """The table of tensors at the cursor, mapped; ValueError for quantized blocks or a file cut short."""
    entries = []
    for _ in range(count):
        name, n_dims = cursor.string(), cursor.number("I")
        shape = tuple(reversed(cursor.numbers("Q", n_dims)))
        entries.append((name, shape, cursor.number("I"), cursor.number("Q")))
    begin = alignment * math.ceil(cursor.at / alignment)
    tensors = {}
    for name, shape, kind, offset in entries:
        if kind not in DTYPES:
            raise ValueError(
                f"{cursor.path}: {name} {shape} is stored in quantized blocks (GGUF type {kind}); only F32, "
                "F16 and BF16 are read, so take the F16 or BF16 file of this model"
            )
        start, end = begin + offset, begin + offset + math.prod(shape) * DTYPES[kind].itemsize
        if end > len(data):
            raise ValueError(
                f"{cursor.path}: the file ends at byte {len(data)}, but {name} {shape} ends at byte {end}; "
                "it is truncated, fetch it again"
            )
        tensors[name] = stored(cursor.path, name, map_tensor(data, start, shape, DTYPES[kind]))
    return tensors


def read_config(
    path: Path, fields: dict[str, Any], vocab_size: int, tied: bool, factors: Stored | None
) -> Config:
    """The config in GGUF metadata; ValueError for what is no plain Llama, naming the field."""
    if fields.get("general.architecture") != "llama":
        raise ValueError(
            f"{path}: the architecture is {fields.get('general.architecture')!r}; only 'llama' is read"
        )
    llama = {name.removeprefix("llama."): value for name, value in fields.items()}
    try:
        n_heads, dim = llama["attention.head_count"], llama["embedding_length"]
        head_dim, n_experts = llama.get("rope.dimension_count", dim // n_heads), llama.get("expert_count", 0)
        if head_dim * n_heads != dim or n_experts or llama.get("rope.scaling.type", "none") != "none":
            raise ValueError(
                f"{path}: rope.dimension_count={head_dim} (of {dim // n_heads}), expert_count={n_experts}, "
                f"rope.scaling.type={llama.get('rope.scaling.type')}: only whole heads, no experts and no "
                "scaling but Llama 3.1's are read"
            )
        theta = shortest(llama.get("rope.freq_base", 10_000.0))
        return Config(
            dim=dim,
            n_layers=llama["block_count"],
            n_heads=n_heads,
            n_kv_heads=llama.get("attention.head_count_kv", n_heads),
            ffn_dim=llama["feed_forward_length"],
            vocab_size=vocab_size,
            max_seq_len=llama["context_length"],
            norm_eps=shortest(llama["attention.layer_norm_rms_epsilon"]),
            rope_theta=theta,
            rope_scaling=None if factors is None else read_scaling(path, factors.read(), theta),
            tie_embeddings=tied,
        )
    except KeyError as error:
        raise ValueError(f"{path}: the metadata lacks {error}, which fixes the shape of the model") from error


def shortest(value: float) -> float:
    """The shortest decimal number that is this float32: metadata says 9.999999747378752e-06 for 1e-5."""
    return float(f"{value:.7g}")


def read_scaling(path: Path, factors: Tensor, theta: float) -> RopeScaling:
    """Llama 3.1's scaling from what GGUF stores of it: by how much each pair is slowed, (D/2)."""
    scaling, head_dim = RopeScaling(factor=shortest(factors.max().item())), 2 * len(factors)
    slowed = rope_frequencies(head_dim, theta) / rope_frequencies(head_dim, theta, scaling)
    if not torch.allclose(slowed, factors.float(), rtol=1e-3):
        raise ValueError(
            f"{path}: {ROPE_FACTORS} is not the scaling of Llama 3.1 by {scaling.factor}; it is not read"
        )
    return scaling


def read_tokenizer(path: Path, fields: dict[str, Any]) -> Tokenizer | None:
    """The tokenizer in the metadata if it is SentencePiece's ('llama' in llama.cpp); otherwise None."""
    ggml = {name.removeprefix("tokenizer.ggml."): value for name, value in fields.items()}
    if ggml.get("model") != "llama":
        return None
    bos_id, eos_id, pad_id = (ggml.get(f"{role}_token_id") for role in ("bos", "eos", "padding"))
    try:
        columns = zip(ggml["tokens"], ggml["scores"], ggml["token_type"], strict=True)
        return SentencePiece(
            [Piece(text, score, Kind(kind)) for text, score, kind in columns],
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id if pad_id != NO_TOKEN else None,
            dummy_space=ggml.get("add_space_prefix", True),
        )
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: the tokenizer in its metadata cannot be read: {error}") from error


def read_fields(cursor: Cursor, count: int) -> dict[str, Any]:
    """The metadata at the cursor, by name."""
    fields = {}
    for _ in range(count):
        name = cursor.string()
        fields[name] = cursor.value(cursor.number("I"))
    return fields


def read(path: Path) -> Checkpoint:
    """The Llama in a GGUF file of version 2 or 3 with unquantized tensors."""
    data = map_bytes(path)
    cursor = Cursor(path, data)
    cursor.take(4)  # "GGUF"
    version, n_tensors, n_fields = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in (2, 3):
        raise ValueError(f"{path} is GGUF version {version}; only versions 2 and 3, little-endian, are read")
    fields = read_fields(cursor, n_fields)
    found = read_tensors(cursor, data, n_tensors, fields.get("general.alignment", 32))

    embeddings, output = found.get(TABLE["tok_embeddings.weight"]), found.get(TABLE["output.weight"])
    if embeddings is None:
        raise ValueError(f"{path} holds no {TABLE['tok_embeddings.weight']}: it is not a language model")
    tied = output is None or is_tied(embeddings, output)
    if tied:
        found.pop(TABLE["output.weight"], None)
    factors = found.pop(ROPE_FACTORS, None)
    config = read_config(path, fields, embeddings.shape[0], tied, factors)
    return Checkpoint(path, config, select(path, found, names(TABLE, config)), read_tokenizer(path, fields))
