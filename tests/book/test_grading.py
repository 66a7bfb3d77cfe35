"""The whole nbgrader course on made-up students: generate, autograde, feedback; marks exactly as expected."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade, is_solution

ROOT = Path(__file__).parents[2]
ASSIGNMENTS = sorted(path.parent.name for path in ROOT.glob("solutions/*/*.ipynb"))
Marks = dict[str, float]


class Book:
    """A submission in the making: the released notebook, or the one with every answer right."""

    def __init__(self, course: Path, assignment: str, *, solved: bool):
        name = Path(assignment) / f"{assignment}.ipynb"
        self.solution = nbformat.read(course / "solutions" / name, as_version=4)
        self.notebook = nbformat.read(course / "exercises" / name, as_version=4)
        self.answers = self._pairs()
        if solved:
            self.solve(self.notebook.cells)

    def solve(self, cells: list[NotebookNode]) -> None:
        right = {c.metadata.nbgrader.grade_id: c.source for c in filter(is_solution, self.solution.cells)}
        for cell in filter(is_solution, cells):
            cell.source = right[cell.metadata.nbgrader.grade_id]

    def _pairs(self) -> list[tuple[NotebookNode, NotebookNode]]:
        """Each test cell with the answer cell above it."""
        pairs, answer = [], None
        for cell in self.notebook.cells:
            if cell.cell_type == "code" and is_solution(cell):
                answer = cell
            elif is_grade(cell) and cell.cell_type == "code":
                pairs.append((answer, cell))
        return pairs

    def marks(self, *, lost: int = 0) -> Marks:
        """Full marks, but none for the first so many tests."""
        points = {test.metadata.nbgrader.grade_id: test.metadata.nbgrader.points for _, test in self.answers}
        return {name: 0.0 if i < lost else float(n) for i, (name, n) in enumerate(points.items())}


def submissions(course: Path, assignment: str) -> Iterator[tuple[str, Book, Marks]]:
    """(student, what they hand in, the marks they get)."""

    def book(*, solved: bool = True) -> Book:
        return Book(course, assignment, solved=solved)

    b = book()
    yield "perfect", b, b.marks()
    yield "untouched", book(solved=False), b.marks(lost=len(b.answers))

    b = book(solved=False)
    half = len(b.answers) // 2
    b.solve([answer for answer, _ in b.answers[half:]])
    yield "half", b, b.marks(lost=half)

    b = book()
    for answer, _ in b.answers:
        answer.source = (
            "import sys, warnings\nwarnings.warn('careful')\nprint('noise', file=sys.stderr)\n"
            + answer.source
        )
    yield "warning", b, b.marks()

    crimes = {
        "loop": "while True:\n    pass\n",
        "exit": "import os\nos._exit(0)\n",
        "murder": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
        "memory": "hoard = []\nwhile True:\n    hoard.append(bytearray(2**28))\n",
        "flood": "while True:\n    print('x' * 10**6)\n",
    }
    for name, crime in crimes.items():
        b = book()
        b.answers[0][0].source = crime + b.answers[0][0].source
        yield name, b, b.marks(lost=1)

    b = book(solved=False)
    for answer, _ in b.answers:
        answer.source = (
            "import llama_mini.teach.grade as g, llama_mini.teach.check.exercise as e\n"
            "g.grade = g.verdict = grade = lambda *a, **k: 100\n"
            "e.Exercise.__call__ = e.Exercise.run = check = lambda *a, **k: None\n"
        ) + answer.source
    yield "replaced", b, b.marks(lost=len(b.answers))

    for name, solved in ("locked", True), ("cheat", False):
        b = book(solved=solved)
        marks = b.marks(lost=0 if solved else len(b.answers))
        for _, test in b.answers:
            test.source, test.metadata.nbgrader.points = "100.0", 100
            test.metadata.nbgrader.solution = test.metadata.nbgrader.grade = not solved
        yield name, b, marks

    b, stubs = book(), book(solved=False)
    for i, cell in enumerate(cell for pair in stubs.answers for cell in pair):
        b.notebook.cells.append(NotebookNode(cell, id=f"copy-{i}"))
    yield "duplicated", b, b.marks()

    b = book()
    b.notebook.cells.remove(b.answers[0][0])
    b.notebook.cells.remove(b.answers[-1][1])
    yield "deleted", b, b.marks(lost=1)


def nbgrader(course: Path, *command: str) -> None:
    """Run one nbgrader command in the course's folder; it finds its own tools on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *command],
        cwd=course,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module", params=ASSIGNMENTS)
def graded(request, tmp_path_factory):
    """The folder of a course in which every submission is graded, and the marks they should have."""
    course, assignment = tmp_path_factory.mktemp("course"), request.param
    shutil.copy(ROOT / "nbgrader_config.py", course)
    shutil.copytree(ROOT / "solutions" / assignment, course / "solutions" / assignment)
    nbgrader(course, "generate_assignment", assignment)
    expected = {}
    for student, book, marks in submissions(course, assignment):
        folder = course / "submitted" / student / assignment
        folder.mkdir(parents=True)
        nbformat.write(book.notebook, folder / f"{assignment}.ipynb")
        expected[student] = marks
    nbgrader(course, "autograde", assignment)
    nbgrader(course, "generate_feedback", assignment)
    return course, assignment, expected


def test_what_students_get_is_what_the_solutions_generate(graded):
    course, assignment, _ = graded
    name = Path("exercises") / assignment / f"{assignment}.ipynb"
    assert (ROOT / name).read_bytes() == (course / name).read_bytes(), "make exercises"


def test_everyone_gets_exactly_their_marks(graded):
    course, assignment, expected = graded
    found = {}
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        for student in expected:
            grades = gradebook.find_submission(assignment, student).notebooks[0].grades
            found[student] = {g.name: g.auto_score for g in grades if g.cell.cell_type != "markdown"}
    assert found == expected


def test_explanations_wait_for_a_person_unless_nothing_is_written(graded):
    course, assignment, _ = graded
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        for student, waits in ("perfect", True), ("untouched", False):
            grades = gradebook.find_submission(assignment, student).notebooks[0].grades
            written = [g for g in grades if g.cell.cell_type == "markdown"]
            assert [g.needs_manual_grade for g in written] == [waits] * len(written)


def test_feedback_shows_the_words_of_the_grader(graded):
    course, assignment, _ = graded
    words = {
        "perfect": "✓",
        "untouched": "nothing is written yet",
        "loop": "was still running after",
        "exit": "ended its process",
        "murder": "not graded",
        "memory": "MemoryError",
    }
    for student, said in words.items():
        page = course / "feedback" / student / assignment / f"{assignment}.html"
        assert said in page.read_text(encoding="utf-8"), student
