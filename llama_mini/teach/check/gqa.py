"""Practice of chapter 08: what `check` knows about key/value heads that query heads share."""

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise


def _shared(x: Tensor, n_heads: int) -> Tensor:
    """x (B, T, G, D), each head handed to its n_heads / G neighbours: (B, T, n_heads, D)."""
    return x.repeat_interleave(n_heads // x.size(2), dim=2)


def _in_turn(x: Tensor, n_heads: int) -> Tensor:
    return x.repeat(1, 1, n_heads // x.size(2), 1)


def _by_number(x: Tensor, n_heads: int) -> Tensor:
    heads = torch.arange(n_heads) // x.size(2)
    return x[:, :, heads.clamp(max=x.size(2) - 1)]


def _heads(
    g: Generator, *shape: int, n_heads: int, dtype: torch.dtype = torch.float32, strided: bool = False
) -> tuple[Tensor, int]:
    """x of that shape (B, T, G, D) and the number of query heads; strided: as it lies behind (B, G, T, D)."""
    x = torch.randn(shape, generator=g).to(dtype)
    return (x.transpose(1, 2).contiguous().transpose(1, 2) if strided else x), n_heads


kv_shared = Exercise(
    name="kv_shared",
    reference=_shared,
    groups={
        # more groups than members, so that h // G is a number of a head; T = G, so that axes can be confused
        "neighbours": lambda g: [_heads(g, 2, 4, 4, 6, n_heads=8), _heads(g, 2, 3, 3, 5, n_heads=6)],
        "large groups": lambda g: [_heads(g, 3, 5, 2, 4, n_heads=10), _heads(g, 1, 2, 3, 7, n_heads=12)],
        "both ends": lambda g: [_heads(g, 2, 3, 1, 4, n_heads=5), _heads(g, 2, 5, 3, 4, n_heads=3)],
        "any dtype, any strides": lambda g: [
            _heads(g, 2, 5, 2, 6, n_heads=6, dtype=torch.bfloat16),
            _heads(g, 2, 5, 2, 6, n_heads=6, dtype=torch.float16, strided=True),
        ],
    },
    wrong={
        "in turn": (
            _in_turn,
            "you hand out the heads in turn, 0 1 0 1. Neighbours share, 0 0 1 1: repeat_interleave.",
        ),
        "by number": (
            _by_number,
            "query head h reads h // G in your result. A group has H / G members, so it reads h // (H / G).",
        ),
        "all the first": (
            lambda x, n_heads: x[:, :, :1].expand(-1, -1, n_heads, -1),
            "every query head gets head 0. That is right for G = 1 only.",
        ),
        "backwards": (
            lambda x, n_heads: _shared(x.flip(2), n_heads),
            "your groups come in reverse. The first query heads read head 0.",
        ),
        "n_heads each": (
            lambda x, n_heads: x.repeat_interleave(n_heads, dim=2),
            "each head comes n_heads times. It has H / G readers.",
        ),
        "unchanged": (
            lambda x, n_heads: x.clone(),
            "your result has as many heads as x. It needs one for each query head.",
        ),
        "words": (
            lambda x, n_heads: x.repeat_interleave(n_heads // x.size(2), dim=1),
            "you repeat along axis 1, the words. The heads of (B, T, G, D) are axis 2.",
        ),
        "width": (
            lambda x, n_heads: x.repeat_interleave(n_heads // x.size(2), dim=3),
            "you repeat along axis 3, the width of a head. The heads of (B, T, G, D) are axis 2.",
        ),
        "heads first": (
            lambda x, n_heads: _shared(x, n_heads).transpose(1, 2),
            "your result is (B, H, T, D). Words come before heads: (B, T, H, D).",
        ),
        "a group axis": (
            lambda x, n_heads: x[:, :, :, None].expand(-1, -1, -1, n_heads // x.size(2), -1),
            "your groups and their members are two axes. Flatten them into one of H heads.",
        ),
        "axes lost": (
            lambda x, n_heads: _shared(x, n_heads).squeeze(),
            "your result loses its axes of length 1. It is (B, T, H, D), whatever B is.",
        ),
        "float32": (
            lambda x, n_heads: _shared(x, n_heads).float(),
            "your result is float32. Sharing changes no number: it has the dtype of x.",
        ),
        "divided": (
            lambda x, n_heads: _shared(x, n_heads) * (x.size(2) / n_heads),
            "you divide a head by the number of its readers. Each reads it whole.",
        ),
    },
)

EXERCISES = [kv_shared]
