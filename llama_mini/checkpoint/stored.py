"""What all formats share: tensors that are mapped instead of read, and a model built from them, strictly.

A format's reader turns a file or folder into a Checkpoint: the config, and every tensor under Meta's name.
Nothing is read until `build` copies one tensor after the other to its device and dtype.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.config import Config
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
Progress = Callable[[Iterable[Any]], Iterable[Any]]  # goes through a list as it is, and shows how far it is


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file, under the file's name; `read` gives its values in our row order."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


def stored(file: Path, name: str, tensor: Tensor) -> Stored:
    """A tensor that is mapped already and needs no change."""
    return Stored(file, name, tuple(tensor.shape), tensor.dtype, lambda: tensor)


@dataclass(frozen=True)
class Checkpoint:
    """A model as it lies on disk: its weights by our names, and the tokenizer if the file holds one."""

    path: Path
    config: Config
    weights: Mapping[str, Stored]
    tokenizer: Tokenizer | None = None


@cache
def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a model, in order, without making it."""
    with torch.device("meta"):
        return {name: tuple(weight.shape) for name, weight in Llama(config).named_parameters()}


def names(table: Mapping[str, str], config: Config) -> dict[str, str]:
    """A format's table, in which {} stands for the layer, for a whole config: our names to the file's."""
    ours = {
        ours.format(layer): theirs.format(layer)
        for ours, theirs in table.items()
        for layer in range(config.n_layers if "{}" in ours else 1)
    }
    return {name: ours[name] for name in shapes(config)}


def select(path: Path, found: Mapping[str, Stored], names: Mapping[str, str]) -> dict[str, Stored]:
    """The tensors found in a file under our names; ValueError listing the missing and unexpected."""
    missing = [name for name in names.values() if name not in found]
    unexpected = sorted(set(found) - set(names.values()))
    if missing or unexpected:
        raise ValueError(
            f"{path}: the config asks for {len(names)} tensors and the file holds {len(found)}; "
            f"{len(missing)} missing{listed(missing, unexpected)}, "
            f"{len(unexpected)} unexpected{listed(unexpected)}"
        )
    return {ours: found[theirs] for ours, theirs in names.items()}


def listed(some: list[str], near: list[str] = [], limit: int = 6) -> str:  # noqa: B006  (never changed)
    """': a, b (there is c), ...' for an error: the first few names, each with its likeness among `near`."""
    if not some:
        return ""
    like = {name: difflib.get_close_matches(name, near, n=1, cutoff=0.8) for name in some[:limit]}
    shown = [f"{name} (there is {match[0]})" if match else name for name, match in like.items()]
    return ": " + ", ".join(shown) + (", ..." if len(some) > limit else "")


def is_tied(embeddings: Stored, output: Stored) -> bool:
    """Whether an output matrix is the embeddings again, bit for bit: some files write a tied matrix twice."""
    if embeddings.shape != output.shape or embeddings.dtype != output.dtype:
        return False
    one, other = embeddings.read(), output.read()
    return torch.equal(one[:1], other[:1]) and torch.equal(one, other)


def check_weights(checkpoint: Checkpoint) -> None:
    """ValueError naming file, tensor and both shapes for the first weight that does not fit the config."""
    for name, shape in shapes(checkpoint.config).items():
        weight = checkpoint.weights[name]
        if weight.shape != shape:
            raise ValueError(
                f"{weight.file}: {weight.name} has shape {weight.shape}, but the config needs {shape}; "
                "these weights and this config do not belong together"
            )
        if weight.dtype not in FLOATS:
            raise ValueError(
                f"{weight.file}: {weight.name} is stored as {weight.dtype}; only float32, float16, bfloat16 "
                "and float64 are read, so take a file of this model that is not quantized"
            )


def build(
    checkpoint: Checkpoint,
    *,
    device: torch.device | str,
    dtype: torch.dtype | None,
    progress: Progress = iter,
) -> Llama:
    """The model, made without memory, filled one tensor at a time; of the embeddings' dtype unless given."""
    check_weights(checkpoint)
    with torch.device("meta"):
        model = Llama(checkpoint.config)
    model.to(dtype or checkpoint.weights["tok_embeddings.weight"].dtype).to_empty(device=device)
    with torch.no_grad():
        for name, weight in progress(list(model.named_parameters())):
            weight.copy_(checkpoint.weights[name].read())
    return model.eval()
