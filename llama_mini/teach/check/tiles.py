"""Practice of chapter 13: what `check` knows about merging two partial attentions."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise

Part = tuple[Tensor, Tensor, Tensor]  # of R rows: maximum (R), sum (R), unfinished mix (R, D)


def _both(a: Part, b: Part) -> Part:
    """The two parts as one; rows that neither has a key for stay empty: -inf, 0 and zeros."""
    best = torch.maximum(a[0], b[0])
    safe = best.masked_fill(best == -torch.inf, 0.0)
    fa, fb = (a[0] - safe).exp(), (b[0] - safe).exp()
    return best, a[1] * fa + b[1] * fb, a[2] * fa[:, None] + b[2] * fb[:, None]


Factors = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _ones(a: Tensor, b: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(a), torch.ones_like(b)


def _shrunk(a: Tensor, b: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    return (a - best).exp(), (b - best).exp()


def _merge(
    total: Factors = _shrunk,
    mix: Factors | None = None,
    best: Callable[[Tensor, Tensor], Tensor] = torch.maximum,
) -> Callable[[Part, Part], Part]:
    """A merge with these factors for the sum, for the mix (or the same), and for the new maximum."""

    def merged(a: Part, b: Part) -> Part:
        top = best(a[0], b[0])
        (fa, fb), (ga, gb) = (factors(a[0], b[0], top) for factors in (total, mix or total))
        return top, a[1] * fa + b[1] * fb, a[2] * ga[:, None] + b[2] * gb[:, None]

    return merged


def _only_a(a: Tensor, b: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    return (a - best).exp(), torch.ones_like(b)


def _only_b(a: Tensor, b: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(a), (b - best).exp()


def _finished(a: Part, b: Part) -> Part:
    best, total, mix = _both(a, b)
    return best, total, mix / total[:, None]


def _averaged(a: Part, b: Part) -> Part:
    best, total, _ = _both(a, b)
    return best, total, (a[2] / a[1][:, None] + b[2] / b[1][:, None]) / 2


def _zero_maximum(a: Part, b: Part) -> Part:
    best, total, mix = _both(a, b)
    return best.masked_fill(best == -torch.inf, 0.0), total, mix


def _other_worker(a: Part, b: Part) -> Part:
    for one, other in ((a, b), (b, a)):
        if one[0].isinf().any():
            return other[0].clone(), other[1].clone(), other[2].clone()
    return _merge()(a, b)


def _parts(g: Generator, first: list[float], second: list[float], width: int) -> tuple[Part, Part]:
    """Two parts whose rows have these maxima; where one is -inf, the row is empty."""

    def part(best: list[float]) -> Part:
        top = torch.tensor(best)
        some = top > -torch.inf
        total = 1 + 3 * torch.rand(len(top), generator=g)
        return top, total * some, torch.randn(len(top), width, generator=g) * some[:, None]

    return part(first), part(second)


_NONE = -float("inf")

merge_rows = Exercise(
    name="merge_rows",
    reference=_both,
    groups={
        "values": lambda g: [
            _parts(g, [0.5, 2.0, -1.0, -2.5, 1.0], [2.0, 1.2, -1.8, 0.3, 1.4], 3),
            _parts(g, [1.5, -0.5], [0.0, 0.7], 7),
        ],
        "large scores": lambda g: [_parts(g, [300.0, -200.0, 95.0], [299.0, -201.5, -95.0], 4)],
        "rows without keys": lambda g: [_parts(g, [_NONE, 1.0, _NONE, 3.0], [0.5, _NONE, _NONE, 2.0], 3)],
    },
    wrong={
        "not a number": (
            _merge(),
            "where neither side has seen a key, you compute -inf - (-inf), and that is NaN. "
            "Put a 0 for the new maximum there before you subtract it.",
        ),
        "no shrinking": (
            _merge(_ones),
            "you add sums and mixes that stand on two scales. Shrink each by e^(its maximum - the new one).",
        ),
        "only the sum": (
            _merge(_shrunk, _ones),
            "you shrink the sums, but not the mixes. Both carry the same factor.",
        ),
        "only the mix": (
            _merge(_ones, _shrunk),
            "you shrink the mixes, but not the sums. Both carry the same factor.",
        ),
        "only b": (
            _merge(_only_b),
            "you shrink b alone. In some rows a has the smaller maximum: each side gets its own factor.",
        ),
        "only a": (
            _merge(_only_a),
            "you shrink a alone. In some rows b has the smaller maximum: each side gets its own factor.",
        ),
        "upside down": (
            _merge(lambda a, b, best: ((best - a).exp(), (best - b).exp())),
            "your factors grow instead of shrink. It is e^(old - new), never more than 1.",
        ),
        "the other's factor": (
            _merge(lambda a, b, best: ((b - best).exp(), (a - best).exp())),
            "you give each side the other's factor. a is shrunk by e^(a's maximum - the new one).",
        ),
        "the smaller maximum": (
            _merge(best=torch.minimum),
            "you bring both to the smaller maximum. Then e^(old - new) overflows: take the larger.",
        ),
        "a's maximum": (
            _merge(best=lambda a, b: a.clone()),
            "you keep a's maximum. In some rows b has the larger one.",
        ),
        "b's maximum": (
            _merge(best=lambda a, b: b.clone()),
            "you keep b's maximum. In some rows a has the larger one.",
        ),
        "the maximum of all rows": (
            _merge(best=lambda a, b: torch.maximum(a, b).max().expand_as(a).clone()),
            "you take one maximum for all rows. Each row has its own, or a quiet row comes out as 0 / 0.",
        ),
        "added maxima": (
            lambda a, b: (a[0] + b[0], *_both(a, b)[1:]),
            "you add the two maxima. The new one is the larger of them.",
        ),
        "joined logs": (
            _merge(best=torch.logaddexp),
            "your first result is the logarithm of both sides' powers. It is the larger of the two maxima.",
        ),
        "no maximum taken off": (
            _merge(lambda a, b, best: (a.exp(), b.exp())),
            "your factors are e^(old maximum), which overflows. It is e^(old - new).",
        ),
        "divided": (_finished, "you divide the mix by the sum already. A third worker may still come."),
        "averaged": (
            _averaged,
            "you average two finished answers. Add the two unfinished mixes, each shrunk by its factor.",
        ),
        "zero for nothing": (
            _zero_maximum,
            "a row that nobody has seen a key for comes back with the maximum 0. It is still -inf, or "
            "the next merge takes the 0 for a score.",
        ),
        "lowest for nothing": (
            lambda a, b: (_both(a, b)[0].nan_to_num(), *_both(a, b)[1:]),
            "your nan_to_num turns the maximum -inf of an empty row into a very low number. Keep -inf there.",
        ),
        "one for all": (
            _other_worker,
            "one empty row, and you return the other side whole. Rows are empty one by one.",
        ),
    },
)

EXERCISES = [merge_rows]
