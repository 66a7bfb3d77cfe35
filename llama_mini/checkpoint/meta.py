"""Meta's own layout: params.json and consolidated.NN.pth, one for each GPU that shared the model.

The parts are slices of the same tensors: of the rows (axis 0) where a matrix widens, of the columns (axis 1)
where it narrows again; norms are whole in every part. Llama 2 cuts the embeddings' columns, Llama 3 the rows.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.checkpoint.files import read_json, read_pickle, replacing_files, write_json
from llama_mini.checkpoint.native import config_from
from llama_mini.checkpoint.stored import Checkpoint, Stored, is_tied, select, shapes
from llama_mini.checkpoint.tokenizers import write_tokenizer
from llama_mini.config import CONFIGS, Config, RopeScaling, swiglu_width
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

AXES = {"wq": 0, "wk": 0, "wv": 0, "wo": 1, "w1": 0, "w2": 1, "w3": 0, "output": 0, "tok_embeddings": 0}
IGNORED = "rope.freqs"  # the end of its name: LLaMA 1 stored the frequencies in every layer
FOREIGN = ("moe_args", "quantization_args", "lora_args", "vision_chunk_size", "use_qk_norm")
SIDECAR = "llama_mini.json"


def axis_of(name: str) -> int | None:
    """The axis along which a weight is cut into parts, or None if every part has all of it."""
    return AXES.get(name.removesuffix(".weight").split(".")[-1])


def shard_files(folder: Path) -> list[Path]:
    """consolidated.00.pth, 01, ... of a folder; ValueError for none or a gap."""
    files = sorted(folder.glob("consolidated.*.pth"))
    expected = [folder / f"consolidated.{i:02}.pth" for i in range(len(files))]
    if not files or files != expected:
        raise ValueError(
            f"{folder} needs consolidated.00.pth and so on without a gap, but holds "
            f"{', '.join(file.name for file in files) or 'none of them'}"
        )
    return files


def joined(parts: list[Stored], axis: int | None) -> Stored:
    """One weight out of its parts; nothing is read yet. ValueError where the parts do not fit together."""
    first = parts[0]
    if axis is None or len(parts) == 1:
        return first
    for part in parts:
        if part.shape != first.shape:
            raise ValueError(
                f"{part.file}: {part.name} has shape {part.shape}, but {first.shape} in {first.file.name}; "
                "these parts are not of one model"
            )
    shape = list(first.shape)
    shape[axis] *= len(parts)
    return replace(first, shape=tuple(shape), read=lambda: torch.cat([part.read() for part in parts], axis))


def read_weights(folder: Path, dim: int) -> dict[str, Stored]:
    """Every weight of a folder by name, joined over its parts."""
    shards = [read_pickle(file) for file in shard_files(folder)]
    for shard in shards:
        for name in [name for name in shard if name.endswith(IGNORED)]:
            del shard[name]
        if differing := set(shard) ^ set(shards[0]):
            raise ValueError(f"{folder}: {min(differing)} is in some parts of the model and not in others")
    check_count(folder, shards, dim)
    weights = {}
    for name in shards[0]:
        parts = [shard[name] for shard in shards]
        by_columns = name == "tok_embeddings.weight" and parts[0].shape[-1] != dim  # as in Llama 1 and 2
        weights[name] = joined(parts, 1 if by_columns else axis_of(name))
    return weights


def check_count(folder: Path, shards: list[dict[str, Stored]], dim: int) -> None:
    """ValueError if there are fewer or more parts than the rows of a matrix need: the last may be missing."""
    wq = shards[0].get("layers.0.attention.wq.weight")
    if wq is not None and dim % wq.shape[0] == 0 and dim != len(shards) * wq.shape[0]:
        raise ValueError(
            f"{folder} holds {len(shards)} of {dim // wq.shape[0]} parts: {wq.name} has {wq.shape[0]} rows "
            f"in each, and dim is {dim}"
        )


def config_from_params(path: Path, params: dict[str, Any], vocab_size: int, tied: bool) -> Config:
    """The config behind a params.json, which leaves out the context and how far RoPE is stretched.

    These two are looked up in the family, whatever the vocabulary, which fine-tunes extend; ValueError if no
    model there has this shape, or for a field of a model that is no plain Llama.
    """
    if foreign := [name for name in FOREIGN if params.get(name)]:
        raise ValueError(f"{path}: {foreign[0]} is {params[foreign[0]]!r}, which no Llama here has")
    dim, n_heads = params["dim"], params["n_heads"]
    scaled = params.get("use_scaled_rope", False)
    config = Config(
        dim=dim,
        n_layers=params["n_layers"],
        n_heads=n_heads,
        n_kv_heads=params.get("n_kv_heads") or n_heads,
        ffn_dim=swiglu_width(
            dim, multiplier=params.get("ffn_dim_multiplier") or 1.0, multiple_of=params["multiple_of"]
        ),
        vocab_size=vocab_size,
        max_seq_len=params.get("max_seq_len", 1),
        norm_eps=params["norm_eps"],
        rope_theta=float(params.get("rope_theta", 10_000.0)),
        rope_scaling=RopeScaling(factor=8.0) if scaled else None,
        tie_embeddings=tied,
    )
    for known in CONFIGS.values():
        found = replace(config, max_seq_len=known.max_seq_len, rope_scaling=known.rope_scaling)
        same = known == replace(found, vocab_size=known.vocab_size)
        if same and (known.rope_scaling is not None) == scaled:
            return found
    if "max_seq_len" not in params:
        raise ValueError(
            f"{path} does not say how long the context is, and no model of the family has this shape: "
            'add "max_seq_len" to it'
        )
    return config


def read(folder: Path) -> Checkpoint:
    """The model in a folder of Meta's layout; buffers that the model computes by itself are left aside."""
    path = folder / "params.json"
    params = read_json(path)
    try:
        found = read_weights(folder, params["dim"])
        embeddings, output = found["tok_embeddings.weight"], found.get("output.weight")
        tied = output is None or is_tied(embeddings, output)
        if (folder / SIDECAR).exists():
            config = config_from(read_json(folder / SIDECAR))
        else:
            config = config_from_params(path, params, embeddings.shape[0], tied)
    except KeyError as error:
        raise ValueError(f"{folder} lacks {error}, which fixes the shape of the model") from error
    if tied and config.tie_embeddings:
        found.pop("output.weight", None)
    return Checkpoint(folder, config, select(folder, found, {name: name for name in shapes(config)}))


