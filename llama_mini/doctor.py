"""What this machine can run, whether it computes rightly, and how fast.

A device is trusted only if it agrees with the CPU on the logits of a small model and on what one training
step does to the loss; some have been known to train silently wrong.
"""

import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from llama_mini.config import CONFIGS
from llama_mini.data.text import random_windows
from llama_mini.generate import Sampling, generate
from llama_mini.model import Llama
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.train import Batch, TrainConfig, train

SMALL = CONFIGS["mini-300k"]
TOLERANCE = 1e-3  # relative; float32 on another device differs by about 1e-6, TF32 by less than this


@dataclass(frozen=True)
class Probe:
    """What a device computed: the logits of one batch, and the loss after one training step."""

    logits: torch.Tensor
    loss: float


def versions() -> str:
    """The software and the machine, on one line."""
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{software}, {platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"


def devices() -> list[str]:
    """The CPU, then every accelerator that torch finds."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator()
    return ["cpu", *(f"{kind}:{i}" for i in range(torch.accelerator.device_count()))]


def new_model(device: str) -> Llama:
    """A small model whose weights are the same on every device."""
    model = Llama(SMALL)
    model.init_weights(torch.Generator().manual_seed(0))
    return model.to(device)


def batches(i: int) -> Batch:
    """Eight rows of 64 tokens that count upwards, again and again: something to learn."""
    return random_windows(torch.arange(1000) % 50, rows=8, length=64, seed=0)(i)


def probe(device: str) -> Probe:
    """Run the small model and train it for a step."""
    model = new_model(device)
    with torch.inference_mode():
        logits = model(batches(0)[0].to(device)).float().cpu()
    steps = train(model, batches, loss=next_token_loss, config=TrainConfig(steps=2, lr=1e-2, warmup=0.0))
    return Probe(logits, [step.loss for step in steps][-1])


def disagreement(found: Probe, expected: Probe) -> str | None:
    """Where a device departs from the CPU, with the two numbers; None if it does not."""
    error = (found.logits - expected.logits).abs().max().item() / expected.logits.abs().max().item()
    if not error <= TOLERANCE:  # a NaN must not pass
        return f"its logits are off by {error:.1e} of the largest, at most {TOLERANCE:.0e} is right"
    if not math.isclose(found.loss, expected.loss, rel_tol=TOLERANCE):
        return f"after one training step its loss is {found.loss:.4f}, the CPU's {expected.loss:.4f}"
    return None


def memory(device: str) -> int | None:
    """Bytes of memory that the device has, None where the system does not say."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    if device == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def largest(n_bytes: float, bytes_per_param: int) -> str:
    """The largest config of the family whose weights, at so many bytes each, take at most 80 % of n_bytes."""
    fitting = [name for name in CONFIGS if CONFIGS[name].n_params * bytes_per_param <= 0.8 * n_bytes]
    return max(fitting, key=lambda name: CONFIGS[name].n_params, default="nothing")


def speed(device: str) -> tuple[float, float]:
    """Tokens per second of the small model: in training, 512 a step, and in generating, one at a time."""
    model = new_model(device)
    times = []
    for _ in train(model, batches, loss=next_token_loss, config=TrainConfig(steps=8)):
        times.append(time.perf_counter())
    trained = 7 * 8 * 64 / (times[-1] - times[0])
    model.eval()
    generate(model, [[0]], Sampling(temperature=0), max_new_tokens=4)
    start = time.perf_counter()
    generate(model, [[0]], Sampling(temperature=0), max_new_tokens=100)
    return trained, 100 / (time.perf_counter() - start)


def examine() -> Iterator[tuple[str, bool]]:
    """The report, line by line, each with whether all is well."""
    yield versions(), True
    expected = probe("cpu")
    for device in devices():
        if device != "cpu" and (problem := disagreement(probe(device), expected)):
            yield f"{device}: REFUSED, {problem}; train and run on the CPU", False
            continue
        training, decoding = speed(device)
        yield f"{device}: trains a 300k model at {training:,.0f} tokens/s, generates {decoding:,.0f}/s", True
        if (size := memory(device)) is not None:
            fits = (
                f"runs up to {largest(size, 2)} (bfloat16), trains up to {largest(size, 16)} (float32, AdamW)"
            )
            yield f"{device}: {size / 2**30:.1f} GiB, {fits}", True
