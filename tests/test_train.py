import math
import os
import signal
import subprocess
import sys
from itertools import count

import pytest
import torch

from llama_mini import Config, Llama
from llama_mini.data.text import IGNORE, random_windows
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.train import TrainConfig, learning_rate, load_state, make_optimizer, save_state, train

TINY = Config(dim=16, n_layers=2, n_heads=2, n_kv_heads=1, ffn_dim=32, vocab_size=19, max_seq_len=16)
BATCHES = random_windows(torch.arange(500) % 19, rows=4, length=12, seed=3)


def new_model(config=TINY):
    torch.manual_seed(0)
    return Llama(config)


def weights_after(steps, *, batches=BATCHES, **settings):
    model = new_model()
    list(train(model, batches, loss=next_token_loss, config=TrainConfig(steps=steps, **settings)))
    return model.state_dict()


def assert_bit_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_and_reports_every_step():
    config = TrainConfig(steps=40, lr=1e-2)
    steps = list(train(new_model(), BATCHES, loss=next_token_loss, config=config))
    assert [step.index for step in steps] == list(range(1, 41))
    assert steps[0].loss == pytest.approx(math.log(19), abs=0.2)
    assert steps[-1].loss < 0.5
    assert all(step.tokens == 4 * 12 for step in steps)
    assert [step.lr for step in steps] == [learning_rate(i, config) for i in range(1, 41)]


def test_rate_rises_in_a_line_peaks_once_and_ends_at_a_tenth():
    config = TrainConfig(steps=100, lr=1.0, warmup=0.1)
    rates = [learning_rate(i, config) for i in range(1, 101)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[54] == pytest.approx(0.55)  # half way down from 1 to 0.1
    assert rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert learning_rate(1, TrainConfig(steps=1, lr=1.0, warmup=0.0)) == pytest.approx(0.1)


def test_only_matrices_decay():
    model = new_model()
    model.layers[0].requires_grad_(False)
    matrices, vectors = make_optimizer(model, TrainConfig(steps=1)).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {id(w) for w in vectors["params"]} == {
        id(w) for name, w in model.named_parameters() if name.endswith("norm.weight") and w.requires_grad
    }
    together = matrices["params"] + vectors["params"]
    assert len(together) == sum(w.requires_grad for w in model.parameters())


def uneven_batch(i):
    """Two rows; the first half of a four-row batch counts 2 targets, the second half 20."""
    generator = torch.Generator().manual_seed(i // 2)
    tokens = torch.randint(19, (4, 13), generator=generator)
    targets = tokens[:, 1:].clone()
    targets[:2, 1:] = IGNORE
    targets[2:, 10:] = IGNORE
    half = slice(0, 2) if i % 2 == 0 else slice(2, 4)
    return tokens[half, :-1], targets[half]


def whole_batch(i):
    first, second = uneven_batch(2 * i), uneven_batch(2 * i + 1)
    return tuple(torch.cat(parts) for parts in zip(first, second, strict=True))


def test_accumulation_is_exact_under_uneven_masks():
    one = next(train(new_model(), whole_batch, loss=next_token_loss, config=TrainConfig(steps=1)))
    config = TrainConfig(steps=1, accumulate=2)
    two = next(train(new_model(), uneven_batch, loss=next_token_loss, config=config))
    assert one.tokens == two.tokens == 22
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    assert two.grad_norm == pytest.approx(one.grad_norm, rel=1e-5)
    together = weights_after(5, batches=whole_batch)
    split = weights_after(5, batches=uneven_batch, accumulate=2)
    torch.testing.assert_close(together, split, rtol=1e-4, atol=1e-5)


def test_ignored_targets_change_nothing():
    def other_answers(i):
        inputs, targets = whole_batch(i)
        return inputs, targets.where(targets == IGNORE, 7)

    def other_futures(i):  # inputs after the last target that counts
        inputs, targets = whole_batch(i)
        inputs = inputs.clone()
        inputs[:2, 1:] = 0
        return inputs, targets

    def first_loss(batches):
        return next(train(new_model(), batches, loss=next_token_loss, config=TrainConfig(steps=1))).loss

    assert first_loss(other_futures) == pytest.approx(first_loss(whole_batch), rel=1e-6)
    assert first_loss(other_answers) != pytest.approx(first_loss(whole_batch), rel=1e-3)


def test_gradient_is_clipped_to_the_limit():
    model = new_model()
    step = next(train(model, BATCHES, loss=next_token_loss, config=TrainConfig(steps=1, clip=0.01)))
    norm = torch.stack([w.grad.norm() for w in model.parameters()]).norm().item()
    assert step.grad_norm > 0.1
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_frozen_weights_stay_and_stale_gradients_do_not_count():
    model = new_model()
    model(BATCHES(0)[0]).square().sum().backward()
    model.tok_embeddings.requires_grad_(False)
    before = model.tok_embeddings.weight.clone()
    clean = new_model()
    clean.tok_embeddings.requires_grad_(False)
    config = TrainConfig(steps=3)
    assert list(train(model, BATCHES, loss=next_token_loss, config=config)) == list(
        train(clean, BATCHES, loss=next_token_loss, config=config)
    )
    assert torch.equal(model.tok_embeddings.weight, before)


def test_bfloat16_autocast_follows_float32_and_keeps_float32_weights():
    model, config = new_model(), TrainConfig(steps=20, lr=1e-2, bf16=True)
    steps = list(train(model, BATCHES, loss=next_token_loss, config=config))
    exact = TrainConfig(steps=20, lr=1e-2)
    expected = list(train(new_model(), BATCHES, loss=next_token_loss, config=exact))
    assert model.norm.weight.dtype == torch.float32
    assert steps[0].loss != expected[0].loss
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in expected], rel=0.05)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights(poison):
    model, calls = new_model(), count(1)

    def loss(model, batch):
        total, n = next_token_loss(model, batch)
        return (total * poison if next(calls) == 4 else total), n

    with pytest.raises(FloatingPointError, match=r"step 4: loss (nan|inf).*step 3"):
        list(train(model, BATCHES, loss=loss, config=TrainConfig(steps=9)))
    first_three = new_model()
    for step in train(first_three, BATCHES, loss=next_token_loss, config=TrainConfig(steps=9)):
        if step.index == 3:
            break
    assert_bit_equal(model.state_dict(), first_three.state_dict())


