"""The map of the book: complete, lit by passed checks, and equal to the one in the README."""

import json
from pathlib import Path

from llama_mini.teach import figures
from llama_mini.teach.map import ALT, LIFE, MODEL, built, draw_map

ROOT = Path(__file__).parents[2]


def test_every_chapter_after_the_first_two_has_its_place_but_for_reading_and_memory_ones():
    on_the_map = {chapter for part in (*MODEL, *LIFE) for chapter in part.chapters}
    assert on_the_map == set(range(2, 39)) - {13, 14}


def test_the_readme_shows_what_the_code_draws():
    assert (ROOT / "chapters" / "map.svg").read_text(encoding="utf-8") == figures.svg(draw_map(set()), ALT)
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
    assert figures.svg(draw_map({6}), ALT) != figures.svg(draw_map(set()), ALT)
