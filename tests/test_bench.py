"""The benchmark runs at tiny size, its ceilings follow from the costs, and its report can be read back."""

import json
import time
from dataclasses import replace

import pytest
import torch

from llama_mini import Config
from llama_mini.__main__ import main
from llama_mini.bench import (
    LARGE,
    SMALL,
    bits,
    decode_row,
    lora_row,
    measure,
    plan_for,
    random_model,
    seconds,
)
from llama_mini.compress.int8 import to_int8
from llama_mini.costs import Machine, forward_work
from llama_mini.report import Row, write_report
from llama_mini.surgery import fuse

TINY = Config(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=61, max_seq_len=40)
PLAN = replace(
    SMALL, decode=TINY, train=TINY, copy_bytes=2**16, matrix=32, prompt=16, new_tokens=16, batches=(1, 3),
    train_rows=2, train_length=8, tune_rows=2, tune_length=8,
)  # fmt: skip


def test_every_row_is_measured_and_read_back(tmp_path):
    rows = list(measure("cpu", PLAN, compile=False))
    names = [row.name for row in rows]
    assert names[2:6] == [
        "prefill of 16 tokens",
        "decode, batch 1",
        "decode, batch 3",
        "int8 decode, batch 1",
    ]
    assert names[7:] == ["pretraining step, 0M", "memory, with training", "LoRA step, 0M", "memory, LoRA"]
    assert all(row.value > 0 and (row.ceiling is None or row.ceiling > 0) for row in rows)
    path = write_report(rows, "cpu", tmp_path / "results")
    assert path == tmp_path / "results" / "cpu.json"
    report = json.loads(path.read_text())
    assert report["device"] == "cpu"
    assert [Row(**row) for row in report["rows"]] == rows


def test_the_command_prints_every_row_and_writes_where_it_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("llama_mini.bench.plan_for", lambda device: replace(PLAN, batches=(1,)))
    assert main(["bench", "--no-compile", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(json.loads((tmp_path / "cpu.json").read_text())["rows"]) == 10
    assert str(tmp_path / "cpu.json") in err.replace("\n", "")


def test_a_decode_step_is_bounded_by_the_bytes_it_reads():
    model = random_model(TINY, torch.float32, "cpu").eval()
    slow_memory = Machine(bandwidth=1e6, flops=1e15)
    plain = decode_row(model, slow_memory, batch=2, n=16, compile=False, name="decode")
    work = forward_work(TINY, 1, past=8 + 2 + 7, batch=2, weight_bits=32, cache_bits=32)
    assert plain.ceiling == pytest.approx(2 * 1e6 / work.n_bytes)
    to_int8(model)
    assert decode_row(model, slow_memory, batch=2, n=16, compile=False, name="int8").ceiling > plain.ceiling


def test_a_lora_step_is_bounded_by_two_forwards():
    few_flops = Machine(bandwidth=1e15, flops=1e6)
    row = lora_row(PLAN, few_flops, "cpu", compile=False)
    assert row.ceiling == pytest.approx(1e6 / (2 * TINY.flops_per_token(4)))


@pytest.mark.parametrize("tied", [False, True])
def test_the_bits_a_step_reads_are_those_of_its_layers(tied):
    model = random_model(replace(TINY, tie_embeddings=tied), torch.float32, "cpu")
    assert bits(model) == 32
    assert bits(fuse(model)) == 32
    to_int8(model)
    assert 8 < bits(model) < 12  # the norms and the scales are float32


def test_seconds_is_the_median_of_runs_after_the_first():
    naps = iter([0.2, 0.01, 0.03, 0.02])
    assert 0.02 <= seconds(lambda: time.sleep(next(naps)), "cpu", rounds=3) < 0.1


def test_a_row_says_how_much_of_the_ceiling_it_reached():
    assert str(Row("decode", 50.0, "tokens/s", 200.0)).endswith("50.0 tokens/s, 25% of 200.0")
    assert str(Row("copy", 1234.5, "GB/s")).endswith("1,234.5 GB/s")


def test_a_cpu_gets_the_small_plan(monkeypatch):
    assert plan_for("cpu") is SMALL
    monkeypatch.setattr("llama_mini.bench.memory", lambda device: 80 * 2**30)
    assert plan_for("cuda") is LARGE
    monkeypatch.setattr("llama_mini.bench.memory", lambda device: 8 * 2**30)
    assert plan_for("cuda") is SMALL
