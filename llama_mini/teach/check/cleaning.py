"""Practice of chapter 15: what `check` knows about MinHash signatures."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator

from llama_mini.teach.check.exercise import Exercise

Members = list[int]
Functions = list[tuple[int, int]]


def _signature(
    members: Members,
    functions: Functions,
    *,
    choose: Callable[[list[int]], int] = min,
    modulus: int = 2**64,
    cut: Callable[[int], float] = lambda value: value >> 32,
    use_b: bool = True,
) -> list[float]:
    """The MinHash signature of a set of members, or one with a fault."""
    return [cut(choose([(a * x + b * use_b) % modulus for x in members])) for a, b in functions]


def _of_the_smallest(members: Members, functions: Functions) -> list[float]:
    return _signature([min(members)], functions)


def _members(members: Members, functions: Functions) -> list[int]:
    return [min(members, key=lambda x: (a * x + b) % 2**64) for a, b in functions]


def _bottom(members: Members, functions: Functions) -> list[int]:
    a, b = functions[0]
    values = sorted((a * x + b) % 2**64 >> 32 for x in members)
    return (values * len(functions))[: len(functions)]


def _table(members: Members, functions: Functions) -> list[list[int]]:
    return [[(a * x + b) % 2**64 >> 32 for x in members] for a, b in functions]


def _of_members(members: Members, functions: Functions) -> list[int]:
    return [min((a * x + b) % 2**64 >> 32 for a, b in functions) for x in members]


def _added_first(members: Members, functions: Functions) -> list[int]:
    return [min(a * (x + b) % 2**64 for x in members) >> 32 for a, b in functions]


def _case(g: Generator, size: int, k: int) -> tuple[Members, Functions]:
    """A set of `size` numbers and k functions (a, b), all below 2^64, a odd."""
    draw = torch.randint(0, 2**32, (size + 2 * k, 2), generator=g).tolist()
    numbers = [high << 32 | low for high, low in draw]
    factors, shifts = numbers[size : size + k], numbers[size + k :]
    return numbers[:size], [(a | 1, b) for a, b in zip(factors, shifts, strict=True)]


minhash_signature = Exercise(
    name="minhash_signature",
    reference=_signature,
    groups={
        "values": lambda g: [_case(g, 7, 4), _case(g, 40, 9), _case(g, 3, 11)],
        "one shingle": lambda g: [_case(g, 1, 5)],
        "many functions": lambda g: [_case(g, 12, 64)],
    },
    wrong={
        "largest": (
            partial(_signature, choose=max),
            "you keep the largest value under each function. Keep the smallest.",
        ),
        "no modulus": (
            partial(_signature, modulus=2**400),
            "your values grow past 64 bits. Take them modulo 2**64 before you look for the smallest.",
        ),
        "32 bits too early": (
            partial(_signature, modulus=2**32, cut=int),
            "you compute modulo 2**32. Compute modulo 2**64 and keep the upper half of the smallest.",
        ),
        "lower half": (
            partial(_signature, cut=lambda value: value % 2**32),
            "you keep the lower 32 bits of the smallest value. The upper ones decide the order: shift by 32.",
        ),
        "exclusive or": (
            partial(_signature, modulus=66),
            "2 ^ 64 is 66 in Python, where ^ is exclusive or. Write 2**64.",
        ),
        "all 64 bits": (
            partial(_signature, cut=int),
            "your values are right and have 64 bits. Keep the upper 32: value >> 32.",
        ),
        "the shingles": (
            _members,
            "you return the shingles that come first. A signature holds their values under the functions.",
        ),
        "one shingle for all": (
            _of_the_smallest,
            "you hash the smallest shingle. Hash all of them, and take the smallest value.",
        ),
        "no shift": (
            partial(_signature, use_b=False),
            "the b of each function is missing: (a * x + b) % 2**64.",
        ),
        "turned": (
            lambda members, functions: _signature(members, [(b, a) for a, b in functions]),
            "a and b have changed places. Each pair is (a, b), for a * x + b.",
        ),
        "added first": (
            _added_first,
            "you multiply the sum: a * (x + b). It is (a * x + b) % 2**64.",
        ),
        "not whole": (
            partial(_signature, cut=lambda value: value / 2**32),
            "your numbers are not whole. The upper 32 bits are value >> 32, or value // 2**32.",
        ),
        "sorted": (
            lambda members, functions: sorted(_signature(members, functions)),
            "your values are sorted. Place k of a signature belongs to function k: keep their order.",
        ),
        "first function only": (
            _bottom,
            "you take the K smallest values of one function. Take the smallest of each function.",
        ),
        "by shingles": (
            _of_members,
            "you give one value for each shingle. Give one for each function, over all shingles.",
        ),
        "whole table": (_table, "you return every value of every function. Keep the smallest of each."),
        "added up": (
            partial(_signature, choose=lambda values: sum(values) % 2**64),
            "you add the values up. Then sets that differ in one member never agree: take the smallest.",
        ),
    },
)

EXERCISES = [minhash_signature]
