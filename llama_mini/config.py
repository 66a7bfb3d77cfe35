"""The numbers that fix a Llama: one dataclass, and CONFIGS, the whole family on one screen."""

import difflib
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's stretching of the slow RoPE frequencies; field names follow Hugging Face's config.json.

    Wavelengths beyond original_max_seq_len / low_freq_factor tokens are stretched by `factor`, those below
    original_max_seq_len / high_freq_factor stay, the band between is blended (llama-models, apply_scaling).
    """

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_seq_len: int = 8192

    def __post_init__(self) -> None:
        if self.factor < 1 or self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                "rope scaling needs factor >= 1 and low_freq_factor < high_freq_factor, but "
                f"factor={self.factor}, low_freq_factor={self.low_freq_factor}, "
                f"high_freq_factor={self.high_freq_factor}"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number that fixes the shape of a Llama; field names follow Meta's params.json.

    Raises ValueError, naming the fields and their values, for a combination that cannot be built.
    """

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    ffn_dim: int
    vocab_size: int
    max_seq_len: int
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tie_embeddings: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name}={value!r} must be a whole number of at least 1")
        if self.norm_eps <= 0 or self.rope_theta <= 1:
            raise ValueError(f"norm_eps={self.norm_eps} must be > 0, rope_theta={self.rope_theta} > 1")
        if self.dim % self.n_heads:
            raise ValueError(f"dim={self.dim} must be a multiple of n_heads={self.n_heads}")
        if self.head_dim % 2:
            raise ValueError(f"RoPE turns pairs, but dim / n_heads = {self.dim} / {self.n_heads} is odd")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads={self.n_heads} must be a multiple of n_kv_heads={self.n_kv_heads}")

    @property
    def head_dim(self) -> int:
        """D, the width of one head."""
        return self.dim // self.n_heads

    @property
    def n_params(self) -> int:
        """Trainable numbers, exactly; a tied output matrix counts once."""
        attention = 2 * self.dim * self.dim + 2 * self.dim * self.n_kv_heads * self.head_dim
        layer = attention + 3 * self.dim * self.ffn_dim + 2 * self.dim
        embeddings = self.vocab_size * self.dim * (1 if self.tie_embeddings else 2)
        return self.n_layers * layer + self.dim + embeddings

    def kv_cache_bytes(self, n_tokens: int = 1, *, batch: int = 1, bytes_per_value: int = 2) -> int:
        """Bytes that the keys and values of n_tokens take in every layer, at 2 bytes a value unless told."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * bytes_per_value * n_tokens * batch

    def flops_per_token(self, context: int = 0) -> int:
        """Forward FLOPs for one token that sees `context` positions; a training step costs three times that.

        Two for every weight that is multiplied (the embedding is a lookup), and 4 * dim for every visible
        position and layer: dim multiply-adds for the scores, dim for the weighted sum.
        """
        norms = (2 * self.n_layers + 1) * self.dim
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.dim
        return 2 * (self.n_params - norms - lookup) + 4 * self.n_layers * self.dim * context


def swiglu_width(dim: int, *, multiplier: float = 1.0, multiple_of: int = 256) -> int:
    """Meta's rule for ffn_dim: 2/3 of 4 * dim, times a multiplier, rounded up (their FeedForward)."""
    width = int(multiplier * int(2 * (4 * dim) / 3))
    return multiple_of * -(-width // multiple_of)


def _family(shape: tuple[int, int, int, int, int], vocab_size: int, max_seq_len: int, **rest) -> Config:
    dim, n_layers, n_heads, n_kv_heads, ffn_dim = shape
    return Config(
        dim=dim, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, ffn_dim=ffn_dim,
        vocab_size=vocab_size, max_seq_len=max_seq_len, **rest,
    )  # fmt: skip


# (dim, n_layers, n_heads, n_kv_heads, ffn_dim)
_7B, _13B = (4096, 32, 32, 32, 11008), (5120, 40, 40, 40, 13824)
_33B, _65B = (6656, 60, 52, 52, 17920), (8192, 80, 64, 64, 22016)
_34B, _70B = (8192, 48, 64, 8, 22016), (8192, 80, 64, 8, 28672)
_8B, _405B = (4096, 32, 32, 8, 14336), (16384, 126, 128, 8, 53248)
_1B, _3B = (2048, 16, 32, 8, 8192), (3072, 28, 24, 8, 8192)
_X8, _X32 = RopeScaling(factor=8.0), RopeScaling(factor=32.0)

# Sources: the papers' size tables, Meta's code and the published config.json files. 33B goes by 30B in Meta's
# download script. Llama 3.2 takes factor 32 from its config.json; Meta's reference code hard-codes 8.
CONFIGS: dict[str, Config] = {
    "llama-7b": _family(_7B, 32000, 2048, norm_eps=1e-6),
    "llama-13b": _family(_13B, 32000, 2048, norm_eps=1e-6),
    "llama-33b": _family(_33B, 32000, 2048, norm_eps=1e-6),
    "llama-65b": _family(_65B, 32000, 2048),
    "llama-2-7b": _family(_7B, 32000, 4096),
    "llama-2-13b": _family(_13B, 32000, 4096),
    "llama-2-34b": _family(_34B, 32000, 4096),
    "llama-2-70b": _family(_70B, 32000, 4096),
    "code-llama-7b": _family(_7B, 32016, 16384, rope_theta=1e6),
    "code-llama-13b": _family(_13B, 32016, 16384, rope_theta=1e6),
    "code-llama-34b": _family(_34B, 32000, 16384, rope_theta=1e6),
    "code-llama-70b": _family(_70B, 32016, 16384, rope_theta=1e6),
    "llama-3-8b": _family(_8B, 128256, 8192, rope_theta=5e5),
    "llama-3-70b": _family(_70B, 128256, 8192, rope_theta=5e5),
    "llama-3.1-8b": _family(_8B, 128256, 131072, rope_theta=5e5, rope_scaling=_X8),
    "llama-3.1-70b": _family(_70B, 128256, 131072, rope_theta=5e5, rope_scaling=_X8),
    "llama-3.1-405b": _family(_405B, 128256, 131072, rope_theta=5e5, rope_scaling=_X8),
    "llama-3.2-1b": _family(_1B, 128256, 131072, rope_theta=5e5, rope_scaling=_X32, tie_embeddings=True),
    "llama-3.2-3b": _family(_3B, 128256, 131072, rope_theta=5e5, rope_scaling=_X32, tie_embeddings=True),
    "llama-3.3-70b": _family(_70B, 128256, 131072, rope_theta=5e5, rope_scaling=_X8),
    # Laptop sizes: the bundled tokenizer's vocabulary, trainable in front of the reader.
    "mini-180k": _family((64, 2, 4, 2, 192), 1280, 256, tie_embeddings=True),
    "mini-300k": _family((64, 4, 4, 2, 192), 1280, 256, tie_embeddings=True),
    "mini-1m": _family((128, 6, 4, 2, 352), 1280, 256, tie_embeddings=True),
    "mini-7m": _family((288, 6, 6, 3, 768), 1280, 512),
    "mini-15m": _family((288, 6, 6, 6, 768), 32000, 256, tie_embeddings=True),
}


def find_config(name: str) -> Config:
    """The config called `name`; an unknown name raises ValueError and lists the near ones."""
    if name not in CONFIGS:
        near = difflib.get_close_matches(name.lower(), CONFIGS, n=5, cutoff=0.5) or list(CONFIGS)
        raise ValueError(f"no config is called {name!r}; near it: {', '.join(near)}")
    return CONFIGS[name]
