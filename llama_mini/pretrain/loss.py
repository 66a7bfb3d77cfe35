"""The loss of a language model: how surprised it is by the token that comes next."""

from functools import partial

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
    logits = model(inputs)  # (B, T, V)
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return total, (targets != IGNORE).sum()


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
    alone = partial(model, positions=positions, cache=Packed(documents))
    return next_token_loss(alone, (inputs, targets))  # type: ignore[arg-type]
