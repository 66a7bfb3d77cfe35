"""The same text twice: found exactly by a hash, or nearly by MinHash and banding.

A document becomes the set of its shingles, runs of n words; two documents are near copies if their sets
overlap, by Jaccard's measure |A and B| / |A or B|. MinHash (Broder 1997) estimates that from K numbers a
document, banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4) finds the pairs worth
a look without comparing all. Shapes: N documents, S shingles of one, K hash functions.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")  # Chinese is written without spaces: one by one


def words(text: str) -> list[str]:
    """The words of a text without case, punctuation and spacing; each Chinese character is one."""
    return WORD.findall(text.casefold())


def exact_groups(texts: Iterable[str]) -> NDArray[np.int64]:
    """For each text, (N), the index of the first with the same words; its own where it is the first.

    Keeps sixteen bytes a text, not the text.
    """
    first: dict[bytes, int] = {}
    found = [first.setdefault(_digest(" ".join(words(text)), 16), i) for i, text in enumerate(texts)]
    return np.array(found, dtype=np.int64)


def shingles(text: str, n: int = 5) -> Hashes:
    """The set of a text's runs of n words, hashed to 64 bits, sorted: (S). A shorter text is one shingle."""
    hashed = np.array([_word(word) for word in words(text)] or [0], dtype=np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(hashed, min(n, len(hashed)))
    mixed = np.zeros(len(runs), dtype=np.uint64)
    for column in runs.T:
        mixed = _scramble(mixed + column)  # the order of the words counts
    return np.unique(mixed)


def jaccard(a: Hashes, b: Hashes) -> float:
    """|A and B| / |A or B| of two sets of shingles."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def hash_functions(k: int, seed: int = 0) -> Hashes:
    """Odd a and any b of k functions x -> a x + b mod 2^64, each of them another order of all x: (2, K)."""
    functions = np.random.default_rng(seed).integers(2**64, size=(2, k), dtype=np.uint64)
    functions[0] |= np.uint64(1)
    return functions


def signature(shingles: Hashes, functions: Hashes) -> NDArray[np.uint32]:
    """The MinHash signature (K) of a set of shingles (S): the smallest value of each function, 32 bits."""
    if not len(shingles):
        raise ValueError("a set of 0 shingles has no smallest: give at least 1")
    a, b = functions
    smallest = (a[:, None] * shingles + b[:, None]).min(axis=1)  # (K, S) to (K); wraps at 2^64
    return (smallest >> np.uint64(32)).astype(np.uint32)


def signatures(texts: Iterable[str], functions: Hashes, n: int = 5) -> NDArray[np.uint32]:
    """The signatures (N, K) of a stream of texts, of which one at a time is held."""
    rows = [signature(shingles(text, n), functions) for text in texts]
    return np.stack(rows) if rows else np.zeros((0, functions.shape[1]), dtype=np.uint32)


def similarity(signatures: NDArray[np.uint32], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The estimated Jaccard of pairs (P, 2) of rows: the share of places where two signatures agree, (P).

    Its standard error is sqrt(J (1 - J) / K).
    """
    return np.array([(signatures[i] == signatures[j]).mean() for i, j in pairs])


def candidates(signatures: NDArray[np.uint32], bands: int) -> NDArray[np.int64]:
    """Pairs (P, 2) of rows that agree in all places of at least one band.

    Two documents of similarity s meet with probability 1 - (1 - s^r)^bands, with r = K / bands places a band.
    Where many meet in one band each is paired with the first of them alone: m copies give m - 1 pairs.
    """
    n, k = signatures.shape
    if bands < 1 or k % bands:
        raise ValueError(f"{k} hash functions do not make {bands} bands of equal width: name a divisor")
    found = [np.zeros((0, 2), dtype=np.int64)]
    for band in np.split(signatures, bands, axis=1):
        _, first, bucket = np.unique(band, axis=0, return_index=True, return_inverse=True)
        pairs = np.stack([first[bucket.reshape(-1)], np.arange(n)], axis=1)
        found.append(pairs[pairs[:, 0] != pairs[:, 1]])
    return np.unique(np.concatenate(found), axis=0)


def groups(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """For each of n documents, (N), the first that pairs (P, 2) link to it, directly or over others."""
    leader = list(range(n))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]  # shorten the way for the next search
        return i

    for i, j in pairs.tolist():
        low, high = sorted((find(i), find(j)))
        leader[high] = low
    return np.array([find(i) for i in range(n)], dtype=np.int64)


def near_groups(
    texts: Iterable[str], *, threshold: float = 0.7, bands: int = 32, k: int = 128, n: int = 5, seed: int = 0
) -> NDArray[np.int64]:
    """For each text, (N), the first of its group of near copies; keep those whose group is their own index.

    Candidates of the banding are linked if their estimated Jaccard reaches the threshold.
    """
    table = signatures(texts, hash_functions(k, seed), n)
    pairs = candidates(table, bands)
    return groups(pairs[similarity(table, pairs) >= threshold], len(table))


def _digest(text: str, size: int) -> bytes:
    """A hash that is the same in every process and on every machine."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


@lru_cache(maxsize=2**18)
def _word(word: str) -> int:
    return int.from_bytes(_digest(word, 8), "little")


def _scramble(x: Hashes) -> Hashes:
    """A one-to-one mixing of 64 bits, after which near numbers are far apart (splitmix64, Steele 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
