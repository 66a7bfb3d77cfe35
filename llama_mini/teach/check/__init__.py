"""`check.equal` and its kin for the text of a chapter, `check.<exercise>(answer)` for its exercises."""

import difflib

from llama_mini.teach.check import (
    attention,
    cache,
    family,
    gqa,
    next_word,
    norm,
    rope,
    sampling,
    speculative,
    swiglu,
    tiles,
    tokenizer,
    whole,
)
from llama_mini.teach.check.exercise import Exercise, Mistake
from llama_mini.teach.check.text import between, close, equal

__all__ = ["Exercise", "Mistake", "between", "close", "equal", "exercises"]


def exercises() -> dict[str, Exercise]:
    """Every practice exercise of the book by name; a chapter adds its module of definitions here."""
    return {
        exercise.name: exercise
        for chapter in (
            attention,
            cache,
            family,
            gqa,
            next_word,
            norm,
            rope,
            sampling,
            speculative,
            swiglu,
            tiles,
            tokenizer,
            whole,
        )
        for exercise in chapter.EXERCISES
    }


def __getattr__(name: str) -> Exercise:
    known = exercises()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean check.{near[0]}?" if near else ""
    raise AttributeError(f"there is no exercise {name!r} among {len(known)}{hint}")
