"""Recorded runs: what took longer than a reader waits for, with all that is needed to make it again.

A row names a function and its arguments; `again` calls the one with the other. They live in chapters/results.
"""

import datetime
import importlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One run: `function` as "module:name", its arguments (a seed among them), its result."""

    function: str
    arguments: dict[str, Any]
    result: Any
    versions: dict[str, str]
    machine: str
    date: str


def run(function: Callable[..., Any], **arguments: Any) -> Row:
    """Call a function, a module's or the notebook's own, and record it; arguments and result are JSON."""
    result = json.loads(json.dumps(function(**arguments)))
    return Row(
        function=f"{function.__module__}:{function.__name__}",
        arguments=arguments,
        result=result,
        versions={"python": platform.python_version(), "torch": torch.__version__},
        machine=_machine(),
        date=datetime.date.today().isoformat(),
    )


def again(row: Row) -> Row:
    """Make a row again, here and now: the same function, the same arguments."""
    module, _, name = row.function.partition(":")
    return run(getattr(importlib.import_module(module), name), **row.arguments)


def load(chapter: str) -> list[Row]:
    """The recorded runs of a chapter, "06" for one."""
    path = _folder() / f"{chapter}.json"
    if not path.exists():
        raise FileNotFoundError(f"no recorded runs in {path.name}; record.save({chapter!r}, rows) makes them")
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def save(chapter: str, rows: Sequence[Row]) -> None:
    """Write the recorded runs of a chapter, in place of those before."""
    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
    (_folder() / f"{chapter}.json").write_text(text + "\n", encoding="utf-8")


def origin(rows: Sequence[Row]) -> str:
    """When and where the rows were recorded, as a sentence for beside their figure."""
    where = sorted({f"{row.machine}, torch {row.versions['torch']}" for row in rows})
    dates = sorted({row.date for row in rows})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Recorded on {span} on {'; '.join(where)}."


def _folder() -> Path:
    """chapters/results, seen from a chapter, from an exercise, or from the top of the repository."""
    here = Path.cwd()
    for parent in (here, *here.parents):
        for folder in (parent / "results", parent / "chapters" / "results"):
            if folder.is_dir() and folder.parent.name == "chapters":
                return folder
    raise FileNotFoundError("no folder chapters/results here or above; run this from inside the repository")


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} with {os.cpu_count()} cores"
