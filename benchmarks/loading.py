"""Loading a large file against one plain read of it, from a cold and from a warm page cache; Linux.

Prints JSON: python benchmarks/loading.py [--gigabytes 13.5] [--format native] [--folder .] [--device cpu]
The file has the shape of Llama 2 7B with as many layers as fit, bfloat16, and is deleted at the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch

from llama_mini import CONFIGS, Llama
from llama_mini.checkpoint import load, save

FULL = CONFIGS["llama-2-7b"]
BYTES = 2  # of a number in bfloat16


def rss(field: str) -> int:
    """Bytes of memory of this process: RssAnon, its own, or RssFile, mapped."""
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))


def available() -> float:
    """Bytes of memory that processes may still take."""
    with open("/proc/meminfo") as info:
        return next(1024.0 * int(line.split()[1]) for line in info if line.startswith("MemAvailable"))


def write(path: Path, n_bytes: float, format: str) -> None:
    """A file of about so many bytes, on disk and not in the page cache."""
    layer = FULL.n_params - replace(FULL, n_layers=FULL.n_layers - 1).n_params
    rest = FULL.n_params - FULL.n_layers * layer
    n_layers = min(FULL.n_layers, max(1, round((n_bytes / BYTES - rest) / layer)))
    with torch.device("meta"):
        model = Llama(replace(FULL, n_layers=n_layers))
    model.bfloat16().to_empty(device="cpu")
    for i, weight in enumerate(model.parameters()):
        torch.nn.init.constant_(weight, i)
    save(model, path, format=format)


def files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.iterdir())


def forget(path: Path) -> None:
    """Let the system drop what it holds of these files in memory."""
    for file in files(path):
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_once(path: Path) -> dict[str, float]:
    """Read every byte into one small buffer that is used again and again: the cost of the disk alone."""
    buffer, start = bytearray(1 << 24), time.perf_counter()
    for file in files(path):
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass
    return {"read_s": time.perf_counter() - start}


def keep_once(path: Path) -> dict[str, float]:
    """Read every byte and keep it: the cost of the disk and of as much new memory."""
    start = time.perf_counter()
    for file in files(path):
        kept = torch.empty(file.stat().st_size, dtype=torch.uint8)
        view, at = memoryview(kept.numpy()), 0
        with file.open("rb", buffering=0) as handle:
            while n := handle.readinto(view[at : at + (1 << 24)]):
                at += n
    return {"read_and_keep_s": time.perf_counter() - start}


def load_once(path: Path, device: str) -> dict[str, float]:
    """Load, and watch what memory of its own the process holds beyond the model."""
    torch.zeros(1, device=device)
    before, peak, done = rss("RssAnon"), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, rss("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    model, _ = load(path, device=device)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    sizes = [weight.nbytes for weight in model.parameters()]
    over = max(peak, rss("RssAnon")) - before - (sum(sizes) if device == "cpu" else 0)
    return {"load_s": seconds, "anonymous_over_the_model_in_largest_tensors": over / max(sizes)}


def in_a_process(path: Path, what: str, device: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--folder", str(path), "--device", device]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=13.5)
    parser.add_argument("--format", choices=["native", "huggingface", "meta"], default="native")
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--measure", choices=["read", "keep", "load"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        reads = {"read": read_once, "keep": keep_once}
        path, what = options.folder, options.measure
        measured = load_once(path, options.device) if what == "load" else reads[what](path)
        print(json.dumps(measured))
        return
    room = min(0.5 * shutil.disk_usage(options.folder).free, 0.4 * available())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "model"
        write(path, min(options.gigabytes * 1e9, room), options.format)
        rows: dict[str, object] = {
            "torch": torch.__version__,
            "format": options.format,
            "device": options.device,
            "gigabytes": sum(file.stat().st_size for file in files(path)) / 1e9,
        }
        for state in ("cold", "warm"):
            row: dict[str, float] = {}
            for what in ("read", "keep", "load"):
                if state == "cold":
                    forget(path)
                row |= in_a_process(path, what, options.device)
            ratios = {
                f"load_over_{what}": row["load_s"] / row[f"{what}_s"] for what in ("read", "read_and_keep")
            }
            rows[state] = row | ratios
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
