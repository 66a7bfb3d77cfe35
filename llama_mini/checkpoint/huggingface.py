"""Hugging Face's layout: config.json and safetensors (or .bin) files, with other names and another row order.

Meta turns adjacent rows of a head together (0 with 1, 2 with 3); Hugging Face turns row i of the first half
with row i of the second. `pair_rows` and `half_rows` are the only places that know.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

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
from llama_mini.checkpoint.huggingface_config import begin_and_end, read_config, write_config
from llama_mini.checkpoint.stored import Checkpoint, Stored, is_tied, names, select
from llama_mini.checkpoint.tokenizers import sentencepiece_model
from llama_mini.config import Config
from llama_mini.model import Llama
from llama_mini.tokenizer import SentencePiece, Tokenizer
from llama_mini.tokenizer.huggingface_write import tokenizer_config, tokenizer_json

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
PATTERNS = ("*.safetensors", "pytorch_model*.bin", "*.index.json")


def pair_rows(weight: Tensor, n_heads: int) -> Tensor:
    """Hugging Face's row order of wq and wk (a head's first half, then its second) to Meta's pairs."""
    return rearrange(weight, "(h two d) c -> (h d two) c", h=n_heads, two=2)


def half_rows(weight: Tensor, n_heads: int) -> Tensor:
    """Meta's row order of wq and wk (adjacent pairs) to Hugging Face's halves: the inverse of pair_rows."""
    return rearrange(weight, "(h d two) c -> (h two d) c", h=n_heads, two=2)


def rotated_heads(name: str, config: Config) -> int | None:
    """How many heads a weight has whose rows the two layouts order differently; None for other weights."""
    return {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name.split(".")[-2])


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: those an index lists, or the one file; ValueError if any is absent."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if index.exists():
            places = read_json(index).get("weight_map")
            if not places:
                raise ValueError(f"{index} has no weight_map, which says where each tensor is")
            files = [folder / file for file in sorted(set(places.values()))]
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


def write(model: Llama, folder: Path, tokenizer: Tokenizer | None = None, *, shards: int = 1) -> None:
    """Write a folder that transformers and vLLM load, its weights in `shards` files of like size.

    With a tokenizer it is all they need to serve the model: config.json, the weights, tokenizer.json and
    the ids that end a text. Of the two, transformers is what the tests run.
    """
    parts = split(dict(model.named_parameters()), shards)
    files = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    if len(parts) == 1:
        files = ["model.safetensors"]
    places: dict[str, str] = {}
    with replacing_files(folder, PATTERNS) as temporary:
        dtype = str(model.norm.weight.dtype).removeprefix("torch.")
        write_config(temporary / "config.json", model.config, dtype, tokenizer)
        for file, part in zip(files, parts, strict=True):
            weights = in_halves(part, model.config)
            write_safetensors(temporary / file, weights, FORMAT)
            places |= dict.fromkeys(weights, file)
        if len(parts) > 1:
            size = {"total_size": sum(weight.nbytes for weight in model.parameters())}
            index = {"metadata": size, "weight_map": places}
            write_json(temporary / "model.safetensors.index.json", index)
        if tokenizer is not None:
            write_tokenizer_files(tokenizer, temporary, model.config)


def in_halves(part: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Some of our weights under Hugging Face's names and in its row order; no others are copied."""
    theirs, weights = names(TABLE, config), {}
    for name, weight in part.items():
        heads = rotated_heads(name, config)
        weights[theirs[name]] = weight.detach() if heads is None else half_rows(weight.detach(), heads)
    return weights


def write_tokenizer_files(tokenizer: Tokenizer, folder: Path, config: Config) -> None:
    """Write what transformers.AutoTokenizer and generate() read, and SentencePiece's own file beside."""
    content = json.dumps(tokenizer_json(tokenizer), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(content, encoding="utf-8", newline="\n")
    write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer, config.max_seq_len))
    write_json(folder / "generation_config.json", begin_and_end(tokenizer))
    if isinstance(tokenizer, SentencePiece):
        (folder / "tokenizer.model").write_bytes(sentencepiece_model(tokenizer))


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
