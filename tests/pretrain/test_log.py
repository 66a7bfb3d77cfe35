import sys

import pytest

from llama_mini.pretrain.log import tensorboard
from llama_mini.train import Step

STEPS = [Step(index=i, loss=1 / i, tokens=48, lr=1e-3 * i, grad_norm=0.5) for i in range(1, 6)]


def test_every_step_is_written_and_passed_on(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert list(tensorboard(STEPS[:4], tmp_path)) == STEPS[:4]
    again = Step(index=4, loss=9.0, tokens=48, lr=1e-3, grad_norm=0.5)  # killed after 4, resumed from 3
    assert list(tensorboard([again, STEPS[4]], tmp_path)) == [again, STEPS[4]]
    log = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, round(e.value, 4)) for e in log.Scalars("loss")] == [
        (1, 1.0), (2, 0.5), (3, 0.3333), (4, 9.0), (5, 0.2),
    ]  # fmt: skip
    assert sorted(log.Tags()["scalars"]) == ["grad_norm", "loss", "lr", "tokens"]


def test_a_log_of_nothing_writes_nothing(tmp_path):
    pytest.importorskip("tensorboard")
    assert list(tensorboard([], tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"llama-mini\[log\]"):
        list(tensorboard(STEPS, tmp_path))
