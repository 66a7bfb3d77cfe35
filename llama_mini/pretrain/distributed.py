"""Many processes, one run: `torchrun --nproc-per-node N -m llama_mini train ...`.

The loop is `llama_mini.train.train`, the curve that of one process. Here is what surrounds it: the processes
(ranks) find each other, each keeps its share of the state, and only the first writes the finished model.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh

from llama_mini.checkpoint import save
from llama_mini.config import Config
from llama_mini.data.text import random_windows
from llama_mini.model import Llama
from llama_mini.pretrain.parallel import share
from llama_mini.pretrain.run import check_length, check_settings, digest
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import Step, TrainConfig, make_optimizer, train


@contextmanager
def process_group(device: str = "cpu") -> Iterator[DeviceMesh]:
    """Join the processes that torchrun started, and leave at the end; without torchrun, a group of one.

    Yields the ranks as a line. On "cuda" a rank takes the GPU of its number and talks through NCCL, on "cpu"
    through gloo.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    backend = "nccl" if kind == "cuda" else "gloo"
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield dist.init_device_mesh(kind, (dist.get_world_size(),))
    finally:
        dist.destroy_process_group()


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write what any number of processes needs to go on after `step`; every rank writes its share.

    The shares go to folder/step-N.part, which becomes folder/step-N when all are on the disk; only then the
    older state is removed. Whenever the processes die, a whole state stands. OSError if it cannot be written.
    """
    path = folder / f"step-{step:08}"
    part = path.with_suffix(".part")
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(part, ignore_errors=True)
    weights, moments = get_state_dict(model, optimizer)
    dist.barrier()
    try:
        dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=part)
    except CheckpointException as error:
        raise OSError(f"{path} could not be written, the state before it stands: {error}") from error
    if first:
        part.rename(path)
        for old in saved_states(folder)[:-1]:
            shutil.rmtree(old)
    dist.barrier()


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put back the newest whole state, from however many processes; return its step, 0 if there is none.

    Raises ValueError, naming the folder, when the state is damaged or of another model.
    """
    states = saved_states(folder)
    if not states:
        return 0
    weights, moments = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    try:
        dcp.load(state, checkpoint_id=states[-1])
    except CheckpointException as error:
        raise ValueError(f"{states[-1]} is damaged, or of another model: {error}") from error
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return int(states[-1].name.removeprefix("step-"))


def saved_states(folder: Path) -> list[Path]:
    """The whole states in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.suffix != ".part")


def pretrain(
    stream: Tensor,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    config: Config,
    training: TrainConfig,
    rows: int,
    length: int,
    mesh: DeviceMesh,
    parallel: str = "ddp",
    seed: int = 0,
    save_every: int = 100,
) -> Iterator[Step]:
    """`llama_mini.pretrain.run.pretrain` by all processes of the mesh, to be called by each of them.

    rows counts those of all ranks together, so the loss curve does not depend on their number, and a run goes
    on with another number, or another of PARALLEL. The folder holds run.json, the state (see `save_state`)
    and at the end model.safetensors. Errors as there, and as in `own_rows` and `tensor_parallel`.
    """
    check_length(length, config)
    folder, first = Path(folder), dist.get_rank() == 0
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**asdict(config), **asdict(training), "rows": rows, "length": length, "seed": seed}
        check_settings(
            folder / "run.json", settings | {"text_sha256": digest(stream), "state": "distributed"}
        )
    torch.manual_seed(seed)
    model, batches, loss = share(
        Llama(config).to(mesh.device_type),
        random_windows(stream, rows=rows, length=length, seed=seed),
        mesh,
        parallel,
    )
    optimizer = make_optimizer(model, training)
    start = load_state(folder, model, optimizer)
    for step in train(model, batches, loss=loss, config=training, optimizer=optimizer, start=start):
        if step.index % save_every == 0 or step.index == training.steps:
            save_state(folder, model, optimizer, step.index)
        yield step
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if first:
        whole = Llama(config)
        whole.load_state_dict(weights)
        save(whole, folder / "model.safetensors", tokenizer=tokenizer)
