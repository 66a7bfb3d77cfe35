"""Practice of chapter 06: what `check` knows about rotary positions."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Generator, Tensor

from llama_mini.model import rope_frequencies, rope_table, rotate
from llama_mini.teach.check.exercise import Exercise


def _angles(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    """positions (B, T) -> the angle of every pair (B, T, D/2) in float32."""
    freqs = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    return positions[..., None].float() * freqs.float()


def _one_frequency(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    return positions[..., None].float().expand(*positions.shape, head_dim // 2).contiguous()


def _grows(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    return positions[..., None].float() * theta ** (torch.arange(0, head_dim, 2) / head_dim)


def _halves(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    return positions[..., None].float() * theta ** (-torch.arange(head_dim // 2) / head_dim)


def _reversed(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    return _angles(positions, head_dim, theta).flip(-1)


def _degrees(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    return _angles(positions, head_dim, theta) * torch.pi / 180


def _positions(generator: Generator, end: int, *shape: int) -> Tensor:
    return torch.randint(1, end, shape, generator=generator)


def _turn(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """x (B, T, H, D), its adjacent pairs turned by positions (B or 1, T): the package's own RoPE."""
    return rotate(x, rope_table(positions, rope_frequencies(x.size(-1), theta)))


def _spin(x: Tensor, angles: Tensor, *, clockwise: bool = False) -> Tensor:
    a, b = x.float()[..., 0::2], x.float()[..., 1::2]
    cos, sin = angles.cos(), angles.sin() * (-1 if clockwise else 1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)


