"""How GGUF stores numbers: plain floats, or blocks of 32 small integers that share one float16 scale.

Q8_0 takes 34 bytes for 32 weights, 8.5 bits each; Q4_0 takes 18, 4.5 bits each. Scales and rounding are those
of llama.cpp (quantize_row_q8_0_ref and quantize_row_q4_0_ref in ggml-quants.c), so bytes agree with its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32


@dataclass(frozen=True)
class Storage:
    """One way to keep numbers: `block` of them in `n_bytes`; `code` is its number in a GGUF file.

    encode: floats (..., C) to bytes (uint8, one axis), ValueError where they do not fit. decode: bytes back
    to numbers of `dtype` (one axis); for plain floats it is a view and copies nothing.
    """

    name: str
    code: int
    block: int
    n_bytes: int
    dtype: torch.dtype
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]

    def size(self, shape: tuple[int, ...]) -> int:
        """The bytes of a tensor; ValueError if a row is no whole number of blocks."""
        if shape and shape[-1] % self.block:
            raise ValueError(
                f"{self.name} keeps {self.block} numbers in a block, but the rows of {shape} have {shape[-1]}"
            )
        return torch.Size(shape).numel() // self.block * self.n_bytes


def plain(name: str, code: int, dtype: torch.dtype) -> Storage:
    """Numbers as they are, in a float type."""

    def encode(x: Tensor) -> Tensor:
        stored = x.to(dtype).contiguous()
        if stored.isinf().sum() > x.isinf().sum():
            raise ValueError(f"the largest number, {x.abs().max().item():g}, does not fit {name}")
        return stored.view(torch.uint8).flatten()

    return Storage(name, code, 1, dtype.itemsize, dtype, encode, lambda data: data.view(dtype))


def half_scale(scale: Tensor) -> Tensor:
    """The bytes of a scale for each block (n_blocks, 1) as float16, (n_blocks, 2)."""
    half = scale.half()
    if not half.isfinite().all():
        raise ValueError(f"the scale of a block, {scale.abs().max().item():g}, does not fit float16")
    return half.view(torch.uint8)


def encode_q8_0(x: Tensor) -> Tensor:
    """Blocks of a scale, the largest magnitude / 127, and 32 integers, halves rounded away from zero."""
    blocks = x.float().reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    quotient = blocks * torch.where(scale == 0, 0, 1 / scale)
    whole = quotient.abs().floor()
    rounded = whole + (quotient.abs() - whole >= 0.5)
    codes = rounded.copysign(quotient).to(torch.int8)
    return torch.cat([half_scale(scale), codes.view(torch.uint8)], 1).flatten()


def decode_q8_0(data: Tensor) -> Tensor:
    blocks = data.view(-1, 2 + BLOCK)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()  # (n_blocks, 1)
    return blocks[:, 2:].view(torch.int8).float().mul_(scale).flatten()


def encode_q4_0(x: Tensor) -> Tensor:
    """Blocks of a scale, the number of largest magnitude / -8, and 32 integers from 0 to 15 that stand for
    -8 to 7; byte i holds integer i in its low half and integer i + 16 in its high half.
    """
    blocks = x.float().reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = largest / -8
    quotient = blocks * torch.where(scale == 0, 0, 1 / scale)
    codes = (quotient + 8.5).to(torch.uint8).clamp(max=15)
    low, high = codes.chunk(2, dim=1)
    return torch.cat([half_scale(scale), low | high << 4], 1).flatten()


def decode_q4_0(data: Tensor) -> Tensor:
    blocks = data.view(-1, 2 + BLOCK // 2)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()  # (n_blocks, 1)
    codes = torch.cat([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1)  # (n_blocks, 32)
    return codes.float().sub_(8).mul_(scale).flatten()


F32 = plain("F32", 0, torch.float32)
F16 = plain("F16", 1, torch.float16)
BF16 = plain("BF16", 30, torch.bfloat16)
F64 = plain("F64", 28, torch.float64)
Q4_0 = Storage("Q4_0", 2, BLOCK, 2 + BLOCK // 2, torch.float32, encode_q4_0, decode_q4_0)
Q8_0 = Storage("Q8_0", 8, BLOCK, 2 + BLOCK, torch.float32, encode_q8_0, decode_q8_0)
STORAGES = {storage.code: storage for storage in (F32, F16, BF16, F64, Q4_0, Q8_0)}
