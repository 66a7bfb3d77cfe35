"""A pretraining run that lives in a folder: kill it, start it again, and it ends as if never broken."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from llama_mini.checkpoint import save
from llama_mini.checkpoint.files import read_json, replacing, write_json
from llama_mini.config import Config
from llama_mini.data.text import random_windows
from llama_mini.model import Llama
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import Step, TrainConfig, train_resumably


def pretrain(
    stream: Tensor,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    config: Config,
    training: TrainConfig,
    rows: int,
    length: int,
    seed: int = 0,
    save_every: int = 100,
    device: torch.device | str = "cpu",
) -> Iterator[Step]:
    """Train a new model on random windows of a stream (N) of token ids, (rows, length) a batch; yield every
    step.

    The folder holds run.json (what was asked), state.pt (to go on from, written every `save_every` steps)
    and, when the run is over, model.safetensors with its tokenizer. Called again it goes on from the state,
    to the same bits on the same machine. Raises ValueError where the folder holds a run of other settings or
    other text.
    """
    check_length(length, config)
    folder = Path(folder)
    settings = {**asdict(config), **asdict(training), "rows": rows, "length": length, "seed": seed}
    check_settings(folder / "run.json", settings | {"text_sha256": digest(stream)})
    torch.manual_seed(seed)
    model = Llama(config).to(device)
    batches = random_windows(stream, rows=rows, length=length, seed=seed)
    state = folder / "state.pt"
    yield from train_resumably(
        model, batches, loss=next_token_loss, config=training, state=state, save_every=save_every
    )
    save(model, folder / "model.safetensors", tokenizer=tokenizer)


def check_length(length: int, config: Config) -> None:
    """ValueError if windows of so many tokens are longer than the model's context."""
    if length > config.max_seq_len:
        raise ValueError(f"windows of {length} tokens do not fit the model's context of {config.max_seq_len}")


def digest(stream: Tensor) -> str:
    """A fingerprint of a stream of token ids."""
    return hashlib.sha256(stream.numpy().data).hexdigest()


def check_settings(path: Path, settings: dict) -> None:
    """Write the settings of a new run; ValueError if the run that is there already has others."""
    settings = json.loads(json.dumps(settings))  # as they come back from the file
    if not path.exists():
        with replacing(path) as temporary:
            write_json(temporary, settings)
        return
    earlier = read_json(path)
    for name in settings.keys() | earlier.keys():
        was, now = earlier.get(name), settings.get(name)
        if was != now:
            raise ValueError(f"{path.parent} holds a run with {name}={was}, not {now}: name another folder")
