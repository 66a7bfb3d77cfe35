"""The bundled draft model still reaches the figures that were written with it, and fits the base model."""

import pytest

from llama_mini import load
from llama_mini.assets.base import measure
from llama_mini.assets.draft import CONFIG, TRAINING
from llama_mini.checkpoint import ASSETS, native


def test_the_figures_still_hold():
    recipe = native.read_recipe(ASSETS / "draft.safetensors")
    assert recipe["command"] == "python -m llama_mini.assets draft"
    assert [phase["steps"] for phase in recipe["phases"]] == [TRAINING.steps]
    assert recipe["figures"]["excess"] < 0.06
    model, tokenizer = load("draft")
    now = measure(model, tokenizer, n=100)
    assert now["excess"] == pytest.approx(recipe["figures"]["excess"], abs=0.01)


def test_it_reads_the_base_models_tokens_at_a_seventh_of_its_size():
    base, tokenizer = load("base")
    draft, same = load("draft")
    assert draft.config == CONFIG
    assert draft.config.vocab_size == base.config.vocab_size
    assert same.special_tokens == tokenizer.special_tokens
    assert 6.5 < base.config.n_params / draft.config.n_params < 7.5
