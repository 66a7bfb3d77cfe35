"""The map of the book: complete, lit by passed checks, and equal to the one in the README."""

import json
import re
from pathlib import Path

from llama_mini.teach import figures
from llama_mini.teach.map import ALT, LIFE, MODEL, built, draw_map, written

ROOT = Path(__file__).parents[2]


def test_every_chapter_after_the_first_two_has_its_place_but_for_reading_and_memory_ones():
    on_the_map = {chapter for part in (*MODEL, *LIFE) for chapter in part.chapters}
    assert on_the_map == set(range(2, 39)) - {13, 14}


def test_the_readme_shows_what_the_code_draws():
    drawn = figures.svg(draw_map(set(), written(ROOT / "chapters")), ALT)
    assert (ROOT / "chapters" / "map.svg").read_text(encoding="utf-8") == drawn
    assert "(chapters/map.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")


def notebook(folder: Path, name: str, printed: str) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": [printed]}
    path = folder / name / f"{name}.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [output]}]}), encoding="utf-8")


def test_a_chapter_lights_up_when_a_check_passed_in_its_saved_exercises(tmp_path):
    assert built(tmp_path) == set()
    notebook(tmp_path, "06_rope", "rotate  ✓ shape  ✓ values\n")
    notebook(tmp_path, "07_swiglu", "AssertionError: not yet\n")
    assert built(tmp_path) == {6}
    assert figures.svg(draw_map({6}, {}), ALT) != figures.svg(draw_map(set(), {}), ALT)


def test_a_part_links_to_the_first_of_its_chapters_that_is_written(tmp_path):
    for name in ("06_rope.ipynb", "08_gqa.ipynb", "glossary.md"):
        (tmp_path / name).touch()
    assert written(tmp_path) == {6: "06_rope.ipynb", 8: "08_gqa.ipynb"}
    drawn = figures.svg(draw_map(set(), written(tmp_path)), ALT)
    assert sorted(set(re.findall(r'href="(\w+\.ipynb)"', drawn))) == ["06_rope.ipynb", "08_gqa.ipynb"]


def test_the_readme_and_chapter_00_link_to_every_written_chapter_of_part_one():
    first = json.loads((ROOT / "chapters" / "00_a_llama_in_ten_minutes.ipynb").read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in first["cells"] if cell["cell_type"] == "markdown")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for number, name in written(ROOT / "chapters").items():
        assert f"(chapters/{name})" in readme
        assert f"({name})" in prose or not 1 <= number <= 14
