"""Weights from disk and back: `load` recognises five formats by their content, `save` writes all of them.

native is our .safetensors; huggingface and meta are folders; gguf is llama.cpp's file, llama2c llama2.c's.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from llama_mini.checkpoint import gguf, gguf_write, huggingface, llama2c, meta, native
from llama_mini.checkpoint.blocks import Q4_0, Q8_0
from llama_mini.checkpoint.stored import Checkpoint, Progress, build
from llama_mini.checkpoint.tokenizers import tokenizer_beside
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

__all__ = ["load", "save"]

ASSETS = Path(__file__).parents[1] / "assets"
FOLDERS: dict[str, Callable[..., None]] = {"huggingface": huggingface.write, "meta": meta.write}
FILES: dict[str, Callable[[Llama, Path, Tokenizer | None], None]] = {
    "native": native.write,
    "gguf": gguf_write.write,
    "gguf-q8_0": partial(gguf_write.write, storage=Q8_0),
    "gguf-q4_0": partial(gguf_write.write, storage=Q4_0),
    "llama2c": partial(llama2c.write, version=0),
    "llama2c-v1": partial(llama2c.write, version=1),
    "llama2c-int8": partial(llama2c.write, version=2),
}
FORMATS = (*FILES, *FOLDERS)


def load(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress = iter,
) -> tuple[Llama, Tokenizer | None]:
    """The model at a path, and the tokenizer inside the file or beside it, None if there is no fitting one.

    path: a file, a folder, or the name of a bundled model such as "base". dtype: that of the stored
    embeddings unless given; bundled models are stored small and come as float32. progress: goes through the
    list of tensors and shows how far it is, such as tqdm. Files are mapped and never run: one that carries
    code is refused. ValueError, before anything is built, for a damaged file, or for names or shapes that do
    not fit the config.
    """
    if file := bundled_file(path):
        path, dtype = file, dtype or torch.float32
    path = Path(path)
    checkpoint = read(path)
    folder = path if path.is_dir() else path.parent
    tokenizer = checkpoint.tokenizer or tokenizer_beside(folder, checkpoint.config.vocab_size)
    return build(checkpoint, device=device, dtype=dtype, progress=progress), tokenizer


def bundled_file(name: str | Path) -> Path | None:
    """The file of the bundled model of that name, None if there is none."""
    file = ASSETS / f"{name}.safetensors"
    return file if file.parent == ASSETS and file.exists() else None


def save(
    model: Llama,
    path: str | Path,
    *,
    format: str = "native",
    tokenizer: Tokenizer | None = None,
    shards: int = 1,
) -> None:
    """Write a model, and its tokenizer into the file or beside it.

    What stood at `path` stays whole until all is written. format: "huggingface" or "meta", a folder, its
    weights in that many shards; or one file: "native", a .safetensors, "gguf", "gguf-q8_0", "gguf-q4_0",
    "llama2c", "llama2c-v1" (float32) or "llama2c-int8". All but llama2.c's and the quantized keep the dtype.
    ValueError for another format, or for what the format has no place for.
    """
    path = Path(path)
    if format in FOLDERS:
        FOLDERS[format](model, path, tokenizer, shards=shards)
    elif format not in FILES:
        raise ValueError(f"format={format!r} is not written; choose one of {', '.join(FORMATS)}")
    elif shards != 1 or path.is_dir():
        raise ValueError(f"the {format} format is one file, but shards={shards} and path={path}: name a file")
    else:
        FILES[format](model, path, tokenizer)


def read(path: Path) -> Checkpoint:
    """The checkpoint at a path, mapped, whichever of the five formats its content shows."""
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        bundled = sorted(file.stem for file in ASSETS.glob("*.safetensors"))
        raise FileNotFoundError(
            f"{path} does not exist, and the bundled models are called {', '.join(bundled)}"
        )
    with path.open("rb") as file:
        head = file.read(9)
    if head[:4] == b"GGUF":
        return gguf.read(path)
    if head[8:] == b"{":
        return native.read(path) if native.notes(path) else read_folder(path.parent)
    if head[:4] == b"PK\3\4":  # a zip file: torch.save
        return read_folder(path.parent)
    if llama2c.read_header(path) is not None:
        return llama2c.read(path)
    raise ValueError(
        f"{path} begins with {head!r} and is none of: our .safetensors, GGUF, llama2.c's .bin, "
        "or the weights of a folder with config.json (Hugging Face) or params.json (Meta)"
    )


def read_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder of Meta's or Hugging Face's layout."""
    if (folder / "params.json").exists():
        return meta.read(folder)
    if (folder / "config.json").exists():
        return huggingface.read(folder)
    raise ValueError(
        f"{folder} has neither a config.json (Hugging Face) nor a params.json (Meta), which say how to read "
        "its weights; put it there, or name a .safetensors file of ours, a .gguf or llama2.c's .bin"
    )
