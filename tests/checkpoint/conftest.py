"""Tiny random models in the shapes of the family."""

from collections.abc import Callable

import pytest
import torch

from llama_mini import Config, Llama, RopeScaling

SHAPES = {
    "mha": {"n_kv_heads": 4},
    "gqa": {"n_kv_heads": 2},
    "mqa": {"n_kv_heads": 1},
    "tied": {"n_kv_heads": 2, "tie_embeddings": True},
    "llama3": {
        "n_kv_heads": 2,
        "rope_theta": 500_000.0,
        "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32),
    },
}


def make_tiny(**fields) -> Llama:
    """A model of a few thousand random weights; norms are random too, so that none can be left out unseen."""
    shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 52}
    model = Llama(Config(**{**shape, "max_seq_len": 64, **fields}))
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=generator)
    return model


def check_same(a: Llama, b: Llama) -> None:
    """Both models have the same config, names and bits."""
    assert a.config == b.config
    left, right = dict(a.named_parameters()), dict(b.named_parameters())
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert torch.equal(left[name], right[name]), name


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Llama]:
    return make_tiny


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Llama, Llama], None]:
    return check_same


@pytest.fixture(params=SHAPES)
def model(request) -> Llama:
    return make_tiny(**SHAPES[request.param])


@pytest.fixture
def gqa() -> Llama:
    return make_tiny(**SHAPES["gqa"])
