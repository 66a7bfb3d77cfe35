"""Several sources, drawn by weight: how much of each a model reads, and how often it has read it before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from llama_mini.data.corpus import Documents


@dataclass(frozen=True)
class Draw:
    """One document, where it is from, and how many times its source was read through before."""

    source: str
    epoch: int
    document: Tensor


class Mixture:
    """An endless line of documents in which each source has its weight's share of the tokens.

    The next document is always from the source that is furthest behind its share, so the shares hold at every
    moment to within a document. Within a source every document comes once an epoch, each epoch in another
    order. All depends on the seed alone: iterating again gives the same line.
    """

    def __init__(self, sources: Mapping[str, Documents], weights: Mapping[str, float], *, seed: int):
        if sources.keys() != weights.keys():
            raise ValueError(
                f"sources {sorted(sources)} and weights {sorted(weights)} must have the same names"
            )
        if bad := {name: weight for name, weight in weights.items() if weight <= 0}:
            raise ValueError(f"weights must be above 0, but there are {bad}: leave those sources out")
        total = sum(weights.values())
        self.sources, self.seed = sources, seed
        self.shares = {name: weights[name] / total for name in sources}

    def epochs(self, tokens: int) -> dict[str, float]:
        """How often each source has been read when so many tokens were drawn (LLaMA, table 1)."""
        return {name: share * tokens / len(self.sources[name].stream) for name, share in self.shares.items()}

    def __iter__(self) -> Iterator[Tensor]:
        return (draw.document for draw in self.draws())

    def draws(self) -> Iterator[Draw]:
        """The same line, each document with its source and the epoch that its source is in."""
        lines = {name: self._line(number, self.sources[name]) for number, name in enumerate(self.sources)}
        read = dict.fromkeys(self.sources, 0)
        while True:
            total = sum(read.values())
            name = max(read, key=lambda name: self.shares[name] * total - read[name])
            epoch, document = next(lines[name])
            read[name] += len(document)
            yield Draw(name, epoch, document)

    def _line(self, number: int, source: Documents) -> Iterator[tuple[int, Tensor]]:
        """The documents of one source, epoch after epoch."""
        epoch = 0
        while True:
            for index in np.random.default_rng((self.seed, number, epoch)).permutation(len(source)):
                yield epoch, source[index]
            epoch += 1
