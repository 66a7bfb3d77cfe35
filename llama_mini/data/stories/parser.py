"""Reading instead of telling: every way in which a grammar could have said a text, so that p(text) is exact.

The search is depth-first over the same steps that `Grammar.sample` takes at random. A choice that does not
say what the text says next is dropped at once, so a tale costs a few hundred steps.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from math import exp, fsum, inf, log
from typing import Any, NamedTuple

from llama_mini.data.stories.grammar import Facts, Grammar, Slot

END = "\0"  # stands after every text, so that a whole text differs from the beginning of a longer one
WORD = re.compile(r"<\|\w+\|>|[ \n]*[A-Za-z]+|.", re.DOTALL)


class State(NamedTuple):
    """A derivation under way: what is still to say (a linked list), the facts, the log-probability so far."""

    todo: Any
    facts: Facts
    logprob: float


def begin(start: str) -> State:
    """The derivation before its first choice."""
    return State((Slot(start), (END, None)), {}, 0.0)


def choices(grammar: Grammar, state: State, text: str = "", at: int = 0) -> Iterator[State]:
    """The derivation after each choice at the slot that comes next, if its words agree with the text here."""
    slot, rest = state.todo
    name, silent, row = grammar.step(slot, state.facts)
    for value, logprob, parts in zip(row.values, row.logprobs, row.parts, strict=True):
        parts = (slot,) if silent else parts
        first = parts[0] if parts else slot
        if isinstance(first, str) and not first.startswith(text[at : at + len(first)]):
            continue
        todo = rest
        for part in reversed(parts):
            todo = (part, todo)
        yield State(todo, {**state.facts, name: value} if name else state.facts, state.logprob + logprob)


def readings(grammar: Grammar, start: str, text: str) -> Iterator[State]:
    """Every derivation that says the text and perhaps more; what it would say next leads its todo."""
    stack = [(begin(start), 0)]
    while stack:
        state, at = stack.pop()
        while state.todo and at < len(text) and isinstance(state.todo[0], str):
            part, rest = state.todo
            seen = text[at : at + len(part)]
            if not part.startswith(seen):
                break
            at += len(seen)
            state = state._replace(todo=(part[len(seen) :], rest) if len(seen) < len(part) else rest)
        else:
            if at == len(text):
                yield state
            elif state.todo:
                stack += [(after, at) for after in choices(grammar, state, text, at)]


def total(logprobs: list[float]) -> float:
    """The logarithm of a sum of probabilities."""
    top = max(logprobs, default=-inf)
    return top if top == -inf else top + log(fsum(exp(logprob - top) for logprob in logprobs))


def next_words(grammar: Grammar, start: str, prefix: str) -> dict[str, float]:
    """The words that can follow, each with ln P(prefix, then this word); the end of the text is ''."""
    found = defaultdict(list)
    stack = [(state, "") for state in readings(grammar, start, prefix)]
    while stack:
        state, said = stack.pop()
        word = WORD.match(said)
        if word and (word.end() < len(said) or said == END or not (said[-1].isalpha() or said.isspace())):
            found[word[0].replace(END, "")].append(state.logprob)
        elif state.todo and isinstance(state.todo[0], str):
            stack.append((state._replace(todo=state.todo[1]), said + state.todo[0]))
        elif state.todo:
            stack += [(after, said) for after in choices(grammar, state)]
    return {word: total(logprobs) for word, logprobs in found.items()}


def readable(grammar: Grammar, start: str, text: str) -> int:
    """How many characters of the text can be told, by bisection: a prefix of what can be told can be told."""
    good, bad = 0, len(text) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if next(readings(grammar, start, text[:middle]), None):
            good = middle
        else:
            bad = middle
    return good
