"""Predict-exercises: the marks are for saying a number before the cell shows it, not for being right."""

import math
from itertools import cycle
from typing import Any

from llama_mini.teach.check.exercise import Exercise, Inputs, Mistake


def guesses(name: str, **ranges: tuple[float, float]) -> Exercise:
    """The exercise whose answer is a dict of guesses, with a share of the marks for each possible number.

    ranges: for each guess the lowest and the highest number that makes sense, both included.
    """
    first = next(iter(ranges))
    low = {guess: lowest for guess, (lowest, _) in ranges.items()}

    def impossible(guess: str) -> str:
        lowest, highest = ranges[guess]
        return f'"{guess}" is no number from {lowest:,} to {highest:,}'

    def made(answer: Any, guess: str) -> bool:
        if not isinstance(answer, dict) or guess not in answer:
            raise Mistake(f'there is no guess for "{guess}"')
        if answer[guess] is None:
            raise Mistake("nothing is written yet")
        lowest, highest = ranges[guess]
        if not lowest <= number(answer[guess]) <= highest:
            raise Mistake(impossible(guess))
        return True

    return Exercise(
        name=name,
        reference=low,
        groups={guess: only(guess) for guess in ranges},
        trial=made,
        wrong={
            "none made": ({}, f'there is no guess for "{first}"'),
            "left open": (dict.fromkeys(ranges), "nothing is written yet"),
            **{
                f"no {guess}": (low | {guess: bad}, impossible(guess))
                for guess, bad in zip(ranges, cycle(["many", math.nan, True, -math.inf]))
            },
        },
    )


def only(guess: str) -> Inputs:
    """The inputs of one guess: its name, whatever the seed."""
    return lambda generator: [(guess,)]


def number(guess: Any) -> float:
    """A guess as a number, NaN if it is none."""
    try:
        return math.nan if isinstance(guess, bool) else float(guess)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan
