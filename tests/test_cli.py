import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from llama_mini import Config, Llama
from llama_mini.__main__ import main
from llama_mini.checkpoint import bundled_file, load, save
from llama_mini.config import CONFIGS
from llama_mini.info import about
from llama_mini.tokenizer import BPE

STORIES = "stories260K/stories260K"
TEXT = "The goat ate the hat. The hen saw the goat and ran. " * 40


@pytest.fixture(scope="module")
def tokenizer() -> BPE:
    return BPE.train([TEXT], 270, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"])


@pytest.fixture
def weights(tmp_path, tokenizer):
    torch.manual_seed(0)
    shape = {"dim": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 32}
    model = Llama(Config(**shape, vocab_size=tokenizer.vocab_size, max_seq_len=32))
    save(model, tmp_path / "tiny.safetensors", tokenizer=tokenizer)
    return tmp_path / "tiny.safetensors"


def failure(capsys, *arguments, code=1):
    """The one line that a wrong command gets."""
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in err
    return lines[-1]


@pytest.mark.parametrize("kind", ["bin", "gguf"])
def test_generate_tells_the_known_tale_and_nothing_else(real_data, capfd, kind):
    path = real_data(f"{STORIES}.{kind}")
    assert main(["generate", "--weights", str(path), "--temperature", "0", "--max-new-tokens", "200"]) == 0
    assert capfd.readouterr() == (real_data("stories260K/expected_stdout_200.txt").read_text(), "")


def test_generate_with_a_named_tokenizer_and_a_prompt(real_data, capsys):
    known = real_data("stories260K/expected_stdout_200.txt").read_text()
    arguments = [
        "--weights",
        real_data(f"{STORIES}.gguf"),
        "--tokenizer",
        real_data("stories260K/tok512.bin"),
    ]
    opening = known[:23]
    assert main(["generate", *map(str, arguments), "--temperature", "0", "--prompt", opening]) == 0
    told = capsys.readouterr().out
    assert told.startswith(known[:400])


def test_a_seed_fixes_the_text(weights, capsys):
    def tell(*arguments):
        assert main(["generate", "--weights", str(weights), "--max-new-tokens", "20", *arguments]) == 0
        return capsys.readouterr().out

    assert tell("--seed", "1") == tell("--seed", "1")
    assert len({tell("--seed", str(seed)) for seed in range(3)} | {tell(), tell()}) > 2
    assert tell("--seed", "1", "--top-k", "1") == tell("--temperature", "0")


def test_generate_says_what_is_wrong_in_one_line(weights, capsys, tmp_path):
    generate = ["generate", "--weights", weights]
    assert "31 new tokens" in failure(capsys, *generate, "--max-new-tokens", 40)
    assert "temperature=-1.0" in failure(capsys, *generate, "--temperature", -1)
    assert "'xpu9'" in failure(capsys, *generate, "--device", "xpu9", code=2)
    assert "does not exist" in failure(capsys, "generate", "--weights", tmp_path / "gone.bin")
    (weights.parent / "tokenizer.json").unlink()
    assert "name its file with --tokenizer" in failure(capsys, *generate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing"], "'sing'"),
        (["info"], "model"),
        (["generate", "--max-new-tokens", "many"], "--max-new-tokens"),
        (["generate", "--tempo", "3"], "--tempo"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_code_2(capsys, arguments, message):
    assert message in failure(capsys, *arguments, code=2)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command(capsys, arguments):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in ("generate", "chat", "info", "convert", "train", "doctor"))


@pytest.mark.parametrize("command", ["generate", "chat", "info", "convert", "train"])
def test_help_of_a_command_teaches_with_examples(capsys, command):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count(f"python -m llama_mini {command}") >= 2  # the usage and an example
    assert os.path.expanduser("~") + "/" not in text


def test_info_is_exact(capsys, weights):
    assert main(["info", "llama-2-70b"]) == 0
    text = capsys.readouterr().out
    assert "68,976,648,192" in text
    assert "bf16 128.48 GiB" in text
    assert "320 KiB a token, 1.25 GiB when full" in text
    assert main(["info", str(weights)]) == 0
    n_params = sum(weight.numel() for weight in load_file(weights).values())
    assert f"{n_params:,}" in capsys.readouterr().out


@pytest.mark.parametrize("name", CONFIGS)
def test_info_knows_every_name(capsys, name):
    assert main(["info", name]) == 0
    assert f"{CONFIGS[name].n_params:,}" in capsys.readouterr().out


def test_an_unknown_name_lists_the_near_ones(capsys):
    assert "llama-2-70b" in failure(capsys, "info", "lama2-70b")


def test_info_and_load_mean_the_same_model_by_a_name(tmp_path, monkeypatch):
    (tmp_path / "base").write_bytes(b"something else")
    monkeypatch.chdir(tmp_path)
    assert about("base") == about(str(bundled_file("base")))


@pytest.mark.parametrize("format", ["huggingface", "meta"])
def test_convert_there_and_back_changes_nothing(capsys, weights, tmp_path, format):
    there, back = tmp_path / "there", tmp_path / "back" / "tiny.safetensors"
    assert main(["convert", str(weights), str(there), "--format", format]) == 0
    assert main(["convert", str(there), str(back)]) == 0
    assert capsys.readouterr().out == ""
    ours, theirs = load_file(weights), load_file(back)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    assert (back.parent / "tokenizer.json").read_text() == (tmp_path / "tokenizer.json").read_text()
    assert "format='paper'" in failure(capsys, "convert", weights, there, "--format", "paper")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("tiny.gguf", "gguf"),
        ("tiny.bin", "llama2c"),
        ("q.gguf", "gguf-q8_0"),
        ("Tiny-3.1-8B", "huggingface"),
        ("native.safetensors", "native"),
    ],
)
def test_convert_goes_by_the_ending_of_the_target(capsys, weights, tmp_path, name, format):
    target = tmp_path / "new" / name
    asked = ["--format", format] if "-" in format else []
    assert main(["convert", str(weights), str(target), *asked]) == 0
    assert f"{name} ({format})" in capsys.readouterr().err
    model, tokenizer = load(target)
    assert tokenizer is not None
    assert main(["info", str(target)]) == 0
    n_bytes = (target / "model.safetensors" if target.is_dir() else target).stat().st_size
    assert f"{8 * n_bytes / model.config.n_params:.1f} bits a parameter" in capsys.readouterr().out


