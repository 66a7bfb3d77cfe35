"""The keys and values of past tokens: preallocated, outside the model, addressed by position.

The visible length is the shape of the cache that is passed: `cache.upto(n)` is the same memory cut to n
places. Eager decoding passes `cache.upto(end)` and pays for what it sees; a compiled step passes the whole
cache, whose shape never changes, so it compiles once. B rows, T new tokens, S places, G heads, D head width.
"""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from llama_mini.config import Config


class KVCache:
    """Room for the keys and values of `batch` rows of `size` tokens: (B, S, G, D) tensors, two a layer."""

    def __init__(
        self,
        config: Config,
        *,
        batch: int,
        size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        shape = (batch, size, config.n_kv_heads, config.head_dim)
        # Zeros, not empty: a masked place has weight 0, and 0 * NaN would still be NaN.
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.rows = torch.arange(batch, device=device)[:, None]

    @property
    def size(self) -> int:
        """S, the number of places a row has."""
        return self.keys[0].size(1)

    def upto(self, n: int) -> "KVCache":
        """The same memory, cut to the first n places; ValueError when there are not that many."""
        if n > self.size:
            raise ValueError(
                f"the cache holds {self.size} tokens a row, but {n} are needed: make it with size={n} or more"
            )
        cut = copy(self)
        cut.keys = [keys[:, :n] for keys in self.keys]
        cut.values = [values[:, :n] for values in self.values]
        return cut

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put keys and values (B, T, G, D) at positions (B or 1, T); return all S places of that layer."""
        self.keys[layer][self.rows, positions] = keys
        self.values[layer][self.rows, positions] = values
        return self.keys[layer], self.values[layer]

    def reorder(self, rows: Sequence[int]) -> None:
        """Let row i hold what row rows[i] held: how a beam search goes on from its best rows."""
        for memory in (*self.keys, *self.values):
            memory.copy_(memory[list(rows)])

    def mask(self, positions: Tensor) -> Tensor:
        """Where tokens at positions (B or 1, T) may look: their own place and before, bool (B or 1, T, S)."""
        return torch.arange(self.size, device=positions.device) <= positions[..., None]


class Packed:
    """Stands where a cache stands, and holds nothing: rows of several documents that do not see each other.

    documents (B, T): the number of the document that each token belongs to. Positions are the caller's.
    """

    def __init__(self, documents: Tensor):
        self.documents = documents

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The new keys and values are all there is to see."""
        return keys, values

    def mask(self, positions: Tensor) -> Tensor:
        """Each token sees its own document up to itself, bool (B, T, T)."""
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return same.tril()
