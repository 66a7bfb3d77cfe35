"""What the core must get right: causality, the cache, RoPE's precision, ties, compilation."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounter

from llama_mini import Config, KVCache, Llama, RopeScaling
from llama_mini.model import RMSNorm, rope_frequencies, rope_table, rotate

TINY = Config(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=61, max_seq_len=64)


@pytest.fixture
def model() -> Llama:
    torch.manual_seed(0)
    model = Llama(TINY).eval()
    for weight in model.parameters():
        weight.data.mul_(3)  # far from linear, so that a mistake shows
    return model


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(TINY.vocab_size, (3, 12), generator=torch.Generator().manual_seed(1))


def test_parameters_are_counted_exactly(model):
    assert sum(p.numel() for p in model.parameters()) == TINY.n_params
    tied = Llama(dataclasses.replace(TINY, tie_embeddings=True))
    assert sum(p.numel() for p in tied.parameters()) == tied.config.n_params
    assert not any(name.startswith("output") for name, _ in tied.named_parameters())


def test_initial_loss_is_that_of_a_blind_guess():
    torch.manual_seed(0)
    tokens = torch.randint(TINY.vocab_size, (16, 65))
    for tie in (False, True):
        model = Llama(dataclasses.replace(TINY, tie_embeddings=tie))
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        assert abs(loss.item() / math.log(TINY.vocab_size) - 1) < 0.02


def test_a_future_token_never_changes_a_past_logit(model, tokens):
    before = model(tokens)
    for t in (0, 5, 11):
        changed = tokens.clone()
        changed[:, t] = (changed[:, t] + 1) % TINY.vocab_size
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=0)
        assert not torch.allclose(after[:, t:], before[:, t:])


@pytest.mark.parametrize("split", [[12], [1] * 12, [5, 7], [3, 1, 4, 4], [11, 1]])
def test_cache_changes_nothing(model, tokens, split):
    cache, parts, end = KVCache(TINY, batch=3, size=12), [], 0
    for chunk in tokens.split(split, dim=1):
        start, end = end, end + chunk.size(1)
        positions = torch.arange(start, end)[None]
        parts.append(model(chunk, positions=positions, cache=cache.upto(end)))
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=1e-4, atol=1e-5)


def test_a_larger_cache_than_needed_changes_nothing(model, tokens):
    whole = KVCache(TINY, batch=3, size=40)
    for keys, values in zip(whole.keys, whole.values, strict=True):
        keys[:, 20:], values[:, 20:] = 1e4, -1e4  # what an earlier text left behind, out of sight
    logits = model(tokens, positions=torch.arange(12)[None], cache=whole)
    torch.testing.assert_close(logits, model(tokens), rtol=1e-4, atol=1e-5)


def test_ragged_rows_go_on_at_their_own_positions(model, tokens):
    lengths = [12, 7, 3]
    cache = KVCache(TINY, batch=3, size=16)
    model(tokens, positions=torch.arange(12)[None], cache=cache.upto(12))
    new = torch.tensor([[5], [6], [7]])
    positions = torch.tensor(lengths)[:, None]
    logits = model(new, positions=positions, cache=cache.upto(13))
    for row, length in enumerate(lengths):
        alone = model(torch.cat([tokens[row, :length], new[row]])[None])[0, -1]
        torch.testing.assert_close(logits[row, 0], alone, rtol=1e-4, atol=1e-5)


def test_a_full_cache_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match=r"holds 8 tokens a row, but 9 are needed"):
        KVCache(TINY, batch=1, size=8).upto(9)


def test_compiled_decoding_never_recompiles(model):
    """One whole cache, positions as a tensor: 56 steps, one graph; needs no C++ compiler."""
    counter = CompileCounter()
    step = torch.compile(
        lambda t, p, c: model(t, positions=p, cache=c), backend=counter, fullgraph=True, dynamic=False
    )
    tokens = torch.randint(TINY.vocab_size, (2, 56), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        cache = KVCache(TINY, batch=2, size=56)
        logits = [step(tokens[:, i : i + 1], torch.tensor([[i], [i]]), cache) for i in range(56)]
        assert counter.frame_count == 1
        torch.testing.assert_close(torch.cat(logits, 1), model(tokens), rtol=1e-4, atol=1e-5)


def test_rope_scores_depend_on_the_distance_only():
    q, k = torch.randn(2, 1, 1, 3, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    freqs = rope_frequencies(16, 10_000.0)

    def score(m: int, n: int) -> torch.Tensor:
        turned = [rotate(x, rope_table(torch.tensor([[p]]), freqs)) for x, p in ((q, m), (k, n))]
        return (turned[0] * turned[1]).sum(-1)

    torch.testing.assert_close(score(9, 4), score(109, 104), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(score(9, 4), score(9, 5), atol=1e-2)


def test_rope_is_metas_complex_product():
    x = torch.randn(2, 7, 3, 16, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [9, 8, 50, 60, 61, 62, 63]])
    freqs = rope_frequencies(16, 10_000.0)
    turn = torch.polar(torch.ones(2, 7, 1, 8), positions[..., None, None] * freqs)
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (8, 2))) * turn).flatten(-2)
    torch.testing.assert_close(rotate(x, rope_table(positions, freqs)), expected)


def test_llama_31_scaling_keeps_fast_pairs_and_stretches_slow_ones():
    scaling = RopeScaling(factor=8.0)
    plain, scaled = rope_frequencies(128, 5e5), rope_frequencies(128, 5e5, scaling)
    wavelengths = 2 * math.pi / plain
    fast, slow = wavelengths < 2048, wavelengths > 8192
    assert torch.equal(scaled[fast], plain[fast])
    torch.testing.assert_close(scaled[slow], plain[slow] / 8)
    between = ~fast & ~slow
    assert between.any()
    assert ((scaled[between] < plain[between]) & (scaled[between] > plain[between] / 8)).all()


def test_positions_survive_bfloat16(model):
    """bfloat16 has 769 distinct values among 0..4095; the angles must not go through it."""
    half = Llama(TINY).to(torch.bfloat16)
    tokens = torch.tensor([[3, 4]])
    far = half(tokens, positions=torch.tensor([[4000, 4001]]))
    near = half(tokens, positions=torch.tensor([[0, 1]]))
    assert far.dtype == torch.bfloat16
    torch.testing.assert_close(far, near, rtol=0.05, atol=0.02)
    table = rope_table(torch.arange(4096)[None], rope_frequencies(128, 1e4))
    assert table.dtype == torch.float32
    assert len(table[0, 0, :, 0].unique(dim=0)) == 4096


def test_meta_construction_then_real_weights(model, tokens):
    with torch.device("meta"):
        empty = Llama(TINY)
    empty.load_state_dict(model.state_dict(), assign=True)
    torch.testing.assert_close(empty(tokens), model(tokens), rtol=0, atol=0)


def test_a_tied_model_stays_tied(tokens):
    tied = Llama(dataclasses.replace(TINY, tie_embeddings=True))
    with torch.device("meta"):
        copy = Llama(tied.config)
    copy.load_state_dict(tied.state_dict(), assign=True)
    copy.tok_embeddings.weight.data.zero_()
    assert copy(tokens).abs().max() == 0


def test_rms_norm_measures_in_float32():
    norm = RMSNorm(8, 1e-5)
    x = torch.full((1, 8), 300.0)
    assert torch.isinf(x.half().square()).all()  # 90,000 is more than float16 holds
    torch.testing.assert_close(RMSNorm(8, 1e-5).half()(x.half()), torch.ones(1, 8).half())
    torch.testing.assert_close(norm(torch.zeros(1, 8)), torch.zeros(1, 8))
