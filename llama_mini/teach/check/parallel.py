"""Practice of chapter 19: what `check` knows about a ring."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Generator

from llama_mini.teach.check.exercise import Exercise, Mistake

Have = list[list[int]]  # one number for each rank and chunk
IN_PLACE = "your code changes its input in place; leave the input as it came"


def _ring(
    *,
    step: int = 1,
    chunk: Callable[[int, int, int], int] = lambda rank, turn, n: (rank - turn) % n,
    place: Callable[[int, int], int] = lambda chunk, n: chunk,
    adds: Callable[[int, int], bool] = lambda turn, n: turn < n - 1,
    leaves: bool = True,
) -> Callable[[Have, int], Have]:
    """One turn of the ring, or one with a fault."""

    def turn_of(have: Have, turn: int) -> Have:
        n, after = len(have), [list(chunks) for chunks in have]
        for rank in range(n):
            sent, to = chunk(rank, turn, n), (rank + step) % n
            into = place(sent, n)
            after[to][into] = have[rank][sent] + (have[to][into] if adds(turn, n) else 0)
        if not leaves:
            for rank in range(n):
                after[rank][chunk(rank, turn, n)] = 0
        return after

    return turn_of


def _whole_lists(have: Have, turn: int) -> Have:
    n = len(have)
    left = [have[rank - 1] for rank in range(n)]
    if turn >= n - 1:
        return [list(chunks) for chunks in left]
    return [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(have, left, strict=True)]


def _in_place_of_sender(have: Have, turn: int) -> Have:
    n, after = len(have), [list(chunks) for chunks in have]
    for rank in range(n):
        chunk, right = (rank - turn) % n, (rank + 1) % n
        after[rank][chunk] = have[right][chunk] + (have[rank][chunk] if turn < n - 1 else 0)
    return after


def _in_place(have: Have, turn: int) -> Have:
    for chunks, after in zip(have, _ring()(have, turn), strict=True):
        chunks[:] = after
    return have.copy()


def _start(g: Generator, n: int) -> Have:
    return torch.randint(-50, 50, (n, n), generator=g).tolist()


def _turns(n: int, first: int, last: int) -> Callable[[Generator], list[tuple[Any, ...]]]:
    """A start for n ranks, and the turns first ... last - 1."""
    return lambda g: [(_start(g, n), list(range(first, last)))]


def _play(answer: Callable[[Have, int], Have], have: Have, turns: list[int]) -> Have:
    for turn in turns:
        if isinstance(have, list):
            before, given = deepcopy(have), have
            have = answer(given, turn)
            if given != before:
                raise Mistake(IN_PLACE)
    return have


ring_turn = Exercise(
    name="ring_turn",
    reference=_ring(),
    trial=_play,
    groups={
        "the first turn": _turns(4, 0, 1),
        "the turns that add": _turns(5, 0, 4),
        "the turns that replace": _turns(5, 4, 8),
        "a whole ring": _turns(3, 0, 4),
        "two ranks": _turns(2, 0, 2),
    },
    wrong={
        "to the left": (_ring(step=-1), "your chunks travel to the left. Rank r sends to rank r + 1."),
        "own chunk always": (
            _ring(chunk=lambda rank, turn, n: rank),
            "your ranks send the chunk of their own number in every turn. In turn t it is number r - t.",
        ),
        "upwards": (
            _ring(chunk=lambda rank, turn, n: (rank + turn) % n),
            "your chunk numbers grow with the turn: r + t. A rank passes on what it just got, number r - t.",
        ),
        "turn for chunk": (
            _ring(chunk=lambda rank, turn, n: turn % n),
            "all your ranks send the chunk with the number of the turn. They send different ones, r - t.",
        ),
        "adds always": (
            _ring(adds=lambda turn, n: True),
            "you still add after turn n - 2. From turn n - 1 on a chunk is finished, and replaces the other.",
        ),
        "replaces always": (
            _ring(adds=lambda turn, n: False),
            "you replace from the first turn on. In the first n - 1 turns the receiver adds.",
        ),
        "switches late": (
            _ring(adds=lambda turn, n: turn < n),
            "you add for one turn too many: turns 0 to n - 2 add, which are n - 1 of them.",
        ),
        "switches early": (
            _ring(adds=lambda turn, n: turn < n - 2),
            "you stop adding one turn too early: turns 0 to n - 2 add, which are n - 1 of them.",
        ),
        "starts again": (
            _ring(chunk=lambda rank, turn, n: (rank - turn % (n - 1)) % n),
            "you count the turns anew when replacing begins. Rank r sends number r - t from first to last.",
        ),
        "receiver's number": (
            _ring(place=lambda chunk, n: (chunk + 1) % n),
            "what arrives lands in the next chunk. It belongs in the chunk of the same number.",
        ),
        "taken away": (
            _ring(leaves=False),
            "your sender has 0 afterwards. Sending is copying: it keeps its own until something arrives.",
        ),
        "whole lists": (_whole_lists, "you send whole lists. A rank sends one chunk in each turn."),
        "sender adds": (
            _in_place_of_sender,
            "your sender is changed, by what the right neighbour has. The receiver is the one that changes.",
        ),
        "in place": (_in_place, IN_PLACE),
    },
)

EXERCISES = (ring_turn,)
