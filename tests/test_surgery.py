"""Operations on a loaded model: what they swap, what they leave, and that fused equals plain."""

import pytest
import torch
from torch import nn

from llama_mini import Config, KVCache, Llama, generate
from llama_mini.generate import Sampling
from llama_mini.surgery import count, freeze, fuse, swap_linears

SHAPE = {"dim": 32, "n_layers": 2, "n_heads": 4, "ffn_dim": 48, "vocab_size": 61, "max_seq_len": 40}


def model_of(n_kv_heads: int = 2) -> Llama:
    torch.manual_seed(0)
    model = Llama(Config(**SHAPE, n_kv_heads=n_kv_heads)).eval()
    for weight in model.parameters():
        weight.data.mul_(3)  # far from linear, so that a mistake shows
    return model


class Doubled(nn.Module):
    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return 2 * self.linear(x)


def test_only_what_the_pattern_finds_is_swapped():
    model, plain = model_of(), model_of()
    names = swap_linears(model, r"wv|w2$", Doubled)
    assert names == [f"layers.{i}.{name}" for i in (0, 1) for name in ("attention.wv", "feed_forward.w2")]
    swapped = {name for name, module in model.named_modules() if isinstance(module, Doubled)}
    assert swapped == set(names)
    for name in names:
        plain.get_submodule(name).weight.data.mul_(2)
    tokens = torch.randint(61, (3, 9))
    torch.testing.assert_close(model(tokens), plain(tokens))


def test_a_pattern_that_finds_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"no linear layer matches .q_proj"):
        swap_linears(model_of(), "q_proj", Doubled)


def test_frozen_numbers_are_counted_apart():
    model = model_of()
    assert count(model) == count(model, trainable=True) == model.config.n_params
    freeze(model)
    assert count(model, trainable=True) == 0
    model.norm.weight.requires_grad_(True)
    assert (count(model), count(model, trainable=True)) == (model.config.n_params, 32)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_fused_equals_plain_with_and_without_a_cache(n_kv_heads):
    plain, fused = model_of(n_kv_heads), fuse(model_of(n_kv_heads))
    assert count(fused) == count(plain)
    tokens = torch.randint(61, (3, 9))
    torch.testing.assert_close(fused(tokens), plain(tokens), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused(tokens[:, :1]), plain(tokens[:, :1]), rtol=1e-4, atol=1e-5)
    caches = [KVCache(plain.config, batch=3, size=12) for _ in range(2)]
    for model, cache in zip((plain, fused), caches, strict=True):
        model(tokens, positions=torch.arange(9)[None], cache=cache.upto(9))
    at = torch.tensor([[9], [4], [6]])  # one new token a row, each at its own place, in a cache with room
    steps = [m(tokens[:, :1], positions=at, cache=c) for m, c in zip((plain, fused), caches, strict=True)]
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-4, atol=1e-5)


def test_a_fused_model_tells_the_same_text():
    prompts, greedy = [[1, 2, 3, 4, 5], [6], [7, 8]], Sampling(temperature=0)
    assert generate(fuse(model_of()), prompts, greedy, max_new_tokens=20) == generate(
        model_of(), prompts, greedy, max_new_tokens=20
    )


def test_fusing_twice_or_after_a_swap_is_refused():
    with pytest.raises(ValueError, match="found FusedAttention and FusedFeedForward"):
        fuse(fuse(model_of()))
    swapped = model_of()
    swap_linears(swapped, "wk", Doubled)
    with pytest.raises(ValueError, match="only plain linear layers"):
        fuse(swapped)
