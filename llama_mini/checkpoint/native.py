"""Our own format: one .safetensors file under Meta's names, with the config as json in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_mini.checkpoint.files import read_safetensors, replacing, safetensors_header, write_safetensors
from llama_mini.checkpoint.stored import Checkpoint, select, shapes
from llama_mini.checkpoint.tokenizers import write_tokenizer
from llama_mini.config import Config, RopeScaling
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

KEY = "llama_mini"  # one key: safetensors writes several in random order, and equal models give equal files


def config_from(fields: dict[str, Any]) -> Config:
    """The config with these fields, as `asdict` gives them; ValueError for other fields than a Config has."""
    try:
        scaling = fields["rope_scaling"]
        return Config(**fields | {"rope_scaling": None if scaling is None else RopeScaling(**scaling)})
    except (TypeError, KeyError) as error:
        raise ValueError(f"this is no config of llama_mini ({error}): {fields}") from error


def notes(path: Path) -> dict[str, Any]:
    """The config and the recipe that a file of ours carries beside its tensors; empty in others' files."""
    return json.loads(safetensors_header(path).get("__metadata__", {}).get(KEY, "{}"))


def read(path: Path) -> Checkpoint:
    """The model in a file that `write` wrote."""
    config = config_from(notes(path)["config"])
    return Checkpoint(
        path, config, select(path, read_safetensors(path), {name: name for name in shapes(config)})
    )


def read_recipe(path: str | Path) -> dict[str, Any]:
    """How the model in a file was made, as whoever wrote it noted; empty if nobody did."""
    return notes(Path(path)).get("recipe", {})


def write(
    model: Llama,
    path: str | Path,
    tokenizer: Tokenizer | None = None,
    *,
    recipe: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to one file, its dtype kept, with an optional note in json on how it was made.

    The tokenizer goes beside it.
    """
    content = {"config": asdict(model.config), "recipe": dict(recipe or {})}
    with replacing(Path(path)) as temporary:
        write_safetensors(temporary, dict(model.named_parameters()), {KEY: json.dumps(content)})
    if tokenizer is not None:
        write_tokenizer(tokenizer, Path(path).parent)
