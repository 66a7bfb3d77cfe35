"""Token ids to batches: pack whole documents into rows, or cut random windows from a stream.

A batch is a pair (inputs, targets), (B, T) int64 each: the targets are the inputs one token later, IGNORE
where there is nothing to learn. Shapes: B rows, T tokens, N tokens of a whole stream.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Ids = Sequence[int] | Tensor
Batch = tuple[Tensor, Tensor]
IGNORE = -100  # the target that does not count, PyTorch's own convention


def pack(documents: Iterable[Ids], *, rows: int, length: int) -> Batch:
    """One batch (rows, length) of documents given as token ids, each with its BOS and EOS.

    Every row starts where a document starts and is filled with whole ones; the last is cut at the row's end.
    Takes from `documents` only what it needs; where they run out, the rest of the targets is IGNORE.
    """
    source = iter(documents)
    return to_batch([fill_row(source, length) for _ in range(rows)], length)


def fill_row(source: Iterator[Ids], length: int) -> list[Ids]:
    """Whole documents from a source until they have more than `length` tokens, or run out."""
    taken: list[Ids] = []
    n_tokens = 0
    while n_tokens <= length and (document := next(source, None)) is not None:
        taken.append(document)
        n_tokens += len(document)
    return taken


def to_batch(rows: Sequence[Sequence[Ids]], length: int) -> Batch:
    """Inputs and targets (B, length) from the documents of each row, cut at its end."""
    batch = torch.full((len(rows), length + 1), IGNORE)
    for row, documents in zip(batch, rows, strict=True):
        ids = torch.cat([torch.as_tensor(document, dtype=torch.int64) for document in documents] or [row[:0]])
        row[: len(ids)] = ids[: length + 1]
    return batch[:, :-1].clamp(min=0), batch[:, 1:].contiguous()


def packed_rows(
    documents: Iterable[Ids], *, rows: int, length: int, rank: int = 0, world: int = 1
) -> Callable[[int], Batch]:
    """The function from i to the i-th batch of documents packed one after the other, as `pack` does.

    Of the `rows` rows of a batch, process `rank` of `world` gets every world-th. Asked out of order it starts
    again: documents are then passed over until the batch is reached, so they must come again in the same
    order, and passing over them should be cheap, as with views of a mapped stream.
    """
    if not 0 <= rank < world or rows % world:
        raise ValueError(f"rank={rank} must be below world={world}, and rows={rows} a multiple of world")
    source, following = iter(documents), 0

    def batch(i: int) -> Batch:
        nonlocal source, following
        if i < following:
            source, following = iter(documents), 0
        for _ in range(rows * (i - following)):
            fill_row(source, length)
        following = i + 1
        return to_batch([fill_row(source, length) for _ in range(rows)][rank::world], length)

    return batch


def apart(batch: Batch, bos_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """A packed batch, and which document (B, T) of its row each token is in, for `packed_loss`.

    That a document is over and another begins is not to be learned: targets that are a BOS become IGNORE.
    """
    inputs, targets = batch
    return inputs, targets.masked_fill(targets == bos_id, IGNORE), (inputs == bos_id).cumsum(1)


def one_a_row(documents: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """One batch of documents given as token ids, each alone in its row; the longest sets the length."""
    length = max(map(len, documents)) - 1
    rows = [pack([document], rows=1, length=length) for document in documents]
    return torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])


def random_windows(
    stream: Tensor, *, rows: int, length: int, seed: int
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The function from i to the i-th batch: `rows` windows of a stream (N) of token ids, from random places.

    Each batch depends on (seed, i) alone, on every machine, so a run can go on anywhere.
    """
    if len(stream) <= length:
        raise ValueError(f"the text has {len(stream)} tokens, a window needs {length + 1}: give more text")

    def batch(i: int) -> tuple[Tensor, Tensor]:
        starts = np.random.default_rng((seed, i)).integers(len(stream) - length, size=(rows, 1))
        windows = stream[torch.from_numpy(starts) + torch.arange(length + 1)].long()  # (B, T + 1)
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    return batch
