"""What `nbgrader autograde` does differently here, so that no submission can break it or cheat it.

nbgrader_config.py puts these two steps in the place of nbgrader's own.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from llama_mini.teach.grade import verdicts

Resources = dict[str, Any]


class Repair(NbGraderPreprocessor):
    """Make a submission hold every cell that was released with a grade_id, once, with its released metadata.

    nbgrader's OverwriteCells comes next, and puts the instructor's text back into those that are locked.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        at = resources["nbgrader"]
        coursedir = (
            self.parent.parent.coursedir
        )  # this step belongs to an exporter, and that to the converter
        folder = coursedir.format_path(coursedir.release_directory, ".", at["assignment"])
        released = nbformat.read(Path(folder) / f"{at['notebook']}.ipynb", as_version=4)
        nb.cells = repaired(nb.cells, [cell for cell in released.cells if grade_id(cell)])
        return nb, resources


def repaired(submitted: list[NotebookNode], released: list[NotebookNode]) -> list[NotebookNode]:
    """The submitted cells with copies joined, deleted ones back in place, and the student's own kept."""
    texts: dict[str | None, list[str]] = {}
    for cell in submitted:
        texts.setdefault(grade_id(cell), []).append(cell.source)
    fresh = {}
    for cell in released:
        answers = [text for text in texts.get(grade_id(cell), []) if text != cell.source]
        fresh[grade_id(cell)] = NotebookNode(cell, source="\n\n".join(answers) or cell.source)
    cells, placed = [], set()
    for cell in submitted:
        name = grade_id(cell)
        if name not in fresh:
            cell.metadata.pop("nbgrader", None)
            cells.append(cell)
        elif name not in placed:
            placed.add(name)
            cells.append(fresh[name])
    before = -1
    for name, cell in fresh.items():
        if name not in placed:
            cells.insert(before + 1, cell)
        before = cells.index(cell)
    return cells


def grade_id(cell: NotebookNode) -> str | None:
    """nbgrader's name of a cell, if it has one."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


class RunTests(NbGraderPreprocessor):
    """Grade every test cell in processes of its own, all at once, from the text of the notebook.

    The output of a test cell is the grader's words and its marks, always a number: nbgrader gives full marks
    to a test cell without one. Where no test cell could be graded the fault is ours: the submission gets no
    marks then, not 0.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        tests = [cell for cell in code if is_grade(cell) and not is_solution(cell)]
        others = [cell.source for cell in code if cell not in tests]
        found = verdicts([[*others, test.source] for test in tests])
        if tests and all(verdict["text"].startswith("not graded") for verdict in found):
            raise RuntimeError(f"none of {len(tests)} test cells could be graded: {found[0]['text']}")
        for test, verdict in zip(tests, found, strict=True):
            marks = round(test.metadata.nbgrader.points * verdict["share"], 2)
            test.outputs = [
                new_output("stream", name="stdout", text=verdict["text"] + "\n"),
                new_output("execute_result", {"text/plain": str(marks)}, execution_count=None),
            ]
        return nb, resources
