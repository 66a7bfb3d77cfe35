"""Practice of chapter 10: what `check` knows about the mask of a cache."""

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise


def _sight(positions: Tensor, size: int) -> Tensor:
    """positions (B or 1, T) -> which of `size` places each token sees, bool (B or 1, T, S)."""
    return torch.arange(size) <= positions[..., None]


def _strict(positions: Tensor, size: int) -> Tensor:
    return torch.arange(size) < positions[..., None]


def _one_on(positions: Tensor, size: int) -> Tensor:
    return torch.arange(size) <= positions[..., None] + 1


def _future(positions: Tensor, size: int) -> Tensor:
    return torch.arange(size) >= positions[..., None]


def _itself(positions: Tensor, size: int) -> Tensor:
    return torch.arange(size) == positions[..., None]


def _corner(positions: Tensor, size: int) -> Tensor:
    rows, new = positions.shape
    return torch.ones(rows, new, size, dtype=torch.bool).tril()


def _at_the_end(positions: Tensor, size: int) -> Tensor:
    rows, new = positions.shape
    return torch.ones(rows, new, size, dtype=torch.bool).tril(size - new)


def _from_start(positions: Tensor, size: int) -> Tensor:
    new = positions.size(1)
    return _sight(positions[:, :1] + torch.arange(new), size)


def _first_row(positions: Tensor, size: int) -> Tensor:
    return _sight(positions[:1], size).expand(len(positions), -1, -1)


def _one_row(positions: Tensor, size: int) -> Tensor:
    return _sight(positions[:1], size)


def _to_the_last(positions: Tensor, size: int) -> Tensor:
    return _sight(positions.amax(1, keepdim=True).expand_as(positions), size)


def _open(positions: Tensor, size: int) -> Tensor:
    return torch.ones(*positions.shape, size, dtype=torch.bool)


def _hidden(positions: Tensor, size: int) -> Tensor:
    return ~_sight(positions, size)


def _turned(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, size).transpose(1, 2)


def _added(positions: Tensor, size: int) -> Tensor:
    return torch.zeros(*positions.shape, size).masked_fill(~_sight(positions, size), -torch.inf)


def _numbers(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, size).long()


def _floats(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, size).float()


def _rows_lost(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, size).squeeze()


def _with_heads(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, size)[:, None]


def _no_room(positions: Tensor, size: int) -> Tensor:
    return _sight(positions, int(positions.max()) + 1)


def _chunk(start: int, new: int, size: int) -> tuple[Tensor, int]:
    return torch.arange(start, start + new)[None], size


def _ragged(g: Generator, rows: int, new: int, size: int) -> tuple[Tensor, int]:
    """Rows that start at places of their own, no two at the same."""
    starts = 1 + torch.randperm(size - new - 1, generator=g)[:rows]
    return starts[:, None] + torch.arange(new), size


def _gaps(g: Generator, rows: int, new: int, size: int) -> tuple[Tensor, int]:
    """Places in any order, as when several texts share a row."""
    return torch.stack([torch.randperm(size - 1, generator=g)[:new] for _ in range(rows)]), size


places_in_sight = Exercise(
    name="places_in_sight",
    reference=_sight,
    groups={
        "a chunk on a past": lambda g: [_chunk(5, 3, 11), _chunk(7, 4, 13)],
        "one token": lambda g: [_chunk(6, 1, 9), _chunk(0, 1, 4)],
        "rows of their own": lambda g: [_ragged(g, 3, 4, 17), _ragged(g, 4, 1, 9)],
        "any places": lambda g: [_gaps(g, 3, 5, 12)],
    },
    wrong={
        "corner": (
            _corner,
            "your staircase starts at place 0, as is_causal=True does. Token t stands at positions[:, t].",
        ),
        "at the end": (
            _at_the_end,
            "you take the last place of the cache for the last token. Behind it there may be empty room.",
        ),
        "strict": (_strict, "a token does not see itself. Its own place counts too: <=, not <."),
        "one on": (_one_on, "each token sees the place after its own. Sight ends at its own place."),
        "future": (_future, "your tokens see what comes after them, and not what was before."),
        "itself": (_itself, "each token sees its own place only. It sees all places before it too."),
        "to the last": (
            _to_the_last,
            "all new tokens see as far as the last of them. Each sees up to its own place.",
        ),
        "open": (_open, "everything is in sight, empty room and future included."),
        "hidden": (_hidden, "your mask is True where it must be False. True means: may be seen."),
        "from start": (
            _from_start,
            "you count on from the first position of a row. The places need not be in order: read them all.",
        ),
        "first row": (_first_row, "every row gets the mask of row 0. Each row has positions of its own."),
        "one row": (_one_row, "your mask has one row. There must be one for each row of positions."),
        "turned": (_turned, "your axes are (B, S, T). New tokens come first: (B, T, S)."),
        "added": (
            _added,
            "you give 0 and -inf, to be added. Here the mask is bool, True where one may look.",
        ),
        "numbers": (_numbers, "your mask holds whole numbers. It is bool, True where one may look."),
        "floats": (_floats, "your mask holds floats; attention would add them. It is bool."),
        "rows lost": (_rows_lost, "your mask loses its axes of length 1. It is (B, T, S), whatever B and T."),
        "with heads": (_with_heads, "your mask has an axis for heads. It is (B, T, S)."),
        "no room": (_no_room, "your mask ends at the last token. It covers all places of the cache, size."),
    },
)

EXERCISES = [places_in_sight]
