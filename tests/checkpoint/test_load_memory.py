"""Loading takes hardly more memory than the model: files are mapped, and tensors travel one at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from llama_mini.checkpoint import save

SHAPE = {"dim": 512, "n_layers": 8, "n_heads": 8, "n_kv_heads": 4, "ffn_dim": 1408, "vocab_size": 8000}
FORMATS = ("native", "huggingface", "meta")
MEASURE = """
import sys, torch
from llama_mini.checkpoint import load

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

peak, copy = 0, torch.Tensor.copy_
def watched(*arguments):
    global peak
    copy(*arguments)
    peak = max(peak, anonymous())

torch.Tensor.copy_ = watched
for folder in sys.argv[1:]:
    load(folder + "/small")  # before, so that what a first load allocates for good is not counted
    peak = before = anonymous()
    model, _ = load(folder + "/large")
    print(peak - before)
    del model
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, which only Linux has")
def test_anonymous_memory(tmp_path, tiny):
    model = tiny(**SHAPE)
    for format in FORMATS:
        save(tiny(), tmp_path / format / "small", format=format)
        save(model, tmp_path / format / "large", format=format)
    folders = [str(tmp_path / format) for format in FORMATS]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *folders], capture_output=True, text=True, check=True
    )
    size, largest = 4 * model.config.n_params, 4 * SHAPE["vocab_size"] * SHAPE["dim"]
    for format, taken in zip(FORMATS, run.stdout.split(), strict=True):
        assert int(taken) <= size + 2 * largest, format