def params_of(config: Config) -> dict[str, Any]:
    """A config in Meta's words. No context: Meta's code hears it at run time and refuses to hear it twice."""
    params: dict[str, Any] = {
        "dim": config.dim,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "n_kv_heads": config.n_kv_heads,
        "vocab_size": config.vocab_size,
        # Meta rounds two thirds of 4 * dim, times the multiplier, up to a multiple: here to ffn_dim.
        "multiple_of": config.ffn_dim,
        "ffn_dim_multiplier": config.ffn_dim / int(2 * (4 * config.dim) / 3),
        "norm_eps": config.norm_eps,
    }
    if config.rope_theta != 10_000.0:
        params["rope_theta"] = config.rope_theta
    if config.rope_scaling is not None:
        params["use_scaled_rope"] = True
    return params


def part_of(name: str, weight: Tensor, i: int, shards: int) -> Tensor:
    """The part of a weight that GPU i of `shards` holds; ValueError if its length does not divide."""
    axis = axis_of(name)
    if axis is None or shards == 1:
        return weight
    if weight.size(axis) % shards:
        raise ValueError(
            f"shards={shards} must divide axis {axis} of {name}, which is {weight.size(axis)} long"
        )
    return weight.chunk(shards, axis)[i].clone()  # a view would be saved with all of its storage


def write(model: Llama, folder: Path, tokenizer: Tokenizer | None = None, *, shards: int = 1) -> None:
    """Write a folder of Meta's layout, part by part, and our own config for what params.json omits.

    The embeddings are cut by rows, as in Llama 3. The tokenizer goes beside: as a tokenizer.model where
    Meta's code reads it, Llama 2's and Llama 3's, else as our JSON.
    """
    if shards < 1 or model.config.n_kv_heads % shards:
        raise ValueError(
            f"shards={shards} must divide n_kv_heads={model.config.n_kv_heads}: a part holds whole heads"
        )
    with replacing_files(folder, ("consolidated.*.pth",)) as temporary:
        write_json(temporary / "params.json", params_of(model.config))
        write_json(temporary / SIDECAR, asdict(model.config))
        for i in range(shards):
            weights = model.named_parameters()
            part = {name: part_of(name, weight.detach(), i, shards).cpu() for name, weight in weights}
            torch.save(part, temporary / f"consolidated.{i:02}.pth")
        if tokenizer is not None:
            write_tokenizer(tokenizer, temporary)
