"""Hugging Face's layout: config.json and safetensors (or .bin) files, with other names and another row order.

Meta turns adjacent rows of a head together (0 with 1, 2 with 3); Hugging Face turns row i of the first half
with row i of the second. `pair_rows` and `half_rows` are the only places that know.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from einops import rearrange
from torch import Tensor

from llama_mini.checkpoint.files import (
    read_json,
    read_pickle,
    read_safetensors,
    replacing_files,
    write_json,
    write_safetensors,
)
from llama_mini.checkpoint.stored import Checkpoint, Stored, is_tied, names, select
from llama_mini.config import Config, RopeScaling
from llama_mini.model import Llama

TABLE = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "layers.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "layers.{}.attention.wq.weight": "model.layers.{}.self_attn.q_proj.weight",
    "layers.{}.attention.wk.weight": "model.layers.{}.self_attn.k_proj.weight",
    "layers.{}.attention.wv.weight": "model.layers.{}.self_attn.v_proj.weight",
    "layers.{}.attention.wo.weight": "model.layers.{}.self_attn.o_proj.weight",
    "layers.{}.ffn_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "layers.{}.feed_forward.w1.weight": "model.layers.{}.mlp.gate_proj.weight",
    "layers.{}.feed_forward.w2.weight": "model.layers.{}.mlp.down_proj.weight",
    "layers.{}.feed_forward.w3.weight": "model.layers.{}.mlp.up_proj.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FORMAT = {"format": "pt"}  # what transformers looks for beside the tensors
PATTERNS = ("*.safetensors", "*.bin", "*.index.json")


def pair_rows(weight: Tensor, n_heads: int) -> Tensor:
    """Hugging Face's row order of wq and wk (a head's first half, then its second) to Meta's pairs."""
    return rearrange(weight, "(h two d) c -> (h d two) c", h=n_heads, two=2)


def half_rows(weight: Tensor, n_heads: int) -> Tensor:
    """Meta's row order of wq and wk (adjacent pairs) to Hugging Face's halves: the inverse of pair_rows."""
    return rearrange(weight, "(h d two) c -> (h two d) c", h=n_heads, two=2)


def rotated_heads(name: str, config: Config) -> int | None:
    """How many heads a weight has whose rows the two layouts order differently; None for other weights."""
    return {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name.split(".")[-2])


def read_config(path: Path) -> Config:
    """The config in a config.json; ValueError for a model that is no plain Llama, naming the field."""
    fields = read_json(path)
    refuse_others(path, fields)
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


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: those an index lists, or the one file; ValueError if any is absent."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if index.exists():
            files = [folder / file for file in sorted(set(read_json(index)["weight_map"].values()))]
            if absent := [file.name for file in files if not file.exists()]:
                raise ValueError(
                    f"{folder}: {len(absent)} of {len(files)} files are absent: {', '.join(absent)}"
                )
            return files
        if (folder / name).exists():
            return [folder / name]
    raise ValueError(
        f"{folder} has a config.json but no weights: none of {', '.join(WEIGHTS)}, nor an index of them"
    )


def read(folder: Path) -> Checkpoint:
    """The Llama in a folder of Hugging Face's layout, its rows put back into pairs as they are read."""
    config = read_config(folder / "config.json")
    found: dict[str, Stored] = {}
    for file in weight_files(folder):
        found |= read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
    found = {name: weight for name, weight in found.items() if not name.endswith("rotary_emb.inv_freq")}
    head, embeddings = found.get(TABLE["output.weight"]), found.get(TABLE["tok_embeddings.weight"])
    if config.tie_embeddings and head is not None and embeddings is not None and is_tied(embeddings, head):
        del found[head.name]
    weights = select(folder, found, names(TABLE, config))
    return Checkpoint(
        folder, config, {name: in_pairs(name, weight, config) for name, weight in weights.items()}
    )


def in_pairs(name: str, weight: Stored, config: Config) -> Stored:
    """The same weight in our row order."""
    heads = rotated_heads(name, config)
    if heads is None:
        return weight
    return replace(weight, read=lambda: pair_rows(weight.read(), heads))


def write_config(path: Path, config: Config, dtype: str) -> None:
    """Write config.json with the field names that old and new versions of transformers both read."""
    rope = config.rope_scaling
    scaling = (
        None
        if rope is None
        else {
            "rope_type": "llama3",
            "factor": rope.factor,
            "low_freq_factor": rope.low_freq_factor,
            "high_freq_factor": rope.high_freq_factor,
            "original_max_position_embeddings": rope.original_max_seq_len,
        }
    )
    write_json(
        path,
        {
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
        },
    )


def write(model: Llama, folder: Path, *, shards: int = 1) -> None:
    """Write a folder that transformers and vLLM load, its weights in `shards` files of like size."""
    theirs, weights = names(TABLE, model.config), {}
    for name, weight in model.named_parameters():
        heads = rotated_heads(name, model.config)
        weights[theirs[name]] = weight if heads is None else half_rows(weight.detach(), heads)
    parts = split(weights, shards)
    files = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    with replacing_files(folder, PATTERNS) as temporary:
        write_config(
            temporary / "config.json", model.config, str(model.norm.weight.dtype).removeprefix("torch.")
        )
        if len(parts) == 1:
            write_safetensors(temporary / "model.safetensors", weights, FORMAT)
            return
        for file, part in zip(files, parts, strict=True):
            write_safetensors(temporary / file, part, FORMAT)
        places = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        sizes = {"total_size": sum(weight.nbytes for weight in weights.values())}
        write_json(temporary / "model.safetensors.index.json", {"metadata": sizes, "weight_map": places})


def split(weights: dict[str, Tensor], shards: int) -> list[dict[str, Tensor]]:
    """The weights in order, cut into at most `shards` parts of like size; ValueError for too many."""
    if not 1 <= shards <= len(weights):
        raise ValueError(f"shards={shards} must be between 1 and the number of tensors, {len(weights)}")
    total = sum(weight.nbytes for weight in weights.values())
    parts: list[dict[str, Tensor]] = [{} for _ in range(shards)]
    done = 0
    for name, weight in weights.items():
        parts[min(shards - 1, shards * done // total)][name] = weight
        done += weight.nbytes
    return [part for part in parts if part]
