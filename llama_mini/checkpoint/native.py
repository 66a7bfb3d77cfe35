"""Our own format: one .safetensors file under Meta's names, with the config as json in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_mini.checkpoint.files import read_safetensors, replacing, safetensors_header, write_safetensors
from llama_mini.checkpoint.stored import Checkpoint, select, shapes
from llama_mini.config import Config, RopeScaling
from llama_mini.model import Llama

CONFIG, RECIPE = "llama_mini.config", "llama_mini.recipe"


def config_to_json(config: Config) -> str:
    """Every field of a config as one line of json."""
    return json.dumps(asdict(config))


def config_from_json(text: str) -> Config:
    """The config that config_to_json wrote; ValueError for other fields than a Config has."""
    fields = json.loads(text)
    try:
        if fields["rope_scaling"] is not None:
            fields["rope_scaling"] = RopeScaling(**fields["rope_scaling"])
        return Config(**fields)
    except (TypeError, KeyError) as error:
        raise ValueError(f"this is no config of llama_mini ({error}): {text}") from error


def metadata(path: Path) -> dict[str, str]:
    """The strings that a safetensors file carries beside its tensors."""
    return safetensors_header(path).get("__metadata__", {})


def read(path: Path) -> Checkpoint:
    """The model in a file that `write` wrote."""
    config = config_from_json(metadata(path)[CONFIG])
    return Checkpoint(
        path, config, select(path, read_safetensors(path), {name: name for name in shapes(config)})
    )


def read_recipe(path: str | Path) -> dict[str, Any]:
    """How the model in a file was made, as whoever wrote it noted; empty if nobody did."""
    return json.loads(metadata(Path(path)).get(RECIPE, "{}"))


def write(model: Llama, path: str | Path, *, recipe: Mapping[str, Any] | None = None) -> None:
    """Write a model to one file, its dtype kept, with an optional note in json on how it was made."""
    notes = {CONFIG: config_to_json(model.config)} | ({} if recipe is None else {RECIPE: json.dumps(recipe)})
    with replacing(Path(path)) as temporary:
        write_safetensors(temporary, dict(model.named_parameters()), notes)
