"""A ward of broken llamas: ten numbered beds, five small bugs that people really make, each in two beds.

`patient(3, llama)` breaks a copy of a llama, `diagnose(3, "leak")` says whether that is the bug and only then
explains it. Examine the patients before you read on: what is wrong with each is written below.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from llama_mini import model as healthy
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.train import Batch, Loss


@dataclass(frozen=True)
class Patient:
    """A llama and the loss that somebody trains it with. One of the two has a bug."""

    model: healthy.Llama
    loss: Loss


@dataclass(frozen=True)
class Bug:
    """How to break a patient in place, the sign that gives it away, and what was done."""

    hurt: Callable[[Patient], Patient]
    sign: str
    cause: str


def patient(number: int, llama: healthy.Llama) -> Patient:
    """The patient in bed 1 to 10: a copy of the llama, trained or not, with that bed's bug; made to read in
    one go, without a cache."""
    return BUGS[_name(number)].hurt(Patient(deepcopy(llama), next_token_loss))


def diagnose(number: int, name: str) -> str:
    """Whether the patient in bed 1 to 5 has the bug of that name, and why; 6 to 10 are for the exercises."""
    truth = _name(number)
    if name not in BUGS:
        raise ValueError(f"no bug is called {name!r}; there are {', '.join(BUGS)}")
    if number > 5:
        raise ValueError(f"bed {number} is an exercise: your answer there is marked, so nothing is said here")
    if truth != name:
        return f"patient {number}: no. If it were {name!r}: {BUGS[name].sign}"
    return f"patient {number}: yes, {name!r}. {BUGS[name].cause}"


def _attend_with(forward: Callable[..., Tensor]) -> Callable[[Patient], Patient]:
    """The bug that gives every layer's attention this forward."""

    def hurt(patient: Patient) -> Patient:
        for part in patient.model.modules():
            if isinstance(part, healthy.Attention):
                part.forward = MethodType(forward, part)  # type: ignore[method-assign]
        return patient

    return hurt


def _leak(attention: healthy.Attention, x: Tensor, rope: Tensor, *_: Any) -> Tensor:
    visible = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).tril(1)
    return healthy.Attention.forward(attention, x, rope, visible)


def _deaf(attention: healthy.Attention, *inputs: Any) -> Tensor:
    return healthy.Attention.forward(attention, *inputs).detach()


def _lost(attention: healthy.Attention, x: Tensor, rope: Tensor, *rest: Any) -> Tensor:
    rows = torch.arange(x.size(1), device=x.device).clamp(max=23)
    return healthy.Attention.forward(attention, x, rope[:, :, rows], *rest)


def _nan(patient: Patient) -> Patient:
    patient.model.tok_embeddings.weight.data[0] = 0.0  # token 0 fills up short rows
    for part in patient.model.modules():
        if isinstance(part, healthy.RMSNorm):
            part.eps = 0.0
    return patient


def _copying(patient: Patient) -> Patient:
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        return next_token_loss(model, (inputs, inputs.where(targets >= 0, targets)))

    return Patient(patient.model, loss)


BUGS = {
    "leak": Bug(
        _attend_with(_leak),
        "changing a word would change what is guessed before it.",
        "The mask is tril(1), so every word sees the one after it, which is the answer.",
    ),
    "deaf": Bug(
        _attend_with(_deaf),
        "the weights of attention would get no gradient.",
        "The result of attention is detached, so nothing before it learns.",
    ),
    "nan": Bug(
        _nan,
        "short texts would be healthy alone and NaN beside a longer one.",
        "The row of the padding token is zero and the norms have lost their eps: 0 / 0.",
    ),
    "lost": Bug(
        _attend_with(_lost),
        "a text would be read well up to some place and badly from there on.",
        "The table of angles has 24 places, and later words all read its last row.",
    ),
    "copying": Bug(
        _copying,
        "the loss would be lower than clueless before the first step, and the model would learn to repeat.",
        "The targets are the inputs: nobody shifted them by one.",
    ),
}


def _name(number: int) -> str:
    if number not in range(1, 11):
        raise ValueError(f"there is no bed {number}: the ward has 1 to 10")
    return [*Random(9).sample(sorted(BUGS), 5), *Random(42).sample(sorted(BUGS), 5)][number - 1]
