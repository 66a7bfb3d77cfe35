"""llama2.c's first file format: seven integers, then float32 numbers, tensor after tensor, without names."""

import struct
from collections.abc import Iterator
from pathlib import Path

import torch

from llama_mini.checkpoint.files import map_bytes, map_tensor
from llama_mini.checkpoint.stored import Checkpoint, Stored, shapes, stored
from llama_mini.config import Config

HEADER = struct.Struct("<7i")
ATTENTION = ["attention_norm", "attention.wq", "attention.wk", "attention.wv", "attention.wo"]
FEED_FORWARD = ["ffn_norm", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"]
WIDEST, DEEPEST = 1 << 24, 1 << 10  # no real model comes near; text, or another format, does


def read_config(path: Path) -> Config | None:
    """The config in a file's header, or None where the first bytes are no such header."""
    with path.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len = HEADER.unpack(header)
    if max(dim, ffn_dim, abs(vocab_size), max_seq_len) > WIDEST or n_layers > DEEPEST:
        return None
    try:
        return Config(
            dim=dim, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, ffn_dim=ffn_dim,
            vocab_size=abs(vocab_size), max_seq_len=max_seq_len, tie_embeddings=vocab_size > 0,
        )  # fmt: skip
    except ValueError:
        return None


def layout(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor in file order: each kind for all layers, then the next kind."""
    shape = shapes(config)
    layers = range(config.n_layers)
    in_layers = [f"layers.{i}.{kind}.weight" for kind in ATTENTION + FEED_FORWARD for i in layers]
    for name in ["tok_embeddings.weight", *in_layers, "norm.weight"]:
        yield name, shape[name]
    for name in ("freq_cis_real", "freq_cis_imag"):  # RoPE tables, which the model computes by itself
        yield name, (config.max_seq_len, config.head_dim // 2)
    if not config.tie_embeddings:
        yield "output.weight", shape["output.weight"]


def read(path: Path) -> Checkpoint:
    """The model in a version 0 file of llama2.c; ValueError if it is not as long as its header says."""
    config, data = read_config(path), map_bytes(path)
    if config is None:
        raise ValueError(f"{path} does not begin with the header of a llama2.c file")
    weights: dict[str, Stored] = {}
    start = HEADER.size
    for name, shape in layout(config):
        end = start + 4 * torch.Size(shape).numel()
        if end > len(data):
            raise ValueError(
                f"{path}: the file ends at byte {len(data)}, but {name} {shape} ends at byte {end}; "
                "it is truncated or no llama2.c file"
            )
        weights[name] = stored(path, name, map_tensor(data, start, shape, torch.float32))
        start = end
    if start != len(data):
        raise ValueError(f"{path}: its header describes {start} bytes, but the file has {len(data)}")
    return Checkpoint(path, config, {name: weights[name] for name in shapes(config)})
