"""Weights in eight bits: a whole number from -127 to 127 for each, and one scale for each output row."""

import torch
from torch import Tensor, nn

from llama_mini.surgery import product, swap_linears


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (out, in) as int8 (out, in) and float32 scales (out): weight is about scales[:, None] * int8.

    A row's scale makes its largest magnitude 127 (absmax), so no weight is off by more than half a scale.
    ValueError for a weight that is not finite: it has no scale.
    """
    scales = weight.detach().float().abs().amax(1) / 127
    if not scales.isfinite().all():
        bad = int((~scales.isfinite()).sum())
        raise ValueError(f"{bad} of {len(scales)} rows hold an infinite weight or a NaN")
    steps = torch.where(scales > 0, scales, 1.0)  # a row of zeros stays one
    return (weight.detach().float() / steps[:, None]).round().to(torch.int8), scales


def dequantize(weight: Tensor, scales: Tensor) -> Tensor:
    """Int8 (out, in) and scales (out) back to float32 (out, in)."""
    return weight * scales[:, None]


class Int8Linear(nn.Module):
    """A linear layer with int8 weights; the product comes first, then each output takes its row's scale."""

    weight: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        if linear.bias is not None:
            raise ValueError(f"{linear} has a bias; only layers without one are quantized")
        weight, scales = quantize(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales.to(linear.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to (..., out) in x's dtype."""
        return product(x, self.weight) * self.scales.to(x.dtype)


def to_int8(model: nn.Module, pattern: str = ".") -> list[str]:
    """Make every linear layer that the pattern finds an `Int8Linear`, in place; return their names.

    A tied head is the embedding and stays as it is, unless `fuse` gave it a layer. ValueError as in
    `swap_linears`.
    """
    return swap_linears(model, pattern, Int8Linear)
