"""Judge an answer that lives in another process: the exercise asks, the answer is called by message."""

import ast
import socket
import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from llama_mini.teach.check.exercise import Exercise, Mistake
from llama_mini.teach.grade.channel import Broken, plain, receive, send

_LONGEST = 1000  # characters of the verdict


class Student:
    """The student's process as seen from here; calling it calls the answer."""

    def __init__(self, ours: socket.socket, seconds: float):
        self.socket, self.channel, self.seconds = ours, ours.makefile("rwb"), seconds
        self.late = False

    def load(self, cells: Sequence[str], name: str, megabytes: int) -> Any:
        """Hand over the cells; the answer is self if it is a function, or else its value."""
        self._receive()  # it has imported all it needs, and the clock may start
        clock = threading.Timer(self.seconds, self._hang_up)
        clock.daemon = True
        clock.start()
        job = {"cells": list(cells), "name": name, "seconds": self.seconds, "megabytes": megabytes}
        kind, value = self._ask(job)
        return self if kind == "function" else value

    def __call__(self, *args: Any) -> Any:
        return self._ask(plain(args))[1]

    def _ask(self, message: Any) -> tuple[str, Any]:
        with suppress(OSError):  # a process that is gone is met when reading
            send(self.channel, message)
        kind, value = self._receive()
        if kind == "mistake":
            raise Mistake(str(value))
        return kind, type(clean(str(value)), (), {})() if kind == "other" else value

    def _receive(self) -> tuple[str, Any]:
        try:
            kind, value = receive(self.channel)
        except (Broken, OSError, TypeError, ValueError):
            end = f"was still running after {self.seconds:g} s" if self.late else "ended its process"
            raise Mistake(f"your code {end}") from None
        return str(kind), value

    def _hang_up(self) -> None:
        self.late = True
        with suppress(OSError):  # long gone
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the read, whoever still holds the other end


def judge(job: dict[str, Any], ours: socket.socket) -> dict[str, Any]:
    """The share of ✓ groups that pass and the words to print; a broken hidden cell is said to be one."""
    *cells, hidden = job["cells"]
    try:
        exercise = definition(hidden)
    except Exception as error:
        return failed(error)
    student = Student(ours, job["seconds"])
    try:
        answer = student.load([c for c in cells if not is_hidden(c)], exercise.name, job["megabytes"])
    except Mistake as mistake:
        return {"share": 0.0, "text": clean(f"{exercise.name}: {mistake}")}
    seed = zlib.crc32("\n".join(cells).encode("utf-8", "surrogatepass"))  # the same answer, the same marks
    try:
        results = list(exercise.run(answer, seed))
    except Exception as error:
        return failed(error)
    line = "  ".join([exercise.name, *(f"{'✗' if words else '✓'} {group}" for group, words in results)])
    mistakes = dict.fromkeys(words for _, words in results if words)
    passed = sum(words is None for _, words in results)
    return {"share": passed / len(results), "text": clean("\n".join([line, *mistakes]))}


def failed(error: Exception) -> dict[str, Any]:
    """The verdict where the instructor's cell is at fault, and not the student's answer."""
    return {
        "share": 0.0,
        "text": clean(f"not graded: the hidden cell raised {type(error).__name__}: {error}"),
    }


def definition(hidden: str) -> Exercise:
    """The one Exercise that a hidden cell defines; its closing call of grade is left out."""
    tree = ast.parse(hidden)
    tree.body = [s for s in tree.body if not _calls_grade(s)]
    space: dict[str, Any] = {"__name__": "hidden"}
    exec(compile(tree, "<hidden cell>", "exec"), space)
    found = [value for value in space.values() if isinstance(value, Exercise)]
    if len(found) != 1:
        raise ValueError(f"a hidden cell defines 1 Exercise, this one {len(found)}")
    return found[0]


def is_hidden(cell: str) -> bool:
    """Whether a cell is another exercise's hidden test, whose names must not reach the answer."""
    return any(line.startswith("grade(In") for line in cell.splitlines())


def clean(text: str) -> str:
    """Text that a notebook can hold: no lone surrogates, no control characters, no endless message."""
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " ..."


def _calls_grade(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "grade"
