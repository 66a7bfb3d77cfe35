"""How fast this machine runs a Llama, beside how fast it could: the work's bytes and FLOPs over two ceilings.

The ceilings are measured first, a large copy and a large matrix product, so a share says how much of the
machine is used and not how good the machine is. Weights are random: their values do not change the speed.
"""

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from llama_mini.compress.int8 import to_int8
from llama_mini.config import CONFIGS, Config
from llama_mini.costs import Machine, forward_work
from llama_mini.decode import new_cache
from llama_mini.doctor import memory
from llama_mini.finetune.lora import add_lora
from llama_mini.generate import Sampling, prefill, stream
from llama_mini.model import Llama
from llama_mini.pretrain.activations import checkpoint_activations
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.report import Row
from llama_mini.surgery import fuse

# TinyLlama's shape (Zhang et al. 2024, table 1), the usual subject of pretraining benchmarks.
ONE_BILLION = Config(
    dim=2048, n_layers=22, n_heads=32, n_kv_heads=4, ffn_dim=5632, vocab_size=32000, max_seq_len=2048
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run on a machine of some size: shapes, precision, and how much of each."""

    decode: Config
    train: Config
    dtype: torch.dtype
    copy_bytes: int
    matrix: int  # rows and columns of the matrix product
    prompt: int  # tokens of the prefill
    new_tokens: int
    batches: tuple[int, ...]  # rows that are decoded at once, one row of the report each
    train_rows: int
    train_length: int
    tune_rows: int  # LoRA, on the model that is decoded
    tune_length: int


LARGE = Plan(
    decode=CONFIGS["llama-2-7b"], train=ONE_BILLION, dtype=torch.bfloat16, copy_bytes=2**32, matrix=8192,
    prompt=2048, new_tokens=200, batches=(1, 8, 32), train_rows=8, train_length=2048,
    tune_rows=8, tune_length=1024,
)  # fmt: skip
SMALL = Plan(
    decode=CONFIGS["mini-15m"], train=CONFIGS["mini-7m"], dtype=torch.float32, copy_bytes=2**28, matrix=1024,
    prompt=128, new_tokens=100, batches=(1, 8, 32), train_rows=8, train_length=256,
    tune_rows=2, tune_length=128,
)  # fmt: skip


def plan_for(device: str) -> Plan:
    """LARGE for an accelerator with 40 GiB or more, SMALL for everything else."""
    return LARGE if device != "cpu" and (memory(device) or 0) >= 40 * 2**30 else SMALL


def seconds(work: Callable[[], object], device: str, rounds: int = 5) -> float:
    """Median wall time of the work, after one run to warm up; waits for an accelerator to finish."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def ceilings(device: str, plan: Plan) -> Machine:
    """The machine at its best: bytes read and written by a copy, FLOPs of a product of random matrices."""
    source = torch.empty(plan.copy_bytes, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    a, b = (torch.randn(plan.matrix, plan.matrix, dtype=plan.dtype, device=device) for _ in range(2))
    return Machine(
        bandwidth=2 * plan.copy_bytes / seconds(lambda: target.copy_(source), device),
        flops=2 * plan.matrix**3 / seconds(lambda: a @ b, device),
    )


def random_model(config: Config, dtype: torch.dtype, device: str) -> Llama:
    """A model that was never on another device, with random weights."""
    with torch.device("meta"):
        model = Llama(config)
    model = model.to(dtype).to_empty(device=device)
    model.init_weights()
    return model


def bits(model: Llama) -> float:
    """Bits a parameter of what a step reads, whatever the layers keep; an embedding that is only looked up
    does not count."""
    held = {name: tensor for name, tensor in model.state_dict().items() if name != "tok_embeddings.weight"}
    n_params = model.config.n_params
    if model.output is None:
        held["head"] = model.tok_embeddings.weight
    elif not model.config.tie_embeddings:
        n_params -= model.tok_embeddings.weight.numel()
    return 8 * sum(tensor.nbytes for tensor in held.values()) / n_params


def prefill_row(model: Llama, machine: Machine, device: str, length: int) -> Row:
    """Reading one prompt, in TFLOP/s."""
    prompt = torch.randint(model.config.vocab_size, (length,)).tolist()
    cache = new_cache(model, 1, length, compile=False)
    with torch.inference_mode():
        taken = seconds(lambda: model.head(prefill(model, [prompt], cache)[0]), device)
    work = forward_work(model.config, length, weight_bits=bits(model))
    best = work.flops / work.seconds(machine) / 1e12
    return Row(f"prefill of {length} tokens", work.flops / taken / 1e12, "TFLOP/s", best)


def decode_row(model: Llama, machine: Machine, *, batch: int, n: int, compile: bool, name: str) -> Row:
    """Greedy decoding of n tokens in each row, in tokens a second of all rows; the first eighth warms up."""
    prompts = torch.randint(model.config.vocab_size, (batch, 8)).tolist()
    greedy, skipped = Sampling(temperature=0), max(2, n // 8)
    for _ in range(2):  # the first compiles
        steps = stream(model, prompts, greedy, max_new_tokens=n, compile=compile)
        list(islice(steps, skipped))
        start = time.perf_counter()
        counted = sum(1 for _ in steps)
        taken = time.perf_counter() - start
    width = 8 * model.tok_embeddings.weight.element_size()
    past = 8 + skipped + counted // 2
    least = forward_work(
        model.config, 1, past=past, batch=batch, weight_bits=bits(model), cache_bits=width
    ).seconds(machine)
    return Row(f"{name}, batch {batch}", batch * counted / taken, "tokens/s", batch / least)


def step_rate(model: Llama, shape: tuple[int, int], device: str, *, bf16: bool, compile: bool) -> float:
    """Tokens a second of a training step: forward, backward and AdamW on what is trainable."""
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], fused=True)
    if compile:
        model.compile()
    tokens = torch.randint(model.config.vocab_size, shape, device=device)

    def step() -> None:
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bf16):
            total, count = next_token_loss(model, (tokens, tokens))
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()

    return math.prod(shape) / seconds(step, device)


