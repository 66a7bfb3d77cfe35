"""The glossary of the book: terms, each with its chapter, its Chinese name and a line that defines it.

python -m llama_mini.teach.glossary chapters/glossary.toml chapters/glossary.md writes the page to read.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Term:
    """A technical term, the chapter that defines it, and other forms that its English name takes."""

    en: str
    zh: str
    chapter: str
    meaning: str
    also: tuple[str, ...] = ()

    def pattern(self) -> str:
        """A regular expression for the term in running text: any of its forms, plural included.

        Forms with a capital letter are found as written, others also at the beginning of a sentence.
        """
        forms = (re.escape(form) for form in (self.en, *self.also))
        either = "|".join(form if form != form.lower() else f"(?i:{form})" for form in forms)
        return rf"(?<![\w-])(?:{either})(?:s|es)?(?![\w-])"


def read(path: Path) -> list[Term]:
    """The terms of a glossary file, in its order; ValueError for a term that stands there twice."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["term"]
    terms = [
        Term(entry["en"], entry["zh"], entry["chapter"], entry["is"], tuple(entry.get("also", ())))
        for entry in entries
    ]
    names = [name for term in terms for name in (term.en, *term.also)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name} has {', '.join(twice)} twice; a term is defined once, in one chapter")
    return terms


def page(terms: Iterable[Term], chapters: Iterable[Path]) -> str:
    """The glossary as Markdown, in alphabetical order, each term with a link to its chapter."""
    files = {path.name[:2]: path.name for path in chapters}
    lines = ["# Glossary", "", "| term | 中文 | what it is | chapter |", "|---|---|---|---|"]
    for term in sorted(terms, key=lambda term: term.en.lower()):
        also = f" ({', '.join(term.also)})" if term.also else ""
        link = f"[{term.chapter}]({files[term.chapter]})"
        lines.append(f"| **{term.en}**{also} | {term.zh} | {term.meaning} | {link} |")
    return "\n".join(lines) + "\n"


def main(source: Path, target: Path) -> None:
    """Write the page beside the file it is made from."""
    chapters = sorted(source.parent.glob("[0-9][0-9]_*.ipynb"))
    target.write_text(page(read(source), chapters), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
