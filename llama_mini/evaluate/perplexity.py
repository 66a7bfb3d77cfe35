"""How surprised a model is by a text: the loss of every token, in nats, given those before it in its window.

Perplexity is exp(nats / tokens); divided by the bytes of the text and by ln 2, the same sum is bits per byte,
which compares models of different tokenizers.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.data.text import IGNORE, one_a_row
from llama_mini.model import Llama


@torch.inference_mode()
def token_losses(model: Llama, tokens: Tensor) -> Tensor:
    """The loss of each token after the first, (B, T) ids to (B, T - 1) nats in float32."""
    logits = model(tokens[:, :-1]).float()  # (B, T - 1, V)
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(
        len(tokens), -1
    )


def stream_loss(model: Llama, tokens: Sequence[int], *, window: int, batch: int = 8) -> tuple[float, int]:
    """Summed loss in nats and the number of tokens scored, over a stream cut into windows, each read alone.

    The first token of a window is given, not scored; the last window may be shorter. `batch` windows run at a
    time, for speed. ValueError for a window the model cannot see whole, or a foreign token.
    """
    if not 2 <= window <= model.config.max_seq_len:
        raise ValueError(
            f"window={window} must be between 2 and the model's context of {model.config.max_seq_len}"
        )
    stream = torch.as_tensor(tokens)
    if len(stream) < 2:
        raise ValueError(f"a stream of {len(stream)} tokens has nothing to score: give at least 2")
    if int(stream.min()) < 0 or int(stream.max()) >= model.config.vocab_size:
        raise ValueError(
            f"token ids from {int(stream.min())} to {int(stream.max())} do not fit the vocabulary "
            f"0..{model.config.vocab_size - 1}: encode with this model's own tokenizer"
        )
    device = model.tok_embeddings.weight.device
    n_whole = len(stream) // window
    batches = list(stream[: n_whole * window].view(-1, window).split(batch)) if n_whole else []
    rest = stream[n_whole * window :]
    if len(rest) > 1:
        batches.append(rest[None])
    losses = [token_losses(model, rows.to(device)) for rows in batches]
    return sum(float(loss.double().sum()) for loss in losses), sum(loss.numel() for loss in losses)


@torch.inference_mode()
def document_loss(
    model: nn.Module, documents: Sequence[Sequence[int]], *, batch: int = 50
) -> tuple[float, int]:
    """Summed loss in nats and the number of tokens scored, over documents of token ids, each read alone.

    The first token of a document, its BOS, is given, not scored; the EOS is. model: (B, T) ids to logits.
    """
    total, count = 0.0, 0
    for start in range(0, len(documents), batch):
        inputs, targets = one_a_row(documents[start : start + batch])
        logits = model(inputs).flatten(0, 1).float()  # (B * T, V)
        total += F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE, reduction="sum").item()
        count += int((targets != IGNORE).sum())
    return total, count
