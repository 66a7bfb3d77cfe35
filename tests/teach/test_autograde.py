"""What a student can do to the cells of a submission, and what is graded then."""

import nbformat.v4 as nb
import pytest
from nbformat import NotebookNode

pytest.importorskip("nbgrader")
from llama_mini.teach.autograde import RunTests, repaired


def cell(name: str, source: str, **metadata) -> NotebookNode:
    return nb.new_code_cell(source, metadata={"nbgrader": {"grade_id": name, **metadata}})


@pytest.fixture
def released() -> list[NotebookNode]:
    return [
        cell("imports", "import torch"),
        cell("a", "stub a"),
        cell("a_test", "# marks"),
        cell("b", "stub b"),
    ]


def texts(cells: list[NotebookNode]) -> list[str]:
    return [cell.source for cell in cells]


def test_answers_stay_where_they_are(released):
    submitted = [
        cell("imports", "import torch"),
        cell("a", "mine"),
        cell("a_test", "# marks"),
        cell("b", "stub b"),
    ]
    assert texts(repaired(submitted, released)) == ["import torch", "mine", "# marks", "stub b"]


def test_copies_count_as_one_without_untouched_stubs(released):
    submitted = [*released[:1], cell("a", "first"), *released[2:], cell("a", "second"), cell("a", "stub a")]
    assert texts(repaired(submitted, released)) == ["import torch", "first\n\nsecond", "# marks", "stub b"]


def test_deleted_cells_come_back_in_place(released):
    for kept in ([], released[1:2], released[::2]):
        assert texts(repaired(list(kept), released)) == texts(released)


def test_the_students_own_cells_are_kept_but_have_no_say(released):
    own, forged = nb.new_code_cell("helper"), cell("c", "forged", grade=True, points=100)
    cells = repaired([*released[:2], own, forged, *released[2:]], released)
    assert texts(cells) == ["import torch", "stub a", "helper", "forged", "# marks", "stub b"]
    assert "nbgrader" not in cells[3].metadata


def test_metadata_is_that_of_the_release(released):
    released[2].metadata.nbgrader.points = 4
    cells = repaired(
        [*released[:2], cell("a_test", "100.0", solution=True, points=100), released[3]], released
    )
    assert cells[2].metadata == released[2].metadata


def test_a_fault_of_the_grader_gives_no_marks_instead_of_none():
    test = cell("a_test", "import nothing_of_that_name\ngrade(In)", grade=True, locked=True, points=4)
    with pytest.raises(RuntimeError, match=r"none of 1 test cells could be graded: .*nothing_of_that_name"):
        RunTests().preprocess(nb.new_notebook(cells=[test]), {})
    assert test.outputs == []
