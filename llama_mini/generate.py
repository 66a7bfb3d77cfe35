"""From logits to text: choose the next token, again and again, with a cache. Shapes: B rows, V vocabulary."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llama_mini.cache import KVCache
from llama_mini.decode import compiled_decode, decode, new_cache
from llama_mini.model import Llama

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen; the steps apply in the order of the fields, temperature 0 is greedy.

    repetition_penalty: logits of tokens already in the row are divided by it, or multiplied where negative
    (Keskar et al. 2019). top_k: keep the k likeliest tokens. top_p: keep the smallest set that has this much
    probability (Holtzman et al. 2019). min_p: keep tokens with at least this share of the likeliest one's
    probability (Nguyen et al. 2024).
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must be 0 (greedy) or more")
        if self.repetition_penalty <= 0:
            raise ValueError(
                f"repetition_penalty={self.repetition_penalty} must be positive; 1 changes nothing"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1, or None to keep every token")
        for name, value in (("top_p", self.top_p), ("min_p", self.min_p)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name}={value} must be in (0, 1], or None to keep every token")


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits (B, V) with those of the seen tokens, a bool (B, V), pushed down by the penalty."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (B, V) to the float32 distribution (B, V) that is drawn from: temperature, then the filters."""
    if sampling.temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(-1, best, 1.0)
    probs = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    if sampling.top_k is not None and sampling.top_k < probs.size(-1):
        kept = probs.topk(sampling.top_k)
        probs = torch.zeros_like(probs).scatter_(-1, kept.indices, kept.values)
    if sampling.top_p is not None:
        ordered, order = (probs / probs.sum(-1, keepdim=True)).sort(descending=True, stable=True)
        enough = ordered.cumsum(-1) - ordered >= sampling.top_p  # what stands before this token suffices
        probs = probs.masked_fill(enough.scatter(-1, order, enough), 0.0)
    if sampling.min_p is not None:
        probs = probs.where(probs >= sampling.min_p * probs.amax(-1, keepdim=True), 0.0)
    return probs / probs.sum(-1, keepdim=True)


