"""What every stored notebook keeps to, and the rhythm of a chapter."""

import getpass
import re
import statistics
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
USER = re.escape(getpass.getuser())
CHAPTERS = sorted(ROOT.glob("chapters/*.ipynb"))
EXECUTED = [*CHAPTERS, *sorted(ROOT.glob("solutions/*/*.ipynb"))]
EVERY = [*EXECUTED, *sorted(ROOT.glob("exercises/*/*.ipynb"))]
PATH = re.compile(r"(?<![\w.:/~>-])/(?:[\w.-]+/){2,}[\w.-]+|[A-Z]:\\[\w.-]+")
CHECK = re.compile(r"\bassert\b|assert_close|\bcheck\.|torch\.equal|allclose")
FIGURE = "image/svg+xml"


def notebooks(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(book: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(book: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code(book) for output in cell.outputs]


def printed(output: NotebookNode) -> str:
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def has_alt(figure: NotebookNode) -> bool:
    metadata = figure.get("metadata", {})
    stated = metadata.get("alt") or metadata.get(FIGURE, {}).get("alt")
    return bool(stated or re.search(r"<title|<desc|aria-label", figure.data[FIGURE][:4000]))


@notebooks(EXECUTED)
def test_is_stored_as_one_run_from_top_to_bottom(path: Path):
    book = read(path)
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    for cell in code(book):
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert not [output for output in cell.outputs if output.output_type == "error"], cell.source


@notebooks(EVERY)
def test_stores_nothing_of_the_machine_it_ran_on(path: Path):
    book = read(path)
    assert path.stat().st_size < 2**20
    assert set(book.metadata) <= {"kernelspec", "language_info"}, "make book"
    assert "version" not in book.metadata.language_info, "make book"
    assert not [cell for cell in book.cells if "execution" in cell.metadata], "make book"
    assert not [output for output in outputs(book) if output.get("name") == "stderr"]
    for output in outputs(book):
        assert not PATH.search(printed(output)), printed(output)
        assert not re.search(rf"[/\\~]{USER}\b|\b{USER}@", printed(output)), printed(output)


@notebooks(EVERY)
def test_shows_only_what_the_notebook_brings_along_and_says_it_in_words(path: Path):
    book = read(path)
    for output in outputs(book):
        assert FIGURE not in output.get("data", {}) or has_alt(output)
        assert "image/png" not in output.get("data", {}), "figures are SVG, through teach.figures"
    for cell in book.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[[^\]]*\]\(https?:|<img[^>]+https?:", cell.source), cell.source


@notebooks(EXECUTED)
def test_most_outputs_are_compared(path: Path):
    texted = [cell for cell in code(read(path)) if any(map(printed, cell.outputs))]
    compared = [cell for cell in texted if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
    assert not any("NBVAL_" in cell.source for cell in texted), "tag the cell, keep its source clean"
    assert len(compared) >= 2 / 3 * len(texted)


def rhythm(book: NotebookNode) -> dict[str, Any]:
    """Lengths in lines of code, no comments or blanks; prose in words per code cell; the rest are counts."""
    markdown = [
        re.sub(r"```.*?```", "", c.source, flags=re.S) for c in book.cells if c.cell_type == "markdown"
    ]
    prose = [re.sub(r"\$\$.*?\$\$|<[^>]+>", " ", text, flags=re.S) for text in markdown]
    lines = [line for text in markdown for line in text.splitlines()]
    lengths = sorted(len(re.findall(r"^\s*[^#\s]", cell.source, flags=re.M)) for cell in code(book))
    return {
        "median length": statistics.median(lengths),
        "ninth length of ten": lengths[int(0.9 * (len(lengths) - 1))],
        "longest": lengths[-1],
        "words per cell": round(
            sum(len(re.findall(r"[^\W\d_][\w'-]*", text)) for text in prose) / len(lengths)
        ),
        "checks": sum(bool(CHECK.search(cell.source)) for cell in code(book)),
        "figures": sum(FIGURE in output.get("data", {}) for output in outputs(book)),
        "titles": sum(line.startswith("# ") for line in lines),
        "sections": sum(line.startswith("## ") for line in lines),
    }


@notebooks(CHAPTERS)
def test_a_chapter_keeps_the_rhythm(path: Path):
    limits = {
        "median length": (1, 8),
        "ninth length of ten": (1, 22),
        "longest": (1, 35),
        "words per cell": (55, 220),
        "checks": (8, 999),
        "figures": (3, 14),
        "titles": (1, 1),
        "sections": (4, 12),
    }
    found = rhythm(read(path))
    assert not {name: n for name, n in found.items() if not limits[name][0] <= n <= limits[name][1]}, found


def test_the_readme_lists_the_chapters_that_exist():
    listed = re.findall(r"\]\(chapters/([^)]+\.ipynb)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert listed == [path.name for path in CHAPTERS]
