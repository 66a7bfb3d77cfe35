"""Two processes that talk through gloo against one. Run by torchrun, this file is what they do."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llama_mini import Config, Llama, load
from llama_mini.data.text import IGNORE
from llama_mini.generate import Sampling, generate
from llama_mini.pretrain import distributed
from llama_mini.pretrain.distributed import pretrain, process_group, saved_states
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.pretrain.parallel import PARALLEL, own_rows, share, tensor_parallel
from llama_mini.tokenizer import load_tokenizer
from llama_mini.train import TrainConfig, train

TINY = Config(dim=16, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=24, vocab_size=19, max_seq_len=32)
KINDS = {
    "gqa": TINY,
    "mha": replace(TINY, n_kv_heads=4),
    "tied": replace(TINY, tie_embeddings=True),
}
ASSETS = Path(distributed.__file__).parents[1] / "assets"
BYTES = replace(TINY, vocab_size=1280)  # of the bundled tokenizer
TRAINING = TrainConfig(steps=6, lr=1e-2, clip=0.5, accumulate=2)
STREAM = (torch.arange(500) * 7 % 19).int()
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8]]


def new_model(config=TINY):
    torch.manual_seed(0)
    return Llama(config)


def uneven(i):
    """Four rows of 9 tokens, of which 1, 9, 3 and 6 targets count: no two processes have as many."""
    tokens = torch.randint(19, (4, 10), generator=torch.Generator().manual_seed(i))
    targets = tokens[:, 1:].clone()
    for row, counted in zip(targets, (1, 9, 3, 6), strict=True):
        row[counted:] = IGNORE
    return tokens[:, :-1], targets


def curve(mesh=None, parallel=None):
    parts = (
        (new_model(), uneven, next_token_loss) if mesh is None else share(new_model(), uneven, mesh, parallel)
    )
    model, batches, loss = parts
    steps = list(train(model, batches, loss=loss, config=TRAINING))
    return [[step.loss, step.tokens, step.grad_norm] for step in steps]


def run(folder, mesh, *, parallel="ddp", upto=TRAINING.steps):
    """Train in a folder until step `upto`; the losses by step."""
    losses = {}
    steps = pretrain(
        STREAM, load_tokenizer(ASSETS / "tokenizer.json"), folder,
        config=BYTES, training=TRAINING, rows=4, length=12, mesh=mesh, parallel=parallel, save_every=2,
    )  # fmt: skip
    for step in steps:
        losses[str(step.index)] = step.loss
        if step.index == upto < TRAINING.steps:
            break
    return losses


def texts(config, mesh=None):
    """Greedy and drawn continuations and the logits of a model."""
    model = new_model(config) if mesh is None else tensor_parallel(new_model(config), mesh)
    with torch.inference_mode():
        logits = model(torch.tensor([PROMPTS[1]])).tolist()
    greedy = generate(model, PROMPTS, Sampling(temperature=0), max_new_tokens=12)
    drawn = generate(model, PROMPTS, max_new_tokens=12, generator=torch.Generator().manual_seed(1))
    return {"logits": logits, "greedy": greedy, "drawn": drawn}


def work_of_two(folder):
    """All that the tests below want from two processes, as one json file."""
    with process_group() as mesh:
        results = {
            "curves": {parallel: curve(mesh, parallel) for parallel in PARALLEL},
            "texts": {name: texts(config, mesh) for name, config in KINDS.items()},
            "own": {
                parallel: sum(getattr(w, "to_local", lambda w=w: w)().numel() for w in model.parameters())
                for parallel in PARALLEL
                for model in [share(new_model(), uneven, mesh, parallel)[0]]
            },
            "whole run": run(folder / "whole", mesh),
            "first half": run(folder / "two-then-one", mesh, parallel="fsdp", upto=4),
            "second half": run(folder / "one-then-two", mesh, parallel="tp"),
        }
        rank = mesh.get_local_rank()
    (folder / f"{rank}.json").write_text(json.dumps(results))


def torchrun(*arguments):
    """Run a script or module in two processes to its end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "--nproc-per-node", "2", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes found, the first one's folder included; one process began one of the runs."""
    folder = tmp_path_factory.mktemp("two")
    with process_group() as mesh:
        first = run(folder / "one-then-two", mesh, upto=4)
    done = torchrun(__file__, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    results, other = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    owned = [results.pop("own"), other.pop("own")]
    assert results == other  # every rank reports the same, to the bit
    return results | {"folder": folder, "one's first half": first, "own": owned}


@pytest.mark.parametrize("parallel", PARALLEL)
def test_two_processes_draw_the_curve_of_one(two, parallel):
    torch.testing.assert_close(two["curves"][parallel], curve(), rtol=1e-5, atol=1e-5)
    assert [tokens for _, tokens, _ in curve()] == [2 * 19] * 6


def test_sharing_out_keeps_a_half_and_copying_keeps_all(two):
    n = TINY.n_params
    for own in two["own"]:
        assert own["ddp"] == n
        assert own["fsdp"] == pytest.approx(n / 2, rel=0.02)
        assert own["tp"] == pytest.approx(n / 2, rel=0.04)  # the norms are on every rank
    assert sum(own["fsdp"] for own in two["own"]) == n


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_parallel_decodes_like_one(two, kind):
    one = texts(KINDS[kind])
    assert (two["texts"][kind]["greedy"], two["texts"][kind]["drawn"]) == (one["greedy"], one["drawn"])
    torch.testing.assert_close(two["texts"][kind]["logits"], one["logits"], rtol=1e-4, atol=1e-5)


def test_a_run_of_two_goes_on_with_one_and_back(two):
    whole = two["whole run"]
    with process_group() as mesh:
        second = run(two["folder"] / "two-then-one", mesh)
    assert sorted(second) == ["5", "6"]
    assert two["first half"] | second == pytest.approx(whole, abs=1e-5)
    assert sorted(two["second half"]) == ["5", "6"]
    assert two["one's first half"] | two["second half"] == pytest.approx(whole, abs=1e-5)
    models = [
        load(two["folder"] / name / "model.safetensors")[0]
        for name in ("whole", "two-then-one", "one-then-two")
    ]
    for model in models[1:]:
        torch.testing.assert_close(model.state_dict(), models[0].state_dict(), rtol=1e-3, atol=1e-4)


def killed_while_saving(folder):
    """Die at step 4 when all shares are written, before they take their place."""
    save = distributed.dcp.save

    def save_and_die(state, checkpoint_id):
        save(state, checkpoint_id=checkpoint_id)
        if "00000004" in checkpoint_id.name:
            os.kill(os.getpid(), signal.SIGKILL)

    distributed.dcp.save = save_and_die
    with process_group() as mesh:
        run(folder, mesh)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_killed_in_saving_nothing_is_lost(tmp_path):
    done = subprocess.run([sys.executable, __file__, tmp_path, "kill"], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in saved_states(tmp_path)] == ["step-00000002"]
    with process_group() as mesh:
        again = run(tmp_path, mesh)
        unbroken = run(tmp_path / "unbroken", mesh)
    assert sorted(again) == ["3", "4", "5", "6"]
    assert unbroken == pytest.approx(unbroken | again, abs=0)  # bit-equal
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000006"]


def test_a_damaged_or_foreign_state_is_refused(tmp_path):
    with process_group() as mesh:
        run(tmp_path, mesh, upto=2)
        model, _, _ = share(new_model(replace(BYTES, ffn_dim=32)), uneven, mesh, "ddp")
        with pytest.raises(ValueError, match="step-00000002 is damaged, or of another model"):
            distributed.load_state(tmp_path, model, torch.optim.AdamW(model.parameters()))
        (tmp_path / "step-00000002" / ".metadata").write_bytes(b"no")
        with pytest.raises(ValueError, match="step-00000002 is damaged"):
            run(tmp_path, mesh)


def test_a_full_disk_keeps_the_old_state(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with process_group() as mesh:
        run(tmp_path, mesh, upto=2)
        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="could not be written, the state before it stands"):
            run(tmp_path, mesh)
    assert [path.name for path in saved_states(tmp_path)] == ["step-00000002"]


def test_what_cannot_be_shared_out_is_refused():
    class Three:
        def size(self):
            return 3

        def get_local_rank(self):
            return 0

    with pytest.raises(ValueError, match="4 rows cannot be shared by 3 processes"):
        own_rows(uneven, Three())(0)
    with pytest.raises(ValueError, match="n_heads=4 cannot be shared out to 3 processes"):
        tensor_parallel(new_model(), Three())
    with (
        process_group() as mesh,
        pytest.raises(ValueError, match="parallel='dp' must be one of ddp, fsdp, tp"),
    ):
        share(new_model(), uneven, mesh, "dp")


def test_windows_longer_than_the_context_are_refused(tmp_path):
    with (
        process_group() as mesh,
        pytest.raises(ValueError, match="windows of 33 tokens do not fit the model's context of 32"),
    ):
        next(pretrain(
            STREAM, load_tokenizer(ASSETS / "tokenizer.json"), tmp_path,
            config=TINY, training=TRAINING, rows=4, length=33, mesh=mesh,
        ))  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_torchrun_trains_from_the_command_line(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Once there was a small goat named Rosa. " * 40)
    command = [
        "-m",
        "llama_mini",
        "train",
        "--data",
        text,
        "--out",
        tmp_path / "run",
        "--config",
        "mini-180k",
    ]
    done = torchrun(*command, "--steps", 3, "--rows", 2, "--length", 16, "--parallel", "fsdp")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("the model has") == 1  # only the first speaks
    model, tokenizer = load(tmp_path / "run" / "model.safetensors")
    assert model.config.n_layers == 2
    assert tokenizer is not None


if __name__ == "__main__":
    torch.set_num_threads(1)
    (killed_while_saving if "kill" in sys.argv else work_of_two)(Path(sys.argv[1]))
    os._exit(0)  # at once: no thread that still listens may hold up the end
