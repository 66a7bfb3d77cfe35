"""Practice of chapter 03: what `check` knows about learning merges."""

import random
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from torch import Generator, randint

from llama_mini.teach.check.exercise import Exercise
from llama_mini.tokenizer.bpe import learn

Words = Mapping[str, int]
Merge = Callable[[list[bytes], bytes], list[bytes]]
Learn = Callable[[Words, int], list[Any]]


def _first_of_commonest(pairs: Counter[bytes]) -> bytes:
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


def _merge(pieces: list[bytes], token: bytes) -> list[bytes]:
    joined: list[bytes] = []
    for piece in pieces:
        if joined and joined[-1] + piece == token:
            joined[-1] = token
        else:
            joined.append(piece)
    return joined


def _merge_first(pieces: list[bytes], token: bytes) -> list[bytes]:
    for i, (a, b) in enumerate(pairwise(pieces)):
        if a + b == token:
            return [*pieces[:i], token, *pieces[i + 2 :]]
    return pieces


def _merge_from_right(pieces: list[bytes], token: bytes) -> list[bytes]:
    backwards = _merge([piece[::-1] for piece in pieces[::-1]], token[::-1])
    return [piece[::-1] for piece in backwards[::-1]]


def _merge_overlapping(pieces: list[bytes], token: bytes) -> list[bytes]:
    joined, used = [], False
    for i, piece in enumerate(pieces):
        here = i + 1 < len(pieces) and piece + pieces[i + 1] == token
        joined += [token] if here else [] if used else [piece]
        used = here
    return joined


def _keep(pieces: list[bytes], token: bytes) -> list[bytes]:
    return pieces


def _merge_as_text(pieces: list[bytes], token: bytes, pair: tuple[bytes, bytes]) -> list[bytes]:
    return b"\xff".join(pieces).replace(b"\xff".join(pair), token).split(b"\xff")


def _bytes(word: str) -> list[bytes]:
    return [bytes([byte]) for byte in word.encode()]


def _training(
    best: Callable[[Counter[bytes]], bytes] = _first_of_commonest,
    merge: Merge = _merge,
    start: Callable[[str], list[bytes]] = _bytes,
    weight: Callable[[int], int] = lambda number: number,
    pairs_of: Callable[[list[bytes]], Iterable[tuple[bytes, bytes]]] = pairwise,
    enough: int = 1,
) -> Learn:
    """A trainer that begins with start(word), counts each word weight(number) times, and joins the best."""

    def train(words: Words, merges: int) -> list[bytes]:
        splits = {word: start(word) for word in words}
        learned: list[bytes] = []
        for _ in range(merges):
            pairs: Counter[bytes] = Counter()
            for word, split in splits.items():
                for a, b in pairs_of(split):
                    pairs[a + b] += weight(words[word])
            if max(pairs.values()) < enough:
                break
            learned.append(best(pairs))
            splits = {word: merge(split, learned[-1]) for word, split in splits.items()}
        return learned

    return train


