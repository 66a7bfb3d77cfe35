"""The calculators agree with the family's figures, with what autograd keeps, and with each other."""

import dataclasses

import pytest
import torch

from llama_mini import CONFIGS, Llama
from llama_mini.costs import (
    H200,
    Machine,
    Work,
    activation_bytes,
    forward_work,
    training_bytes,
    weight_bytes,
)
from llama_mini.pretrain.loss import next_token_loss

GIB = 2**30


def test_weights_of_the_family():
    assert weight_bytes(CONFIGS["llama-2-7b"]) == 2 * 6_738_415_616
    assert round(weight_bytes(CONFIGS["llama-2-7b"]) / GIB, 2) == 12.55
    assert round(weight_bytes(CONFIGS["llama-2-7b"], bits=4.5) / GIB, 2) == 3.53


def test_a_decode_step_reads_the_weights_and_the_past():
    config = CONFIGS["llama-2-7b"]
    work = forward_work(config, 1, past=4095)
    lookup = 32000 * 4096
    assert work.n_bytes == 2 * (config.n_params - lookup) + 2 * GIB
    assert work.flops == config.flops_per_token(4096)
    alone = forward_work(config, 1)
    assert 0.99 < alone.intensity < 1.01  # two FLOPs for two bytes


def test_prefill_is_the_sum_of_its_decode_steps_but_for_the_logits():
    config = CONFIGS["mini-7m"]
    steps = sum(forward_work(config, 1, past=past).flops for past in range(5, 12))
    logits = 2 * config.vocab_size * config.dim
    assert forward_work(config, 7, past=5).flops == steps - 6 * logits
    assert forward_work(config, 7, past=5, batch=3).flops == 3 * (steps - 6 * logits)


def test_rows_share_the_weights_and_not_the_cache():
    config = CONFIGS["llama-3-8b"]
    one, many = (forward_work(config, 1, past=999, batch=batch) for batch in (1, 64))
    assert many.flops == 64 * one.flops
    assert many.n_bytes - one.n_bytes == 63 * 1000 * 128 * 1024


def test_bits_scale_weights_and_cache():
    config = CONFIGS["llama-3.2-1b"]  # tied: its one table is the output matrix, and is read
    assert forward_work(config, 1, past=9, weight_bits=8, cache_bits=4).n_bytes == (
        config.n_params + 10 * config.kv_cache_bytes() / 4
    )


def test_the_slower_of_the_two_decides():
    machine = Machine(bandwidth=10.0, flops=100.0)
    assert machine.ridge == 10
    assert Work(20.0, 100.0).seconds(machine) == 2.0  # half of the ridge: memory
    assert Work(20.0, 400.0).seconds(machine) == 4.0  # twice the ridge: arithmetic
    assert Work(20.0, 400.0).intensity == 20


def test_llama_2_7b_on_an_h200():
    config = CONFIGS["llama-2-7b"]
    assert round(1 / forward_work(config, 1, past=199).seconds(H200)) == 319
    prefill = forward_work(config, 2048)
    assert prefill.intensity > H200.ridge
    assert prefill.seconds(H200) == prefill.flops / H200.flops


@pytest.mark.parametrize(("name", "n_kv_heads", "tied"), [("mini-180k", 1, True), ("mini-300k", 4, False)])
def test_activations_are_what_autograd_keeps(name, n_kv_heads, tied):
    config = dataclasses.replace(CONFIGS[name], n_kv_heads=n_kv_heads, tie_embeddings=tied)
    model = Llama(config)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    tokens = torch.zeros(3, 40, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next_token_loss(model, (tokens, tokens))
    found = sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in weights)
    assert found == pytest.approx(activation_bytes(config, 3, 40), rel=0.01)


def test_training_takes_sixteen_bytes_a_parameter_and_the_activations():
    config = CONFIGS["llama-7b"]
    parts = training_bytes(config, batch=1, length=2048)
    kept = parts.pop("activations")
    assert sum(parts.values()) == 16 * config.n_params
    assert kept == activation_bytes(config, 1, 2048)
    assert training_bytes(config, batch=2, length=2048)["activations"] > 1.99 * kept


@pytest.mark.parametrize(("new", "past", "batch"), [(0, 5, 1), (1, -1, 1), (1, 0, 0)])
def test_impossible_steps_are_named(new, past, batch):
    with pytest.raises(ValueError, match=rf"new={new} and batch={batch}.*past={past}"):
        forward_work(CONFIGS["mini-1m"], new, past=past, batch=batch)


def test_a_machine_needs_both_ceilings():
    with pytest.raises(ValueError, match=r"bandwidth=0 and flops=1"):
        Machine(bandwidth=0, flops=1)
