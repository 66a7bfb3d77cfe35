"""The bundled base model still reaches the figures that were written with it."""

from random import Random

import pytest
import torch

from llama_mini import load
from llama_mini.assets import base
from llama_mini.assets.base import CONFIG, PHASES, batches, measure
from llama_mini.checkpoint import ASSETS, native
from llama_mini.data import stories
from llama_mini.data.text import IGNORE
from llama_mini.train import TrainConfig


@pytest.fixture(scope="module")
def recipe() -> dict:
    return native.read_recipe(ASSETS / "base.safetensors")


def test_the_file_tells_how_it_was_made(recipe):
    assert recipe["command"] == "python -m llama_mini.assets base"
    assert [phase["lr"] for phase in recipe["phases"]] == [config.lr for config in PHASES]
    assert recipe["figures"].keys() == {"loss", "floor", "excess", "valid"}


def test_it_stays_within_five_percent_of_the_floor_and_tells_valid_tales(recipe):
    assert recipe["figures"]["excess"] < 0.05
    assert recipe["figures"]["valid"] >= 0.90


def test_the_figures_still_hold(recipe):
    model, tokenizer = load("base")
    assert (model.config, len(tokenizer)) == (CONFIG, CONFIG.vocab_size)
    assert next(model.parameters()).dtype == torch.float32
    now = measure(model, tokenizer, n=200)
    assert now["excess"] == pytest.approx(recipe["figures"]["excess"], abs=0.01)
    assert now["valid"] == pytest.approx(recipe["figures"]["valid"], abs=0.06)


def test_training_pages_are_a_function_of_seed_and_step(recipe):
    tokenizer = load("base")[1]
    first, again, other = (batches(tokenizer, seed)(3)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[:, 0] == tokenizer.bos_id).all()


def test_training_goes_on_where_it_was_interrupted(monkeypatch, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "halved").mkdir()
    monkeypatch.setattr(base, "ROWS", 1)
    monkeypatch.setattr(base, "PHASES", (TrainConfig(steps=2), TrainConfig(steps=2, lr=1e-4)))
    tokenizer, whole, halved = load("base")[1], base.new_base(), base.new_base()
    assert len(list(base.train_base(whole, tokenizer, tmp_path / "whole"))) == 4
    for _ in zip(range(2), base.train_base(halved, tokenizer, tmp_path / "halved"), strict=False):
        pass
    resumed = base.new_base()
    assert len(list(base.train_base(resumed, tokenizer, tmp_path / "halved"))) == 2
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_validity_is_judged_on_tales():
    tale = stories.sample(Random(0)).text
    assert base.is_valid_tale(tale) is True
    assert base.is_valid_tale(tale[:-20]) is False
    assert base.is_valid_tale(tale.replace(" was ", " were ")) is False
    saga = stories.sample(Random(0), kind="saga").text
    assert base.is_valid_tale(saga) is None
    assert base.is_valid_tale(saga[:-60]) is None


def test_the_shortened_tales_of_the_second_phase_keep_beginning_and_end():
    assert base.without_middle("A a. B? C. D! E.") == "A a. B? D! E."
    inputs, targets = batches(load("base")[1], base.SEPARATE)(0)
    assert len(inputs) == 5 * base.ROWS
    assert inputs.size(1) < 80
    assert (targets[:, 0] != IGNORE).all()