@pytest.fixture
def command(tmp_path, tokenizer):
    """The words of a short training command, all but its folder."""
    (tmp_path / "text.txt").write_text(TEXT)
    tokenizer.save(tmp_path / "tok.json")
    where = ["--data", str(tmp_path / "text.txt"), "--tokenizer", str(tmp_path / "tok.json")]
    return ["train", *where, "--config", "mini-300k", "--rows", "2", "--length", "16", "--lr", "0.01"]


def test_train_learns_the_text_and_its_model_tells_it(capsys, command, tmp_path):
    out = tmp_path / "run"
    assert main([*command, "--steps", "60", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "60/60" in printed.err
    losses = [float(number) for number in re.findall(r"loss (\d+\.\d+)", printed.err)]
    assert losses[-1] < losses[0] - 1
    weights = str(out / "model.safetensors")
    assert main(["generate", "--weights", weights, "--prompt", "The hen", "--max-new-tokens", "8"]) == 0
    assert capsys.readouterr().out.startswith("The hen")


def test_train_writes_a_log_for_tensorboard_if_asked(command, tmp_path, capsys, monkeypatch):
    command += ["--steps", "2", "--tensorboard", "--out"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "pip install" in failure(capsys, *command, tmp_path / "without")
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    assert main([*command, str(tmp_path / "run")]) == 0
    assert len(list((tmp_path / "run" / "tensorboard").glob("events*"))) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_kill_9_and_the_same_command_again_end_in_the_same_bits(capsys, command, tmp_path):
    command += ["--steps", "40"]
    out = tmp_path / "killed"
    run = subprocess.Popen(
        [sys.executable, "-m", "llama_mini", *command, "--out", str(out), "--save-every", "1"],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    while not (out / "state.pt").exists():
        assert run.stderr.read1(), "the run ended before it could be killed"  # waits for the bar to move
    run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert 0 < torch.load(out / "state.pt", weights_only=True)["step"] < 40
    assert main([*command, "--out", str(out)]) == 0
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    killed, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_a_folder_keeps_to_its_run(capsys, command, tmp_path):
    command += ["--steps", "2", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert main(command) == 0  # nothing left to do
    assert "lr=0.01, not 0.02" in failure(capsys, *command, "--lr", "0.02")
    (tmp_path / "text.txt").write_text(TEXT + "!")
    assert "text_sha256" in failure(capsys, *command)


def test_train_says_what_is_wrong_in_one_line(capsys, command, tmp_path):
    out = ["--out", tmp_path / "run"]
    assert "near it: mini-7m" in failure(capsys, *command, *out, "--config", "mini-7")
    assert "context of 256" in failure(capsys, *command, *out, "--length", 300)
    assert "no file or folder" in failure(capsys, *command, *out, "--data", tmp_path / "gone")
    assert "step 1" in failure(capsys, *command, *out, "--lr", "inf")


def test_doctor_reports_the_cpu(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "cpu: trains a 300k model at" in text
    assert torch.__version__ in text