def _spin_by(angles: Callable[[Tensor, int, float], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    return lambda x, positions, theta: _spin(x, angles(positions, x.size(-1), theta)[:, :, None])


def _clockwise(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _spin(x, _angles(positions, x.size(-1), theta)[:, :, None], clockwise=True)


def _half_pairs(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    adjacent = rearrange(x, "b t h (two d) -> b t h (d two)", two=2)
    return rearrange(_turn(adjacent, positions, theta), "b t h (d two) -> b t h (two d)", two=2)


def _overwrites(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    angles = _angles(positions, x.size(-1), theta)[:, :, None]
    y = x.clone()
    y[..., 0::2] = y[..., 0::2] * angles.cos() - y[..., 1::2] * angles.sin()
    y[..., 1::2] = y[..., 0::2] * angles.sin() + y[..., 1::2] * angles.cos()
    return y


def _theta_fixed(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, positions, 10_000.0)


def _late(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, positions + 1, theta)


def _no_minus(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    angles = _angles(positions, x.size(-1), theta)[:, :, None]
    a, b = x.float()[..., 0::2], x.float()[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([a * cos + b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)


def _not_woven(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return rearrange(_turn(x, positions, theta), "b t h (d two) -> b t h (two d)", two=2)


def _no_head_axis(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _spin(x, _angles(positions, x.size(-1), theta))


def _axes_lost(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, positions, theta).squeeze()


def _float32(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x.float(), positions, theta)


def _two_types(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turned = _turn(x.float(), positions, theta)
    return turned if x.dtype == torch.float32 else turned.bfloat16()


def _heads_first(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _spin(x, _angles(positions, x.size(-1), theta)[:, None])


def _from_zero(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, torch.arange(x.size(1))[None], theta)


def _first_row(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, positions[:1], theta)


def _rounded_positions(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _turn(x, positions.to(x.dtype), theta)


def _rounded_frequencies(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    freqs = rope_frequencies(x.size(-1), theta).to(x.dtype)
    return rotate(x, rope_table(positions, freqs.float()))


def _low_throughout(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    freqs = rope_frequencies(x.size(-1), theta).to(x.dtype)
    return _spin(x, (positions[..., None, None].to(x.dtype) * freqs).float())


def _half_precision(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    angles = _angles(positions, x.size(-1), theta)[:, :, None].to(x.dtype)
    return _spin(x, angles.float())


def _heads(
    g: Generator, *shape: int, end: int = 200, theta: float = 1e4, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, float]:
    """x of that shape, positions from 1 to end that differ by row, and theta."""
    return (torch.randn(shape, generator=g) / 2).to(dtype), _positions(g, end, *shape[:2]), theta


rope_turn = Exercise(
    name="rope_turn",
    reference=_turn,
    groups={
        # as many rows and heads as words: a wrong broadcast raises nothing
        "heads": lambda g: [_heads(g, 3, 3, 3, 12, theta=500_000.0)],
        "values": lambda g: [
            _heads(g, 2, 5, 3, 8),
            _heads(g, 3, 4, 2, 12, theta=30_000.0),
            _heads(g, 1, 1, 1, 6),
        ],
        "far from the start": lambda g: [_heads(g, 2, 6, 3, 16, end=4_000, theta=500_000.0)],
        "low precision": lambda g: [
            _heads(g, 2, 5, 3, 8, end=4_000, dtype=torch.bfloat16),
            _heads(g, 2, 5, 3, 8, theta=500_000.0, dtype=torch.float16),
        ],
    },
    rtol=1e-3,
    atol=2e-3,  # angles near 4,000 have four decimals in float32, cosines in float16 three
    wrong={
        "clockwise": (
            _clockwise,
            "your pairs turn the other way. (a, b) becomes (a cos - b sin, a sin + b cos).",
        ),
        "halves": (
            _half_pairs,
            "you pair x[i] with x[i + D/2]. That is Hugging Face's layout; here x[2i] turns with x[2i + 1].",
        ),
        "overwrites": (
            _overwrites,
            "you compute the second of a pair from the first AFTER its turn. Keep the old pair to the end.",
        ),
        "not woven": (
            _not_woven,
            "your pairs come out in halves. torch.stack on a new last axis, then flatten, weaves them.",
        ),
        "no head axis": (
            _no_head_axis,
            "your angles (B, T, D/2) have no axis for the heads, so rows and words mix: (B, T, 1, D/2).",
        ),
        "no minus": (_no_minus, "your pairs do not keep their length. A turn has one minus: a cos - b sin."),
        "theta": (_theta_fixed, "you turn with theta = 10,000, whatever theta is given."),
        "late": (_late, "you turn by positions + 1. A word at position 0 does not turn."),
        "one frequency": (
            _spin_by(_one_frequency),
            "every pair turns equally fast. Pair i turns theta^(-2i/D) as fast as pair 0.",
        ),
        "grows": (
            _spin_by(_grows),
            "your pairs turn faster and faster. The exponent is negative: theta^(-2i/D).",
        ),
        "reversed": (
            _spin_by(_reversed),
            "your first pair turns slowest. Pair 0 turns fastest, one radian a word.",
        ),
        "degrees": (
            _spin_by(_degrees),
            "you take the angles for degrees. They are radians, as cos and sin want them.",
        ),
        "half the exponent": (
            _spin_by(_halves),
            "your frequencies fall too slowly. Pair i has exponent -2i/D, not -i/D.",
        ),
        "from zero": (
            _from_zero,
            "your result depends on the place in x, not on positions. The first word need not stand at 0.",
        ),
        "first row": (
            _first_row,
            "every row of the batch turns by the positions of row 0. Each row has its own.",
        ),
        "heads first": (
            _heads_first,
            "head h turns by the position of word h. In (B, T, H, D) the axis of heads comes after T.",
        ),
        "axes lost": (_axes_lost, "your result loses its axes of length 1. It has the shape of x."),
        "float32": (_float32, "your result is float32. It has the dtype of x."),
        "two types": (
            _two_types,
            "your result is bfloat16 for a float16 x. It has the dtype of x, whichever that is.",
        ),
        "rounded positions": (
            _rounded_positions,
            "your positions are rounded to the dtype of x. bfloat16 has no 257: count in float32.",
        ),
        "low throughout": (
            _low_throughout,
            "you compute in the dtype of x throughout. Positions, frequencies and angles need float32.",
        ),
        "rounded frequencies": (
            _rounded_frequencies,
            "your frequencies are rounded to the dtype of x. Far from the start that is the wrong angle.",
        ),
        "half precision": (
            _half_precision,
            "your angles are rounded to the dtype of x. bfloat16 keeps three digits: turn in float32.",
        ),
    },
)

EXERCISES = [rope_turn]
