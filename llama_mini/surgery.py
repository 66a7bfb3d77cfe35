"""Small operations on a loaded model: swap its linear layers, freeze it, count its numbers, fuse matrices.

A model that was operated on runs like any other, in `generate` and under `torch.compile`; what `fuse` and
`swap_linears` make has other weight names, so save and convert a model before them. Shapes as in
`llama_mini.model`.
"""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.model import Attention, FeedForward, Llama, Write, rotate


def swap_linears(model: nn.Module, pattern: str, make: Callable[[nn.Linear], nn.Module]) -> list[str]:
    r"""Put make(linear) in the place of every linear layer whose name has the pattern; return the names.

    The pattern is a regular expression: r"wq|wv" finds layers.0.attention.wq, "." all, r"w\d$" the
    feed-forward's. ValueError, with some of the names, if it finds none: a typo must not pass for a success.
    """
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    found = [name for name in linears if re.search(pattern, name)]
    if not found:
        some = ", ".join(list(linears)[:8])
        raise ValueError(f"no linear layer matches {pattern!r}; there are {some}, ...")
    for name in found:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, make(linears[name]))
    return found


def freeze(model: nn.Module) -> None:
    """From now on none of the model's parameters is trained."""
    model.requires_grad_(False)


def count(model: nn.Module, *, trainable: bool = False) -> int:
    """How many numbers the parameters hold, a shared one once; with trainable, only those being trained."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trainable)


def fuse(model: Llama) -> Llama:
    """The model itself, made for decoding: wq, wk, wv as one matrix, w1, w3 as one, each a `Product`.

    The same numbers are multiplied, so the logits are equal but for the order of float additions. Only for
    running: weights get new names. ValueError for a model whose layers are no longer plain.
    """
    for block in model.layers:
        if type(block.attention) is not Attention or type(block.feed_forward) is not FeedForward:
            raise ValueError(
                f"fuse needs the plain layers of a Llama, but found {type(block.attention).__name__} and "
                f"{type(block.feed_forward).__name__}: fuse first, and only once"
            )
        block.attention = FusedAttention(block.attention)
        block.feed_forward = FusedFeedForward(block.feed_forward)
    swap_linears(model, ".", lambda linear: Product(linear.weight))
    if model.output is None:
        model.output = Product(model.tok_embeddings.weight)
    return model


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., in) times weight (out, in), of any dtype, as F.linear: (..., out).

    A single vector in a compiled step on a CPU goes without the library of matrix products: the sum is fused
    with what surrounds it, a weight in int8 is converted on the fly, and memory is read at full speed.
    """
    if torch.compiler.is_compiling() and x.device.type == "cpu" and x.numel() == x.size(-1):
        return (weight.to(x.dtype) * x.flatten()).sum(-1).view(*x.shape[:-1], -1)
    return F.linear(x, weight.to(x.dtype))


class Product(nn.Linear):
    """A linear layer without bias around a weight that exists, multiplied by `product`."""

    def __init__(self, weight: Tensor):
        super().__init__(weight.size(1), weight.size(0), bias=False, device="meta")
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight)


def stacked(linears: list[nn.Linear]) -> Product:
    """One layer whose output is theirs, side by side; ValueError unless all are plain and without bias."""
    if any(type(linear) is not nn.Linear or linear.bias is not None for linear in linears):
        raise ValueError(f"only plain linear layers without bias can be fused, not {linears}")
    weight = torch.cat([linear.weight.detach() for linear in linears])
    return Product(nn.Parameter(weight, requires_grad=linears[0].weight.requires_grad))


class FusedAttention(nn.Module):
    """`Attention` with one matrix for queries, keys and values; H and G count the heads in its rows.

    A single new token per row (T = 1) attends with its H / G queries of a group as if they were new tokens:
    they read the same keys, and the fast kernels need not know of groups.
    """

    def __init__(self, plain: Attention):
        super().__init__()
        self.wqkv = stacked([plain.wq, plain.wk, plain.wv])
        self.head_dim = plain.head_dim
        self.n_heads, self.n_kv_heads = (w.weight.size(0) // plain.head_dim for w in (plain.wq, plain.wk))
        self.wo = plain.wo

    def forward(
        self, x: Tensor, rope: Tensor, mask: Tensor | None = None, write: Write | None = None
    ) -> Tensor:
        """As `Attention.forward`."""
        heads = self.wqkv(x).unflatten(-1, (-1, self.head_dim))  # (B, T, H + G + G, D)
        turned = rotate(heads[:, :, : -self.n_kv_heads], rope)
        q, k = turned.split([self.n_heads, self.n_kv_heads], dim=2)
        v = heads[:, :, -self.n_kv_heads :]
        if write is not None:
            k, v = write(k, v)  # (B, S, G, D)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        if x.size(1) == 1:
            q = q[:, 0].unflatten(1, (self.n_kv_heads, -1))  # (B, G, H/G, D)
            y = F.scaled_dot_product_attention(q, k, v, mask)
            return self.wo(y.flatten(1)[:, None])
        q = q.transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=True)
        return self.wo(y.transpose(1, 2).flatten(2))


class FusedFeedForward(nn.Module):
    """`FeedForward` with one matrix for w1 and w3."""

    def __init__(self, plain: FeedForward):
        super().__init__()
        self.w13 = stacked([plain.w1, plain.w3])
        self.w2 = plain.w2

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w13(x).chunk(2, dim=-1)
        return self.w2(F.silu(gate) * value)
