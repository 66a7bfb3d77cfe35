"""The one training loop: a generator that yields after every update, and a state that survives a kill.

    for step in train(model, batches, loss=next_token_loss, config=TrainConfig(steps=1000)):
        curve.append(step.loss)
        if step.index % 100 == 0:
            held_out.append(evaluate(model))  # training goes on to the same bits

There is no Trainer and no callback: to log, evaluate, save and stop is the caller's. What differs between
pretraining, fine-tuning and alignment is a loss and a batch. `torch.compile(model)` trains like the model.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from llama_mini.checkpoint.files import replacing

Batch = tuple[Tensor, ...]
Loss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]  # sum over the targets that count, their number


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the weights are moved; the defaults are the LLaMA papers', but for a rate that suits laptop models.

    warmup is the share of the steps in which the rate rises from 0 to lr; then it follows half a cosine down
    to final * lr. One update averages over all targets of `accumulate` batches. bf16 computes in bfloat16
    where autocast finds it safe; the weights stay as they are.
    """

    steps: int
    lr: float = 1e-3
    warmup: float = 0.05
    final: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    accumulate: int = 1
    bf16: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.accumulate < 1:
            raise ValueError(f"steps={self.steps} and accumulate={self.accumulate} must be at least 1")
        if self.lr <= 0 or self.clip <= 0:
            raise ValueError(f"lr={self.lr} and clip={self.clip} must be above 0")
        if not (0 <= self.warmup < 1 and 0 <= self.final <= 1):
            raise ValueError(f"warmup={self.warmup} must be in [0, 1) and final={self.final} in [0, 1]")


@dataclass(frozen=True)
class Step:
    """What one update did."""

    index: int  # 1 is the first
    loss: float  # before the update: the mean over its targets, in nats
    tokens: int  # how many targets those were
    lr: float
    grad_norm: float  # before clipping


def learning_rate(index: int, config: TrainConfig) -> float:
    """The rate of update `index`, 1 ... steps: a line up, half a cosine down (Loshchilov & Hutter 2017)."""
    warmup = round(config.warmup * config.steps)
    if index <= warmup:
        return config.lr * index / warmup
    progress = (index - warmup) / (config.steps - warmup)
    return config.lr * (config.final + (1 - config.final) * (1 + math.cos(math.pi * progress)) / 2)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW on what is trainable; weight decay on matrices only: nothing draws a norm's scale towards 0."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def train(
    model: nn.Module,
    batches: Callable[[int], Batch],
    *,
    loss: Loss,
    config: TrainConfig,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[Step]:
    """Make updates start + 1 ... config.steps and yield after each.

    batches(i) is the i-th batch, i = 0, 1, 2, ...: a pure function, so a run that goes on at `start` (with
    the optimizer of `load_state`) sees what the unbroken run would have seen. loss(model, batch) returns the
    sum over the targets that count and their number; the mean is taken once, over all batches of the update,
    which makes accumulation exact however uneven the masks are. Raises FloatingPointError at the first update
    whose loss or gradient is not finite, before it touches the weights, and ValueError when nothing in an
    update counts.
    """
    if start > config.steps:
        raise ValueError(f"the run stands at step {start}, beyond steps={config.steps}: ask for more steps")
    optimizer = make_optimizer(model, config) if optimizer is None else optimizer
    for index in range(start + 1, config.steps + 1):
        first = (index - 1) * config.accumulate
        lr = learning_rate(index, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        model.zero_grad()
        parts = map(batches, range(first, first + config.accumulate))
        total, tokens = accumulate(model, parts, loss, config.bf16)
        if tokens == 0:
            raise ValueError(f"step {index} has no target that counts in its {config.accumulate} batches")
        grad_norm = average_and_clip(model, tokens, config.clip)
        if not (math.isfinite(total) and math.isfinite(grad_norm)):
            raise FloatingPointError(
                f"step {index}: loss {total / tokens}, gradient norm {grad_norm}; the weights still are "
                f"those of step {index - 1}. Lower lr={config.lr}, or go on from an earlier state"
            )
        optimizer.step()
        yield Step(index=index, loss=total / tokens, tokens=tokens, lr=lr, grad_norm=grad_norm)


def train_resumably(
    model: nn.Module,
    batches: Callable[[int], Batch],
    *,
    loss: Loss,
    config: TrainConfig,
    state: Path,
    save_every: int,
) -> Iterator[Step]:
    """`train`, from the state file if it exists; it is written every save_every steps and at the end."""
    optimizer = make_optimizer(model, config)
    start = load_state(state, model, optimizer) if state.exists() else 0
    for step in train(model, batches, loss=loss, config=config, optimizer=optimizer, start=start):
        if step.index % save_every == 0 or step.index == config.steps:
            save_state(state, model, optimizer, step.index)
        yield step


def accumulate(model: nn.Module, batches: Iterable[Batch], loss: Loss, bf16: bool) -> tuple[float, int]:
    """Add the gradients of every batch's summed loss to the weights' .grad; return the sum and the count."""
    model.train()
    device = next(model.parameters()).device
    totals, counts = [], []
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            total, count = loss(model, tuple(part.to(device, non_blocking=True) for part in batch))
        total.backward()
        totals.append(total.detach())
        counts.append(count)
    return sum(torch.stack(totals).tolist()), sum(torch.stack(counts).tolist())


def average_and_clip(model: nn.Module, count: int, limit: float) -> float:
    """Divide the gradients by the count; shrink them if their norm exceeds the limit; return the norm."""
    for weight in model.parameters():
        if weight.grad is not None:
            weight.grad /= count
    return nn.utils.clip_grad_norm_(model.parameters(), limit).item()


def plain(model: nn.Module) -> nn.Module:
    """The model inside what torch.compile made of it, where weights have other names; any other as it is."""
    return getattr(model, "_orig_mod", model)


def save_state(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write all that a run needs to go on after `step`: weights, optimizer, random numbers, in one file.

    The file is whole at every moment: the new one is written beside the old one, forced to the disk, and
    takes its place in one move. If the process dies or the disk is full on the way, the old file stands.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        "step": step,
        "model": plain(model).state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
    }
    try:
        with replacing(Path(path)) as temporary:
            torch.save(state, temporary)
    except RuntimeError as error:
        raise OSError(f"{path} could not be written, what it held before stands: {error}") from error


def load_state(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put back what `save_state` wrote and return its step, the `start` of `train`.

    Raises ValueError, naming the file, when it is damaged or of another model; the model is then unchanged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise ValueError(f"{path} is no training state, or a damaged one: {error}") from error
    if not isinstance(state, dict) or state.keys() != {"step", "model", "optimizer", "random"}:
        raise ValueError(f"{path} is no training state: load weights with llama_mini.load")
    model = plain(model)
    saved, own = state["model"], model.state_dict()
    for name in sorted(saved.keys() | own.keys()):
        ours, theirs = (tuple(d[name].shape) if name in d else "absent" for d in (own, saved))
        if ours != theirs:
            raise ValueError(f"{path} belongs to another model: {name} is {theirs} there and {ours} here")
    optimizer.load_state_dict(state["optimizer"])
    model.load_state_dict(saved)
    torch.set_rng_state(state["random"]["cpu"])
    if torch.cuda.is_available() and state["random"]["cuda"]:
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    return state["step"]