def sample(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a token (B) from each row of probs (B, V) with its uniform number (B) in [0, 1): the inverse CDF.

    A row's number gives the same token whatever else is in the batch; probability 0 is never drawn.
    """
    cdf = probs.double().cumsum(-1)
    return torch.searchsorted(cdf, uniforms[:, None] * cdf[:, -1:], right=True)[:, 0]


def choose(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """The next token (B) of each row of logits (B, V): the likeliest at temperature 0, else a draw."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    return sample(probabilities(logits, sampling), uniforms)


def check_prompts(model: Llama, prompts: Prompts, max_new_tokens: int) -> None:
    """ValueError, before any work, for prompts that this model cannot continue by max_new_tokens."""
    vocab_size, context = model.config.vocab_size, model.config.max_seq_len
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("a prompt is empty: give it at least one token, usually beginning-of-text")
    for prompt in prompts:
        if bad := [token for token in prompt if not 0 <= token < vocab_size]:
            raise ValueError(f"token id {bad[0]} is outside the vocabulary, 0 to {vocab_size - 1}")
        if (need := len(prompt) + max_new_tokens) > context:
            raise ValueError(
                f"{len(prompt)} prompt tokens and {max_new_tokens} new ones need {need} places, but the "
                f"model's context is {context}: ask for at most {max(0, context - len(prompt))} new tokens"
            )


def prefill(model: Llama, prompts: Prompts, cache: KVCache) -> tuple[Tensor, Tensor]:
    """Read all prompts into the cache; return features (B, C) of their last tokens, and their lengths (B).

    Short prompts are padded on the right. What the padding writes lies beyond the row's own position, out
    of its sight, and is overwritten when the row gets there.
    """
    device = model.tok_embeddings.weight.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = max(len(prompt) for prompt in prompts)
    rows = [list(prompt) + [0] * (longest - len(prompt)) for prompt in prompts]
    positions = torch.arange(longest, device=device)[None]
    tokens = torch.tensor(rows, device=device)  # (B, longest)
    features = model.features(tokens, positions=positions, cache=cache.upto(longest))
    return features[torch.arange(len(prompts), device=device), lengths - 1], lengths


@torch.inference_mode()
def stream(
    model: Llama,
    prompts: Prompts,
    sampling: Sampling = Sampling(),
    *,
    max_new_tokens: int,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
    compile: bool = False,
) -> Iterator[list[int | None]]:
    """Continue each prompt, a list of token ids: yields a token a row at every step, None once a row stopped.

    A stop token ends its row and is not yielded. Randomness is one uniform number for each row and step,
    drawn from `generator` (on the CPU) up front, row by row, so splitting a batch changes nothing.
    With compile, all steps after the prompt run through one compiled step over a cache of fixed size: the
    first call takes a minute, the next ones with as many rows are fast. It needs a C++ compiler on a CPU.
    ValueError, before any work, for an empty prompt, an id outside the vocabulary or too many tokens.
    """
    check_prompts(model, prompts, max_new_tokens)
    weight, batch = model.tok_embeddings.weight, len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    cache = new_cache(model, batch, longest + max_new_tokens, compile)
    step_on = compiled_decode(model, cache) if compile else decode
    uniforms = torch.rand(batch, max_new_tokens, dtype=torch.float64, generator=generator).to(weight.device)
    seen = torch.zeros(batch, model.config.vocab_size, dtype=torch.bool, device=weight.device)
    for row, prompt in enumerate(prompts):
        seen[row, list(prompt)] = True
    features, positions = prefill(model, prompts, cache)
    logits = model.head(features)
    running = [True] * batch
    for step in range(max_new_tokens):
        if sampling.repetition_penalty != 1:
            logits = penalize(logits, seen, sampling.repetition_penalty)
        tokens = choose(logits, uniforms[:, step], sampling)[:, None]  # (B, 1)
        seen.scatter_(1, tokens, True)
        chosen = tokens[:, 0].tolist()
        running = [alive and token not in stop for alive, token in zip(running, chosen, strict=True)]
        if not any(running):
            return
        yield [token if alive else None for alive, token in zip(running, chosen, strict=True)]
        if step + 1 < max_new_tokens:  # the last token needs no successor
            visible = cache if compile else cache.upto(longest + step + 1)
            logits = step_on(model, tokens, positions[:, None] + step, visible)


def generate(
    model: Llama,
    prompts: Prompts,
    sampling: Sampling = Sampling(),
    *,
    max_new_tokens: int,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
    compile: bool = False,
) -> list[list[int]]:
    """The new tokens of each prompt, all at once; arguments and errors as in `stream`."""
    steps = stream(
        model, prompts, sampling,
        max_new_tokens=max_new_tokens, stop=stop, generator=generator, compile=compile,
    )  # fmt: skip
    rows = zip(*steps, strict=True)
    return [[token for token in row if token is not None] for row in rows] or [[] for _ in prompts]


@torch.inference_mode()
def beam(
    model: Llama,
    prompt: Sequence[int],
    *,
    width: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
    length_penalty: float = 1.0,
) -> list[tuple[list[int], float]]:
    """What beam search finds, best first: the new tokens without the stop token, and their score.

    At every step each of the `width` kept rows is continued by every token, and the likeliest `width` of the
    results are kept; those that stop are set aside. The score is the log-probability in nats, that of the
    stop token included, over the number of tokens to the power of length_penalty (1: the mean; 0: long
    answers lose). Answers that reached max_new_tokens have not stopped. Errors as in `stream`.
    """
    check_prompts(model, [prompt], max_new_tokens)
    if width < 1 or not 0 <= length_penalty <= 1:
        raise ValueError(f"width={width} must be at least 1, length_penalty={length_penalty} from 0 to 1")
    weight, size = model.tok_embeddings.weight, len(prompt) + max_new_tokens
    cache = KVCache(model.config, batch=width, size=size, device=weight.device, dtype=weight.dtype)
    features, positions = prefill(model, [prompt] * width, cache)
    rows: list[list[int]] = [[] for _ in range(width)]
    totals = [0.0] + [-math.inf] * (width - 1)  # the rows start alike: let one of them count
    done: list[tuple[list[int], float]] = []
    for step in range(max_new_tokens):
        ends, kept = branch(model.head(features), totals, stop)
        done += [(rows[parent], total / (step + 1) ** length_penalty) for total, parent in ends]
        done = sorted(done, key=lambda answer: -answer[1])[:width]
        totals, parents, tokens = map(list, zip(*kept, strict=True))
        rows = [[*rows[parent], token] for parent, token in zip(parents, tokens, strict=True)]
        hope = totals[0] / max_new_tokens**length_penalty  # a row only loses, but may spread it over more
        if (len(done) == width and hope <= done[-1][1]) or step + 1 == max_new_tokens:
            break
        cache.reorder(parents)
        inputs = torch.tensor(tokens, device=weight.device)[:, None]
        visible = cache.upto(len(prompt) + step + 1)
        features = model.features(inputs, positions=positions[:, None] + step, cache=visible)[:, -1]
    done += [(row, total / len(row) ** length_penalty) for row, total in zip(rows, totals, strict=True)]
    return sorted(done, key=lambda answer: -answer[1])[:width]


def branch(
    logits: Tensor, totals: Sequence[float], stop: Collection[int]
) -> tuple[list[tuple[float, int]], list[tuple[float, int, int]]]:
    """The likeliest ways on from the rows of a beam, from logits (width, V) and their totals so far.

    Returns those that stop, (total, row), and those that go on, (total, row, token), best first.
    """
    width, vocab_size = logits.shape
    scores = torch.log_softmax(logits.float(), -1) + torch.tensor(totals, device=logits.device)[:, None]
    best = scores.flatten().topk(min(width * (1 + len(stop)), width * vocab_size))
    ends, kept = [], []
    for total, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        row, token = divmod(place, vocab_size)
        if token not in stop:
            kept.append((total, row, token))
        elif total > -math.inf:
            ends.append((total, row))
    return ends, kept[:width]
