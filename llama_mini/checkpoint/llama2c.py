"""llama2.c's three files: a header of integers, then numbers, tensor after tensor, without names.

Versions 0 and 1 hold float32. Version 2 holds each matrix as int8 in groups, then a float32 scale for each
group, its largest magnitude / 127; the norms stay float32 (export.py, run.c, runq.c). No version says
norm_eps or rope_theta: the programs have 1e-5 and 10,000 written into them.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from llama_mini.checkpoint.files import map_bytes, replacing
from llama_mini.checkpoint.stored import Checkpoint, Stored, shapes
from llama_mini.checkpoint.tokenizers import llama2c_tokenizer, write_tokenizer
from llama_mini.config import Config
from llama_mini.model import Llama, rope_frequencies, rope_table
from llama_mini.tokenizer import SentencePiece, Tokenizer

MAGIC, HEADER_SIZE = 0x616B3432, 256  # of versions 1 and 2; version 0 has neither
SHAPE = struct.Struct("<7i")
ATTENTION = ["attention_norm", "attention.wq", "attention.wk", "attention.wv", "attention.wo"]
FEED_FORWARD = ["ffn_norm", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"]
COSINES, SINES = "freq_cis_real", "freq_cis_imag"  # version 0's RoPE tables; models compute them anyway
WIDEST, DEEPEST = 1 << 24, 1 << 10  # no real model comes near; text, or another format, does


@dataclass(frozen=True)
class Header:
    """What stands before the numbers; group is the number of weights that share a scale, 0 for float32."""

    version: int
    config: Config
    group: int = 0

    @property
    def size(self) -> int:
        return HEADER_SIZE if self.version else SHAPE.size

    def pack(self) -> bytes:
        config, tied = self.config, self.config.tie_embeddings
        vocab_size = config.vocab_size if self.version or tied else -config.vocab_size
        shape = SHAPE.pack(
            config.dim, config.ffn_dim, config.n_layers, config.n_heads, config.n_kv_heads, vocab_size,
            config.max_seq_len,
        )  # fmt: skip
        if self.version == 0:
            return shape
        group = struct.pack("<i", self.group) if self.group else b""
        fields = struct.pack("<Ii", MAGIC, self.version) + shape + bytes([tied]) + group
        return fields.ljust(HEADER_SIZE, b"\0")


def read_header(path: Path) -> Header | None:
    """The header of a file, or None where the first bytes are none; ValueError for an unknown version."""
    with path.open("rb") as file:
        data = file.read(HEADER_SIZE)
    if len(data) < SHAPE.size:
        return None
    if data[:4] != struct.pack("<I", MAGIC):
        config = read_shape(data)
        return None if config is None else Header(0, config)
    if len(data) < HEADER_SIZE:
        raise ValueError(f"{path}: the file ends at byte {len(data)}, inside its header of {HEADER_SIZE}")
    (version,), tied, (group,) = (
        struct.unpack_from("<i", data, 4),
        data[36],
        struct.unpack_from("<i", data, 37),
    )
    config = read_shape(data[8:], tied=bool(tied))
    if version not in (1, 2) or config is None or (version == 2 and group < 1):
        raise ValueError(
            f"{path}: version {version} of llama2.c, shape {SHAPE.unpack_from(data, 8)}, groups of {group}; "
            "only versions 0, 1 and 2 are read, and this is no shape of a model or no size of a group"
        )
    return Header(version, config, group if version == 2 else 0)


def read_shape(data: bytes, tied: bool | None = None) -> Config | None:
    """The config in seven integers, or None. Untied models of version 0 have a negative vocab_size."""
    dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len = SHAPE.unpack_from(data)
    if max(dim, ffn_dim, abs(vocab_size), max_seq_len) > WIDEST or n_layers > DEEPEST:
        return None
    try:
        return Config(
            dim=dim, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, ffn_dim=ffn_dim,
            vocab_size=abs(vocab_size), max_seq_len=max_seq_len,
            tie_embeddings=vocab_size > 0 if tied is None else tied,
        )  # fmt: skip
    except ValueError:
        return None


def order(header: Header) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor in file order: each kind for all layers, then the next kind.

    From version 1 on, the norms, which are never quantized, come before all matrices.
    """
    config, shape = header.config, shapes(header.config)
    kinds = [f"layers.{{}}.{kind}.weight" for kind in ATTENTION + FEED_FORWARD]
    if header.version == 0:
        found = ["tok_embeddings.weight", *kinds, "norm.weight", COSINES, SINES]
    else:
        norms, matrices = ([kind for kind in kinds if ("norm" in kind) is norm] for norm in (True, False))
        found = [*norms, "norm.weight", "tok_embeddings.weight", *matrices]
    for kind in found if config.tie_embeddings else [*found, "output.weight"]:
        for name in [kind.format(i) for i in range(config.n_layers)] if "{}" in kind else [kind]:
            yield name, shape.get(name, (config.max_seq_len, config.head_dim // 2))


def quantized(header: Header, shape: tuple[int, ...]) -> bool:
    return header.group > 0 and len(shape) > 1


def size(header: Header, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor; ValueError if it is no whole number of groups."""
    n = torch.Size(shape).numel()
    if not quantized(header, shape):
        return 4 * n
    if n % header.group:
        raise ValueError(f"a tensor of shape {shape} is no whole number of groups of {header.group}")
    return n + 4 * (n // header.group)


def decode_groups(data: Tensor, group: int) -> Tensor:
    """The numbers of a tensor from its int8 and the float32 scales behind them."""
    n = len(data) * group // (group + 4)
    scales = data[n:].clone().view(torch.float32)  # a copy, since a scale may begin anywhere
    return data[:n].view(torch.int8).float().view(-1, group).mul_(scales[:, None]).flatten()


def encode_groups(x: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Integers from -127 to 127 (n_groups, group), and the scale of each group, (n_groups)."""
    groups = x.float().reshape(-1, group)
    scales = groups.abs().amax(1) / 127
    return (groups / scales[:, None]).nan_to_num_().round().to(torch.int8), scales  # 0 / 0 where all are 0


def read(path: Path) -> Checkpoint:
    """The model in a llama2.c file; ValueError if it is not as long as its header says."""
    header, data = read_header(path), map_bytes(path)
    if header is None:
        raise ValueError(f"{path} does not begin with the header of a llama2.c file")
    weights: dict[str, Stored] = {}
    start = header.size
    for name, shape in order(header):
        end = start + size(header, shape)
        if end > len(data):
            raise ValueError(
                f"{path}: the file ends at byte {len(data)}, but {name} {shape} ends at byte {end}; "
                "it is truncated or no llama2.c file"
            )
        weights[name] = Stored(path, name, shape, torch.float32, reader(header, shape, data[start:end]))
        start = end
    if start != len(data):
        raise ValueError(f"{path}: its header describes {start} bytes, but the file has {len(data)}")
    return Checkpoint(path, header.config, {name: weights[name] for name in shapes(header.config)})


def reader(header: Header, shape: tuple[int, ...], data: Tensor) -> Callable[[], Tensor]:
    """Gives the numbers of a tensor from its mapped bytes."""
    if quantized(header, shape):
        return lambda: decode_groups(data, header.group).view(shape)
    return lambda: data.view(torch.float32).view(shape)


def group_of(config: Config) -> int:
    """The weights that share a scale: 64, or the largest half of it that divides the rows of every matrix.

    export.py looks at dim alone; runq.c multiplies row by row and needs ffn_dim to divide as well.
    """
    group = 64
    while config.dim % group or config.ffn_dim % group:
        group //= 2
    return group


def check_plain(config: Config) -> None:
    """Refuse a model that llama2.c would compute wrongly, having no place for its numbers."""
    if config != replace(config, norm_eps=1e-5, rope_theta=10_000.0, rope_scaling=None):
        raise ValueError(
            f"llama2.c computes with norm_eps=1e-05 and rope_theta=10000.0, but the model has norm_eps="
            f"{config.norm_eps}, rope_theta={config.rope_theta}, rope_scaling={config.rope_scaling}: choose "
            "another format"
        )


def write(model: Llama, path: str | Path, tokenizer: Tokenizer | None = None, *, version: int = 0) -> None:
    """Write a file of llama2.c, float32 or in version 2 int8, and the tokenizer.bin of run.c beside it.

    tokenizer.bin has no place for byte-level BPE, which goes beside as our own json. ValueError, before
    anything is written, for a config or a SentencePiece vocabulary without a place.
    """
    config, path = model.config, Path(path)
    check_plain(config)
    pieces = llama2c_tokenizer(tokenizer, config.vocab_size) if isinstance(tokenizer, SentencePiece) else None
    header = Header(version, config, group_of(config) if version == 2 else 0)
    weights: dict[str, Tensor] = dict(model.named_parameters())
    if version == 0:
        freqs = rope_frequencies(config.head_dim, config.rope_theta)
        weights[COSINES], weights[SINES] = rope_table(torch.arange(config.max_seq_len)[None], freqs)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.pack())
        for name, shape in order(header):
            write_tensor(file, weights[name].detach().cpu(), header.group if quantized(header, shape) else 0)
    if pieces is not None:
        with replacing(path.parent / "tokenizer.bin") as temporary:
            temporary.write_bytes(pieces)
    elif tokenizer is not None:
        write_tokenizer(tokenizer, path.parent)


def write_tensor(file: BinaryIO, weight: Tensor, group: int) -> None:
    if not group:
        file.write(weight.float().contiguous().numpy().data)
        return
    codes, scales = encode_groups(weight, group)
    file.write(codes.numpy().data)
    file.write(scales.numpy().data)
