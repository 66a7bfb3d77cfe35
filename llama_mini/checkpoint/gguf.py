"""GGUF, the format of llama.cpp: typed metadata, a table of tensors, then their bytes, made to be mapped.

Rows of wq and wk lie in Meta's order of adjacent pairs already. Dimensions are written fastest first. This is
the reader, the writer is gguf_write.py. (gguf.md of the ggml repository; llama-arch.cpp for the names.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.checkpoint.blocks import STORAGES, Storage
from llama_mini.checkpoint.cursor import Cursor
from llama_mini.checkpoint.files import map_bytes
from llama_mini.checkpoint.gguf_tokenizer import tokenizer_from
from llama_mini.checkpoint.stored import Checkpoint, Stored, names, select
from llama_mini.config import Config, RopeScaling
from llama_mini.model import rope_frequencies

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
ALIGNMENT = 32


@dataclass(frozen=True)
class Entry:
    """A tensor of the table, and its bytes as they lie in the file."""

    name: str
    shape: tuple[int, ...]
    storage: Storage
    data: Tensor

    def read(self) -> Tensor:
        return self.storage.decode(self.data).view(self.shape)

    def equals(self, other: "Entry") -> bool:
        """Whether both hold the same bytes: some files write a tied matrix twice."""
        if (self.shape, self.storage) != (other.shape, other.storage):
            return False
        return torch.equal(self.data[:4096], other.data[:4096]) and torch.equal(self.data, other.data)


def read_entries(cursor: Cursor, data: Tensor, count: int, alignment: int) -> dict[str, Entry]:
    """The table of tensors at the cursor; ValueError for types not read here or a file cut short."""
    rows = []
    for _ in range(count):
        name, n_dims = cursor.string(), cursor.number("I")
        shape = tuple(reversed(cursor.numbers("Q", n_dims)))
        rows.append((name, shape, cursor.number("I"), cursor.number("Q")))
    begin = alignment * math.ceil(cursor.at / alignment)
    return {row[0]: read_entry(cursor.path, data, begin, alignment, *row) for row in rows}


def read_entry(
    path: Path, data: Tensor, begin: int, alignment: int, name: str, shape: tuple, code: int, offset: int
) -> Entry:
    """One row of the table, whose offset counts from `begin`."""
    if code not in STORAGES:
        raise ValueError(
            f"{path}: {name} {shape} is stored in blocks of GGUF type {code}, which are not read; take the "
            f"file of this model in one of {', '.join(storage.name for storage in STORAGES.values())}"
        )
    storage, start = STORAGES[code], begin + offset
    if offset % alignment or (shape and shape[-1] % storage.block):
        raise ValueError(
            f"{path}: {name} {shape} begins {offset} bytes into the data, in {storage.name}; a row must be a "
            f"multiple of {storage.block} and an offset one of {alignment}: the file is damaged"
        )
    end = start + math.prod(shape) // storage.block * storage.n_bytes
    if end > len(data):
        raise ValueError(
            f"{path}: the file ends at byte {len(data)}, but {name} {shape} ends at byte {end}; "
            "it is truncated, fetch it again"
        )
    return Entry(name, shape, storage, data[start:end])


def read_number(
    path: Path, fields: Mapping[str, Any], name: str, kind: type[int | float], default: float | None = None
) -> Any:
    """A positive number from the metadata; ValueError if it is absent without a default, or anything else."""
    value = fields.get(f"llama.{name}", default)
    if value is None:
        raise ValueError(f"{path}: the metadata lacks llama.{name}, which fixes the shape of the model")
    if not isinstance(value, kind) or not value > 0:  # which NaN is not either
        raise ValueError(f"{path}: llama.{name} is {str(value)[:60]}, not a positive number; it is not read")
    return value


def read_config(
    path: Path, fields: Mapping[str, Any], vocab_size: int, tied: bool, factors: Tensor | None
) -> Config:
    """The config in GGUF metadata; ValueError for what is no plain Llama, naming the field."""
    if fields.get("general.architecture") != "llama":
        raise ValueError(
            f"{path}: the architecture is {fields.get('general.architecture')!r}; only 'llama' is read"
        )
    n_heads = read_number(path, fields, "attention.head_count", int)
    dim = read_number(path, fields, "embedding_length", int)
    theta = shortest(read_number(path, fields, "rope.freq_base", float, 10_000.0))
    check_plain(path, fields, dim, n_heads)
    return Config(
        dim=dim,
        n_layers=read_number(path, fields, "block_count", int),
        n_heads=n_heads,
        n_kv_heads=read_number(path, fields, "attention.head_count_kv", int, n_heads),
        ffn_dim=read_number(path, fields, "feed_forward_length", int),
        vocab_size=vocab_size,
        max_seq_len=read_number(path, fields, "context_length", int),
        norm_eps=shortest(read_number(path, fields, "attention.layer_norm_rms_epsilon", float)),
        rope_theta=theta,
        rope_scaling=None if factors is None else read_scaling(path, fields, factors, theta),
        tie_embeddings=tied,
    )


def check_plain(path: Path, fields: Mapping[str, Any], dim: int, n_heads: int) -> None:
    """Refuse what llama.cpp calls a llama and our model is not."""
    head_dim = fields.get("llama.rope.dimension_count", dim // n_heads)
    n_experts, scaling = fields.get("llama.expert_count", 0), fields.get("llama.rope.scaling.type", "none")
    if head_dim * n_heads != dim or n_experts or scaling != "none":
        raise ValueError(
            f"{path}: rope.dimension_count={head_dim} (of {dim // n_heads}), expert_count={n_experts}, "
            f"rope.scaling.type={scaling}: only whole heads, no experts and no scaling but Llama 3.1's are "
            "read"
        )


def shortest(value: float) -> float:
    """The shortest decimal number that is this float32: metadata says 9.999999747378752e-06 for 1e-5."""
    return float(f"{value:.7g}")


def read_scaling(path: Path, fields: Mapping[str, Any], factors: Tensor, theta: float) -> RopeScaling:
    """Llama 3.1's scaling from what GGUF stores of it: by how much each pair is slowed, (D/2).

    The context before stretching is 8,192 unless the metadata has another.
    """
    length = read_number(path, fields, "rope.scaling.original_context_length", int, 8192)
    factor = max(1.0, shortest(factors.max().item()))
    scaling = RopeScaling(factor=factor, original_max_seq_len=length)
    if not torch.allclose(slowed(2 * len(factors), theta, scaling), factors.float(), rtol=1e-3):
        raise ValueError(
            f"{path}: {ROPE_FACTORS} is not the scaling of Llama 3.1 by {factor}; it is not read"
        )
    return scaling


def slowed(head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """By how much a scaling slows each pair, (D/2) in float32."""
    return rope_frequencies(head_dim, theta) / rope_frequencies(head_dim, theta, scaling)


def read_fields(cursor: Cursor, count: int) -> dict[str, Any]:
    """The metadata at the cursor, by name."""
    fields = {}
    for _ in range(count):
        name = cursor.string()
        fields[name] = cursor.value(cursor.number("I"))
    return fields


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Entry]]:
    """The metadata and the tensors of a GGUF file of version 2 or 3."""
    data = map_bytes(path)
    cursor = Cursor(path, data)
    cursor.take(4)  # "GGUF"
    version, n_tensors, n_fields = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in (2, 3):
        raise ValueError(f"{path} is GGUF version {version}; only versions 2 and 3, little-endian, are read")
    fields = read_fields(cursor, n_fields)
    alignment = fields.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment % 8:
        raise ValueError(f"{path}: general.alignment is {alignment!r}, which must be a multiple of 8")
    return fields, read_entries(cursor, data, n_tensors, alignment)


def read(path: Path) -> Checkpoint:
    """The Llama in a GGUF file; blocks become float32 as each tensor is read."""
    fields, found = read_file(path)
    embeddings, output = found.get(TABLE["tok_embeddings.weight"]), found.get(TABLE["output.weight"])
    if embeddings is None or not embeddings.shape:
        raise ValueError(f"{path} holds no {TABLE['tok_embeddings.weight']}: it is not a language model")
    tied = output is None or output.equals(embeddings)
    if tied:
        found.pop(TABLE["output.weight"], None)
    factors = found.pop(ROPE_FACTORS, None)
    config = read_config(path, fields, embeddings.shape[0], tied, None if factors is None else factors.read())
    if config.n_layers > len(found):  # a damaged number; names of billions of layers would fill the memory
        raise ValueError(
            f"{path}: llama.block_count is {config.n_layers}, but there are {len(found)} tensors"
        )
    weights = {name: Stored(path, name, e.shape, e.storage.dtype, e.read) for name, e in found.items()}
    return Checkpoint(path, config, select(path, weights, names(TABLE, config)), tokenizer_from(path, fields))