def test_nothing_to_learn_is_an_error():
    def empty(i):
        inputs, targets = BATCHES(i)
        return inputs, torch.full_like(targets, IGNORE)

    with pytest.raises(ValueError, match="step 1 has no target"):
        list(train(new_model(), empty, loss=next_token_loss, config=TrainConfig(steps=1)))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": 1, "lr": 0}, {"steps": 1, "warmup": 1}, {"steps": 1, "accumulate": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]}={list(wrong.values())[-1]}"):
        TrainConfig(**wrong)


def resumed(path, config, batches=BATCHES):
    """The weights of a run that goes on from a state."""
    torch.manual_seed(99)  # another start on purpose
    model = Llama(TINY)
    optimizer = make_optimizer(model, config)
    start = load_state(path, model, optimizer)
    for _ in train(model, batches, loss=next_token_loss, config=config, optimizer=optimizer, start=start):
        pass
    return model.state_dict()


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_resumed_run_is_bit_equal_to_an_unbroken_one(tmp_path, stop):
    config, path = TrainConfig(steps=8, accumulate=2), tmp_path / "state.pt"
    model = new_model()
    optimizer = make_optimizer(model, config)
    for step in train(model, BATCHES, loss=next_token_loss, config=config, optimizer=optimizer):
        if step.index == stop:
            save_state(path, model, optimizer, step.index)
            break
    assert_bit_equal(resumed(path, config), weights_after(8, accumulate=2))


def test_random_numbers_go_on_where_they_were(tmp_path):
    model = new_model()
    optimizer = make_optimizer(model, TrainConfig(steps=1))
    torch.manual_seed(5)
    save_state(tmp_path / "state.pt", model, optimizer, 0)
    expected = torch.rand(3)
    load_state(tmp_path / "state.pt", model, optimizer)
    assert torch.equal(torch.rand(3), expected)


def test_a_resumed_run_reads_on_where_it_stood(tmp_path):
    """The data position and the random numbers of a loss that draws some."""
    path, config, seen = tmp_path / "state.pt", TrainConfig(steps=6, accumulate=2), []

    def batches(i):
        seen.append(i)
        return BATCHES(i)

    def noisy(model, batch):
        total, n = next_token_loss(model, batch)
        return total * (1 + torch.rand(()) / 10), n

    def run(model, optimizer, start):
        return train(model, batches, loss=noisy, config=config, optimizer=optimizer, start=start)

    whole = new_model()
    losses = [step.loss for step in run(whole, make_optimizer(whole, config), 0)]
    assert seen == list(range(12))
    model = new_model()
    optimizer = make_optimizer(model, config)
    for step in run(model, optimizer, 0):
        if step.index == 4:
            save_state(path, model, optimizer, 4)
            break
    seen.clear()
    torch.manual_seed(77)
    model = Llama(TINY)
    optimizer = make_optimizer(model, config)
    assert [step.loss for step in run(model, optimizer, load_state(path, model, optimizer))] == losses[4:]
    assert seen == [8, 9, 10, 11]
    assert_bit_equal(model.state_dict(), whole.state_dict())


