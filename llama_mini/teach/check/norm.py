"""Practice of chapter 04: what `check` knows about the root mean square norm."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise

Norm = Callable[[Tensor, Tensor, float], Tensor]


def _size(x: Tensor, eps: float) -> Tensor:
    return (x.float().square().mean(-1, keepdim=True) + eps).sqrt()


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., C) in any dtype, weight (C) in the same: statistics in float32, result in the dtype of x."""
    return (x.float() / _size(x, eps)).type_as(x) * weight


def _by(size: Callable[[Tensor, float], Tensor]) -> Norm:
    """The right norm but for the number that each vector is divided by."""
    return lambda x, weight, eps: (x.float() / size(x.float(), eps)).type_as(x) * weight


def _layer_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _norm((x.float() - x.float().mean(-1, keepdim=True)).type_as(x), weight, eps)


def _low_throughout(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _float32(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _norm(x.float(), weight.float(), eps)


def _two_types(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    y = _float32(x, weight, eps)
    return y if x.dtype == torch.float32 else y.bfloat16()


def _case(
    g: Generator, *shape: int, scale: float = 1.0, eps: float = 1e-5, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, float]:
    """x of that shape with a mean of its own in each vector, a weight around 1, and eps."""
    x = torch.randn(shape, generator=g) + torch.randn(*shape[:-1], 1, generator=g)
    weight = 0.5 + torch.rand(shape[-1], generator=g)
    return (scale * x).to(dtype), weight.to(dtype), eps


def _mixed(g: Generator, *shape: int, eps: float) -> tuple[Tensor, Tensor, float]:
    """Vectors from a ten-thousandth to a thousand in one batch, and one of zeros."""
    x, weight, _ = _case(g, *shape)
    scales = torch.logspace(-4, 3, x[..., 0].numel()).view(*shape[:-1], 1).clone()
    scales[-1, -1] = 0
    return scales * x, weight, eps


rms_norm = Exercise(
    name="rms_norm",
    reference=_norm,
    groups={
        # as many rows and places as coordinates: a wrong axis raises nothing
        "values": lambda g: [_case(g, 6, 6, 6), _case(g, 2, 3, 10, eps=1e-6), _case(g, 7)],
        "loud and faint": lambda g: [_mixed(g, 3, 5, 8, eps=2e-3), _mixed(g, 2, 4, 12, eps=1e-6)],
        "16 bits": lambda g: [
            _case(g, 2, 5, 8, scale=300.0, dtype=torch.float16),
            _case(g, 2, 5, 8, dtype=torch.bfloat16),
        ],
    },
    wrong={
        "subtracts the mean": (
            _layer_norm,
            "your result subtracts the mean first. That is LayerNorm; RMSNorm only divides by the rms.",
        ),
        "standard deviation": (
            _by(lambda x, eps: (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()),
            "you divide by the standard deviation, so the mean is gone from the size. Square x itself.",
        ),
        "sum": (
            _by(lambda x, eps: (x.square().sum(-1, keepdim=True) + eps).sqrt()),
            "you divide by the length, the root of the sum of the squares. The rms is the root of the mean.",
        ),
        "no root": (
            _by(lambda x, eps: x.square().mean(-1, keepdim=True) + eps),
            "you divide by the mean of the squares. Take its root first.",
        ),
        "absolute values": (
            _by(lambda x, eps: x.abs().mean(-1, keepdim=True) + eps),
            "you divide by the mean of the absolute values. The rms squares, takes the mean, takes the root.",
        ),
        "root of the mean": (
            _by(lambda x, eps: (x.mean(-1, keepdim=True).square() + eps).sqrt()),
            "you take the mean before the square. First square, then take the mean, then the root.",
        ),
        "largest": (
            _by(lambda x, eps: x.abs().amax(-1, keepdim=True) + eps),
            "you divide by the largest coordinate. All of them count in the rms.",
        ),
        "multiplies": (
            lambda x, weight, eps: (x.float() * _size(x, eps)).type_as(x) * weight,
            "you multiply by the rms. Divide by it, or multiply by torch.rsqrt, which is one over the root.",
        ),
        "places": (
            _by(lambda x, eps: (x.square().mean(-2 if x.ndim > 1 else -1, keepdim=True) + eps).sqrt()),
            "your mean runs over the places, so vectors depend on neighbours. It runs over the last axis.",
        ),
        "lost axis": (
            _by(lambda x, eps: (x.square().mean(-1) + eps).sqrt()),
            "your sizes lost their last axis and divide other vectors than their own: keepdim=True.",
        ),
        "one less": (
            _by(lambda x, eps: (x.square().sum(-1, keepdim=True) / max(x.size(-1) - 1, 1) + eps).sqrt()),
            "you divide the sum of the squares by C - 1. A mean of C numbers divides by C.",
        ),
        "batch": (
            _by(lambda x, eps: (x.square().mean(0, keepdim=True) + eps).sqrt()),
            "your mean runs over the first axis, the rows of the batch. It runs over the last one.",
        ),
        "all": (
            _by(lambda x, eps: (x.square().mean() + eps).sqrt()),
            "you divide every vector by the same number. Each has its own rms: mean(-1, keepdim=True).",
        ),
        "no weight": (
            lambda x, weight, eps: _norm(x, torch.ones_like(weight), eps),
            "your weight is missing.",
        ),
        "adds the weight": (
            lambda x, weight, eps: _norm(x, torch.ones_like(weight), eps) + weight,
            "you add the weight. It multiplies, coordinate by coordinate.",
        ),
        "one plus weight": (
            lambda x, weight, eps: _norm(x, 1 + weight, eps),
            "you multiply by 1 + weight. That is Gemma's convention; here the weight is the factor itself.",
        ),
        "weight first": (
            lambda x, weight, eps: _norm(x * weight, torch.ones_like(weight), eps),
            "you multiply by the weight before the norm, which takes most of it away again. It comes after.",
        ),
        "eps outside": (
            _by(lambda x, eps: x.square().mean(-1, keepdim=True).sqrt() + eps),
            "your eps stands outside of the root. It is added to the mean of the squares.",
        ),
        "no eps": (
            _by(lambda x, eps: _size(x, 0.0)),
            "your eps is missing: a vector of zeros becomes NaN, a faint one far too loud.",
        ),
        "eps fixed": (
            lambda x, weight, eps: _norm(x, weight, 1e-5),
            "you use 1e-5, whatever eps is given.",
        ),
        "eps fixed small": (
            lambda x, weight, eps: _norm(x, weight, 1e-6),
            "you use 1e-6, whatever eps is given.",
        ),
        "eps squared": (
            lambda x, weight, eps: _norm(x, weight, eps**2),
            "your eps is squared with x. It is added after the mean of the squares.",
        ),
        "eps in the sum": (
            _by(lambda x, eps: ((x.square().sum(-1, keepdim=True) + eps) / x.size(-1)).sqrt()),
            "you add eps to the sum of the squares, where it is C times weaker. It is added to their mean.",
        ),
        "eps is a floor": (
            _by(lambda x, eps: x.square().mean(-1, keepdim=True).clamp(min=eps).sqrt()),
            "you use eps as the least mean allowed. It is added to the mean, whatever that is.",
        ),
        "zeros patched": (
            lambda x, weight, eps: _norm(x, weight, 0.0).nan_to_num(),
            "you leave eps out and patch the NaN of zeros. Faint vectors come out too loud that way.",
        ),
        "eps clamps": (
            _by(lambda x, eps: _size(x, 0.0).clamp(min=eps)),
            "you use eps as the least size allowed. It is added to the mean of the squares.",
        ),
        "float32": (_float32, "your result is float32. It has the dtype of x."),
        "two types": (
            _two_types,
            "your result is bfloat16 for a float16 x. It has the dtype of x, whichever that is.",
        ),
        "low throughout": (
            _low_throughout,
            "you square in the dtype of x: 300 squared is infinite in float16. First go to float32.",
        ),
    },
)

EXERCISES = [rms_norm]
