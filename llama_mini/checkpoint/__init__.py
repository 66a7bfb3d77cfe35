"""Weights from disk and back: `load` recognises five formats by their content, `save` writes three.

native (our .safetensors), huggingface and meta (folders) are read and written; llama2.c's .bin and GGUF read.
"""

from pathlib import Path

import torch

from llama_mini.checkpoint import gguf, huggingface, llama2c, meta, native
from llama_mini.checkpoint.stored import Checkpoint, build
from llama_mini.checkpoint.tokenizers import tokenizer_beside, write_tokenizer
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer

__all__ = ["load", "save"]

ASSETS = Path(__file__).parents[1] / "assets"


def load(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Llama, Tokenizer | None]:
    """The model at a path, and the tokenizer inside the file or beside it, None if there is no fitting one.

    path: a file, a folder, or the name of a bundled model such as "base". dtype: that of the stored
    embeddings unless given; bundled models are stored small and come as float32. Files are mapped and
    never run: one that carries code is refused. ValueError, before anything is built, for a damaged file,
    or for names or shapes that do not fit the config.
    """
    bundled = ASSETS / f"{path}.safetensors"
    if bundled.parent == ASSETS and bundled.exists():
        path, dtype = bundled, dtype or torch.float32
    path = Path(path)
    checkpoint = read(path)
    folder = path if path.is_dir() else path.parent
    tokenizer = checkpoint.tokenizer or tokenizer_beside(folder, checkpoint.config.vocab_size)
    return build(checkpoint, device=device, dtype=dtype), tokenizer


def save(
    model: Llama,
    path: str | Path,
    *,
    format: str = "native",
    tokenizer: Tokenizer | None = None,
    shards: int = 1,
) -> None:
    """Write a model, its dtype kept, and the tokenizer beside it.

    What stood at `path` stays whole until all is written. format: "native", one .safetensors file, or
    "huggingface" or "meta", a folder, its weights in that many shards. ValueError for another format, or a
    number of shards that the format cannot have.
    """
    path = Path(path)
    if format == "native":
        if shards != 1 or path.is_dir():
            raise ValueError(
                f"the native format is one file, but shards={shards} and path={path}: name a .safetensors"
            )
        native.write(model, path)
    elif format in ("huggingface", "meta"):
        writer = huggingface.write if format == "huggingface" else meta.write
        writer(model, path, shards=shards)
    else:
        raise ValueError(f"format={format!r} is not written; choose one of native, huggingface, meta")
    if tokenizer is not None:
        write_tokenizer(tokenizer, path.parent if format == "native" else path)


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
    if llama2c.read_config(path) is not None:
        return llama2c.read(path)
    raise ValueError(
        f"{path} begins with {head!r} and is none of: our .safetensors, GGUF, llama2.c's .bin of version 0, "
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
