"""Llama, whole, in one sitting: RMSNorm, RoPE, grouped-query attention, SwiGLU, block, model.

One forward serves training, prefill and decoding: `model(tokens)`, `model(tokens, positions=p, cache=c)`.
Parameters carry Meta's names. Shapes: B batch, T new tokens, S visible keys, C width (dim), H query heads,
G key/value heads, D head width, F feed-forward width, V vocabulary.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.cache import KVCache, Packed
from llama_mini.config import Config, RopeScaling

Write = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # new keys and values in, all visible ones out


class RMSNorm(nn.Module):
    """Divide each vector by its root mean square, then scale each coordinate (Zhang & Sennrich 2019, eq. 4).

    Any leading shape, last one C; the statistics are taken in float32 whatever the dtype.
    """

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()  # squares overflow float16 and lose digits in bfloat16
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return y.type_as(x) * self.weight


def rope_frequencies(
    head_dim: int, theta: float, scaling: RopeScaling | None = None, *, device: torch.device | None = None
) -> Tensor:
    """How fast each pair turns, in radians a position: theta^(-2i/D), (D/2) in float32 (RoFormer, 3.2.2)."""
    freqs = theta ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    if scaling is None:
        return freqs
    turns = scaling.original_max_seq_len * freqs / (2 * math.pi)  # full turns within the trained context
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)  # 1: a fast pair, as it was; 0: a slow pair, stretched
    return keep * freqs + (1 - keep) * freqs / scaling.factor


def rope_table(positions: Tensor, freqs: Tensor) -> Tensor:
    """Cosine and sine of position * frequency: (B or 1, T) and (D/2) -> (2, B or 1, T, 1, D/2), float32."""
    angles = positions[..., None, None].float() * freqs
    return torch.stack([angles.cos(), angles.sin()], -1).movedim(-1, 0)  # side by side in memory


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Turn the pairs (x0, x1), (x2, x3), ... of x by the angles behind rope.

    x (B, T, heads, D), rope (2, B or 1, T, 1, D/2). RoFormer (Su et al. 2021), eq. 34, in Meta's layout: a
    pair is a complex number, turned by one product. A compiler cannot fuse complex numbers: it gets the same
    product written out.
    """
    pairs = x.float().unflatten(-1, (-1, 2)).contiguous()  # (B, T, heads, D/2, 2)
    if torch.compiler.is_compiling():
        (a, b), (cos, sin) = pairs.unbind(-1), rope
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1)
    else:
        spin = torch.view_as_complex(rope.movedim(0, -1).contiguous())
        turned = torch.view_as_real(torch.view_as_complex(pairs) * spin)
    return turned.flatten(-2).type_as(x)


class Attention(nn.Module):
    """Causal self-attention in which H query heads share G key/value heads (Ainslie et al. 2023)."""

    def __init__(self, config: Config):
        super().__init__()
        self.head_dim = config.head_dim
        kv_dim = config.n_kv_heads * config.head_dim
        self.wq = nn.Linear(config.dim, config.dim, bias=False)
        self.wk = nn.Linear(config.dim, kv_dim, bias=False)
        self.wv = nn.Linear(config.dim, kv_dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)

    def forward(
        self, x: Tensor, rope: Tensor, mask: Tensor | None = None, write: Write | None = None
    ) -> Tensor:
        """Mix x (B, T, C) over time. `write` stores new keys and values and returns all that mask covers."""
        q = rotate(self.wq(x).unflatten(-1, (-1, self.head_dim)), rope)  # (B, T, H, D)
        k = rotate(self.wk(x).unflatten(-1, (-1, self.head_dim)), rope)  # (B, T, G, D)
        v = self.wv(x).unflatten(-1, (-1, self.head_dim))
        if write is not None:
            k, v = write(k, v)  # (B, S, G, D)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=True)
        return self.wo(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), one matrix more than an ordinary MLP (Shazeer 2020, eq. 6)."""

    def __init__(self, config: Config):
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.w2 = nn.Linear(config.ffn_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.ffn_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """Attention, then feed-forward; each reads the stream through a norm and adds to it (pre-norm)."""

    def __init__(self, config: Config):
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(
        self, x: Tensor, rope: Tensor, mask: Tensor | None = None, write: Write | None = None
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rope, mask, write)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    """A decoder-only transformer with Meta's parameter names; a tied model has no output weight at all."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = None if config.tie_embeddings else nn.Linear(config.dim, config.vocab_size, bias=False)
        self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Normal with std 0.02, over sqrt(2 * n_layers) for wo and w2, which add to the stream (GPT-2)."""
        for name, weight in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(weight)
            else:
                writes = name.endswith(("wo.weight", "w2.weight"))
                std = 0.02 / math.sqrt(2 * self.config.n_layers) if writes else 0.02
                nn.init.normal_(weight, std=std, generator=generator)

    def features(
        self, tokens: Tensor, *, positions: Tensor | None = None, cache: KVCache | Packed | None = None
    ) -> Tensor:
        """The normed residual stream (B, T, C) that the head reads; arguments as in `forward`."""
        if positions is None:
            positions = torch.arange(tokens.size(1), device=tokens.device)[None]
        c = self.config
        freqs = rope_frequencies(c.head_dim, c.rope_theta, c.rope_scaling, device=tokens.device)
        rope = rope_table(positions, freqs)
        mask = None if cache is None else cache.mask(positions)[:, None]  # (B or 1, 1, T, S)
        x = self.tok_embeddings(tokens)  # (B, T, C)
        for i, layer in enumerate(self.layers):
            write = None if cache is None else partial(cache.write, i, positions)
            x = layer(x, rope, mask, write)
        return self.norm(x)

    def head(self, x: Tensor) -> Tensor:
        """Features (..., C) to logits (..., V)."""
        return F.linear(x, self.tok_embeddings.weight) if self.output is None else self.output(x)

    def forward(
        self, tokens: Tensor, *, positions: Tensor | None = None, cache: KVCache | Packed | None = None
    ) -> Tensor:
        """Logits (B, T, V) for tokens (B, T).

        positions (B or 1, T): where the tokens stand; 0, 1, 2, ... unless given. Without a cache a token sees
        itself and those before it in its row; with one, every place of the cache up to its own position.
        """
        return self.head(self.features(tokens, positions=positions, cache=cache))
