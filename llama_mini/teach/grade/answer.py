"""Find a student's answer among the cells of a notebook, and run it with what it leans on."""

import ast
import linecache
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from llama_mini.teach.check.exercise import Mistake, described


def run_answer(cells: Sequence[str], name: str) -> Any:
    """What the last cell that binds `name` binds it to.

    That cell runs whole, after every import, function, class and constant of the other cells, those before it
    last; nothing else of theirs runs, so that an endless loop in one exercise does not reach the next.
    """
    trees = [_parse(cell) for cell in cells]
    binding = [i for i, tree in enumerate(trees) if name in _bound(tree)]
    if not binding:
        raise Mistake(f"no cell defines {name}, or that cell has a syntax error")
    at = binding[-1]
    answer, others = trees[at], trees[at + 1 :] + trees[:at]
    space: dict[str, Any] = {"__name__": "__main__"}
    for statement in (s for tree in others for s in tree.body if _harmless(s)):
        try:
            _run(ast.Module([statement], []), space, "<another cell>")
        except (Exception, SystemExit):  # a broken cell elsewhere is no fault of this answer
            continue
    source = cells[at]
    linecache.cache["<your answer>"] = (len(source), None, source.splitlines(keepends=True), "<your answer>")
    try:
        _run(answer, space, "<your answer>")
    except (Exception, SystemExit) as error:
        if name not in space:  # else a line after it failed, a check perhaps, and the answer stands
            raise Mistake(f"your cell raised {described(error)}") from error
    return space[name]


def _run(tree: ast.Module, space: dict[str, Any], filename: str) -> None:
    exec(compile(tree, filename, "exec"), space)


def _parse(cell: str) -> ast.Module:
    """A cell's syntax tree, if need be without IPython's %, ! and ? lines; an empty one if none parses."""
    plain = ["pass" if re.match(r"[%!?]|.*\?\s*$", line) else line for line in cell.splitlines()]
    for source in (cell, "\n".join(plain)):
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.parse(source)
    return ast.Module([], [])


def _bound(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            names |= {
                n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return names


def _harmless(statement: ast.stmt) -> bool:
    """An import, a definition, or a constant: what other cells may lend to the answer."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        parts = [] if statement.value is None else list(ast.walk(statement.value))
        plain = ast.Constant | ast.Tuple | ast.List | ast.UnaryOp | ast.USub | ast.Load
        sums = ast.Constant | ast.BinOp | ast.Add | ast.Sub | ast.Mult | ast.Div | ast.UnaryOp | ast.USub
        return bool(parts) and (
            all(isinstance(n, plain) for n in parts)
            or all(isinstance(n, sums) and isinstance(getattr(n, "value", 0), int | float) for n in parts)
        )
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
