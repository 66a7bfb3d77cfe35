"""One run on one process or on many: what `python -m llama_mini train` starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from llama_mini.data.corpus import map_tokens
from llama_mini.pretrain.run import pretrain
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import Step


@contextmanager
def processes(parallel: str | None, device: str) -> Iterator[Any]:
    """The mesh of the processes that torchrun started, or None where this one is alone."""
    if parallel is None and "WORLD_SIZE" not in os.environ:
        yield None
        return
    from llama_mini.pretrain.distributed import process_group

    with process_group(device) as mesh:
        yield mesh


def start(
    tokens: Path, tok: Tokenizer, out: Path, mesh: Any, parallel: str | None, device: str, settings: dict
) -> Iterator[Step]:
    """The steps of a run in this process, alone or as one of several."""
    if mesh is None:
        return pretrain(map_tokens(tokens), tok, out, device=device, **settings)
    from llama_mini.pretrain import distributed

    torch.distributed.barrier()  # until the first has written the tokens
    how = parallel or "ddp"
    return distributed.pretrain(map_tokens(tokens), tok, out, mesh=mesh, parallel=how, **settings)
