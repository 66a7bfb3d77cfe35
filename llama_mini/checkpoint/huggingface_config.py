"""config.json, Hugging Face's description of a model: read from every generation of Llama, and written."""

from pathlib import Path
from typing import Any

from llama_mini.checkpoint.files import read_json, write_json
from llama_mini.config import Config, RopeScaling
from llama_mini.tokenizer import Tokenizer


def read_config(path: Path) -> Config:
    """The config in a config.json; ValueError for a model that is no plain Llama, naming the field."""
    fields = read_json(path)
    refuse_others(path, fields | rope_fields(fields))
    try:
        config = Config(
            dim=fields["hidden_size"],
            n_layers=fields["num_hidden_layers"],
            n_heads=fields["num_attention_heads"],
            n_kv_heads=fields.get("num_key_value_heads") or fields["num_attention_heads"],
            ffn_dim=fields["intermediate_size"],
            vocab_size=fields["vocab_size"],
            max_seq_len=fields["max_position_embeddings"],
            norm_eps=fields["rms_norm_eps"],
            rope_theta=float(rope_fields(fields).get("rope_theta", fields.get("rope_theta", 10_000.0))),
            rope_scaling=read_scaling(path, rope_fields(fields)),
            tie_embeddings=fields.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}, which fixes the shape of the model") from error
    if (head_dim := fields.get("head_dim") or config.head_dim) != config.head_dim:
        raise ValueError(
            f"{path}: head_dim is {head_dim}, but a Llama here has dim / n_heads = {config.head_dim}"
        )
    return config


def refuse_others(path: Path, fields: dict[str, Any]) -> None:
    """ValueError for the first field that asks for something a Llama does not have."""
    expected = {
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "partial_rotary_factor": 1.0,
        "quantization_config": None,
    }
    for name, value in expected.items():
        if (found := fields.get(name)) is not None and found != value:
            raise ValueError(
                f"{path}: {name} is {found!r}, but a Llama here has {value!r}; this is another architecture "
                "(Qwen2, for one, adds biases to q, k and v), and it is not read"
            )


def rope_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """What config.json says of RoPE: transformers 5 calls it rope_parameters, older versions rope_scaling."""
    return fields.get("rope_parameters") or fields.get("rope_scaling") or {}


def read_scaling(path: Path, rope: dict[str, Any]) -> RopeScaling | None:
    """Llama 3.1's scaling, or None; ValueError for any other kind."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(
            f"{path}: RoPE scaling of type {kind!r} is not read, only 'llama3' and 'default' are"
        )
    return RopeScaling(
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_max_seq_len=rope["original_max_position_embeddings"],
    )


def write_config(path: Path, config: Config, dtype: str, tokenizer: Tokenizer | None) -> None:
    """Write config.json with the field names that old and new versions of transformers both read.

    Without a tokenizer the ids that begin and end a text are null: transformers would take 1 and 2 for them.
    """
    rope = config.rope_scaling
    scaling = None
    if rope is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": rope.factor,
            "low_freq_factor": rope.low_freq_factor,
            "high_freq_factor": rope.high_freq_factor,
            "original_max_position_embeddings": rope.original_max_seq_len,
        }
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "intermediate_size": config.ffn_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tie_embeddings,
        "hidden_act": "silu",
        "torch_dtype": dtype,
    }
    write_json(path, shape | begin_and_end(tokenizer))


def begin_and_end(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """The ids that begin, end and fill up a text, as config.json and generation_config.json name them."""
    ids: dict[str, Any] = dict.fromkeys(["bos_token_id", "eos_token_id", "pad_token_id"])
    if tokenizer is None:
        return ids
    ends = sorted(tokenizer.stop_ids)
    return {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": tokenizer.pad_id,
    }
