"""Files: mapped safely when read, never half there when written."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_mini.checkpoint.stored import Stored, stored


def read_json(path: Path) -> dict[str, Any]:
    """The object in a json file; ValueError naming the file if it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not json: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, but a json object is needed")
    return content


def map_bytes(path: Path) -> Tensor:
    """All bytes of a file (uint8), mapped: the system reads a page when it is touched."""
    return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)


def refuse_pointer(path: Path) -> None:
    """ValueError for what git leaves in the place of a large file that it has not fetched."""
    with path.open("rb") as file:
        if file.read(22) == b"version https://git-lf":
            raise ValueError(f"{path} is not the weights but git's pointer to them: run git lfs pull")


def safetensors_header(path: Path) -> dict[str, Any]:
    """The json header of a safetensors file; ValueError if there is none or a tensor ends beyond the file."""
    refuse_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= size - 8 else b""
    try:
        header = json.loads(text)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = {name: 8 + length + entry["data_offsets"][1] for name, entry in tensors.items()}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{path}: the safetensors header is cut off or damaged; fetch the file again"
        ) from error
    for name, end in ends.items():
        if end > size:
            raise ValueError(
                f"{path}: the file ends at byte {size}, but {name} {tuple(tensors[name]['shape'])} ends at "
                f"byte {end}; it is truncated, fetch it again"
            )
    return header


def read_safetensors(path: Path) -> dict[str, Stored]:
    """Every tensor of a safetensors file, mapped, by name."""
    from safetensors import SafetensorError, safe_open

    safetensors_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: stored(path, name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error


def read_pickle(path: Path) -> dict[str, Stored]:
    """Every tensor of a file written by torch.save, mapped, by name; ValueError for any other content."""
    refuse_pointer(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is truncated, damaged or older than PyTorch 1.6, whose files cannot be mapped"
        )
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it carries objects other than tensors, which could run code when loaded"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"{path} is no whole file of torch.save: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} must hold a dictionary of tensors and nothing else")
    return {name: stored(path, name, tensor.detach()) for name, tensor in content.items()}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it takes the place of `path` when all is written and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """A temporary folder to write to; its files move to `folder` only when all are written and on disk.

    ValueError if the folder holds other weights, matching the patterns, that would mix with the new ones.
    """
    temporary = folder / ".part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        files = sorted(temporary.iterdir())
        new = {file.name for file in files}
        stale = {old.name for pattern in patterns for old in folder.glob(pattern)} - new
        if stale:
            raise ValueError(
                f"{folder} already holds {min(stale)}, which is not of this model: "
                "remove it or name another folder"
            )
        for file in files:
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        for file in files:
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as readable json."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors under their names, and strings beside them."""
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(ready, path, metadata=dict(metadata))
