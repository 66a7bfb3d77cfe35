"""A grammar with a memory: the engine under the story world.

A text is told by expanding slots, `{hero}` in a template. A slot is either a *fact*, which is chosen once
and then remembered (the goat stays a goat to the last sentence), or a *phrase*, which is chosen afresh each
time (a synonym, a way to begin). Options may depend on facts; a fact that is needed before it was spoken of
is chosen on the spot, in silence. So the facts form a Bayesian network, whatever order a language tells
them in. A slot with a capital, `{Hero}`, starts a sentence.

Every choice is finite and its probability is known, which makes three things exact: drawing a text, the
probability of a text (the sum over all ways to derive it), and the probability of the next word (the last two
are in `parser`).
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import fsum, log
from random import Random
from typing import Any, NamedTuple

Facts = dict[str, Any]
Options = Sequence[Any] | Mapping[Any, float]  # equally likely, or with weights


class Slot(NamedTuple):
    """A place in a template that an option of the rule `name` fills."""

    name: str
    capital: bool = False


Parts = tuple[str | Slot, ...]


class Rule:
    """The options of a slot. Given keys, `rows` is a table by their values, or a function of them."""

    def __init__(self, rows: Any, *keys: str):
        self.rows, self.keys = rows, keys

    def options(self, facts: Facts) -> Options:
        """The options where the facts are these."""
        values = tuple(facts[key] for key in self.keys)
        if callable(self.rows):
            return self.rows(*values)
        return self.rows if not values else self.rows[values[0] if len(values) == 1 else values]


class Row:
    """The options of one rule under one set of facts, ready to draw from."""

    def __init__(self, weights: Mapping[Any, float], say: Callable[[Any], Parts]):
        total = fsum(weights.values())
        self.values = list(weights)
        self.logprobs = [log(weight / total) for weight in weights.values()]
        self.bounds = [*accumulate(weight / total for weight in weights.values())][:-1]  # the last one is 1
        self.parts = [say(value) for value in weights]


@cache
def split(template: str, capital: bool = False) -> Parts:
    """'{Hero} ran.' -> (Slot('hero', capital), ' ran.')."""
    pieces = re.split(r"\{(\w+)\}", template)
    parts = [Slot(p[0].lower() + p[1:], p[0].isupper()) if i % 2 else p for i, p in enumerate(pieces)]
    parts = [part for part in parts if part]
    if capital and parts:
        first = parts[0]
        parts[0] = Slot(first.name, True) if isinstance(first, Slot) else first[0].upper() + first[1:]
    return tuple(parts)


class Grammar:
    """Facts, phrases, and the words of a language for the facts' values (by default a value is its own word).

    `without` names words that no phrase may choose; the others share their probability.
    """

    def __init__(
        self,
        facts: Mapping[str, Rule],
        phrases: Mapping[str, Rule],
        words: Mapping[Any, str] | None = None,
        without: frozenset[str] = frozenset(),
    ):
        self.facts, self.phrases, self.words, self.without = facts, phrases, words or {}, without
        self.rows: dict[tuple, Row] = {}

    def step(self, slot: Slot, facts: Facts) -> tuple[str | None, bool, Row]:
        """What is chosen now: the fact it binds (or None), whether that is in silence, and the options."""
        name, silent = slot.name, False
        if name in facts:
            return None, False, self.row(slot, facts, again=True)
        while missing := next((key for key in self.rule(name).keys if key not in facts), None):
            name, silent = missing, True
        return (name if name in self.facts else None), silent, self.row(Slot(name, slot.capital), facts)

    def rule(self, name: str) -> Rule:
        """The rule of a fact or phrase."""
        rule = self.facts.get(name) or self.phrases.get(name)
        if rule is None:
            raise ValueError(
                f"a template speaks of {{{name}}}, but there is no fact or phrase {name!r}; add its rule"
            )
        return rule

    def row(self, slot: Slot, facts: Facts, again: bool = False) -> Row:
        """The options at a slot; of a fact already chosen, the one that says it again."""
        rule = self.rule(slot.name)
        key = (slot, again, facts[slot.name]) if again else (slot, again, *[facts[k] for k in rule.keys])
        if key not in self.rows:
            options = [facts[slot.name]] if again else rule.options(facts)
            weights = options if isinstance(options, Mapping) else dict.fromkeys(options, 1.0)
            if slot.name in self.phrases:
                weights = {value: weight for value, weight in weights.items() if value not in self.without}
            if not weights:
                raise ValueError(
                    f"nothing is left to say for {slot.name!r} without {len(self.without)} words; keep one"
                )
            self.rows[key] = Row(
                weights, lambda value: split(str(self.words.get(value, value)), slot.capital)
            )
        return self.rows[key]

    def sample(self, start: str, rng: Random, facts: Facts | None = None) -> tuple[str, Facts, float]:
        """Draw a text, its facts and the log-probability of the choices. Given facts are not drawn."""
        facts, said, logprob = dict(facts or {}), [], 0.0
        todo: list[str | Slot] = [Slot(start)]
        while todo:
            part = todo.pop()
            if isinstance(part, str):
                said.append(part)
                continue
            name, silent, row = self.step(part, facts)
            i = bisect_right(row.bounds, rng.random()) if row.bounds else 0
            logprob += row.logprobs[i]
            if name:
                facts[name] = row.values[i]
            todo.extend((part,) if silent else reversed(row.parts[i]))
        return "".join(said), facts, logprob
