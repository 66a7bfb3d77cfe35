"""The loss of a language model: how surprised it is by the token that comes next."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.cache import Packed
from llama_mini.data.text import IGNORE


def next_token_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats, summed over the targets that count, and how many those are.

    batch: inputs and targets, (B, T) each; a target of IGNORE does not count. The caller divides, once.
    """
    inputs, targets = batch
    return summed_loss(model(inputs), targets)


def packed_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The same for rows of several documents, each as if it stood alone: none sees another, and positions
    begin at 0 in each.

    batch: inputs, targets and the document of each token, (B, T) each, as `data.text.apart` gives them.
    """
    inputs, targets, documents = batch
    places = torch.arange(inputs.size(1), device=inputs.device).expand_as(inputs)
    begins = documents != documents.roll(1, dims=1)
    begins[:, 0] = True
    positions = places - torch.where(begins, places, 0).cummax(1).values
    return summed_loss(model(inputs, positions=positions, cache=Packed(documents)), targets)


def summed_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of logits (B, T, V) against targets (B, T), summed, and the count of targets."""
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return total, (targets != IGNORE).sum()
