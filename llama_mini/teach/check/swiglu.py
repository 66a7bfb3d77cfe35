"""Practice of chapter 07: what `check` knows about the feed-forward layer."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise

Layer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _gated(bend: Callable[[Tensor], Tensor]) -> Layer:
    return lambda x, w1, w2, w3: F.linear(bend(F.linear(x, w1)) * F.linear(x, w3), w2)


def _swapped(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return _gated(F.silu)(x, w3, w2, w1)


def _after_the_product(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, w1) * F.linear(x, w3)), w2)


def _on_both(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, w1)) * F.silu(F.linear(x, w3)), w2)


def _at_the_end(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.silu(F.linear(F.linear(x, w1) * F.linear(x, w3), w2))


def _sum(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, w1)) + F.linear(x, w3), w2)


def _no_value(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, w1)), w2)


def _self_gated(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    gate = F.linear(x, w1)
    return F.linear(F.silu(gate) * gate, w2)


def _stops_short(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return F.silu(F.linear(x, w1)) * F.linear(x, w3)


def _residual(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    return x + _gated(F.silu)(x, w1, w2, w3)


def _swish_of_minus(z: Tensor) -> Tensor:
    return z * torch.sigmoid(-z)


def _weights(g: Generator, *words: int, dim: int, width: int, size: float = 1.0) -> tuple[Tensor, ...]:
    """Words (..., dim) and the three matrices; `size` is about that of a gate."""
    scale = size / dim**0.5
    x = torch.randn(*words, dim, generator=g)
    w1, w3 = torch.randn(2, width, dim, generator=g)
    return x, scale * w1, torch.randn(dim, width, generator=g), w3 / dim**0.5


swiglu_layer = Exercise(
    name="swiglu_layer",
    reference=_gated(F.silu),
    groups={
        "rows of words": lambda g: [_weights(g, 2, 5, dim=6, width=11), _weights(g, 3, 1, dim=9, width=7)],
        "a single word": lambda g: [_weights(g, dim=8, width=21)],
        "wide open and firmly shut gates": lambda g: [_weights(g, 4, 3, dim=12, width=10, size=40.0)],
    },
    rtol=1e-3,
    atol=1e-4,
    wrong={
        "swapped": (
            _swapped,
            "you let w3 hold the gate and w1 pass. SiLU goes on w1 x, and w3 x is what passes.",
        ),
        "sigmoid": (
            _gated(torch.sigmoid),
            "your gate is the bare sigmoid. That is GLU; SwiGLU's gate is z * sigmoid(z).",
        ),
        "after the product": (
            _after_the_product,
            "you apply SiLU after the product. It goes on w1 x alone, before the product.",
        ),
        "both": (_on_both, "you apply SiLU on both sides. What passes, w3 x, stays straight."),
        "at the end": (
            _at_the_end,
            "you apply SiLU behind w2. It goes on w1 x, before the product.",
        ),
        "relu": (_gated(F.relu), "your gate is ReLU. That is ReGLU; SwiGLU has SiLU there."),
        "gelu": (_gated(F.gelu), "your gate is GELU. That is GEGLU; SwiGLU has SiLU there."),
        "softmax": (
            _gated(lambda z: z.softmax(-1)),
            "your gates share one softmax. Each hidden unit has a gate of its own: z * sigmoid(z).",
        ),
        "bilinear": (_gated(lambda z: z), "nothing is on the gate. w1 x goes through SiLU first."),
        "minus": (_gated(_swish_of_minus), "your sigmoid has the wrong sign: sigmoid(z) = 1 / (1 + e^-z)."),
        "sum": (_sum, "you add gate and value. The gate multiplies."),
        "no value": (_no_value, "w3 does nothing in your result. Gate times value, and w3 x is the value."),
        "self-gated": (_self_gated, "you pass w1 x through its own gate. What passes is w3 x."),
        "stops short": (_stops_short, "your result is the hidden units. w2 brings them back to width C."),
        "residual": (_residual, "you add x to the result. The block does that, not the layer."),
    },
)

EXERCISES = [swiglu_layer]
