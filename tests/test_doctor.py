import math

import pytest
import torch

from llama_mini import doctor
from llama_mini.doctor import Probe, disagreement, largest, probe


@pytest.fixture(scope="module")
def cpu() -> Probe:
    return probe("cpu")


def test_a_device_agrees_with_itself_and_learns_in_its_step(cpu):
    assert disagreement(probe("cpu"), cpu) is None
    assert cpu.loss < math.log(1024) - 0.1  # far more than the tolerance


def test_wrong_logits_are_refused_with_the_numbers(cpu):
    wrong = cpu.logits.clone()
    wrong[3, 5, 7] += 0.01 * cpu.logits.abs().max()
    assert "1.0e-02 of the largest, at most 1e-03" in disagreement(Probe(wrong, cpu.loss), cpu)
    assert "nan" in disagreement(Probe(cpu.logits * math.nan, cpu.loss), cpu)


def test_a_step_that_did_not_train_is_refused_with_the_numbers(cpu):
    problem = disagreement(Probe(cpu.logits, 6.9315), cpu)
    assert "6.9315" in problem
    assert f"{cpu.loss:.4f}" in problem


def test_the_report_refuses_one_device_and_keeps_the_others(monkeypatch, cpu):
    probes = {"cpu": cpu, "good:0": cpu, "bad:0": Probe(-cpu.logits, cpu.loss)}
    monkeypatch.setattr(doctor, "devices", lambda: list(probes))
    monkeypatch.setattr(doctor, "probe", probes.get)
    monkeypatch.setattr(doctor, "speed", lambda device: (1000.0, 10.0))
    report = list(doctor.examine())
    assert [line for line, well in report if not well] == [line for line, _ in report if "REFUSED" in line]
    assert sum(line.startswith("bad:0: REFUSED") for line, _ in report) == 1
    assert any(line.startswith("good:0: trains a 300k model at 1,000 tokens/s") for line, _ in report)
    assert torch.__version__ in report[0][0]


def test_largest_model_leaves_a_fifth_free():
    assert largest(1.25 * 2.01 * 8_030_261_248, 2) == "llama-3-8b"
    assert largest(1.25 * 1.99 * 8_030_261_248, 2) == "code-llama-7b"
    assert largest(1e5, 2) == "nothing"
