"""The recipe of the bundled draft model: what the base model learns, in a seventh of its size.

It guesses for the base model in speculative decoding (chapter 12), and reads the same pages and tokens.
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from llama_mini import CONFIGS, Llama
from llama_mini.assets.base import page_batches
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import Step, TrainConfig, train_resumably

CONFIG = CONFIGS["mini-180k"]
TRAINING = TrainConfig(steps=6000, lr=6e-3, warmup=0.02, final=0.01)
SEED = 100_000_000  # of its pages; no other training draws from here


def new_draft() -> Llama:
    """The draft model before training."""
    model = Llama(CONFIG)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def train_draft(model: Llama, tokenizer: Tokenizer, folder: Path) -> Iterator[Step]:
    """Train a new draft model, or go on from the state in the folder; yields after every update."""
    data, state = page_batches(tokenizer, SEED), folder / "draft.state"
    return train_resumably(model, data, loss=next_token_loss, config=TRAINING, state=state, save_every=500)
