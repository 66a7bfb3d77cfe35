from copy import deepcopy

import pytest
import torch

from llama_mini import Config, KVCache, Llama
from llama_mini.pretrain.activations import checkpoint_activations
from llama_mini.pretrain.loss import next_token_loss

TINY = Config(dim=16, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=24, vocab_size=19, max_seq_len=16)


def tokens(rows=3, length=9):
    return torch.randint(19, (rows, length), generator=torch.Generator().manual_seed(1))


def gradients(model):
    model.zero_grad()
    total, _ = next_token_loss(model, (tokens(), tokens().roll(-1, 1)))
    total.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def kept_bytes(model):
    """What one forward keeps for the backward pass, weights apart."""
    storages = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def pack(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(tokens())
    return sum(size for at, size in storages.items() if at not in weights)


def test_gradients_names_and_losses_stay_the_same():
    plain = Llama(TINY)
    thrifty = checkpoint_activations(deepcopy(plain))
    assert thrifty.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(gradients(thrifty), gradients(plain), rtol=0, atol=0)


def test_under_bfloat16_autocast_too():
    plain = Llama(TINY)
    thrifty = checkpoint_activations(deepcopy(plain))
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = gradients(plain), gradients(thrifty)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_less_is_kept_for_the_way_back():
    plain = Llama(TINY)
    assert kept_bytes(checkpoint_activations(deepcopy(plain))) < kept_bytes(plain) / 3


def test_decoding_with_a_cache_is_untouched():
    model = Llama(TINY)
    expected = model(tokens())
    cache = KVCache(TINY, batch=3, size=9)
    checkpoint_activations(model)
    with torch.no_grad():
        first = model(tokens()[:, :5], positions=torch.arange(5)[None], cache=cache.upto(5))
        second = model(tokens()[:, 5:], positions=torch.arange(5, 9)[None], cache=cache)
    torch.testing.assert_close(torch.cat([first, second], 1), expected, rtol=1e-4, atol=1e-5)


def test_twice_is_once_and_other_blocks_are_refused():
    model = checkpoint_activations(checkpoint_activations(Llama(TINY)))
    gradients(model)
    model.layers[1] = torch.nn.Linear(16, 16)
    with pytest.raises(ValueError, match="layer 1 is a Linear"):
        checkpoint_activations(model)
