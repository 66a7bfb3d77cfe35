"""Practice of chapter 17: what `check` knows about one step of AdamW."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise

Betas = tuple[float, float]
State = tuple[Tensor, Tensor, Tensor]
Rule = Callable[[Tensor, Tensor, Tensor, Tensor, int, float, Betas, float, float], State]


def _adamw(
    *,
    hats: bool = True,
    later: int = 0,
    inside: bool = False,
    root: bool = True,
    eps_in_root: bool = False,
    decay_times: str = "lr",
    after: bool = False,
    swapped: bool = False,
    first: float = 1.0,
    second: float = 1.0,
    squares: Callable[[Tensor], Tensor] = torch.square,
    fixed: bool = False,
    old: bool = False,
    sign: int = 1,
    only_first_hat: bool = False,
) -> Rule:
    """One step of AdamW, right by default, or with a mistake."""

    def step(
        w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: Betas, decay: float, eps: float
    ) -> State:
        b1, b2 = betas[::-1] if swapped else betas
        if inside:
            g = g + decay * w
        new_m = b1 * m + first * (1 - b1) * g
        new_v = b2 * v + second * (1 - b2) * squares(g)
        up, below = (m, v) if old else (new_m, new_v)
        if hats:
            power = 1 if fixed else t + later
            up = up / (1 - b1**power)
            below = below if only_first_hat else below / (1 - b2**power)
        size = (below + eps).sqrt() if eps_in_root else (below.sqrt() if root else below) + eps
        move = sign * lr * up / size
        rate = {"lr": lr * decay, "1": decay, "none": 0.0}["none" if inside else decay_times]
        return ((w - move) * (1 - rate) if after else w * (1 - rate) - move), new_m, new_v

    return step


def _only_weights(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: Betas, decay: float, eps: float
) -> Tensor:
    return _adamw()(w, g, m, v, t, lr, betas, decay, eps)[0]


def _hats_kept(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: Betas, decay: float, eps: float
) -> State:
    w, m, v = _adamw()(w, g, m, v, t, lr, betas, decay, eps)
    return w, m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def _case(
    g: Generator,
    t: int,
    *,
    size: float = 1.0,
    decay: float = 0.1,
    eps: float = 1e-8,
    betas: Betas = (0.9, 0.95),
    lr: float = 0.03,
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, float, Betas, float, float]:
    """Weights (3, 5), a gradient, and the means that earlier gradients of its size have left."""
    w, gradient, before = torch.randn(3, 3, 5, generator=g)
    started = t > 1
    m = (before * 0.3 + gradient * 0.1) * size * started
    v = (before**2 + 0.2) * size**2 * (1 - betas[1] ** (t - 1)) * started
    return 2 * w, gradient * size, m, v, t, lr, betas, decay, eps


adamw_step = Exercise(
    name="adamw_step",
    reference=_adamw(),
    groups={
        "first step": lambda g: [_case(g, 1, decay=0.0), _case(g, 1, decay=0.0, betas=(0.8, 0.999))],
        "later steps": lambda g: [_case(g, 2, decay=0.0), _case(g, 7, decay=0.0), _case(g, 300, decay=0.0)],
        "decay": lambda g: [_case(g, 4, decay=0.1, lr=0.1), _case(g, 9, size=30.0, decay=0.5, lr=0.2)],
        "small gradients": lambda g: [_case(g, 5, size=1e-3, eps=1e-3, decay=0.0)],
    },
    rtol=1e-4,
    atol=1e-6,
    wrong={
        "no hats": (
            _adamw(hats=False),
            "you leave out the hats. m and v began at 0: divide them by 1 - beta ** t.",
        ),
        "one hat": (
            _adamw(only_first_hat=True),
            "your m has its hat and your v has none. Divide v by 1 - beta2 ** t, too.",
        ),
        "late": (_adamw(later=1), "your hats count one step too many. The first step is t = 1."),
        "swapped": (_adamw(swapped=True), "you swap the betas. The first is m's, the second v's."),
        "no root": (_adamw(root=False), "you divide by v. Take its root: v holds squares."),
        "absolute": (_adamw(squares=torch.abs), "your v averages |g|. It averages g squared."),
        "not squared": (_adamw(squares=torch.clone), "your v averages g. It averages g squared."),
        "hats of t = 1": (
            _adamw(fixed=True),
            "your hats are the same at every step. They shrink with t: 1 - beta ** t.",
        ),
        "both not averaged": (
            _adamw(first=10.0, second=20.0),
            "your m and v are not means: what is new counts 1 - beta, and not 1.",
        ),
        "v not averaged": (
            _adamw(second=20.0),
            "your v is not a mean: the new square counts 1 - beta2, not 20 times that.",
        ),
        "not averaged": (
            _adamw(first=10.0),
            "your m is not a mean: the new gradient counts 1 - beta1, not 10 times that.",
        ),
        "uphill": (_adamw(sign=-1), "you climb. The weights move against the gradient."),
        "old means": (
            _adamw(old=True),
            "you move by the means of the last step. First m and v, then the weights.",
        ),
        "eps in the root": (
            _adamw(eps_in_root=True),
            "your eps is inside the root. Adam adds it to the root: sqrt(v) + eps.",
        ),
        "inside": (
            _adamw(inside=True),
            "your decay goes through m and v: Adam with an L2 term. AdamW shrinks the weights beside it.",
        ),
        "decay without the rate": (
            _adamw(decay_times="1"),
            "you shrink the weights by decay. It is lr * decay: the decay follows the schedule.",
        ),
        "no decay": (_adamw(decay_times="none"), "your weights do not decay."),
        "after": (
            _adamw(after=True),
            "you shrink the weights after the move. The share is taken of the weights as they came.",
        ),
        "only the weights": (
            _only_weights,
            "you return the weights alone. The next step needs m and v: (w, m, v).",
        ),
        "hats kept": (
            _hats_kept,
            "you return m and v with their hats on. The next step needs them bare.",
        ),
    },
)

EXERCISES = [adamw_step]