def train_row(plan: Plan, machine: Machine, device: str, *, compile: bool) -> Row:
    """A pretraining step, its weights in float32; three forwards' FLOPs bound it."""
    config, shape = plan.train, (plan.train_rows, plan.train_length)
    model = random_model(config, torch.float32, device)
    rate = step_rate(model, shape, device, bf16=plan.dtype == torch.bfloat16, compile=compile)
    best = machine.flops / (3 * config.flops_per_token(plan.train_length // 2))
    return Row(f"pretraining step, {config.n_params / 1e6:,.0f}M", rate, "tokens/s", best)


def lora_row(plan: Plan, machine: Machine, device: str, *, compile: bool) -> Row:
    """A training step of LoRA, r = 8 on wq and wv, with checkpointed activations; two forwards bound it.

    Frozen weights need no gradient, and the forward that checkpointing makes again is not counted.
    """
    config, shape = plan.decode, (plan.tune_rows, plan.tune_length)
    model = checkpoint_activations(random_model(config, plan.dtype, device))
    add_lora(model, "wq|wv", r=8, alpha=16)
    rate = step_rate(model, shape, device, bf16=False, compile=compile)
    best = machine.flops / (2 * config.flops_per_token(plan.tune_length // 2))
    return Row(f"LoRA step, {config.n_params / 1e6:,.0f}M", rate, "tokens/s", best)


def forget_peak(device: str) -> None:
    """Free what nobody holds any more and let `peak_memory` begin anew on CUDA; a process has one peak."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> float:
    """The most memory held, in GiB: the allocator's on CUDA since `forget_peak`, else the process's so far.

    NaN on Windows.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return math.nan  # it does not say
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(device: str, plan: Plan, *, compile: bool = True) -> Iterator[Row]:
    """Every row of the report, as it is measured."""
    machine = ceilings(device, plan)
    yield Row("copy", machine.bandwidth / 1e9, "GB/s")
    yield Row(f"product of {plan.matrix} x {plan.matrix}", machine.flops / 1e12, "TFLOP/s")
    model = fuse(random_model(plan.decode, plan.dtype, device).eval())
    yield prefill_row(model, machine, device, plan.prompt)
    for batch in plan.batches:
        yield decode_row(model, machine, batch=batch, n=plan.new_tokens, compile=compile, name="decode")
    to_int8(model)
    yield decode_row(model, machine, batch=1, n=plan.new_tokens, compile=compile, name="int8 decode")
    yield Row("memory, decoding", peak_memory(device), "GiB")
    del model
    yield train_row(plan, machine, device, compile=compile)
    yield Row("memory, with training", peak_memory(device), "GiB")
    forget_peak(device)
    yield lora_row(plan, machine, device, compile=compile)
    yield Row("memory, LoRA", peak_memory(device), "GiB")
