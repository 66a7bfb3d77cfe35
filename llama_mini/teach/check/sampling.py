"""Practice of chapter 11: what `check` knows about top-p."""

from functools import partial

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise


def _rescaled(probs: Tensor) -> Tensor:
    return probs / probs.sum(-1, keepdim=True)


def _nucleus(probs: Tensor, share: float, *, side: str = "before", extra: int = 0, axis: int = -1) -> Tensor:
    """The likeliest tokens of probs (B, V) up to the share, rescaled; or one with a fault."""
    ordered, order = probs.sort(-1, descending=True)
    ends = ordered.cumsum(axis)
    keep = {"before": ends - ordered < share, "with": ends < share, "either": ends - ordered <= share}[side]
    if extra:
        keep = torch.arange(probs.size(-1)) < keep.sum(-1, keepdim=True) + extra
    return _rescaled(probs * torch.zeros_like(keep).scatter(-1, order, keep))


def _unscaled(probs: Tensor, share: float) -> Tensor:
    return probs * (_nucleus(probs, share) > 0)


def _left_sorted(probs: Tensor, share: float) -> Tensor:
    return _nucleus(probs, share).sort(-1, descending=True).values


def _mask_left_sorted(probs: Tensor, share: float) -> Tensor:
    ordered = probs.sort(-1, descending=True).values
    return _rescaled(probs * (ordered.cumsum(-1) - ordered < share))


def _gathered(probs: Tensor, share: float) -> Tensor:
    ordered, order = probs.sort(-1, descending=True)
    return _rescaled(probs * (ordered.cumsum(-1) - ordered < share).gather(-1, order))


def _never_sorted(probs: Tensor, share: float) -> Tensor:
    return _rescaled(probs * (probs.cumsum(-1) - probs < share))


def _from_below(probs: Tensor, share: float) -> Tensor:
    ordered, order = probs.sort(-1)
    keep = ordered.cumsum(-1) - ordered < share
    return _rescaled(probs * torch.zeros_like(keep).scatter(-1, order, keep))


def _first_count(probs: Tensor, share: float) -> Tensor:
    kept = probs.topk(int((_nucleus(probs, share)[0] > 0).sum()), dim=-1)
    return _rescaled(torch.zeros_like(probs).scatter(-1, kept.indices, kept.values))


def _first_set(probs: Tensor, share: float) -> Tensor:
    return _rescaled(probs * (_nucleus(probs, share)[:1] > 0))


def _one_heap(probs: Tensor, share: float) -> Tensor:
    heap = _nucleus(probs.flatten()[None] / len(probs), share).view_as(probs)
    return _rescaled(probs * (heap > 0))


def _softmax_again(probs: Tensor, share: float) -> Tensor:
    return probs.masked_fill(_nucleus(probs, share) == 0, -torch.inf).softmax(-1)


def _softmax_of_zeros(probs: Tensor, share: float) -> Tensor:
    return _unscaled(probs, share).softmax(-1)


def _random(g: Generator, b: int, v: int, share: float) -> tuple[Tensor, float]:
    """Distributions (B, V) in which no token is very sure, and a share."""
    return torch.randn(b, v, generator=g).softmax(-1), share


def _sure(g: Generator) -> tuple[Tensor, float]:
    """Rows that are sure of one token, and one that is not."""
    logits = torch.randn(4, 9, generator=g)
    sure = torch.randint(9, (3, 1), generator=g)
    logits[:3] = logits[:3].scatter(1, sure, 8.0)
    return logits.softmax(-1), 0.85


def _exact(g: Generator, share: float) -> tuple[Tensor, float]:
    """1/2, 1/4, 1/8, 1/16 and 1/16 in a random order: their sums can meet a share exactly."""
    halves = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625])
    return torch.stack([halves[torch.randperm(5, generator=g)] for _ in range(3)]), share


nucleus = Exercise(
    name="nucleus",
    reference=_nucleus,
    groups={
        "values": lambda g: [_random(g, 5, 23, 0.55), _random(g, 4, 11, 0.8), _random(g, 1, 13, 0.9)],
        "sure of a word": lambda g: [_sure(g)],
        "a share met exactly": lambda g: [_exact(g, 0.75), _exact(g, 0.5), _exact(g, 0.875)],
    },
    wrong={
        "crossing token dropped": (
            partial(_nucleus, side="with"),
            "you drop the token that crosses the line, and at a sure place there is nothing left. "
            "Test what stands before it.",
        ),
        "met exactly": (
            partial(_nucleus, side="either"),
            "where the share is met exactly, you keep one token more. What stands before must be below it.",
        ),
        "one too many": (
            partial(_nucleus, extra=1),
            "you keep one token more than it takes. The one that crosses the line is the last.",
        ),
        "not rescaled": (_unscaled, "your rows do not sum to 1 any more. Divide what is left by its sum."),
        "rescaled as a whole": (
            lambda probs, share: _unscaled(probs, share) / _unscaled(probs, share).sum(),
            "your whole batch sums to 1. Each row must: keepdim=True, and the last axis.",
        ),
        "left sorted": (
            _left_sorted,
            "your probabilities come out sorted: each has lost its token. Put them back in place.",
        ),
        "mask left sorted": (
            _mask_left_sorted,
            "your mask is in the order of the sorted tokens, your probabilities are not. Scatter the mask.",
        ),
        "gathered": (
            _gathered,
            "you gather by the order where you should scatter: that sorts a second time.",
        ),
        "never sorted": (
            _never_sorted,
            "you add up in the order of the vocabulary. Start with the likeliest token: sort first.",
        ),
        "from below": (_from_below, "you keep the unlikeliest tokens. Sort in descending order."),
        "down the batch": (
            partial(_nucleus, axis=0),
            "you add up over the rows of the batch. cumsum belongs to the last axis.",
        ),
        "first row's count": (
            _first_count,
            "every row keeps as many tokens as the first one. Each row has its own number.",
        ),
        "first row's set": (_first_set, "every row keeps the tokens of the first row. Each has its own set."),
        "one heap": (_one_heap, "you sort all rows as one heap. Each row has its own share."),
        "min-p": (
            lambda probs, share: _rescaled(probs * (probs >= share * probs.amax(-1, keepdim=True))),
            "you compare each token with the likeliest one: that is min-p. Top-p adds up.",
        ),
        "each alone": (
            lambda probs, share: _rescaled(probs * (probs >= share)),
            "you ask of each token alone whether it has the share. It is the sum that must reach it.",
        ),
        "tail of that size": (
            lambda probs, share: _nucleus(probs, 1 - share),
            "you keep a share of 1 - share: that is what may be cut away.",
        ),
        "softmax again": (
            _softmax_again,
            "you take a softmax of probabilities. They are none the better for it: divide by their sum.",
        ),
        "softmax of zeros": (
            _softmax_of_zeros,
            "your cut tokens are back: e to 0 is 1. Divide by the sum instead of taking a softmax.",
        ),
    },
)

EXERCISES = [nucleus]
