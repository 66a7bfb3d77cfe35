"""Practice of chapter 12: what `check` knows about keeping and replacing guesses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise, Mistake, call

Round = tuple[Tensor, Tensor, Tensor, Tensor]


def _scaled(weights: Tensor) -> Tensor:
    return weights / weights.sum()


def _missing(p: Tensor, q: Tensor, guess: int) -> Tensor:
    return _scaled((p - q).clamp(min=0))


def _judge(
    target: Tensor,
    draft: Tensor,
    guesses: list[int],
    uniforms: Tensor,
    *,
    keep: Callable[[Tensor, Tensor, int, Tensor], Any] = lambda p, q, x, u: u * q[x] < p[x],
    rest: Callable[[Tensor, Tensor, int], Tensor] = _missing,
    after: Callable[[Tensor, Tensor], Tensor] = lambda target, draft: target[-1],
    same: bool = False,
    extra: int = 0,
    late: int = 0,
) -> tuple[int, Tensor]:
    """How many of K guesses are kept, and the distribution (V) of the next token; or one with a fault."""
    for i, guess in enumerate(guesses):
        if not keep(target[i], draft[i], guess, uniforms[0 if same else i]):
            return i + extra, rest(target[i + late], draft[i], guess)
    return len(guesses), after(target, draft)


def _all_counted(target: Tensor, draft: Tensor, guesses: list[int], uniforms: Tensor) -> tuple[int, Tensor]:
    places = torch.arange(len(guesses))
    kept = int((uniforms * draft[places, guesses] < target[places, guesses]).sum())
    return kept, _missing(target[kept], draft[kept], 0) if kept < len(guesses) else target[-1]


def _last_row(target: Tensor, draft: Tensor, guesses: list[int], uniforms: Tensor) -> tuple[int, Tensor]:
    return _judge(target, draft, guesses, uniforms)[0], target[-1]


def _first_row(target: Tensor, draft: Tensor, guesses: list[int], uniforms: Tensor) -> tuple[int, Tensor]:
    kept, rest = _judge(target, draft, guesses, uniforms)
    return kept, rest if kept == len(guesses) else _missing(target[0], draft[0], 0)


def _struck_out(p: Tensor, q: Tensor, guess: int) -> Tensor:
    return _scaled(p.index_fill(0, torch.tensor(guess), 0.0))


def _each_round(answer: Any, *rounds: Tensor) -> dict[str, list[Any]]:
    """The answers to many rounds, one call for each: target (N, K + 1, V), draft, guesses and uniforms."""
    target, draft, guesses, uniforms = rounds
    kept, rests = [], []
    for p, q, xs, us in zip(target, draft, guesses.tolist(), uniforms, strict=True):
        result = call(answer, p, q, xs, us)
        pair = isinstance(result, list | tuple) and len(result) == 2
        if not pair or isinstance(result[0], list | tuple) or not isinstance(result[1], Tensor):
            raise Mistake("your function must return two things: how many are kept, and a distribution (V)")
        kept.append(int(result[0]))
        rests.append(result[1])
    return {"kept": kept, "distribution": rests}


def _rounds(g: Generator, n: int, k: int, v: int, *, apart: float, never: bool = False) -> Round:
    """N rounds of K guesses drawn from drafts that far apart; with `never`, some that the target excludes."""
    opinions = torch.randn(n, k + 1, v, generator=g)
    draft = (opinions + apart * torch.randn(n, k + 1, v, generator=g))[:, :k].softmax(-1)
    guesses = torch.multinomial(draft.flatten(0, 1), 1, generator=g).view(n, k)
    uniforms = torch.rand(n, k, generator=g)
    if never:
        opinions[::2, 1].scatter_(1, guesses[::2, 1:2], -torch.inf)
        uniforms[::2, 1] = 0
    return opinions.softmax(-1), draft, guesses, uniforms


judge_guesses = Exercise(
    name="judge_guesses",
    reference=_judge,
    groups={
        "three guesses": lambda g: [_rounds(g, 60, 3, 7, apart=0.7)],
        "one guess": lambda g: [_rounds(g, 40, 1, 5, apart=1.0)],
        "a poor draft": lambda g: [_rounds(g, 40, 4, 9, apart=3.0)],
        "guesses that never come": lambda g: [_rounds(g, 30, 3, 6, apart=0.5, never=True)],
    },
    trial=_each_round,
    rtol=1e-3,
    wrong={
        "kept at equality": (
            partial(_judge, keep=lambda p, q, x, u: u * q[x] <= p[x]),
            "you keep a guess that the target never makes: u may be 0. Keep where u is less than p / q.",
        ),
        "p alone": (
            partial(_judge, keep=lambda p, q, x, u: u < p[x]),
            "you keep a guess with probability p. It was drawn from q, so divide: keep it with p / q.",
        ),
        "upside down": (
            partial(_judge, keep=lambda p, q, x, u: u * p[x] < q[x]),
            "you keep with q / p. A guess is doubtful where the draft likes it more than the target: p / q.",
        ),
        "turned": (
            partial(_judge, keep=lambda p, q, x, u: u * q[x] > p[x]),
            "you keep what should be refused: keep a guess where u is less than p / q.",
        ),
        "no chance": (
            partial(_judge, keep=lambda p, q, x, u: p[x] >= q[x]),
            "you refuse whenever p is less than q. Such a guess still has a chance: compare u with p / q.",
        ),
        "likeliest": (
            partial(_judge, keep=lambda p, q, x, u: int(p.argmax()) == x),
            "you keep only the target's likeliest token: that is the greedy rule. Compare u with p / q.",
        ),
        "from the target": (
            partial(_judge, rest=lambda p, q, x: p),
            "after a refusal you draw from the target. Draw what is missing: p - q where it is positive.",
        ),
        "not scaled": (
            partial(_judge, rest=lambda p, q, x: (p - q).clamp(min=0)),
            "what is missing does not sum to 1. Divide it by its sum.",
        ),
        "negative": (
            partial(_judge, rest=lambda p, q, x: p - q),
            "your distribution has negative numbers. Set them to 0, then divide by the sum.",
        ),
        "struck out": (
            partial(_judge, rest=_struck_out),
            "you strike out the refused guess and draw from the rest of p. Other words have had their share "
            "too: take q off all of them.",
        ),
        "too much": (
            partial(_judge, rest=lambda p, q, x: _scaled((q - p).clamp(min=0))),
            "you draw where the draft has too much, q - p. What is missing is p - q.",
        ),
        "without signs": (
            partial(_judge, rest=lambda p, q, x: _scaled((p - q).abs())),
            "you take p - q without its sign. Words of which the draft has too much must get 0.",
        ),
        "softmax": (
            partial(_judge, rest=lambda p, q, x: (p - q).clamp(min=0).softmax(-1)),
            "you take a softmax of what is missing, and so every word gets a share. Divide by the sum.",
        ),
        "softmax of all": (
            partial(_judge, rest=lambda p, q, x: (p - q).softmax(-1)),
            "you take a softmax of p - q. Set negative numbers to 0 and divide by the sum.",
        ),
        "from the draft": (
            partial(_judge, rest=lambda p, q, x: q),
            "after a refusal you draw from the draft again. The target has to correct it: (p - q) above 0.",
        ),
        "last opinion": (
            partial(_judge, after=lambda target, draft: target[-2]),
            "with all K guesses kept the next token comes from the target's last row, the one after them.",
        ),
        "missing at the end": (
            partial(_judge, after=lambda target, draft: _missing(target[-1], draft[-1], 0)),
            "with all K kept, nobody guessed the next token: take the target's last row as it is.",
        ),
        "all counted": (
            _all_counted,
            "you count guesses after a refused one. They follow a word that is not there: stop at the first.",
        ),
        "one uniform": (
            partial(_judge, same=True),
            "you judge all guesses with one random number. Each has its own, uniforms[i].",
        ),
        "one too many": (
            partial(_judge, extra=1),
            "you count the refused guess as kept.",
        ),
        "last row": (
            _last_row,
            "after a refusal you take the target's last row. It is about another text: row i counts.",
        ),
        "first row": (
            _first_row,
            "you draw the replacement from what row 0 is missing. Take the row of the refused guess.",
        ),
        "later rows": (
            lambda target, draft, guesses, uniforms: _judge(
                torch.cat([target[1:], target[-1:]]), draft, guesses, uniforms
            ),
            "you judge each guess by the target's next row. Row i is its opinion about guess i.",
        ),
        "row after": (
            partial(_judge, late=1),
            "for a refused guess you take the target's opinion one place later. Row i is about guess i.",
        ),
    },
)

EXERCISES = [judge_guesses]
