"""Recorded runs: what is loaded is what was made, and any row can be made again."""

import random

import pytest

from llama_mini.teach import record


def noise(seed: int, scale: float = 1.0) -> dict[str, float]:
    """A run that depends on its seed."""
    return {"loss": scale * random.Random(seed).random()}


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    (tmp_path / "chapters" / "results").mkdir(parents=True)
    (tmp_path / "exercises" / "06_rope").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "chapters")
    return tmp_path


def test_rows_come_back_as_they_were_and_can_be_made_again(chapters, monkeypatch):
    rows = [record.run(noise, seed=seed, scale=2.0) for seed in range(3)]
    record.save("06", rows)
    for folder in ("chapters", ".", "exercises/06_rope"):
        monkeypatch.chdir(chapters / folder)
        assert record.load("06") == rows
    for row in record.load("06"):
        assert row.arguments["scale"] == 2.0
        assert record.again(row).result == row.result
    assert record.again(rows[0]).result != rows[1].result


def test_the_origin_is_a_sentence(chapters):
    rows = [record.run(noise, seed=0)]
    assert record.origin(rows).startswith(f"Recorded on {rows[0].date} on {rows[0].machine}, torch ")


def test_what_is_missing_is_named(chapters, monkeypatch, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r"07\.json"):
        record.load("07")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(FileNotFoundError, match="chapters/results"):
        record.load("06")


def test_a_result_that_is_no_json_is_refused(chapters):
    with pytest.raises(TypeError, match="JSON"):
        record.run(object)
