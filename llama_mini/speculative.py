"""Speculative decoding: a small model guesses ahead, the large one checks all guesses in a single call.

The tokens have exactly the distribution of the large model alone (Leviathan et al. 2023, algorithm 1; Chen et
al. 2023). Shapes: K guesses in a round, T tokens read, V vocabulary; one row of text.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llama_mini.cache import KVCache
from llama_mini.generate import Sampling, check_prompts, probabilities, sample
from llama_mini.model import Llama


@dataclass
class Speculation:
    """The new tokens, and for each call of the target, how many guesses it was given and how many it kept."""

    tokens: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    @property
    def tokens_per_call(self) -> float:
        """New tokens per call of the target; plain decoding has 1."""
        return len(self.tokens) / len(self.accepted)


class Reader:
    """A model and its cache, which read one growing row of tokens; what is taken back is simply read over."""

    def __init__(self, model: Llama, size: int):
        weight = model.tok_embeddings.weight
        self.model, self.n_read, self.device = model, 0, weight.device
        self.cache = KVCache(model.config, batch=1, size=size, device=weight.device, dtype=weight.dtype)

    def read(self, row: Sequence[int], n_last: int, sampling: Sampling) -> Tensor:
        """Read what is new in the row; return the distributions (n_last, V) after its last n_last tokens."""
        new = torch.tensor([row[self.n_read :]], device=self.device)  # (1, T)
        positions = torch.arange(self.n_read, len(row), device=self.device)[None]
        features = self.model.features(new, positions=positions, cache=self.cache.upto(len(row)))
        self.n_read = len(row)
        return probabilities(self.model.head(features[0, -n_last:]), sampling)

    def take_back(self, n: int) -> None:
        """Go back to the first n tokens of the row, if more have been read."""
        self.n_read = min(self.n_read, n)


def verify(target: Tensor, draft: Tensor, guesses: Sequence[int], uniforms: Tensor) -> tuple[int, int]:
    """How many of K guesses to keep, and the token after them: together as if drawn from the target.

    target (K + 1, V) and draft (K, V): the distributions at the K guesses, and the target's after them all.
    uniforms (K + 1) in [0, 1). Guess i is kept with probability min(1, target / draft); in place of the first
    that is not comes a draw from what the target has more than the draft, max(0, target - draft).
    """
    for i, guess in enumerate(guesses):
        if uniforms[i] * draft[i, guess] >= target[i, guess]:
            rest = (target[i] - draft[i]).clamp(min=0)
            return i, int(sample(rest[None] / rest.sum(), uniforms[-1:]))
    return len(guesses), int(sample(target[-1:], uniforms[-1:]))


@torch.inference_mode()
def speculate(
    target: Llama,
    draft: Llama,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    n_draft: int = 4,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Speculation:
    """Continue a prompt as the target would; before each of its calls the draft guesses `n_draft` tokens.

    Both models share one vocabulary. At temperature 0 the tokens are those of `generate`; else they have the
    same distribution, though other draws. ValueError as in `stream`, for vocabularies that differ, and for a
    repetition penalty, which would change the distribution with every guess.
    """
    check_prompts(target, [prompt], max_new_tokens)
    check_pair(target, draft, sampling, n_draft)
    size, result, row = len(prompt) + max_new_tokens, Speculation(), list(prompt)
    reader, guesser = Reader(target, size), Reader(draft, size)
    while len(row) < size:
        n = min(n_draft, size - len(row) - 1)  # the target adds one token more
        uniforms = torch.rand(2, n + 1, dtype=torch.float64, generator=generator)
        guesses, drafts = guess(guesser, row, sampling, uniforms[0, :n])
        probs = reader.read(row + guesses, n + 1, sampling).cpu()
        kept, token = verify(probs, drafts, guesses, uniforms[1])
        new = [*guesses[:kept], token]
        row += new
        reader.take_back(len(row) - 1)
        guesser.take_back(len(row) - 1)
        result.drafted.append(n)
        result.accepted.append(kept)
        ends = [i for i, token in enumerate(new) if token in stop]
        result.tokens += new[: ends[0]] if ends else new
        if ends:
            break
    return result


def guess(guesser: Reader, row: list[int], sampling: Sampling, uniforms: Tensor) -> tuple[list[int], Tensor]:
    """The draft's next K tokens, one for each of K uniforms, and the distributions (K, V) behind them."""
    guesses: list[int] = []
    drafts = torch.zeros(len(uniforms), guesser.model.config.vocab_size)
    for i in range(len(uniforms)):
        drafts[i] = guesser.read(row + guesses, 1, sampling)[0]
        guesses.append(int(sample(drafts[i : i + 1], uniforms[i : i + 1])))
    return guesses, drafts


def check_pair(target: Llama, draft: Llama, sampling: Sampling, n_draft: int) -> None:
    """ValueError for a pair of models, or settings, that cannot work together."""
    ours, theirs = target.config.vocab_size, draft.config.vocab_size
    if ours != theirs:
        raise ValueError(f"the target knows {ours} tokens, the draft {theirs}: they must share a tokenizer")
    if sampling.repetition_penalty != 1:
        raise ValueError(
            f"repetition_penalty={sampling.repetition_penalty} depends on the guesses themselves: use 1"
        )
    if n_draft < 1:
        raise ValueError(f"n_draft={n_draft} must be at least 1; without guesses use generate")
