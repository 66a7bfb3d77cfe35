"""Practice of chapter 16: what `check` knows about the mask between packed documents."""

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise


def _numbers(inputs: Tensor, bos_id: int) -> Tensor:
    return (inputs == bos_id).cumsum(1)


def _same(documents: Tensor) -> Tensor:
    return documents[:, :, None] == documents[:, None, :]


def _mask(inputs: Tensor, bos_id: int) -> Tensor:
    return _same(_numbers(inputs, bos_id)).tril()


def _strict(inputs: Tensor, bos_id: int) -> Tensor:
    return _same(_numbers(inputs, bos_id)).tril(-1)


def _future(inputs: Tensor, bos_id: int) -> Tensor:
    return _same(_numbers(inputs, bos_id))


def _turned(inputs: Tensor, bos_id: int) -> Tensor:
    return _same(_numbers(inputs, bos_id)).triu()


def _causal(inputs: Tensor, bos_id: int) -> Tensor:
    rows, length = inputs.shape
    return torch.ones(rows, length, length, dtype=torch.bool).tril()


def _late(inputs: Tensor, bos_id: int) -> Tensor:
    begins = inputs == bos_id
    return _same(begins.cumsum(1) - begins.long()).tril()


def _down(inputs: Tensor, bos_id: int) -> Tensor:
    return _same((inputs == bos_id).cumsum(0)).tril()


def _first_row(inputs: Tensor, bos_id: int) -> Tensor:
    return _mask(inputs[:1], bos_id).expand(len(inputs), -1, -1).clone()


def _headless(inputs: Tensor, bos_id: int) -> Tensor:
    documents = _numbers(inputs, bos_id)
    return _same(documents).tril() & (documents > 0)[:, :, None]


def _hidden(inputs: Tensor, bos_id: int) -> Tensor:
    return ~_mask(inputs, bos_id)


def _bias(inputs: Tensor, bos_id: int) -> Tensor:
    return torch.zeros(1).where(_mask(inputs, bos_id), -torch.inf)


def _one_at_most(inputs: Tensor, bos_id: int) -> Tensor:
    last = torch.where(inputs == bos_id, torch.arange(inputs.size(1)), -1).amax(1, keepdim=True)
    return _same((torch.arange(inputs.size(1)) >= last).long()).tril()


def _rows(generator: Generator, rows: int, length: int, borders: int, *, whole: bool) -> tuple[Tensor, int]:
    """Rows of ids, 7 the BOS, at other places in each row; `whole`: each row begins with one."""
    inputs = torch.randint(8, 50, (rows, length), generator=generator)
    for row in inputs:
        row[1 + torch.randperm(length - 1, generator=generator)[:borders]] = 7
    if whole:
        inputs[:, 0] = 7
    return inputs, 7


document_mask = Exercise(
    name="document_mask",
    reference=_mask,
    groups={
        "one document": lambda g: [_rows(g, 2, 5, 0, whole=False)],
        "several documents": lambda g: [_rows(g, 3, 11, 3, whole=True), _rows(g, 2, 6, 2, whole=True)],
        "rows that begin inside a document": lambda g: [_rows(g, 3, 10, 2, whole=False)],
    },
    wrong={
        "strict": (_strict, "a token does not see itself. It may: its own place is on the diagonal."),
        "future": (_future, "a token sees what comes after it. Keep the lower triangle."),
        "turned": (_turned, "you kept the upper triangle: tokens see the future and not the past."),
        "causal": (
            _causal,
            "that is the causal mask alone: a token still sees the documents before its own.",
        ),
        "late": (_late, "your BOS belongs to the document before. It is the first token of its own."),
        "down": (_down, "you count the BOS down the rows of the batch. Count along each row, dim 1."),
        "first row": (_first_row, "you use the first row's documents for all rows."),
        "headless": (_headless, "what stands before a row's first BOS sees nothing. It is a document too."),
        "hidden": (_hidden, "your mask is True where a token must not look. True means: may look."),
        "bias": (_bias, "your mask holds 0 and -inf. It should be bool, True where a token may look."),
        "one border": (_one_at_most, "only the last BOS of a row makes a border. Every BOS does."),
    },
)

EXERCISES = [document_mask]
