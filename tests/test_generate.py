"""Choosing tokens: filters, determinism, ragged batches, borders."""

import shutil
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from llama_mini import Config, Llama, generate, stream
from llama_mini.compress.int8 import to_int8
from llama_mini.generate import Sampling, beam, choose, penalize, probabilities, sample
from llama_mini.surgery import fuse

TINY = Config(dim=32, n_layers=2, n_heads=4, n_kv_heads=1, ffn_dim=48, vocab_size=61, max_seq_len=40)
PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11]]


def model_of(vocab_size: int) -> Llama:
    torch.manual_seed(0)
    model = Llama(replace(TINY, vocab_size=vocab_size)).eval()
    model.output.weight.data.mul_(20)  # a model with opinions
    return model


@pytest.fixture(scope="module")
def model() -> Llama:
    return model_of(TINY.vocab_size)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_greedy_equals_the_loop_without_a_cache(model):
    answers = generate(model, PROMPTS, Sampling(temperature=0), max_new_tokens=20)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        row = list(prompt)
        for _ in range(20):
            row.append(int(model(torch.tensor([row]))[0, -1].argmax()))
        assert answer == row[len(prompt) :]


def test_a_seed_fixes_the_text_on_any_batch_split(model):
    together = generate(model, PROMPTS, max_new_tokens=12, generator=seeded())
    assert together == generate(model, PROMPTS, max_new_tokens=12, generator=seeded())
    one_by_one = seeded()
    assert together == [generate(model, [p], max_new_tokens=12, generator=one_by_one)[0] for p in PROMPTS]
    assert together != generate(model, PROMPTS, max_new_tokens=12, generator=seeded(1))


def test_stream_yields_what_generate_returns(model):
    steps = list(stream(model, PROMPTS, max_new_tokens=6, generator=seeded()))
    assert len(steps) == 6
    assert [list(row) for row in zip(*steps, strict=True)] == generate(
        model, PROMPTS, max_new_tokens=6, generator=seeded()
    )


def test_a_stop_token_ends_its_row_only(model):
    free = generate(model, PROMPTS, Sampling(temperature=0), max_new_tokens=8)
    stop = next(t for t in free[0] if t not in free[1][:3])
    stopped = generate(model, PROMPTS, Sampling(temperature=0), max_new_tokens=8, stop={stop})
    for before, after in zip(free, stopped, strict=True):
        assert after == (before[: before.index(stop)] if stop in before else before)


def test_all_rows_stopped_at_once_gives_empty_answers(model):
    assert generate(model, PROMPTS, max_new_tokens=5, stop=range(TINY.vocab_size)) == [[], [], []]


def test_filters_on_a_distribution_one_can_check_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    def kept(**settings) -> list[float]:
        return [round(p, 4) for p in probabilities(logits, Sampling(**settings))[0].tolist()]

    assert kept() == [0.5, 0.3, 0.15, 0.05]
    assert kept(top_k=2) == [0.625, 0.375, 0, 0]
    assert kept(top_p=0.5) == [1, 0, 0, 0]
    assert kept(top_p=0.51) == [0.625, 0.375, 0, 0]
    assert kept(top_p=1.0) == [0.5, 0.3, 0.15, 0.05]
    assert kept(min_p=0.2) == [0.5263, 0.3158, 0.1579, 0]
    assert kept(top_k=3, top_p=0.6) == [0.625, 0.375, 0, 0]
    assert kept(temperature=0) == [1, 0, 0, 0]
    squared = [0.25, 0.09, 0.0225, 0.0025]
    assert kept(temperature=0.5) == [round(p / sum(squared), 4) for p in squared]


def test_top_k_keeps_exactly_k_of_equal_tokens():
    assert (probabilities(torch.zeros(1, 10), Sampling(top_k=3)) > 0).sum() == 3


def test_draws_follow_the_distribution_and_never_pick_zero():
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.25, 0.25, 0.0]]).expand(20_000, -1)
    counts = sample(probs, torch.rand(20_000, generator=seeded())).bincount(minlength=6)
    assert counts[[0, 2, 5]].sum() == 0
    expected = 20_000 * torch.tensor([0.5, 0.25, 0.25])
    chi_square = ((counts[[1, 3, 4]] - expected) ** 2 / expected).sum()
    assert chi_square < 13.8  # 2 degrees of freedom, p = 0.001
    edges = sample(probs[:2], torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))
    assert edges.tolist() == [1, 4]


def test_greedy_choice_is_the_temperature_zero_distribution():
    logits = torch.randn(50, 11, generator=seeded())
    chosen = choose(logits, torch.rand(50, generator=seeded()), Sampling(temperature=0))
    assert torch.equal(chosen, probabilities(logits, Sampling(temperature=0)).argmax(-1))


def test_penalty_lowers_seen_tokens_of_either_sign():
    logits = torch.tensor([[2.0, -2.0, 1.0]])
    seen = torch.tensor([[True, True, False]])
    assert penalize(logits, seen, 2.0).tolist() == [[1.0, -4.0, 1.0]]


def test_a_strong_penalty_forbids_repetition(model):
    answer = generate(model, [[1, 2]], Sampling(temperature=0, repetition_penalty=1e6), max_new_tokens=25)[0]
    assert len(set(answer) | {1, 2}) == 27


