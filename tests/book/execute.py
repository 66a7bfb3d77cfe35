"""Execute notebooks again, in place: python tests/book/execute.py [NOTEBOOK ...]; without a name, all.

What is stored depends on the text of the cells alone: no times, no widget state, no kernel's name.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebooks() -> list[Path]:
    """Every notebook that is a source: the chapters and the solutions."""
    return sorted([*ROOT.glob("chapters/*.ipynb"), *ROOT.glob("solutions/*/*.ipynb")])


def execute(path: Path) -> None:
    """Run a notebook top to bottom in its own folder and store it; at the first error nothing is stored."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(
        book,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": path.parent}},
    ).execute()
    book.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(book, path)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    for notebook in map(Path, sys.argv[1:]) if sys.argv[1:] else notebooks():
        print(notebook)
        execute(notebook.resolve())
