"""The recipe of the bundled base model, and the figures it is held to."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from math import log
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from llama_mini import CONFIGS, Llama, generate
from llama_mini.checkpoint import native
from llama_mini.data import stories
from llama_mini.data.text import one_a_row, pack
from llama_mini.evaluate.perplexity import document_loss
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import Step, TrainConfig, train_resumably

CONFIG = CONFIGS["mini-1m"]
PHASES = (
    TrainConfig(steps=8000, lr=4e-3, warmup=0.02, final=0.01, bf16=True),
    TrainConfig(steps=200, lr=3e-3, warmup=0.1, final=0.5, weight_decay=0.0, bf16=True),
    TrainConfig(steps=1300, lr=2e-3, warmup=0.03, final=0.01, bf16=True),
)
SEPARATE = 1  # the phase that begins with `separate` and reads tales without their middles
ROWS, SEED, HELD_OUT = 16, 0, 1_000_003  # no training draws the pages of HELD_OUT
BATCH = 50  # rows at a time when measuring


def batches(tokenizer: Tokenizer, phase: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The i-th batch of a phase, a function of (phase, i) alone: pages of all kinds, but for SEPARATE."""
    seed = 1_000_000 * (phase + 2)

    def shortened(i: int) -> tuple[Tensor, Tensor]:
        tales = islice(stories.pages(seed + i, stories.TALES), 5 * ROWS)
        return one_a_row([tokenizer.encode(without_middle(t.text), bos=True, eos=True) for t in tales])

    return shortened if phase == SEPARATE else page_batches(tokenizer, seed)


def page_batches(tokenizer: Tokenizer, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The function from i to the i-th batch of pages of all kinds, which depends on seed + i alone."""

    def batch(i: int) -> tuple[Tensor, Tensor]:
        texts = (page.text for page in stories.pages(seed + i))
        documents = (tokenizer.encode(text, bos=True, eos=True, special=True) for text in texts)
        return pack(documents, rows=ROWS, length=CONFIG.max_seq_len)

    return batch


def without_middle(text: str) -> str:
    """The first and the last two sentences of a tale, which name its place twice, close together."""
    sentences = re.split(r"(?<=[.?!]) ", text)
    return " ".join(sentences[:2] + sentences[-2:])


@torch.no_grad()
def separate(model: Llama) -> None:
    """Add noise to the embeddings, half their standard deviation.

    The rows of words that the first phase never had to tell apart, the barn and the meadow, have grown
    together (cosine 0.99), and a model cannot learn to look back for a word that it cannot tell from others.
    """
    weight, generator = model.tok_embeddings.weight, torch.Generator().manual_seed(SEPARATE)
    weight += torch.randn(weight.shape, generator=generator) * weight.std() / 2


def new_base() -> Llama:
    """The base model before training."""
    model = Llama(CONFIG)
    model.init_weights(torch.Generator().manual_seed(SEED))
    return model


def train_base(model: Llama, tokenizer: Tokenizer, folder: Path) -> Iterator[Step]:
    """Train a new base model, or go on from the states in the folder; yields after every update."""
    for phase, config in enumerate(PHASES):
        state = folder / f"base.{phase}.state"
        if phase == SEPARATE and not state.exists():
            separate(model)
        data = batches(tokenizer, phase)
        yield from train_resumably(
            model, data, loss=next_token_loss, config=config, state=state, save_every=250
        )


def write(model: Llama, tokenizer: Tokenizer, path: Path, phases: Sequence[TrainConfig]) -> dict[str, float]:
    """Store a model in float16, with its recipe and the figures that the stored file reaches."""
    model.eval().half().float()  # the weights that the file will hold
    figures = measure(model, tokenizer)
    recipe = {
        "command": f"python -m llama_mini.assets {path.stem}",
        "seed": SEED,
        "rows": ROWS,
        "phases": [asdict(config) for config in phases],
        "torch": torch.__version__,
        "figures": figures,
    }
    native.write(model.half(), path, recipe=recipe)
    return figures


def measure(model: Llama, tokenizer: Tokenizer, n: int = 500) -> dict[str, float]:
    """The model on n held-out tales and in n samples of its own.

    loss and floor: nats per token of the tales. The floor is that of the mixture the model learns from, in
    which a page is a tale with probability SHARES["tale"]; excess is loss / floor - 1. valid: the share of
    samples, drawn at temperature 1 after the first word of a tale, that the grammar could have told; those
    that turn out to be sagas or sums are set aside.
    """
    rng = Random(HELD_OUT)
    tales = [stories.sample(rng) for _ in range(n)]
    documents = [tokenizer.encode(tale.text, bos=True, eos=True) for tale in tales]
    losses, tokens = document_loss(model, documents)
    floor = -sum(tale.logprob + log(stories.SHARES["tale"]) for tale in tales)
    samples = continuations(model, tokenizer, [tale.text.split()[0] for tale in tales])
    judged = [verdict for text in samples if (verdict := is_valid_tale(text)) is not None]
    valid = sum(judged) / len(judged)
    return {"loss": losses / tokens, "floor": floor / tokens, "excess": losses / floor - 1, "valid": valid}


def continuations(model: Llama, tokenizer: Tokenizer, openings: list[str]) -> Iterator[str]:
    """A page drawn from the model for each opening, to its end or as far as the context goes."""
    generator, room = torch.Generator().manual_seed(HELD_OUT), model.config.max_seq_len - 10
    for start in range(0, len(openings), BATCH):
        prompts = [tokenizer.encode(opening, bos=True) for opening in openings[start : start + BATCH]]
        answers = generate(model, prompts, max_new_tokens=room, stop=tokenizer.stop_ids, generator=generator)
        for prompt, answer in zip(prompts, answers, strict=True):
            yield tokenizer.decode(prompt[1:] + answer)


def is_valid_tale(text: str) -> bool | None:
    """Whether the grammar could have told this tale; None if what can be read is another kind of page."""
    try:
        return True if stories.parse(text).kind == "tale" else None
    except stories.NotATale as wrong:
        return False if stories.next_words(text[: wrong.position], stories.TALES) else None
