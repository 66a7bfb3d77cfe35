"""One step of decoding, plain and compiled, and the cache that each of them wants. B rows, V vocabulary."""

from collections.abc import Callable

import torch
from torch import Tensor

from llama_mini.cache import KVCache
from llama_mini.model import Llama


def decode(model: Llama, tokens: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
    """One step: logits (B, V) after new tokens (B, 1) at positions (B, 1)."""
    return model.head(model.features(tokens, positions=positions, cache=cache)[:, -1])


def compiled_decode(model: Llama, cache: KVCache) -> Callable[..., Tensor]:
    """`decode` through `torch.compile`, for whole caches of this shape; on CUDA, replayed as a CUDA graph.

    A graph writes to fixed addresses, so the cache's memory is declared to stay where it is. Torch keeps what
    it compiled: the same model and shapes compile once in a process.
    """
    for memory in (*cache.keys, *cache.values):
        torch._dynamo.mark_static_address(memory)
    on_cuda = model.tok_embeddings.weight.is_cuda
    # Tuned products of a matrix and a vector read memory at its speed, and convert an int8 weight on the fly.
    graph: dict = {"triton.cudagraphs": True, "coordinate_descent_tuning": True}
    return torch.compile(decode, dynamic=False, options=graph if on_cuda else None)


def new_cache(model: Llama, batch: int, size: int, compile: bool) -> KVCache:
    """A cache for the model; for compiled decoding its size is a power of two, so that few shapes occur."""
    weight = model.tok_embeddings.weight
    if not compile:
        return KVCache(model.config, batch=batch, size=size, device=weight.device, dtype=weight.dtype)
    size = min(max(64, 2 ** (size - 1).bit_length()), model.config.max_seq_len)
    with torch.inference_mode(False):  # a CUDA graph may write to ordinary tensors only
        return KVCache(model.config, batch=batch, size=size, device=weight.device, dtype=weight.dtype)
