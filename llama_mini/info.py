"""What is known of a model without running it: the lines of `python -m llama_mini info`."""

from pathlib import Path

from llama_mini.checkpoint import bundled_file, read
from llama_mini.checkpoint.stored import Checkpoint
from llama_mini.config import CONFIGS, Config, find_config


def about(model: str) -> dict[str, str]:
    """What is known of a member of the family, of weights at a path, or of a bundled model."""
    path = bundled_file(model) or Path(model)
    if model not in CONFIGS and path.exists():
        checkpoint = read(path)
        return describe(checkpoint.config) | {"on disk": on_disk(checkpoint)}
    return describe(find_config(model))


def on_disk(checkpoint: Checkpoint) -> str:
    """The bytes of the files that hold the weights."""
    n_bytes = sum(file.stat().st_size for file in {weight.file for weight in checkpoint.weights.values()})
    return f"{size(n_bytes)}, {8 * n_bytes / checkpoint.config.n_params:.1f} bits a parameter"


def describe(config: Config) -> dict[str, str]:
    """The lines of `info`."""
    n, context = config.n_params, config.max_seq_len
    one, full = config.kv_cache_bytes(), config.kv_cache_bytes(context)
    widths = {"fp32": 4, "bf16": 2, "int8": 1, "int4": 0.5}
    return {
        "parameters": f"{n:,}",
        "layers": f"{config.n_layers} of width {config.dim:,}, feed-forward {config.ffn_dim:,}",
        "heads": f"{config.n_heads} of width {config.head_dim}, {config.n_kv_heads} for keys and values",
        "vocabulary": f"{config.vocab_size:,}{' (tied)' if config.tie_embeddings else ''}",
        "context": f"{context:,} tokens",
        "memory of the weights": ", ".join(f"{name} {size(n * width)}" for name, width in widths.items()),
        "KV cache (bf16)": f"{size(one)} a token, {size(full)} when full",
        "FLOPs a token": f"{config.flops_per_token():,} with no past, {config.flops_per_token(context):,} "
        "with a full one; in training three times that",
    }


def size(n_bytes: float) -> str:
    """Bytes in the unit that a reader would choose."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:,.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:,.2f} GiB"
