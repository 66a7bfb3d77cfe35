"""An exercise: the right answer, the inputs it is tried on, and the mistakes people make, with their words.

One definition serves the student (`exercise(answer)`), the grader (`exercise.run(...)`) and the tests.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.teach.check.compare import CheckFailed, difference, show

Inputs = Callable[[torch.Generator], Sequence[tuple[Any, ...]]]

_TEACH = str(Path(__file__).parents[1])


class Mistake(Exception):
    """The answer did something that is wrong whatever the input; the text says what."""


def call(answer: Any, *args: Any) -> Any:
    """The plain way to try an answer: call it."""
    if not callable(answer):
        raise Mistake(f"your answer is {show(answer)}, expected a function")
    return answer(*args)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What `check.<name>(answer)` needs to know.

    groups: for each ✓ the inputs it stands for, a function from a seeded torch.Generator to argument tuples,
    so that the grader can draw others. wrong: known wrong answers, {name: (function, the words that name the
    mistake)}. trial: how one case is tried, `trial(answer, *args)`, where a plain call is not enough: for an
    answer that is a value and not a function, or a property to measure. The reference goes through it too.
    """

    name: str
    reference: Any
    groups: dict[str, Inputs]
    wrong: dict[str, tuple[Any, str]] = field(default_factory=dict)
    trial: Callable[..., Any] = call
    rtol: float = 1e-4
    atol: float = 1e-5

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError(f"exercise {self.name}: 0 groups of inputs; name at least 1")

    def __call__(self, answer: Any) -> None:
        """Try an answer: print one ✓ per group, or raise AssertionError that names the first mistake."""
        line = self.name
        for group, words in self.run(guarded(answer), seed=0):
            if words is not None:
                if line != self.name:
                    print(line)
                raise CheckFailed(f"{self.name}: {words}")
            line += f"  ✓ {group}"
        print(line)

    def run(self, answer: Any, seed: int) -> Iterator[tuple[str, str | None]]:
        """In order, (group, None) for each group that passes, (group, what is wrong) for each other."""
        for group, inputs in self.groups.items():
            cases = inputs(torch.Generator().manual_seed(seed))
            if not cases:
                raise ValueError(f"exercise {self.name}: group {group!r} has 0 cases; give at least 1")
            yield group, self._judge(answer, cases)

    def _judge(self, answer: Any, cases: Iterable[tuple[Any, ...]]) -> str | None:
        """Where the answer first differs from the reference on these cases, named if the mistake is known."""
        tried: list[tuple[tuple[Any, ...], Any]] = []
        for args in cases:
            expected = self.trial(self.reference, *deepcopy(args))
            try:
                result = self.trial(answer, *deepcopy(args))
            except Mistake as mistake:
                return str(mistake)
            except Exception as error:  # raised by the trial, which the reference passed
                return f"your result cannot be used: {type(error).__name__}: {str(error)[:300]}"
            tried.append((args, result))
            if words := self._difference(result, expected):
                return self._known(tried) or f"your result {words}"
        return None

    def _known(self, tried: list[tuple[tuple[Any, ...], Any]]) -> str | None:
        """The words of the first known wrong answer that gives what was given on every case tried so far."""
        for answer, words in self.wrong.values():
            careful = guarded(answer)
            try:
                wrong = [self.trial(careful, *deepcopy(args)) for args, _ in tried]
            except Exception:  # it cannot take these inputs, so it is not what was given
                continue
            if not any(self._difference(given, w) for (_, given), w in zip(tried, wrong, strict=True)):
                return words
        return None

    def _difference(self, result: Any, expected: Any) -> str | None:
        return difference(result, expected, rtol=self.rtol, atol=self.atol)


def guarded(answer: Any) -> Any:
    """The answer; if it is a function, with its own errors and its traces on its inputs put into words."""
    if not callable(answer):
        return answer

    def careful(*args: Any) -> Any:
        before = deepcopy(args)
        try:
            result = answer(*args)
        except NotImplementedError:
            raise Mistake("nothing is written yet") from None
        except (Exception, SystemExit) as error:
            raise Mistake(f"your code raised {described(error)}") from error
        if _changed(args, before):
            raise Mistake("your code changes its input in place; leave the input as it came")
        return result

    return careful


def described(error: BaseException) -> str:
    """An error in one line: its type, its text, and the line of the student's own that met it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_TEACH)]
    own = [f for f in frames if f.filename == frames[0].filename and f.line]
    where = f", in the line `{own[-1].line}`" if own else ""
    return f"{type(error).__name__}: {str(error)[:300] or 'no message'}{where}"


def _changed(now: Any, before: Any) -> bool:
    if isinstance(now, Tensor):
        same = now.shape == before.shape and torch.allclose(now, before, rtol=0, atol=0, equal_nan=True)
        return not same
    if isinstance(now, list | tuple):
        return len(now) != len(before) or any(map(_changed, now, before))
    if isinstance(now, dict):
        return now.keys() != before.keys() or any(_changed(now[key], before[key]) for key in now)
    return isinstance(now, int | float | str) and now == now and now != before  # a NaN is not itself
