"""What a Llama needs of a machine: bytes to hold and to train it, and the least time that a forward takes.

Sizes are in bytes (1 GiB is 2**30), times in seconds; a multiplication and an addition are two FLOPs. Times
are bounds: nothing that reads every weight and multiplies it is faster, and real code is slower.
"""

from dataclasses import dataclass

from llama_mini.config import Config


@dataclass(frozen=True)
class Machine:
    """Two ceilings: bytes a second that memory moves, FLOPs a second of large matrix products."""

    bandwidth: float
    flops: float

    def __post_init__(self) -> None:
        if self.bandwidth <= 0 or self.flops <= 0:
            raise ValueError(f"bandwidth={self.bandwidth} and flops={self.flops} must be above 0")

    @property
    def ridge(self) -> float:
        """FLOPs a byte at which memory and arithmetic take equally long (Williams et al. 2009)."""
        return self.flops / self.bandwidth


H200 = Machine(bandwidth=4.25e12, flops=789e12)  # measured, not the data sheet's: a copy, a bfloat16 product


@dataclass(frozen=True)
class Work:
    """What must be moved and computed: bytes and FLOPs."""

    n_bytes: float
    flops: float

    @property
    def intensity(self) -> float:
        """FLOPs for every byte moved."""
        return self.flops / self.n_bytes

    def seconds(self, machine: Machine) -> float:
        """The least time on a machine that moves and computes at once: the slower of the two decides."""
        return max(self.n_bytes / machine.bandwidth, self.flops / machine.flops)


def weight_bytes(config: Config, bits: float = 16) -> float:
    """Bytes of all weights at so many bits each; 4.5 stands for 4 bits and a scale every 32 weights."""
    return config.n_params * bits / 8


def forward_work(
    config: Config,
    new: int,
    *,
    past: int = 0,
    batch: int = 1,
    weight_bits: float = 16,
    cache_bits: float = 16,
) -> Work:
    """A forward of `new` tokens in each of `batch` rows with `past` in the cache, logits of the last only.

    Many new tokens are a prefill, one is a decode step. Bytes: every weight once (of an untied embedding only
    a few rows are looked up, which do not count) and the cache, read and written. Activations are left out.
    """
    if new < 1 or past < 0 or batch < 1:
        raise ValueError(f"new={new} and batch={batch} must be at least 1, past={past} at least 0")
    lookup = 0 if config.tie_embeddings else config.vocab_size * config.dim
    weights = (config.n_params - lookup) * weight_bits / 8
    cache = config.kv_cache_bytes(past + new, batch=batch, bytes_per_value=1) * cache_bits / 8
    visible = new * past + new * (new + 1) // 2  # of the pairs (new token, place that it sees)
    no_logits = 2 * (new - 1) * config.vocab_size * config.dim
    seen = config.flops_per_token(1) - config.flops_per_token()
    return Work(weights + cache, batch * (new * config.flops_per_token() + seen * visible - no_logits))


def activation_bytes(config: Config, batch: int, length: int) -> int:
    """Bytes that a float32 forward of rows (batch, length) keeps for the backward pass.

    For each token and layer: eight vectors of width C, a key and a value of width G * D, four vectors of
    width F, H + 2 numbers. Once: three vectors of width C, and the logits. No (T, T) table, since fused
    attention computes it again. Counted from what autograd saves of `Llama` and `next_token_loss`.
    """
    c = config
    layer = 8 * c.dim + 2 * c.n_kv_heads * c.head_dim + 4 * c.ffn_dim + c.n_heads + 2
    token = c.n_layers * layer + 3 * c.dim + c.vocab_size + 3  # 3: a norm, and an id of 64 bits
    return 4 * length * (batch * token + c.head_dim)  # the rope table is shared by the rows


def training_bytes(config: Config, batch: int, length: int) -> dict[str, int]:
    """Bytes to train in float32 with AdamW, by what they hold: 16 a parameter, and the activations."""
    weights = 4 * config.n_params
    return {
        "weights": weights,
        "gradients": weights,
        "moments": 2 * weights,  # Adam's running mean of the gradient and of its square
        "activations": activation_bytes(config, batch, length),
    }
