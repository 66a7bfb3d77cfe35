"""A trial is the same run for every model that is compared."""

import torch

from llama_mini import CONFIGS, Llama, load
from llama_mini.teach.trial import HELD_OUT, excess_loss, tale_batches, trial


def test_batches_depend_on_seed_and_number_alone():
    tokenizer = load("base")[1]
    first, again = (tale_batches(tokenizer, seed=3)(7) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], tale_batches(tokenizer, seed=4)(7)[0])
    assert not torch.equal(first[0], tale_batches(tokenizer, seed=3)(8)[0])
    assert first[0].shape == (16, 128)


def test_the_trained_model_is_close_to_the_floor_and_a_new_one_is_not():
    model, tokenizer = load("base")
    assert 0 < excess_loss(model, tokenizer, n=20) < 0.05
    new = Llama(model.config)
    assert excess_loss(new, tokenizer, n=20) > 5


def test_a_trial_learns_and_repeats_itself():
    tokenizer = load("base")[1]

    def run(seed: int):
        torch.manual_seed(seed)
        return trial(Llama(CONFIGS["mini-300k"]), tokenizer, seed=seed, steps=6, points=3)

    first = run(0)
    assert len(first["losses"]) == 3
    assert first["losses"][-1] < first["losses"][0]
    assert first == run(0)
    assert first != run(1)


def test_no_trial_trains_on_the_held_out_tales():
    starts = {1_000_000 * (seed + 2) + i for seed in range(20) for i in range(2000)}
    assert HELD_OUT not in starts