def _in_pairs(words: Words, merges: int, *, by_ids: bool = False, as_text: bool = False) -> list[bytes]:
    """Training on pairs of tokens; ties by their ids, or joined as text, in which ends of tokens are lost."""
    splits = {word: _bytes(word) for word in words}
    vocab = [bytes([byte]) for byte in range(256)]
    for _ in range(merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, split in splits.items():
            for pair in pairwise(split):
                pairs[pair] += words[word]

        def order(pair: tuple[bytes, bytes], pairs: Counter[tuple[bytes, bytes]] = pairs) -> tuple[Any, ...]:
            return -pairs[pair], *(map(vocab.index, pair) if by_ids else [b"".join(pair)])

        best = min(pairs, key=order)
        vocab.append(b"".join(best))
        for word, split in splits.items():
            splits[word] = _merge_as_text(split, vocab[-1], best) if as_text else _merge(split, vocab[-1])
    return vocab[256:]


def _across(words: Words, merges: int) -> list[bytes]:
    return _training()({"".join(word * number for word, number in words.items()): 1}, merges)


def _right(words: Words, merges: int) -> list[bytes]:
    return learn(words, 256 + merges)[256:]


def _words(g: Generator, letters: str, number: int, longest: int) -> dict[str, int]:
    """Different words of these letters, up to so long, each with how often it occurs."""
    rng = random.Random(int(randint(1 << 30, (1,), generator=g)))
    made = ("".join(rng.choices(letters, k=rng.randint(2, longest))) for _ in range(number))
    return {word: rng.randint(1, 9) for word in made}


bpe_learn = Exercise(
    name="bpe_learn",
    reference=_right,
    groups={
        "one merge": lambda g: [
            ({"deaab": 4, "acc": 4, "bec": 2}, 1),  # every rule for ties chooses another pair
            (
                {"ca": 4, "dac": 4, "aed": 3, "ebb": 3, "eddde": 4, "ae": 3, "cdaad": 2},
                1,
            ),  # every way to count
            (_words(g, "abcde", 20, 6), 1),
        ],
        "ties": lambda g: [
            (dict.fromkeys(_words(g, string.ascii_lowercase, 60, 6), 1), 25),
            ({"mississippi": 1}, 3),
        ],
        "letters that repeat": lambda g: [({"caaab": 3, "xab": 1}, 2), (_words(g, "aab", 12, 12), 10)],
        "many merges": lambda g: [(_words(g, " abcdefgh", 60, 9), 30), (_words(g, "abcd", 40, 8), 25)],
        "any script": lambda g: [(_words(g, "éïabcd狐狸🐐", 60, 7), 25)],
    },
    wrong={
        "ties as met": (
            _training(best=lambda pairs: max(pairs, key=pairs.__getitem__)),
            "of equally frequent pairs you take the one met first. Take the first in byte order.",
        ),
        "ties backwards": (
            _training(best=lambda pairs: max(pairs, key=lambda pair: (pairs[pair], pair))),
            "of equally frequent pairs you take the last in byte order: max does. Take the first.",
        ),
        "no numbers": (
            _training(weight=lambda number: 1),
            "you count each word once. A pair counts as often as its word occurs: += words[word].",
        ),
        "never joined": (
            _training(merge=_keep),
            "you count pairs of single bytes at every step. After a merge, split the words anew.",
        ),
        "first place only": (
            _training(merge=_merge_first),
            "you join only the first place in a word. Join the pair wherever it stands.",
        ),
        "from the right": (
            _training(merge=_merge_from_right),
            "you join from right to left. In aaa the first two letters join, not the last two.",
        ),
        "overlapping": (
            _training(merge=_merge_overlapping),
            "in aaa you join both pairs aa and use the middle letter twice. A joined letter is used up.",
        ),
        "characters": (
            _training(start=lambda word: [character.encode() for character in word]),
            "you begin with characters. Begin with bytes: word.encode() gives them.",
        ),
        "ascii": (
            _training(start=lambda word: _bytes(word.encode("ascii", "ignore").decode())),
            "you leave out what is not ASCII. Every character has bytes in UTF-8.",
        ),
        "across words": (
            _across,
            "you join across the end of a word. Words are separate: no pair reaches from one into the next.",
        ),
        "ties by ids": (
            lambda words, merges: _in_pairs(words, merges, by_ids=True),
            "of equally frequent pairs you take that of the lowest ids. Take the first in byte order.",
        ),
        "joined as text": (
            lambda words, merges: _in_pairs(words, merges, as_text=True),
            "you join a + b as text, and so in xa + b too. Compare whole tokens: a is none there.",
        ),
        "once a word": (
            _training(pairs_of=lambda split: set(pairwise(split))),
            "a pair that stands twice in a word counts twice: in abab, ab does.",
        ),
        "stops at one": (
            _training(enough=2),
            "you stop when every pair occurs once. The tie rule chooses among those too.",
        ),
        "as pairs": (
            lambda words, merges: [(token[:1], token[1:]) for token in _right(words, merges)],
            "your tokens are pairs. Join the two: a token is one bytes string.",
        ),
        "bytes too": (
            lambda words, merges: learn(words, 256 + merges),
            "your list begins with the 256 bytes. Return the learned tokens only.",
        ),
        "strings": (
            lambda words, merges: [token.decode("latin-1") for token in _right(words, merges)],
            "your tokens are strings. A token is bytes, for it may be half a character.",
        ),
        "one too few": (
            lambda words, merges: _right(words, merges)[:-1],
            "one merge is missing. Return as many tokens as merges are asked for.",
        ),
        "rarest": (
            _training(best=lambda pairs: min(pairs, key=lambda pair: (pairs[pair], pair))),
            "you join the rarest pair. Join the commonest.",
        ),
    },
)

EXERCISES = [bpe_learn]
