"""The loss of a language model: how surprised it is by the token that comes next."""

import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.data.text import IGNORE


def next_token_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats, summed over the targets that count, and how many those are.

    batch: inputs and targets, (B, T) each; a target of IGNORE does not count. The caller divides, once.
    """
    inputs, targets = batch
    logits = model(inputs)  # (B, T, V)
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return total, (targets != IGNORE).sum()
