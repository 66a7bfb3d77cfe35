"""Marks that do not trust the notebook they are given in.

Text goes to a fresh process, the grader, which holds the exercise's definition. The student's code runs in a
second one, which knows neither the reference nor the inputs still to come, and can only return results.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["grade", "verdict", "verdicts"]

Verdict = dict[str, Any]


def grade(cells: Sequence[str], points: float = 1.0) -> float:
    """The marks of one exercise, points times its share of ✓ groups; prints the verdict's words.

    `grade(In, points=4)` is the last line of a hidden cell. Whatever ran in this kernel before could replace
    this function; where that matters call `verdict` from outside of it.
    """
    found = verdict(cells)
    print(found["text"])
    return round(points * found["share"], 2)


def verdict(cells: Sequence[str], *, seconds: float = 10.0, megabytes: int = 1024) -> Verdict:
    """{"share": of ✓ groups that pass, "text": the words for the student}. Never raises, never prints.

    cells: a notebook's code in order, ending with the hidden cell that defines the Exercise. The answer is
    the last cell before it that binds the exercise's name; seconds and megabytes are what it may use. One
    that loops, exits or fills memory gets the marks of the groups before. Linux or macOS. The student's
    process is not shut off from the disk: grade in a container where that matters.
    """
    return verdicts([cells], seconds=seconds, megabytes=megabytes)[0]


def verdicts(
    exercises: Sequence[Sequence[str]], *, seconds: float = 10.0, megabytes: int = 1024
) -> list[Verdict]:
    """The verdict of each, for one import of torch; seconds and megabytes are what each may use.

    Where the grader itself was brought down, each is tried again alone.
    """
    jobs = [{"cells": list(cells), "seconds": seconds, "megabytes": megabytes} for cells in exercises]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "llama_mini.teach.grade.grader", str(len(jobs))],
            input=json.dumps(jobs).encode(),
            capture_output=True,
            timeout=(seconds + 10) * len(jobs) + 60,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return [{"share": 0.0, "text": f"not graded: {type(error).__name__} of the grader"} for _ in jobs]
    if done.returncode and len(jobs) > 1:
        return [verdict(cells, seconds=seconds, megabytes=megabytes) for cells in exercises]
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return [
            {"share": 0.0, "text": f"not graded: the grader ended ({done.returncode}) {reason[:300]}"}
            for _ in jobs
        ]
    try:
        return json.loads(done.stdout)
    except ValueError:
        return [{"share": 0.0, "text": "not graded: the grader's words were garbled"} for _ in jobs]
