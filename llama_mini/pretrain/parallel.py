"""Three ways to share a Llama and its batches among processes (ranks), all with PyTorch's own pieces.

"ddp" copies the model to every rank and splits the rows of the batch; "fsdp" splits the rows and keeps only
1/N of every weight on a rank; "tp" splits the matrices themselves, and every rank sees every row. Each trains
in `llama_mini.train.train` along the curve of one process. N ranks; other shapes as in `llama_mini.model`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from llama_mini.model import Llama
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.train import Batch, Loss

PARALLEL = ("ddp", "fsdp", "tp")


def share(
    model: Llama, batches: Callable[[int], Batch], mesh: DeviceMesh, parallel: str
) -> tuple[nn.Module, Callable[[int], Batch], Loss]:
    """Model, batches and loss for `train` on this rank, shared out in one of the ways of PARALLEL."""
    if parallel == "tp":
        return tensor_parallel(model, mesh), batches, next_token_loss
    if parallel not in PARALLEL:
        raise ValueError(f"parallel={parallel!r} must be one of {', '.join(PARALLEL)}")
    wrap = replicated if parallel == "ddp" else sharded
    return wrap(model, mesh), own_rows(batches, mesh), over_ranks(next_token_loss, mesh)


def own_rows(batches: Callable[[int], Batch], mesh: DeviceMesh) -> Callable[[int], Batch]:
    """The rows of every batch that are this rank's: every N-th; together, the ranks have the whole batch.

    Raises ValueError where the rows cannot be shared out evenly.
    """
    ranks, rank = mesh.size(), mesh.get_local_rank()

    def share(i: int) -> Batch:
        batch = batches(i)
        rows = batch[0].size(0)
        if rows % ranks:
            raise ValueError(f"{rows} rows cannot be shared by {ranks} processes: take a multiple of {ranks}")
        return tuple(part[rank::ranks] for part in batch)

    return share


def over_ranks(loss: Loss, mesh: DeviceMesh) -> Loss:
    """A loss whose sum and count are those of all ranks' rows, for models of `replicated` and `sharded`.

    Both average the ranks' gradients. The average of N times the gradient of one's own sum is the gradient
    of the sum over all: exact, however unevenly the targets that count lie on the ranks.
    """

    def of_all(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        total, count = loss(model, batch)
        sums = torch.stack([total.detach().double(), count.double()])
        dist.all_reduce(sums, group=mesh.get_group())
        own = mesh.size() * total  # what the gradient is of; the value below is the sum over all ranks
        return own + (sums[0] - own.detach()), sums[1].long()

    return of_all


def replicated(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Data parallel: a whole copy on every rank; one all-reduce a step averages the gradients (DDP)."""
    return nn.parallel.DistributedDataParallel(model, process_group=mesh.get_group())


def sharded(model: Llama, mesh: DeviceMesh) -> Llama:
    """Fully sharded: of each weight, its gradient and its moments a rank keeps 1/N (ZeRO stage 3, FSDP2).

    A block's weights are gathered when it runs, forward and backward, and let go. In place.
    """
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def tensor_parallel(model: Llama, mesh: DeviceMesh) -> Llama:
    """Split matrices over the ranks (Shoeybi et al. 2019), the stream by tokens (Korthikanti et al. 2022).

    wq, wk, wv, w1, w3 and the output are split by rows, so a rank owns whole heads; wo and w2 by columns, so
    their results are added up on the way back to the stream; the embedding by vocabulary. In place. Logits
    come out whole on every rank, for training and for `generate`, which needs the same random numbers on all
    ranks. config.n_kv_heads becomes the heads of one rank, since that is what its cache must hold. Raises
    ValueError where heads or channels cannot be dealt out evenly.
    """
    ranks, c = mesh.size(), model.config
    for name in ("n_heads", "n_kv_heads", "ffn_dim"):
        if getattr(c, name) % ranks:
            raise ValueError(f"{name}={getattr(c, name)} cannot be shared out to {ranks} processes")
    parallelize_module(model, mesh, tensor_plan())
    gather = PrepareModuleOutput(output_layouts=Shard(1), desired_output_layouts=Replicate())
    parallelize_module(model, mesh, {"norm": gather})
    if model.output is None:
        model.head = partial(tied_head, model, mesh)  # type: ignore[method-assign]
    else:
        parallelize_module(model, mesh, {"output": ColwiseParallel(output_layouts=Replicate())})
    model.config = replace(c, n_kv_heads=c.n_kv_heads // ranks)
    return model


def tensor_plan() -> dict[str, ParallelStyle]:
    """How each module of a Llama is split; between the blocks the stream is split by tokens."""
    tokens, whole = Shard(1), Replicate()
    back = RowwiseParallel(output_layouts=tokens, use_local_output=False)  # add up, keep own tokens
    return {
        "tok_embeddings": RowwiseParallel(input_layouts=whole, output_layouts=tokens, use_local_output=False),
        "layers.*.attention_norm": SequenceParallel(),
        "layers.*.attention": PrepareModuleInput(
            input_layouts=(tokens, None, None, None),
            desired_input_layouts=(whole, None, None, None),
        ),
        "layers.*.attention.w[qkv]": ColwiseParallel(),
        "layers.*.attention.wo": back,
        "layers.*.ffn_norm": SequenceParallel(),
        "layers.*.feed_forward": PrepareModuleInput(input_layouts=(tokens,), desired_input_layouts=(whole,)),
        "layers.*.feed_forward.w[13]": ColwiseParallel(),
        "layers.*.feed_forward.w2": back,
        "norm": SequenceParallel(),
    }


def tied_head(model: Llama, mesh: DeviceMesh, x: Tensor) -> Tensor:
    """The head of a tied model: each rank's rows of the embedding table give logits, put together here."""
    everywhere = DTensor.from_local(x, mesh, [Replicate()], run_check=False)
    weight = model.tok_embeddings.weight
    return F.linear(everywhere, weight).full_tensor()  # type: ignore[attr-defined]
