"""Practice of chapter 02: what `check` knows about the loss of a language model."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from llama_mini.data.text import IGNORE
from llama_mini.teach.check.exercise import Exercise, Mistake

Sum = tuple[Tensor, int]


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """logits (B, T, V), targets (B, T) -> nats (B, T), 0 where the target is IGNORE."""
    logits = logits.float()
    came = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (logits.logsumexp(-1) - came) * (targets != IGNORE)


def _summed(logits: Tensor, targets: Tensor) -> Sum:
    return _nats(logits, targets).sum(), int((targets != IGNORE).sum())


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Sum]:
    """The right sum of other logits."""
    return lambda logits, targets: _summed(change(logits), targets)


def _mean(logits: Tensor, targets: Tensor) -> Sum:
    total, count = _summed(logits, targets)
    return total / count, count


def _of_row_means(logits: Tensor, targets: Tensor) -> Sum:
    rows = _nats(logits, targets).sum(-1) / (targets != IGNORE).sum(-1)
    return rows.mean(), int((targets != IGNORE).sum())


def _ignored_counted(logits: Tensor, targets: Tensor) -> Sum:
    return _nats(logits, targets).sum(), targets.numel()


def _ignored_as_zero(logits: Tensor, targets: Tensor) -> Sum:
    return _nats(logits, targets.clamp(min=0)).sum(), int((targets != IGNORE).sum())


def _ignored_throughout(logits: Tensor, targets: Tensor) -> Sum:
    return _nats(logits, targets.clamp(min=0)).sum(), targets.numel()


def _zero_left_out(logits: Tensor, targets: Tensor) -> Sum:
    kept = targets > 0
    return (_nats(logits, targets) * kept).sum(), int(kept.sum())


def _from_end(logits: Tensor, targets: Tensor) -> Sum:
    """IGNORE taken as an index from the end of the vocabulary."""
    return _nats(logits, targets % logits.size(-1)).sum(), int((targets != IGNORE).sum())


def _bits(logits: Tensor, targets: Tensor) -> Sum:
    total, count = _summed(logits, targets)
    return total / math.log(2), count


def _sign(logits: Tensor, targets: Tensor) -> Sum:
    total, count = _summed(logits, targets)
    return -total, count


def _textbook(logits: Tensor, targets: Tensor) -> Sum:
    powers = logits.float().exp()
    came = powers.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    nats = -(came / powers.sum(-1)).log()
    kept = targets != IGNORE
    return nats[kept].sum(), int(kept.sum())


def _log_of_softmax(logits: Tensor, targets: Tensor) -> Sum:
    came = logits.float().softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    kept = targets != IGNORE
    return -came[kept].log().sum(), int(kept.sum())


def _clamped(logits: Tensor, targets: Tensor) -> Sum:
    came = logits.float().softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    kept = targets != IGNORE
    return -came[kept].clamp(min=1e-9).log().sum(), int(kept.sum())


def _shifted(logits: Tensor, targets: Tensor) -> Sum:
    return _summed(logits[:, :-1], targets[:, 1:])


def _over_places(logits: Tensor, targets: Tensor) -> Sum:
    logprobs = logits.float().log_softmax(1)
    came = logprobs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(came * (targets != IGNORE)).sum(), int((targets != IGNORE).sum())


def _only_the_logit(logits: Tensor, targets: Tensor) -> Sum:
    came = logits.float().gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(came * (targets != IGNORE)).sum(), int((targets != IGNORE).sum())


def _low_throughout(logits: Tensor, targets: Tensor) -> Sum:
    logprobs = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(logprobs * (targets != IGNORE)).sum().float(), int((targets != IGNORE).sum())


def _two(answer: Any, logits: Tensor, targets: Tensor) -> list[float]:
    """The answer's sum and count as plain numbers."""
    result = answer(logits, targets)
    if not isinstance(result, list | tuple) or len(result) != 2:
        raise Mistake("your function does not return two things, the sum of the nats and the count")
    if any(isinstance(part, Tensor) and part.numel() != 1 for part in result):
        raise Mistake("your sum or your count is not a single number: add up over rows and places")
    return [float(part) for part in result]


def _case(
    g: Generator,
    *shape: int,
    ignored: bool = True,
    scale: float = 3.0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Logits (B, T, V) and targets (B, T), token 0 among them; rows end, unevenly, in places to ignore."""
    logits = (scale * torch.randn(shape, generator=g) + 1).to(dtype)
    targets = torch.randint(1, shape[-1], shape[:-1], generator=g)
    targets[:, 0] = 0
    if ignored:
        for row, length in enumerate(range(2, 2 + shape[0])):
            targets[row, min(length, shape[1] - 1) :] = IGNORE
    return logits, targets


summed_nats = Exercise(
    name="summed_nats",
    reference=_summed,
    trial=_two,
    groups={
        "uneven rows": lambda g: [_case(g, 3, 6, 7), _case(g, 2, 7, 130)],
        "full rows": lambda g: [_case(g, 3, 5, 7, ignored=False), _case(g, 1, 4, 11, ignored=False)],
        "huge logits": lambda g: [_case(g, 3, 5, 7, scale=500.0)],
        "low precision": lambda g: [_case(g, 8, 60, 40, ignored=False, dtype=torch.bfloat16)],
    },
    wrong={
        "mean": (_mean, "you divide by the count. Return the sum; the caller divides, once."),
        "mean of means": (
            _of_row_means,
            "you average the rows' averages. Rows have different counts: add up nats, and count tokens.",
        ),
        "count of all": (
            _ignored_counted,
            "your sum is right, but your count has the places to ignore in it. Count targets != -100.",
        ),
        "ignored as token 0": (
            _ignored_as_zero,
            "places to ignore add to your sum, as if token 0 had come there. They add nothing.",
        ),
        "nothing ignored": (
            _ignored_throughout,
            "you score every place. A target of -100 is no token: it adds nothing to the sum or the count.",
        ),
        "token 0 left out": (
            _zero_left_out,
            "you leave out token 0 too. It is a token like any other; only -100 is to be ignored.",
        ),
        "from the end": (
            _from_end,
            "you use the target -100 as an index, and it counts from the end. Leave those places out.",
        ),
        "bits": (_bits, "your sum is in bits. A nat is -ln, with the natural logarithm."),
        "sign": (
            _sign,
            "your sum has the wrong sign. Surprise is MINUS the logarithm: it is never negative.",
        ),
        "textbook": (
            _textbook,
            "e to a large logit is infinite in float32. Subtract the largest first, or use logsumexp.",
        ),
        "log of the softmax": (
            _log_of_softmax,
            "the softmax rounds small probabilities to 0, and their logarithm is infinite. Use log_softmax.",
        ),
        "clamped": (
            _clamped,
            "you keep probabilities above 0 by force and cut large surprises off. Use log_softmax.",
        ),
        "shifted": (
            _shifted,
            "you shift the targets once more. They are one token later already: place t belongs to place t.",
        ),
        "over places": (
            _over_places,
            "your softmax runs over the places. It is over the vocabulary, the last axis.",
        ),
        "softmax twice": (
            _changed(lambda logits: logits.float().softmax(-1)),
            "you take the softmax twice: log_softmax, logsumexp and cross_entropy want the logits.",
        ),
        "taken for probabilities": (
            _only_the_logit,
            "you add up the logits themselves. Each place also needs ln of the sum of e to all its logits.",
        ),
        "low throughout": (
            _low_throughout,
            "you compute or add up in the dtype of the logits. bfloat16 keeps three digits: .float() first.",
        ),
    },
)

EXERCISES = (summed_nats,)
