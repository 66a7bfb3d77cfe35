"""The glossary is whole, and no chapter uses a term of it before the book has defined it."""

import re
from itertools import takewhile
from pathlib import Path

import nbformat
import pytest

from llama_mini.teach import glossary
from llama_mini.teach.glossary import Term

CHAPTERS = Path(__file__).parents[2] / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("[0-9][0-9]_*.ipynb"))
TERMS = glossary.read(CHAPTERS / "glossary.toml")

each_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
each_term = pytest.mark.parametrize("term", TERMS, ids=[term.en for term in TERMS])


def paragraphs(path: Path) -> list[str]:
    """The paragraphs of a chapter after its title card, without code and sources."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    text = "\n\n".join(takewhile(lambda cell: "# Sources" not in cell, cells[1:]))
    text = re.sub(r"```.*?```|`[^`\n]*`|\[([^]]*)\]\([^)]*\)", r" \1 ", text, flags=re.DOTALL)
    return [part for part in re.split(r"\n\s*\n", text) if part.strip() and not part.startswith("#")]


def promises(paragraph: str, chapter: str) -> bool:
    """Whether a paragraph says in which chapter a term will be defined."""
    return bool(re.search(rf"\b[Cc]hapters?\b[^.]*\b{chapter}\b", paragraph))


def defines(paragraph: str, term: Term) -> bool:
    return bool(re.search(rf"\*[^*\n]*?{term.pattern()}[^*\n]*?\*", paragraph.replace("\n", " ")))


@each_term
def test_a_term_is_defined_in_its_chapter_before_that_uses_it(term):
    path = next(path for path in NOTEBOOKS if path.name[:2] == term.chapter)
    for paragraph in paragraphs(path):
        if defines(paragraph, term):
            return
        assert not re.search(term.pattern(), paragraph), f"{term.en}, used before *{term.en}*: {paragraph}"
    pytest.fail(f"chapter {term.chapter} never sets *{term.en}* in italics, where it says what that is")


@each_chapter
def test_a_term_of_a_later_chapter_comes_with_that_chapters_number(path):
    for paragraph in paragraphs(path):
        for term in TERMS:
            if term.chapter > path.name[:2] and re.search(term.pattern(), paragraph):
                assert promises(paragraph, term.chapter), f"{term.en} (chapter {term.chapter}): {paragraph}"


def test_the_page_is_made_from_the_file():
    assert (CHAPTERS / "glossary.md").read_text(encoding="utf-8") == glossary.page(TERMS, NOTEBOOKS)


@each_term
def test_a_term_has_a_chinese_name_and_a_line(term):
    assert re.search(r"[\u4e00-\u9fff]|^[A-Z]", term.zh), term
    assert 10 < len(term.meaning) < 220, term
    assert "\n" not in term.meaning


def test_a_term_that_stands_twice_is_refused(tmp_path):
    entry = '[[term]]\nen = "token"\nzh = "词元"\nchapter = "00"\nis = "a piece of text"\n'
    (tmp_path / "glossary.toml").write_text(entry * 2, encoding="utf-8")
    with pytest.raises(ValueError, match="token twice"):
        glossary.read(tmp_path / "glossary.toml")


def test_forms_are_found_in_running_text():
    term = Term("grouped-query attention", "分组查询注意力", "08", "heads that share keys", also=("GQA",))
    for text in ("GQA", "Grouped-query attention is", "two grouped-query attentions"):
        assert re.search(term.pattern(), text)
    for text in ("gqa", "un-grouped-query attention", "grouped query"):
        assert not re.search(term.pattern(), text)
