from itertools import count

import pytest
import torch

from llama_mini.data.text import IGNORE, apart, pack, packed_rows, random_windows


def test_every_row_starts_with_a_document_and_targets_are_one_later():
    inputs, targets = pack([[1, 5, 6, 2], [1, 7, 2], [1, 8, 8, 8, 8, 2]], rows=2, length=5)
    assert inputs.tolist() == [[1, 5, 6, 2, 1], [1, 8, 8, 8, 8]]
    assert targets.tolist() == [[5, 6, 2, 1, 7], [8, 8, 8, 8, 2]]


def test_rows_longer_than_the_documents_are_ignored_where_empty():
    inputs, targets = pack([[1, 5, 2]], rows=2, length=4)
    assert targets.tolist() == [[5, 2, IGNORE, IGNORE], [IGNORE] * 4]
    assert inputs.shape == (2, 4)
    assert inputs.min() >= 0


def test_packing_takes_only_what_it_needs_from_an_endless_source():
    source = ([1, n + 10, 2] for n in count())
    pack(source, rows=2, length=5)
    assert next(source) == [1, 14, 2]


def test_windows_are_a_pure_function_of_seed_and_index():
    stream = torch.arange(1000, dtype=torch.int32)
    one, again, other = (random_windows(stream, rows=8, length=10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one(3)[0], again(3)[0])
    assert not torch.equal(one(3)[0], one(4)[0])
    assert not torch.equal(one(3)[0], other(3)[0])
    inputs, targets = one(3)
    assert torch.equal(inputs + 1, targets)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs[0, 0] == 441  # and on every machine


def test_windows_reach_both_ends_and_never_beyond():
    batch = random_windows(torch.arange(12), rows=200, length=10, seed=0)
    inputs, targets = batch(0)
    assert (inputs.min(), targets.max()) == (0, 11)
    exact = random_windows(torch.arange(11), rows=2, length=10, seed=0)(0)
    assert exact[0].tolist() == [list(range(10))] * 2
    with pytest.raises(ValueError, match="10 tokens, a window needs 11"):
        random_windows(torch.arange(10), rows=1, length=10, seed=0)


DOCUMENTS = [[1, *range(10 + n, 10 + n + n % 5), 2] for n in range(60)]


def test_packed_rows_are_those_of_pack_in_any_order():
    batch, source = packed_rows(DOCUMENTS, rows=4, length=9), iter(DOCUMENTS)
    expected = [pack(source, rows=4, length=9) for _ in range(3)]
    for i in (0, 1, 2, 1, 0, 2):
        for part, other in zip(batch(i), expected[i], strict=True):
            assert torch.equal(part, other)


def test_ranks_share_the_rows_of_a_batch():
    whole = packed_rows(DOCUMENTS, rows=4, length=9)
    ranks = [packed_rows(DOCUMENTS, rows=4, length=9, rank=rank, world=2) for rank in (0, 1)]
    for rank in (0, 1):
        assert torch.equal(ranks[rank](1)[0], whole(1)[0][rank::2])
    with pytest.raises(ValueError, match="rows=4 a multiple of world"):
        packed_rows(DOCUMENTS, rows=4, length=9, world=3)


def test_apart_tells_documents_and_does_not_learn_their_borders():
    inputs, targets, documents = apart(pack([[1, 5, 2], [1, 6, 7, 2]], rows=1, length=6), bos_id=1)
    assert inputs.tolist() == [[1, 5, 2, 1, 6, 7]]
    assert targets.tolist() == [[5, 2, IGNORE, 6, 7, 2]]
    assert documents.tolist() == [[1, 1, 1, 2, 2, 2]]
