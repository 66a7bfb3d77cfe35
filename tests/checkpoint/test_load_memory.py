"""Loading takes hardly more memory than the model: files are mapped, and tensors travel one at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llama_mini import Config, Llama
from llama_mini.checkpoint import save

SMALL = {"dim": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 64, "vocab_size": 64}
LARGE = {"dim": 1024, "n_layers": 6, "n_heads": 16, "n_kv_heads": 8, "ffn_dim": 2816, "vocab_size": 20_000}
N_BYTES = 200_000_000  # of a file, at least
MEASURE = """
import ctypes, sys, threading, time, torch
from llama_mini.checkpoint import load

torch.set_num_threads(1)
peak, lock, copy = 0, threading.Lock(), torch.Tensor.copy_

def note(at_least=None):
    global peak
    with lock, open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon"))
        peak = max(peak if at_least is None else at_least, 1024 * int(line.split()[1]))

def watched(*arguments):
    copy(*arguments)
    note()  # while what was read for this tensor is still held

def watch():
    while True:
        note()
        time.sleep(0.005)

torch.Tensor.copy_ = watched
threading.Thread(target=watch, daemon=True).start()
for layout, dtype in zip(sys.argv[1::2], sys.argv[2::2]):
    dtype = getattr(torch, dtype)
    load(layout + "/small", dtype=dtype)  # what a first load allocates for good is not counted
    ctypes.CDLL(None).malloc_trim(0)  # give back what the model before left
    note(at_least=0)
    before = peak
    model, _ = load(layout + "/large", dtype=dtype)
    weights = list(model.parameters())
    print(peak - before, sum(weight.nbytes for weight in weights), max(weight.nbytes for weight in weights))
    del model, weights
"""


def make(**shape: int) -> Llama:
    """A bfloat16 model, made quickly: its numbers do not matter."""
    with torch.device("meta"):
        model = Llama(Config(max_seq_len=64, **shape))
    model.bfloat16().to_empty(device="cpu")
    for i, weight in enumerate(model.parameters()):
        torch.nn.init.constant_(weight, i)
    return model


def write(model: Llama, path: Path, layout: str) -> None:
    save(model, path, format=layout.split()[0], shards=2 if layout == "huggingface in 2" else 1)
    if layout == "meta in 4":
        cut_like_llama_2(path, 4)


def cut_like_llama_2(folder: Path, parts: int) -> None:
    """Cut a Meta folder into parts as Llama 1 and 2 were, the embeddings by columns: every join is a copy."""
    whole = torch.load(folder / "consolidated.00.pth", weights_only=True)
    columns = ("tok_embeddings.weight", "wo.weight", "w2.weight")
    pieces = {
        name: [weight] * parts if weight.dim() == 1 else weight.chunk(parts, int(name.endswith(columns)))
        for name, weight in whole.items()
    }
    for i in range(parts):
        part = {name: piece[i].clone() for name, piece in pieces.items()}
        torch.save(part, folder / f"consolidated.{i:02}.pth")


LAYOUTS = [
    ("native", "bfloat16"),
    ("native", "float32"),
    ("huggingface in 2", "bfloat16"),
    ("meta in 4", "bfloat16"),
    ("gguf", "bfloat16"),
]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, which only Linux has")
def test_anonymous_memory_over_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # these files need not survive
    for name, shape in (("small", SMALL), ("large", LARGE)):
        model = make(**shape)
        for layout in {layout for layout, _ in LAYOUTS}:
            write(model, tmp_path / layout / name, layout)
    assert (tmp_path / "native" / "large").stat().st_size > N_BYTES
    arguments = [text for layout, dtype in LAYOUTS for text in (str(tmp_path / layout), dtype)]
    try:
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
    finally:
        for file in (file for file in tmp_path.rglob("*") if file.is_file()):
            file.unlink()
    for (layout, dtype), line in zip(LAYOUTS, run.stdout.splitlines(), strict=True):
        taken, size, largest = map(int, line.split())
        assert taken > 0.9 * size, f"{layout}: the measurement has missed the model"
        assert taken <= size + 2 * largest, f"{layout} to {dtype}"
