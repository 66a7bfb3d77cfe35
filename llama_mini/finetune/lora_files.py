"""LoRA adapters in peft's format: a folder with adapter_config.json and adapter_model.safetensors.

peft adapts a Hugging Face model, so layers go by Hugging Face's names, and the rows of b (peft's lora_B) in
wq and wk stand in its order; the columns of a see the same stream in both.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.checkpoint.files import (
    read_json,
    read_safetensors,
    replacing_files,
    write_json,
    write_safetensors,
)
from llama_mini.checkpoint.huggingface import FORMAT, TABLE, half_rows, pair_rows, rotated_heads
from llama_mini.checkpoint.stored import Stored, names
from llama_mini.finetune.lora import LowRank, add_lora, exactly, lora_layers
from llama_mini.model import Llama

PREFIX = "base_model.model."
PLAIN = {  # what other values would compute is not what `LoRALinear` computes
    "peft_type": "LORA", "bias": "none", "fan_in_fan_out": False, "use_rslora": False, "use_dora": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "lora_bias": False,
    "layer_replication": None, "target_parameters": None, "trainable_token_indices": None,
}  # fmt: skip


def their_layers(model: Llama) -> dict[str, str]:
    """Hugging Face's name of every linear layer, by ours."""
    theirs = names(TABLE, model.config)
    return {ours.removesuffix(".weight"): name.removesuffix(".weight") for ours, name in theirs.items()}


def save_lora(model: Llama, folder: str | Path, *, name: str = "default") -> None:
    """Write one adapter to a folder that peft loads onto the same model; nothing of the base is written.

    ValueError if the model has no such adapter, or has it in layers that Hugging Face's Llama does not have.
    """
    adapters = {k: layer.adapter(name) for k, layer in lora_layers(model).items() if name in layer.adapters}
    if not adapters:
        raise ValueError(f"there is no adapter {name!r} to save")
    theirs = their_layers(model)
    tensors: dict[str, Tensor] = {}
    if unknown := sorted(adapters.keys() - theirs.keys()):
        raise ValueError(
            f"{unknown[0]} has no name in Hugging Face's layout: save from a model with plain layers"
        )
    for ours, adapter in adapters.items():
        heads = rotated_heads(f"{ours}.weight", model.config)
        b = adapter.b.detach()
        tensors[f"{PREFIX}{theirs[ours]}.lora_A.weight"] = adapter.a
        tensors[f"{PREFIX}{theirs[ours]}.lora_B.weight"] = b if heads is None else half_rows(b, heads)
    with replacing_files(Path(folder), ("adapter_model*",)) as temporary:
        write_json(temporary / "adapter_config.json", config_of(adapter, [theirs[ours] for ours in adapters]))
        write_safetensors(temporary / "adapter_model.safetensors", tensors, FORMAT)


def config_of(adapter: LowRank, targets: list[str]) -> dict[str, Any]:
    """What peft needs to build the adapter's layers again, which are listed by their whole names."""
    ours = {"r": adapter.r, "lora_alpha": adapter.alpha, "lora_dropout": adapter.dropout}
    return PLAIN | ours | {"target_modules": targets, "task_type": "CAUSAL_LM", "inference_mode": True}


def load_lora(model: Llama, folder: str | Path, *, name: str = "default") -> list[str]:
    """Add the adapter in a folder of peft's format and use it alone; return the names of its layers.

    ValueError, before the model is changed, for a variant other than plain LoRA, for tensors that do not fit,
    and as in `add_lora`.
    """
    folder = Path(folder)
    config = plain_config(folder)
    found = read_safetensors(folder / "adapter_model.safetensors")
    layers = fitting(model, folder, found, config["r"])
    add_lora(
        model, exactly(layers), r=config["r"], alpha=config["lora_alpha"],
        dropout=config["lora_dropout"], name=name,
    )  # fmt: skip
    wrapped = lora_layers(model)
    for ours, theirs in layers.items():
        heads, adapter = rotated_heads(f"{ours}.weight", model.config), wrapped[ours].adapter(name)
        b = found[f"{theirs}.lora_B.weight"].read()
        with torch.no_grad():
            adapter.a.copy_(found[f"{theirs}.lora_A.weight"].read())
            adapter.b.copy_(b if heads is None else pair_rows(b, heads))
    return list(layers)


def plain_config(folder: Path) -> dict[str, Any]:
    """The folder's adapter_config.json; ValueError if it is not of plain LoRA, of one rank for all layers."""
    config = read_json(folder / "adapter_config.json")
    if absent := {"r", "lora_alpha", "lora_dropout"} - config.keys():
        raise ValueError(f"{folder}: adapter_config.json does not say {min(absent)}")
    for key, plain in PLAIN.items():
        if config.get(key, plain) != plain and (config[key] or plain):
            raise ValueError(f"{folder}: {key} is {config[key]!r}, but only plain LoRA is read ({plain!r})")
    return config


def fitting(model: Llama, folder: Path, found: dict[str, Stored], r: int) -> dict[str, str]:
    """The layers that a file's tensors are for, our names to theirs; ValueError if one does not fit."""
    modules, left, layers = dict(model.named_modules()), set(found), {}
    for ours, name in their_layers(model).items():
        theirs = PREFIX + name
        pair = [f"{theirs}.lora_A.weight", f"{theirs}.lora_B.weight"]
        if left.isdisjoint(pair):
            continue
        if ours not in modules:
            raise ValueError(f"the model has no {ours}: load an adapter onto plain layers")
        rows, columns = modules[ours].weight.shape  # type: ignore[union-attr,misc]
        sizes = [found[part].shape if part in found else "absent" for part in pair]
        if sizes != [(r, columns), (rows, r)]:
            raise ValueError(f"{folder}: {theirs} has A, B of {sizes}, but needs {(r, columns)}, {(rows, r)}")
        layers[ours] = theirs
        left -= set(pair)
    if left or not layers:
        some = ", ".join(sorted(left)[:3])
        raise ValueError(f"{folder}: {len(left)} of {len(found)} tensors fit no layer: {some}")
    return layers
