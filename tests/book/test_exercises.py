"""Every exercise: the reference passes, known wrong answers hear their own words, the stub gets nothing."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from llama_mini.teach import check
from llama_mini.teach.check.exercise import Exercise, Mistake, guarded
from llama_mini.teach.grade.answer import run_answer
from llama_mini.teach.grade.judge import definition, is_hidden

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)
CARD = re.compile(
    r"^### \d\. .+  ·  (practice  ·  )?(?P<kind>implement|predict|repair|explain|stretch)  ·  (core|more)"
    r"  ·  difficulty [1-5] of 5  ·  \d+ minutes  ·  (?P<points>\d+) points$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Graded:
    """A graded exercise of a notebook: its definition, and the code cells before its hidden one."""

    notebook: Path
    exercise: Exercise
    cells: list[str]


def code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@cache
def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def graded(path: Path) -> list[Graded]:
    cells = code(read(path))
    places = [i for i, cell in enumerate(cells) if is_hidden(cell)]
    visible = [[c for c in cells[:i] if not is_hidden(c)] for i in places]
    return [Graded(path, definition(cells[i]), before) for i, before in zip(places, visible, strict=True)]


NOTEBOOKS = sorted((ROOT / "solutions").glob("*/*.ipynb"))
GRADED = [exercise for path in NOTEBOOKS for exercise in graded(path)]
PRACTICE = list(check.exercises().values())
EXERCISES = {e.name: e for e in [*PRACTICE, *(g.exercise for g in GRADED)]}
WRONG = [(exercise, name) for exercise in EXERCISES.values() for name in exercise.wrong]

each_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
each_graded = pytest.mark.parametrize("item", GRADED, ids=[g.exercise.name for g in GRADED])
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def first_words(exercise: Exercise, answer: object, seed: int) -> str | None:
    """What the first group that fails says; None where all pass."""
    return next((words for _, words in exercise.run(guarded(answer), seed) if words), None)


@each_exercise
def test_the_reference_passes(exercise, capsys):
    exercise(exercise.reference)
    assert capsys.readouterr().out == "  ✓ ".join([exercise.name, *exercise.groups]) + "\n"
    assert [first_words(exercise, exercise.reference, seed) for seed in SEEDS] == [None] * len(SEEDS)


@pytest.mark.parametrize(("exercise", "name"), WRONG, ids=[f"{e.name}-{name}" for e, name in WRONG])
def test_a_known_wrong_answer_hears_its_own_words(exercise, name):
    answer, words = exercise.wrong[name]
    assert [first_words(exercise, answer, seed) for seed in SEEDS] == [words] * len(SEEDS)


@each_exercise
def test_no_two_mistakes_share_their_words(exercise):
    words = [words for _, words in exercise.wrong.values()]
    assert len(set(words)) == len(words)
    assert len(words) >= 4 or not callable(exercise.reference)


@each_graded
def test_the_solution_passes(item):
    answer = run_answer(item.cells, item.exercise.name)
    assert [first_words(item.exercise, answer, seed) for seed in SEEDS] == [None] * len(SEEDS)


@each_graded
def test_the_untouched_stub_gets_nothing(item):
    released = code(read(ROOT / "exercises" / item.notebook.relative_to(ROOT / "solutions")))
    try:
        answer = guarded(run_answer(released, item.exercise.name))
    except Mistake:
        return
    results = list(item.exercise.run(answer, seed=0))
    assert {words for _, words in results} == {"nothing is written yet"}


@each_graded
def test_what_earns_marks_is_not_in_the_package(item):
    name = item.exercise.name
    if name in check.exercises():
        return  # practice: the piece itself
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "llama_mini").rglob("*.py"))
    assert not re.search(rf"\bdef {name}\(|^{name} =", source, re.MULTILINE)  # a local name is no answer


@each_notebook
def test_nothing_hidden_is_released(path):
    released = "\n".join(
        cell.source for cell in read(ROOT / "exercises" / path.relative_to(ROOT / "solutions")).cells
    )
    assert not re.search(r"(BEGIN|END) (SOLUTION|HIDDEN)|^grade\(|Exercise\(", released, re.MULTILINE)
    for cell in read(path).cells:
        for region in re.findall(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", cell.source, re.DOTALL):
            assert region not in released


@each_notebook
def test_cards_are_whole_and_their_points_add_up(path):
    cells = read(path).cells
    marks = [
        cell.metadata.nbgrader.points for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")
    ]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    headings = [line for text in prose for line in text.splitlines() if line.startswith("### ")]
    cards = [CARD.match(line) for line in headings]
    assert all(cards), headings
    assert [int(card["points"]) for card in cards] == marks
    assert f"{sum(marks)} points" in cells[0].source
    assert [card["kind"] for card in cards].count("explain") == 1