def test_looking_at_the_model_between_steps_changes_nothing():
    model = new_model()
    for _ in train(model, BATCHES, loss=next_token_loss, config=TrainConfig(steps=5)):
        model.eval()
        with torch.no_grad():
            model(BATCHES(9)[0])
    assert_bit_equal(model.state_dict(), weights_after(5))
    assert model.training is False


def test_a_compiled_model_trains_alike_and_its_state_has_plain_names(tmp_path):
    config, model = TrainConfig(steps=4, lr=1e-2), new_model()
    compiled = torch.compile(model, backend="eager")  # traced and rewritten, but no compiler needed
    optimizer = make_optimizer(compiled, config)
    list(train(compiled, BATCHES, loss=next_token_loss, config=config, optimizer=optimizer))
    torch.testing.assert_close(model.state_dict(), weights_after(4, lr=1e-2), rtol=1e-5, atol=1e-6)
    save_state(tmp_path / "state.pt", compiled, optimizer, 4)
    for other in (Llama(TINY), torch.compile(Llama(TINY), backend="eager")):
        assert load_state(tmp_path / "state.pt", other, make_optimizer(other, config)) == 4
        assert_bit_equal(getattr(other, "_orig_mod", other).state_dict(), model.state_dict())


KILLED_WHILE_SAVING = """
import os, signal, sys, torch
sys.path.insert(0, {folder!r})
torch.set_num_threads({threads})
from test_train import *

write = torch.save

def torn(state, path):
    write(state, path)
    if state["step"] == 5:
        os.truncate(path, 1000)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = torn
model, config = new_model(), TrainConfig(steps=9)
optimizer = make_optimizer(model, config)
for step in train(model, BATCHES, loss=next_token_loss, config=config, optimizer=optimizer):
    save_state({path!r}, model, optimizer, step.index)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_kill_9_in_the_middle_of_saving_loses_one_step(tmp_path):
    path = tmp_path / "state.pt"
    script = KILLED_WHILE_SAVING.format(
        folder=os.path.dirname(__file__), path=str(path), threads=torch.get_num_threads()
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    model = Llama(TINY)
    assert load_state(path, model, make_optimizer(model, TrainConfig(steps=9))) == 4
    assert_bit_equal(resumed(path, TrainConfig(steps=9)), weights_after(9))


def test_a_full_disk_keeps_the_old_state(tmp_path):
    resource = pytest.importorskip("resource")
    path, model = tmp_path / "state.pt", new_model()
    optimizer = make_optimizer(model, TrainConfig(steps=1))
    save_state(path, model, optimizer, 7)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096, limits[1])
    )  # a write beyond 4 KiB fails, as on a full disk
    try:
        with pytest.raises(OSError, match="could not be written"):
            save_state(path, model, optimizer, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_or_foreign_state_is_refused_and_the_model_unchanged(tmp_path):
    path, model = tmp_path / "state.pt", new_model()
    optimizer = make_optimizer(model, TrainConfig(steps=1))
    save_state(path, model, optimizer, 1)
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:2000])
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"step": os.system}, tmp_path / "code.pt")
    for name in ("cut.pt", "empty.pt", "list.pt", "code.pt"):
        with pytest.raises(ValueError, match=name):
            load_state(tmp_path / name, model, optimizer)
    assert_bit_equal(model.state_dict(), new_model().state_dict())

    wide = new_model(Config(**{**vars(TINY), "ffn_dim": 40}))
    before = {name: weight.clone() for name, weight in wide.state_dict().items()}
    with pytest.raises(ValueError, match=r"w1\.weight is \(32, 16\) there and \(40, 16\) here"):
        load_state(path, wide, make_optimizer(wide, TrainConfig(steps=1)))
    assert_bit_equal(wide.state_dict(), before)


def test_a_finished_run_does_nothing_more_and_a_shorter_one_is_refused():
    settings = {"loss": next_token_loss, "config": TrainConfig(steps=3)}
    assert list(train(new_model(), BATCHES, start=3, **settings)) == []
    with pytest.raises(ValueError, match=r"step 4, beyond steps=3"):
        list(train(new_model(), BATCHES, start=4, **settings))
