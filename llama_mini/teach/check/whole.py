"""Practice of chapter 09: what `check` knows about counting the parameters of a whole Llama."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator

from llama_mini.teach.check.exercise import Exercise

Shape = tuple[int, int, int, int, int, int, bool]


def _count(
    dim: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    ffn_dim: int,
    vocab_size: int,
    tied: bool,
    *,
    kv_dim: Callable[[int, int, int], int] = lambda dim, heads, kv_heads: kv_heads * dim // heads,
    matrices: tuple[int, int, int] = (2, 2, 3),
    norms: int = 2,
    last: int = 1,
    repeated: bool = True,
    tables: Callable[[bool], int] = lambda tied: 1 if tied else 2,
    biases: bool = False,
) -> int:
    """The numbers in a Llama, or what a slip in one of the keywords makes of them."""
    narrow, (square, oblong, gates) = kv_dim(dim, n_heads, n_kv_heads), matrices
    block = square * dim * dim + oblong * dim * narrow + gates * dim * ffn_dim + norms * dim
    block += (2 * dim + 2 * narrow + 2 * ffn_dim + dim) if biases else 0
    return (n_layers if repeated else 1) * block + last * dim + tables(tied) * vocab_size * dim


def _shape(g: Generator, *, kv: bool, tied: bool) -> Shape:
    """Numbers that differ from each other, so that none can stand in for another by chance."""

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=g))

    n_kv_heads = pick(3, 7)
    n_heads = n_kv_heads * pick(2, 5) if kv else n_kv_heads
    dim = n_heads * 2 * pick(4, 9)
    return dim, pick(3, 9), n_heads, n_kv_heads, dim * 2 + pick(3, 40), dim * 3 + pick(50, 900), tied


whole_count = Exercise(
    name="whole_count",
    reference=_count,
    groups={
        "shared key heads": lambda g: [_shape(g, kv=True, tied=False) for _ in range(2)],
        "heads of their own": lambda g: [_shape(g, kv=False, tied=False) for _ in range(2)],
        "tied": lambda g: [_shape(g, kv=kv, tied=tied) for kv in (True, False) for tied in (False, True)],
    },
    wrong={
        "key heads ignored": (
            partial(_count, kv_dim=lambda dim, heads, kv_heads: dim),
            "your wk and wv are as large as wq. They have n_kv_heads heads, each dim / n_heads wide.",
        ),
        "width by key heads": (
            partial(_count, kv_dim=lambda dim, heads, kv_heads: dim // kv_heads),
            "you divide dim by n_kv_heads. A key head is as wide as a query head, dim / n_heads.",
        ),
        "one head": (
            partial(_count, kv_dim=lambda dim, heads, kv_heads: dim // heads),
            "your wk and wv hold a single head. There are n_kv_heads of them.",
        ),
        "wo narrow": (
            partial(_count, matrices=(1, 3, 3)),
            "your wo is as narrow as wk. It takes all query heads back to the stream: dim by dim.",
        ),
        "no wo": (partial(_count, matrices=(1, 2, 3)), "one matrix of attention is missing: is it wo?"),
        "two matrices": (
            partial(_count, matrices=(2, 2, 2)),
            "your feed-forward has two matrices. SwiGLU has three: w1, w2 and w3.",
        ),
        "one norm": (
            partial(_count, norms=1),
            "you count one norm a block. There are two, one before each part.",
        ),
        "no norms": (
            partial(_count, norms=0),
            "you count no norms in the blocks. Each has two, of dim numbers.",
        ),
        "no last norm": (partial(_count, last=0), "the norm after the last block is missing: dim numbers."),
        "no norms at all": (
            partial(_count, norms=0, last=0),
            "there is not one norm in your count: two a block and one at the end, dim numbers each.",
        ),
        "norms with biases": (
            partial(_count, norms=4, last=2),
            "you count two vectors for a norm. RMSNorm has a weight and no bias.",
        ),
        "biases": (partial(_count, biases=True), "you count biases. No linear map of a Llama has one."),
        "last norm in every block": (
            partial(_count, norms=3, last=0),
            "you count the last norm in every block. It stands once, after the last.",
        ),
        "tables in every block": (
            lambda *shape: _count(*shape) + (shape[1] - 1) * (1 if shape[-1] else 2) * shape[5] * shape[0],
            "you count the tables in every block. The model has them once.",
        ),
        "one block": (partial(_count, repeated=False), "you count one block. There are n_layers."),
        "always two tables": (
            partial(_count, tables=lambda tied: 2),
            "you count the head of a tied model. It is the embedding table, already counted.",
        ),
        "always one table": (
            partial(_count, tables=lambda tied: 1),
            "you count one table although the model is not tied. Its head has vocab_size * dim of its own.",
        ),
        "no table": (
            partial(_count, tables=lambda tied: 0),
            "the embedding is missing: vocab_size rows of dim numbers.",
        ),
        "no table when tied": (
            partial(_count, tables=lambda tied: 0 if tied else 2),
            "a tied model still has one table, the embedding.",
        ),
    },
)

EXERCISES = [whole_count]