@pytest.mark.parametrize(
    ("prompts", "new", "words"),
    [
        ([], 1, "a prompt is empty"),
        ([[1], []], 1, "a prompt is empty"),
        ([[1, 61]], 1, r"token id 61 is outside the vocabulary, 0 to 60"),
        ([[-1]], 1, "token id -1"),
        ([[1] * 30], 11, r"30 prompt tokens and 11 new ones need 41 places.*context is 40.*at most 10"),
        ([[1] * 50], 1, r"context is 40.*at most 0"),
    ],
)
def test_bad_prompts_are_refused_before_any_work(model, prompts, new, words):
    with pytest.raises(ValueError, match=words):
        generate(model, prompts, max_new_tokens=new)


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"min_p": 1.5}, {"repetition_penalty": 0}]
)
def test_bad_settings_name_themselves(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}={next(iter(settings.values()))}"):
        Sampling(**settings)


def test_sampling_does_not_touch_the_global_generator(model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    generate(model, PROMPTS, max_new_tokens=3, generator=seeded())
    assert torch.equal(torch.rand(3), expected)


def every_answer(model: Llama, prompt: list[int], stop: int, length: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every answer of at most `length` tokens, the stop token left out of its key."""
    answers: dict[tuple[int, ...], float] = {}
    running: dict[tuple[int, ...], float] = {(): 0.0}
    for _ in range(length):
        logits = [model(torch.tensor([[*prompt, *row]]))[0, -1] for row in running]
        ways = zip(running.items(), logits, strict=True)
        grown = {
            (*r, t): total + p for (r, total), z in ways for t, p in enumerate(z.log_softmax(-1).tolist())
        }
        answers |= {row[:-1]: total for row, total in grown.items() if row[-1] == stop}
        running = {row: total for row, total in grown.items() if row[-1] != stop}
    return answers | running


@torch.inference_mode()
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_the_best_of_all_answers(length_penalty):
    model, prompt, stop, length = model_of(5), [1, 2], 3, 3
    answers = every_answer(model, prompt, stop, length)
    scores = {row: total / min(len(row) + 1, length) ** length_penalty for row, total in answers.items()}
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:5]
    found = beam(model, prompt, width=100, max_new_tokens=length, stop={stop}, length_penalty=length_penalty)
    assert [tuple(row) for row, _ in found[:5]] == best
    assert [score for _, score in found[:5]] == pytest.approx([scores[row] for row in best], abs=1e-4)


def test_a_beam_of_one_is_greedy():
    model, prompt = model_of(50), [1, 2, 3]
    greedy = generate(model, [prompt], Sampling(temperature=0), max_new_tokens=12)[0]
    assert beam(model, prompt, width=1, max_new_tokens=12)[0][0] == greedy


def test_a_wider_beam_reorders_its_cache():
    model, prompt = model_of(50), [1, 2, 3]
    for tokens, score in beam(model, prompt, width=4, max_new_tokens=9):
        logprobs = model(torch.tensor([prompt + tokens])).log_softmax(-1)[0, 2:-1]
        true = logprobs[torch.arange(9), tokens].mean().item()
        assert score == pytest.approx(true, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"), [({"width": 0}, "width=0"), ({"width": 2, "length_penalty": 2}, "=2")]
)
def test_a_beam_that_cannot_be_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        beam(model_of(5), [1], max_new_tokens=3, **settings)


@pytest.fixture
def compiler(monkeypatch) -> CompileCounter:
    """Counts what torch.compile would compile, and runs it as it is: no C++ compiler needed."""
    torch._dynamo.reset()
    counter, real = CompileCounter(), torch.compile

    def compile(function, *, dynamic, options):
        return real(function, backend=counter, dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", compile)
    return counter


def test_compiled_steps_compile_once_and_again_only_for_other_shapes(model, compiler):
    for prompts in (PROMPTS, [[3], [4, 5], [6]]):  # 32 and 38 places: one cache size, one compilation
        expected = generate(model, prompts, Sampling(temperature=0), max_new_tokens=32)
        assert generate(model, prompts, Sampling(temperature=0), max_new_tokens=32, compile=True) == expected
        assert compiler.frame_count == 1
    drawn = generate(model, PROMPTS, max_new_tokens=32, generator=seeded(), compile=True)
    assert drawn == generate(model, PROMPTS, max_new_tokens=32, generator=seeded())
    assert compiler.frame_count == 1
    generate(model, PROMPTS[:2], max_new_tokens=32, compile=True)
    assert compiler.frame_count == 2


def test_a_step_through_the_real_compiler_tells_the_same_text(model):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler (g++ or clang++) for torch.compile on the CPU")
    torch._dynamo.reset()
    small = deepcopy(model)
    del small.layers[1:]  # a compiler takes its time
    fused = fuse(small)
    to_int8(fused, "w2")
    prompt, greedy = PROMPTS[:1], Sampling(temperature=0)  # one row: every product is of a single vector
    expected = generate(fused, prompt, greedy, max_new_tokens=30)
    assert generate(fused, prompt, greedy, max_new_tokens=30, compile=True) == expected
