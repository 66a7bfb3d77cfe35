"""Speculative decoding gives the target's own text: equal when greedy, equal in distribution when drawn."""

from collections import Counter
from random import Random

import pytest
import torch

from llama_mini import CONFIGS, Llama, generate, load
from llama_mini.data import stories
from llama_mini.generate import Sampling, probabilities
from llama_mini.speculative import speculate, verify

GREEDY = Sampling(temperature=0)
TARGET = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03])
DRAFT = torch.tensor([0.1, 0.4, 0.05, 0.4, 0.05])


def tiny(seed: int, **changes: int) -> Llama:
    torch.manual_seed(seed)
    shape = {"dim": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 24, "vocab_size": 5}
    model = Llama(type(CONFIGS["mini-1m"])(**(shape | {"max_seq_len": 32} | changes)))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return model


def chi_square(counts: Counter, expected: torch.Tensor, n: int) -> float:
    return sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate(expected.tolist()))


def test_a_verified_token_has_the_targets_distribution():
    n, generator = 20_000, torch.Generator().manual_seed(0)
    guesses = torch.multinomial(DRAFT, n, replacement=True, generator=generator).tolist()
    uniforms = torch.rand(n, 2, dtype=torch.float64, generator=generator)
    target, counts = torch.stack([TARGET, TARGET]), Counter()
    for guess, u in zip(guesses, uniforms, strict=True):
        kept, token = verify(target, DRAFT[None], [guess], u)
        counts[guess if kept else token] += 1
    assert chi_square(counts, TARGET, n) < 18.47  # 4 degrees of freedom, one time in a thousand
    assert chi_square(Counter(guesses), TARGET, n) > 1000


def test_a_guess_is_kept_as_often_as_the_distributions_overlap():
    n, generator = 20_000, torch.Generator().manual_seed(1)
    guesses = torch.multinomial(DRAFT, n, replacement=True, generator=generator).tolist()
    uniforms = torch.rand(n, 2, dtype=torch.float64, generator=generator)
    target = torch.stack([TARGET, TARGET])
    kept = sum(verify(target, DRAFT[None], [g], u)[0] for g, u in zip(guesses, uniforms, strict=True))
    assert kept / n == pytest.approx(torch.minimum(TARGET, DRAFT).sum().item(), abs=0.012)


def test_two_tokens_of_two_models_have_the_targets_joint_distribution():
    target, draft, prompt, n = tiny(0, vocab_size=3), tiny(1, vocab_size=3), [1, 2], 600
    generator = torch.Generator().manual_seed(2)
    runs = [
        speculate(target, draft, prompt, Sampling(), max_new_tokens=2, n_draft=2, generator=generator)
        for _ in range(n)
    ]
    counts = Counter(3 * run.tokens[0] + run.tokens[1] for run in runs)
    with torch.inference_mode():
        first = probabilities(target(torch.tensor([prompt]))[:, -1], Sampling())[0]
        rows = torch.tensor([[*prompt, i] for i in range(3)])
        joint = first[:, None] * probabilities(target(rows)[:, -1], Sampling())
    likely = joint.flatten() * n >= 5  # cells that a chi-square test may count
    counted = Counter({i: counts[j] for i, j in enumerate(likely.nonzero()[:, 0].tolist())})
    assert chi_square(counted, joint.flatten()[likely], n) < 26.1  # 8 degrees of freedom, 1 in a thousand


@pytest.mark.parametrize("n_draft", [1, 4, 7])
def test_greedy_text_is_that_of_generate(n_draft):
    target, tokenizer = load("base")
    draft, stop = load("draft")[0], load("base")[1].stop_ids
    for seed in range(7):
        prompt = tokenizer.encode(stories.sample(Random(seed)).text[:25], bos=True)
        plain = generate(target, [prompt], GREEDY, max_new_tokens=100, stop=stop)[0]
        run = speculate(target, draft, prompt, GREEDY, max_new_tokens=100, n_draft=n_draft, stop=stop)
        assert run.tokens == plain
        assert len(run.accepted) < len(plain)


def test_a_model_that_drafts_for_itself_is_always_right():
    model = tiny(0)
    run = speculate(model, model, [1], Sampling(), max_new_tokens=15, n_draft=4)
    assert (run.accepted, run.tokens_per_call) == ([4, 4, 4], 5.0)


def test_no_more_than_asked_for_and_nothing_after_a_stop():
    target, draft = tiny(0), tiny(1)
    for n in (1, 2, 6):
        assert len(speculate(target, draft, [1], Sampling(), max_new_tokens=n, n_draft=4).tokens) == n
    stopped = [
        speculate(target, draft, [1], Sampling(), max_new_tokens=20, stop={s}).tokens for s in range(5)
    ]
    assert all(s not in tokens for s, tokens in enumerate(stopped))
    assert min(map(len, stopped)) < 20


@pytest.mark.parametrize(
    ("changes", "sampling", "n_draft", "words"),
    [
        ({"vocab_size": 6}, GREEDY, 4, "5 tokens, the draft 6"),
        ({}, Sampling(repetition_penalty=1.1), 4, "repetition_penalty=1.1"),
        ({}, GREEDY, 0, "n_draft=0"),
    ],
)
def test_what_cannot_work_is_refused(changes, sampling, n_draft, words):
    with pytest.raises(ValueError, match=words):
        speculate(tiny(0), tiny(1, **changes), [1], sampling, max_new_tokens=4, n_draft=n_draft)
