"""The small training run behind the book's comparisons: the same tales for every model that is compared."""

from collections.abc import Callable
from random import Random
from typing import Any

from torch import Tensor, nn

from llama_mini.data import stories
from llama_mini.data.text import pack
from llama_mini.evaluate.perplexity import document_loss
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.tokenizer import Tokenizer
from llama_mini.train import TrainConfig, train

HELD_OUT = 1_000_003  # no trial trains on the tales drawn with this seed


def tale_batches(
    tokenizer: Tokenizer, *, seed: int, rows: int = 16, length: int = 128
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The function from i to the i-th batch of fresh plain tales, inputs and targets (rows, length)."""

    def batch(i: int) -> tuple[Tensor, Tensor]:
        tales = stories.pages(1_000_000 * (seed + 2) + i, stories.TALES)
        return pack((tokenizer.encode(t.text, bos=True, eos=True) for t in tales), rows=rows, length=length)

    return batch


def excess_loss(model: nn.Module, tokenizer: Tokenizer, *, n: int = 200) -> float:
    """Nats per token above the exact floor of plain tales, over n held-out ones, the same for every model."""
    rng = Random(HELD_OUT)
    tales = [stories.sample(rng) for _ in range(n)]
    nats, tokens = document_loss(model, [tokenizer.encode(t.text, bos=True, eos=True) for t in tales])
    return (nats + sum(tale.logprob for tale in tales)) / tokens


def trial(
    model: nn.Module, tokenizer: Tokenizer, *, seed: int, steps: int = 500, lr: float = 4e-3, points: int = 50
) -> dict[str, Any]:
    """Train a model, (B, T) ids to logits, on fresh tales: the recipe of the book's recorded comparisons.

    The i-th batch depends on (seed, i) alone, so models of one seed read the same tales in the same order.
    Returns plain JSON: "losses", nats per token averaged over each of `points` stretches of the run, and
    "excess", that of `excess_loss` at the end.
    """
    config = TrainConfig(steps=steps, lr=lr)
    batches = tale_batches(tokenizer, seed=seed)
    losses = [step.loss for step in train(model, batches, loss=next_token_loss, config=config)]
    width = -(-steps // points)
    stretches = [losses[i : i + width] for i in range(0, steps, width)]
    return {
        "losses": [round(sum(part) / len(part), 4) for part in stretches],
        "excess": round(excess_loss(model, tokenizer), 5),
    }
