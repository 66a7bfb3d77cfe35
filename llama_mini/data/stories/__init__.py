"""The story world: an endless corpus whose every probability is known.

Short tales about animals on a farm, written by a grammar with a memory (`grammar`): the facts of a tale
(`world`), the ways to tell it in English and in Chinese, and the other kinds of page that the book needs
(`pages`, `puzzles`). Each page is drawn from a known distribution: its log-probability is exact (`parser`),
and the mean of many is a floor that no model's loss can pass.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Any

from llama_mini.data.stories import chinese as _chinese
from llama_mini.data.stories import chinese_words as _chinese_words
from llama_mini.data.stories import english as _english
from llama_mini.data.stories import english_words as _english_words
from llama_mini.data.stories import pages as _pages
from llama_mini.data.stories import parser
from llama_mini.data.stories import puzzles as _puzzles
from llama_mini.data.stories.english_words import SYNONYMS
from llama_mini.data.stories.grammar import Grammar
from llama_mini.data.stories.world import FACTS

GRAMMARS = {
    "tale": Grammar(FACTS, _english.PHRASES, _english_words.WORDS),
    "saga": _pages.SAGA,
    "questions": _pages.QUESTIONS,
    "function": _puzzles.FUNCTION,
    "fact": _puzzles.FACT,
    "arithmetic": _puzzles.ARITHMETIC,
    "chinese": Grammar(FACTS, _chinese.PHRASES, _chinese_words.WORDS),
}
SHARES = {
    "tale": 0.62,
    "saga": 0.06,
    "questions": 0.06,
    "function": 0.05,
    "fact": 0.08,
    "arithmetic": 0.06,
    "chinese": 0.07,
}
TALES = {"tale": 1.0}


@dataclass(frozen=True)
class Tale:
    """A page: its text, its kind, what is true in it, and the exact log-probability of its text in nats."""

    text: str
    kind: str
    attributes: dict[str, Any]
    logprob: float


class NotATale(ValueError):
    """A text that the story world cannot tell; `position` is where the first wrong word begins."""

    def __init__(self, text: str, position: int, expected: Iterable[str]):
        self.position = position
        before = text[max(0, position - 40) : position]
        read = text[position : position + 20] or "the end"
        super().__init__(
            f"not a tale at character {position}: after {before!r} comes {read!r}; "
            f"the grammar goes on with one of: {', '.join(map(repr, sorted(expected)[:12]))}"
        )


def sample(rng: Random, *, kind: str = "tale", without: frozenset[str] = frozenset()) -> Tale:
    """Draw a page of one kind. `without` withholds words of SYNONYMS; the others share their probability."""
    return _page(kind, *_grammar(kind, without).sample(kind, rng))


def chinese(tale: Tale) -> str:
    """A plain tale told in Chinese: the same facts in other words, always the same ones for the same tale."""
    return GRAMMARS["chinese"].sample("chinese", Random(tale.text), tale.attributes)[0]


def pages(seed: int, kinds: Mapping[str, float] = SHARES) -> Iterator[Tale]:
    """The endless corpus of the base model: pages of all kinds by their shares, the same for the same seed.

    A page's logprob is that of the mixture: ln share + ln p(text | kind).
    """
    rng, shares = Random(seed), _shares(kinds)
    names, bounds = list(shares), [*accumulate(shares.values())][:-1]
    while True:
        kind = names[bisect_right(bounds, rng.random())]
        page = sample(rng, kind=kind)
        yield replace(page, logprob=log(shares[kind]) + page.logprob)


def parse(text: str, kinds: Iterable[str] = SHARES, *, without: frozenset[str] = frozenset()) -> Tale:
    """The page behind a text, with ln p(text | kind); NotATale says where a text goes wrong."""
    found = []
    for kind in kinds:
        if readings := [*parser.readings(_grammar(kind, without), kind, text + parser.END)]:
            best = max(readings, key=lambda reading: reading.logprob)
            nats = parser.total([reading.logprob for reading in readings])
            found.append(_page(kind, text, best.facts, nats))
    if found:
        return max(found, key=lambda tale: tale.logprob)
    position, kind = max((parser.readable(_grammar(kind, without), kind, text), kind) for kind in kinds)
    word = max(m.start() for m in parser.WORD.finditer(text + parser.END) if m.start() <= position)
    raise NotATale(text, word, parser.next_words(_grammar(kind, without), kind, text[:word]))


def logprob(text: str, kinds: Mapping[str, float] = TALES, *, without: frozenset[str] = frozenset()) -> float:
    """ln p(text) in nats, as a plain tale or as a page of a mixture of kinds; -inf if it cannot be told."""
    return parser.total(
        [
            log(share) + state.logprob
            for kind, share in _shares(kinds).items()
            for state in parser.readings(_grammar(kind, without), kind, text + parser.END)
        ]
    )


def next_words(
    prefix: str, kinds: Mapping[str, float] = TALES, *, without: frozenset[str] = frozenset()
) -> dict[str, float]:
    """The exact probabilities of the next word, likeliest first.

    A word has its leading space; the end of the page is an empty word; inside a word, the rest counts.
    Empty if nothing in the world begins with the prefix.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for kind, share in _shares(kinds).items():
        for word, joint in parser.next_words(_grammar(kind, without), kind, prefix).items():
            found[word].append(log(share) + joint)
    nats = {word: parser.total(joints) for word, joints in found.items()}
    norm = parser.total([*nats.values()])
    return {word: exp(nats[word] - norm) for word in sorted(nats, key=lambda word: -nats[word])}


def floor(tales: Iterable[Tale], tokenizer: Any) -> float:
    """Nats per token that no model can beat on these pages: their own -logprob over the tokens to predict.

    Each page is fed as BOS + tokens + EOS, its chat markers as special tokens; the tokens and the EOS are
    predicted.
    """
    nats, tokens = 0.0, 0
    for tale in tales:
        nats -= tale.logprob
        tokens += len(tokenizer.encode(tale.text, special=True)) + 1
    return nats / tokens


def _page(kind: str, text: str, facts: dict[str, Any], nats: float) -> Tale:
    """A page, with the answers to its questions among its attributes."""
    answers = dict(re.findall(r"Question: (.*)\nAnswer: (.*)", text))
    return Tale(text, kind, facts | ({"answers": answers} if answers else {}), nats)


def _shares(kinds: Mapping[str, float]) -> dict[str, float]:
    """The probability of each kind of page."""
    return {kind: share / sum(kinds.values()) for kind, share in kinds.items() if share}


@cache
def _grammar(kind: str, without: frozenset[str] = frozenset()) -> Grammar:
    """The grammar of a kind of page, some words withheld."""
    if kind not in GRAMMARS:
        raise ValueError(f"no kind of page is called {kind!r}; choose one of {', '.join(GRAMMARS)}")
    if unknown := without - {word for words in SYNONYMS.values() for word in words}:
        raise ValueError(f"only words of SYNONYMS can be withheld, not {', '.join(sorted(unknown))}")
    full = GRAMMARS[kind]
    return Grammar(full.facts, full.phrases, full.words, without) if without else full
