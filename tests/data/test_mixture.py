from collections import Counter
from itertools import islice

import pytest
import torch

from llama_mini.data.corpus import Documents
from llama_mini.data.mixture import Mixture


def source(first: int, lengths: list[int]) -> Documents:
    """Documents of these lengths, each of one number; 0 begins them."""
    return Documents(torch.cat([torch.tensor([0] + [first + i] * (n - 1)) for i, n in enumerate(lengths)]), 0)


SOURCES = {"short": source(100, [2, 3, 4] * 5), "long": source(200, [30, 50])}
WEIGHTS = {"short": 3.0, "long": 1.0}


def test_weights_are_shares_of_the_tokens_at_every_moment():
    tokens: Counter[str] = Counter()
    for draw in islice(Mixture(SOURCES, WEIGHTS, seed=1).draws(), 500):
        tokens[draw.source] += len(draw.document)
        assert abs(tokens["short"] - 0.75 * tokens.total()) <= 50  # the longest document


def test_every_document_comes_once_an_epoch_in_another_order():
    draws = [
        draw for draw in islice(Mixture(SOURCES, WEIGHTS, seed=2).draws(), 200) if draw.source == "short"
    ]
    epochs = [[d.document[1].item() for d in draws if d.epoch == epoch] for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(100, 115))] * 3
    assert epochs[0] != epochs[1]


def test_the_line_depends_on_the_seed_alone():
    mixture = Mixture(SOURCES, WEIGHTS, seed=3)
    first, again = (list(islice(mixture, 5000)) for _ in range(2))
    assert [document.tolist() for document in first] == [document.tolist() for document in again]
    other = islice(Mixture(SOURCES, WEIGHTS, seed=4), 5000)
    assert [document.tolist() for document in first] != [document.tolist() for document in other]


def test_epochs_are_counted_as_tokens_drawn_over_tokens_there():
    mixture = Mixture(SOURCES, WEIGHTS, seed=5)
    assert mixture.epochs(800) == {"short": 0.75 * 800 / 45, "long": 0.25 * 800 / 80}
    draws = list(islice(mixture.draws(), 4000))
    expected = mixture.epochs(sum(len(draw.document) for draw in draws))
    for name in SOURCES:
        last = max(draw.epoch for draw in draws if draw.source == name)
        assert last == pytest.approx(expected[name], abs=1.1)


def test_names_and_weights_must_fit():
    with pytest.raises(ValueError, match="must have the same names"):
        Mixture(SOURCES, {"short": 1.0}, seed=0)
    with pytest.raises(ValueError, match="above 0, but there are"):
        Mixture(SOURCES, {"short": 1.0, "long": 0}, seed=0)
