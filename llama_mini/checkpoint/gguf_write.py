"""Writing GGUF, version 3, as llama.cpp's own converter lays it out, so that llama.cpp reads it.

Vectors (the norms) stay F32. Matrices whose rows are no whole number of blocks stay F16. In a Q4_0 file the
matrix that makes the logits (output, or the tied embeddings) is Q8_0: llama.cpp spends more bits there too.
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from llama_mini.checkpoint.blocks import BF16, F16, F32, Q4_0, Q8_0, Storage
from llama_mini.checkpoint.cursor import ARRAY, NUMBERS, STRING
from llama_mini.checkpoint.files import replacing
from llama_mini.checkpoint.gguf import (
    ALIGNMENT,
    ROPE_FACTORS,
    TABLE,
    read_config,
    slowed,
)
from llama_mini.checkpoint.gguf_tokenizer import fields_of
from llama_mini.checkpoint.stored import names
from llama_mini.config import Config
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

FLOATS = {torch.float32: F32, torch.float16: F16, torch.bfloat16: BF16}
FILE_TYPES = {F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, BF16: 32}  # llama.cpp's LLAMA_FTYPE
KINDS = {bool: 7, int: 4, float: 6, str: STRING}  # as metadata: flags, uint32, float32, strings
AT_ONCE = 1 << 22  # numbers encoded at a time


def write(
    model: Llama, path: str | Path, tokenizer: Tokenizer | None = None, *, storage: Storage | None = None
) -> None:
    """Write a model and its tokenizer to one GGUF file, the matrices in blocks or, without, in their dtype.

    One tensor at a time is encoded, so that no second copy of the model is made. ValueError, and the file as
    it was, for a config that GGUF cannot hold, or a dtype or numbers that the storage cannot.
    """
    config = model.config
    storage = storage or float_storage(model.tok_embeddings.weight.dtype)
    theirs = names(TABLE, config)
    tensors = {theirs[name]: weight.detach() for name, weight in model.named_parameters()}
    if config.rope_scaling is not None:
        tensors[ROPE_FACTORS] = slowed(config.head_dim, config.rope_theta, config.rope_scaling)
    fields = fields_from(config, storage) | fields_of(tokenizer, config.vocab_size)
    check_kept(Path(path), config, fields, tensors.get(ROPE_FACTORS))
    head = TABLE["tok_embeddings.weight" if config.tie_embeddings else "output.weight"]
    storages = {name: storage_of(weight, storage, name == head) for name, weight in tensors.items()}
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        file.write(header(fields, tensors, storages))
        for name, weight in tensors.items():
            write_tensor(file, name, weight, storages[name])


def float_storage(dtype: torch.dtype) -> Storage:
    """How numbers of a dtype are kept as they are; ValueError for one that llama.cpp does not know."""
    if dtype not in FLOATS:
        raise ValueError(f"a model of {dtype} cannot be written as GGUF: turn it with model.float() first")
    return FLOATS[dtype]


def storage_of(weight: Tensor, wanted: Storage, is_head: bool) -> Storage:
    """How one tensor is kept in a file of the wanted storage."""
    if weight.dim() == 1:
        return F32
    if weight.size(-1) % wanted.block:
        return F16
    return Q8_0 if is_head and wanted is Q4_0 else wanted


def fields_from(config: Config, storage: Storage) -> dict[str, Any]:
    """The metadata that llama.cpp needs to build the model."""
    fields: dict[str, Any] = {
        "general.architecture": "llama",
        "general.file_type": FILE_TYPES[storage],
        "general.quantization_version": 2,
        "llama.context_length": config.max_seq_len,
        "llama.embedding_length": config.dim,
        "llama.block_count": config.n_layers,
        "llama.feed_forward_length": config.ffn_dim,
        "llama.attention.head_count": config.n_heads,
        "llama.attention.head_count_kv": config.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": float32(config.norm_eps),
        "llama.rope.freq_base": float32(config.rope_theta),
        "llama.rope.dimension_count": config.head_dim,
        "llama.vocab_size": config.vocab_size,
    }
    if config.rope_scaling is not None:
        fields["llama.rope.scaling.original_context_length"] = config.rope_scaling.original_max_seq_len
    return fields


def float32(value: float) -> float:
    """The number that is left of a value in 32 bits."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def check_kept(path: Path, config: Config, fields: dict[str, Any], factors: Tensor | None) -> None:
    """ValueError if the config read back from the metadata would be another."""
    found = read_config(path, fields, config.vocab_size, config.tie_embeddings, factors)
    if found != config:
        raise ValueError(f"GGUF has no place for all of {config}: what would come back is {found}")


def header(fields: dict[str, Any], tensors: dict[str, Tensor], storages: dict[str, Storage]) -> bytes:
    """All that stands before the numbers: metadata, then the table with the place of each tensor."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(fields))]
    parts += [string(name) + typed(value) for name, value in fields.items()]
    offset = 0
    for name, weight in tensors.items():
        dims = struct.pack(f"<I{weight.dim()}Q", weight.dim(), *reversed(weight.shape))
        parts.append(string(name) + dims + struct.pack("<IQ", storages[name].code, offset))
        offset += padded(storages[name].size(tuple(weight.shape)))
    whole = b"".join(parts)
    return whole.ljust(padded(len(whole)), b"\0")


def padded(n_bytes: int) -> int:
    """The next multiple of the alignment."""
    return ALIGNMENT * -(-n_bytes // ALIGNMENT)


def string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def typed(value: Any) -> bytes:
    """A value of the metadata behind its type's number; integers in a list are int32, as in llama.cpp."""
    if not isinstance(value, list):
        kind = KINDS[type(value)]
        return struct.pack("<I", kind) + (string(value) if kind == STRING else pack(kind, [value]))
    first = value[0] if value else ""
    kind = 5 if isinstance(first, int) else KINDS[type(first)]
    body = b"".join(map(string, value)) if kind == STRING else pack(kind, value)
    return struct.pack("<IIQ", ARRAY, kind, len(value)) + body


def pack(kind: int, values: list) -> bytes:
    return struct.pack(f"<{len(values)}{NUMBERS[kind]}", *values)


def write_tensor(file: BinaryIO, name: str, weight: Tensor, storage: Storage) -> None:
    """Write the bytes of a tensor, some rows at a time, then zeros up to a multiple of the alignment."""
    start = file.tell()
    try:
        for rows in weight.cpu().split(max(1, AT_ONCE // weight.size(-1))):
            file.write(storage.encode(rows).numpy().data)
    except ValueError as error:
        raise ValueError(f"{name} {tuple(weight.shape)} cannot be kept as {storage.name}: {error}") from error
    file.write(b"\0" * (start - file.tell() & ALIGNMENT - 1))
