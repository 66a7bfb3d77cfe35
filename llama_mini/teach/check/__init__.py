"""`check.equal` and its kin for the text of a chapter, `check.<exercise>(answer)` for its exercises."""

import difflib
from importlib import import_module

from llama_mini.teach.check.exercise import Exercise, Mistake
from llama_mini.teach.check.guesses import guesses
from llama_mini.teach.check.text import between, close, equal

__all__ = ["Exercise", "Mistake", "between", "close", "equal", "exercises", "guesses"]


CHAPTERS = (
    "family", "next_word", "tokenizer", "norm", "attention", "rope", "swiglu", "gqa", "whole", "cache",
    "sampling", "speculative", "tiles", "weights", "cleaning", "mixing", "pretraining", "scaling", "parallel",
)  # fmt: skip


def exercises() -> dict[str, Exercise]:
    """Every practice exercise of the book by name; a chapter adds its module of definitions to CHAPTERS."""
    modules = [import_module(f"{__name__}.{chapter}") for chapter in CHAPTERS]
    return {exercise.name: exercise for module in modules for exercise in module.EXERCISES}


def __getattr__(name: str) -> Exercise:
    known = exercises()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean check.{near[0]}?" if near else ""
    raise AttributeError(f"there is no exercise {name!r} among {len(known)}{hint}")
