"""Practice of chapter 05: what `check` knows about causal attention."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise


def _mix(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    divisor: Callable[[Tensor, Tensor], float] = lambda q, v: q.size(-1) ** 0.5,
    diagonal: int = 1,
    fill: float = -torch.inf,
    axis: int = -1,
) -> Tensor:
    """Causal attention of q and k (B, T, D) on v (B, T, E), or one with a fault."""
    scores = q @ k.mT / divisor(q, v)
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(diagonal)
    return scores.masked_fill(hidden, fill).softmax(axis) @ v


def _mask_after(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.size(-1) ** 0.5).softmax(-1).tril() @ v


def _mask_and_divide(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT / q.size(-1) ** 0.5).softmax(-1).tril()
    return weights / weights.sum(-1, keepdim=True) @ v


def _future(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT / q.size(-1) ** 0.5
    hidden = torch.ones_like(scores, dtype=torch.bool).tril(-1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v


def _plain_powers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    powers = (q @ k.mT / q.size(-1) ** 0.5).exp().tril()
    return powers / powers.sum(-1, keepdim=True) @ v


def _shares(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q @ k.mT / q.size(-1) ** 0.5).tril()
    return scores / scores.sum(-1, keepdim=True) @ v


def _found_by_columns(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT / q.size(-1) ** 0.5
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1).mT @ v


def _zero_times_infinity(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT / q.size(-1) ** 0.5
    return (scores + torch.ones_like(scores).triu(1) * -torch.inf).softmax(-1) @ v


def _scaled_after(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _mix(q, k, v, divisor=lambda q, v: 1.0) / q.size(-1) ** 0.5


def _weights(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _mix(q, k, torch.eye(k.size(1)).expand(len(k), -1, -1))


def _first_row(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _mix(q, k[:1].expand_as(k), v[:1].expand_as(v))


def _random(g: Generator, b: int, t: int, d: int, e: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, k (B, T, D) and v (B, T, E), of size 1."""
    q, k = torch.randn(2, b, t, d, generator=g)
    return q, k, torch.randn(b, t, e, generator=g)


def _offset(g: Generator, all_words: float, last_word: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with so much added to the scores of all words, and of the last one, for any query."""
    q, k, v = _random(g, 2, 6, 8, 3)
    q[..., 0], k[..., 0], k[:, -1, 0] = q.size(-1) ** 0.5, all_words, last_word
    return q, k, v


causal_mix = Exercise(
    name="causal_mix",
    reference=_mix,
    groups={
        "values": lambda g: [_random(g, 3, 7, 5, 4), _random(g, 2, 4, 9, 6), _random(g, 1, 1, 3, 2)],
        "wide vectors": lambda g: [_random(g, 2, 5, 150, 11)],
        "loud and quiet words": lambda g: [_offset(g, 0.0, 300.0), _offset(g, -300.0, -300.0)],
    },
    rtol=1e-3,
    atol=1e-4,
    wrong={
        "no mask": (partial(_mix, diagonal=99), "your words see the ones after them. Mask the later scores."),
        "mask after": (
            _mask_after,
            "you mask after the softmax: the later words are still in the denominator. Mask the scores.",
        ),
        "mask and divide": (
            _mask_and_divide,
            "you mask after the softmax and divide again. A loud later word leaves 0 / 0: mask the scores.",
        ),
        "zero for a score": (
            partial(_mix, fill=0.0),
            "your later words get the score 0, and e to 0 is 1. To get no weight, a score is -inf.",
        ),
        "a small score": (
            partial(_mix, fill=-100.0),
            "your later words get the score -100. Real scores can be lower: take -inf.",
        ),
        "zero times infinity": (
            _zero_times_infinity,
            "you multiply a mask by -inf, and 0 times infinity is NaN. Use masked_fill.",
        ),
        "scaled after": (
            _scaled_after,
            "you divide by the square root of D after the softmax. It is the scores that are too large.",
        ),
        "future": (
            _future,
            "your words see the later ones and not the earlier ones: the mask is upside down.",
        ),
        "one ahead": (
            partial(_mix, diagonal=2),
            "each word sees the next one too. The mask starts at triu(1).",
        ),
        "not itself": (
            partial(_mix, diagonal=0),
            "a word does not see itself, so the first sees nothing: NaN. The mask starts at triu(1).",
        ),
        "wrong axis": (
            partial(_mix, axis=-2),
            "your columns sum to 1. Each row is a word that looks: softmax over the last axis.",
        ),
        "batch axis": (
            partial(_mix, axis=0),
            "your softmax runs over the rows of the batch. It belongs to the last axis.",
        ),
        "no scale": (
            partial(_mix, divisor=lambda q, v: 1.0),
            "your scores are not scaled. Divide by the square root of D.",
        ),
        "all of D": (
            partial(_mix, divisor=lambda q, v: q.size(-1)),
            "you divide the scores by D. Their size is the square root of D.",
        ),
        "multiplied": (
            partial(_mix, divisor=lambda q, v: q.size(-1) ** -0.5),
            "you multiply the scores by the square root of D. Divide.",
        ),
        "root of T": (
            partial(_mix, divisor=lambda q, v: q.size(1) ** 0.5),
            "you divide by the square root of the number of words. It is D, the width of q and k.",
        ),
        "root of E": (
            partial(_mix, divisor=lambda q, v: v.size(-1) ** 0.5),
            "you divide by the square root of the width of v. Scores come from q and k: their width counts.",
        ),
        "plain powers": (
            _plain_powers,
            "e to a large score overflows, and NaN comes out. torch's softmax takes the largest off first.",
        ),
        "shares": (_shares, "you divide the scores by their sum. Weights need a softmax."),
        "asked and asking": (
            lambda q, k, v: _mix(k, q, v),
            "your keys ask and your queries answer. The rows of the scores belong to the queries.",
        ),
        "columns": (
            _found_by_columns,
            "you mix with the weights turned over. Row t of the weights mixes the values for word t.",
        ),
        "keys taken": (lambda q, k, v: _mix(q, k, k), "you mix the keys. What is taken home is v."),
        "one row's keys": (
            _first_row,
            "every row of the batch looks at the words of row 0. Each row has its own.",
        ),
        "weights": (_weights, "you return the weights (B, T, T). Mix the values with them: (B, T, E)."),
    },
)

EXERCISES = [causal_mix]
