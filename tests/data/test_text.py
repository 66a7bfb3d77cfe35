import json
from itertools import count

import pytest
import torch

from llama_mini.data.text import IGNORE, pack, random_windows, read_documents, token_stream
from llama_mini.tokenizer import Tokenizer


class Bytes(Tokenizer):
    """One id a byte; 256 begins and 257 ends a text."""

    def __init__(self):
        super().__init__([bytes([i]) for i in range(256)] + [b"", b""], {"<bos>": 256, "<eos>": 257})
        self.bos_id, self.eos_id = 256, 257

    def encode_plain(self, text):
        return list(text.encode("utf-8", "surrogateescape"))


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


def test_files_and_folders_are_read_in_order(tmp_path):
    (tmp_path / "b.txt").write_bytes("zwei\r\n\u2028é".encode())
    (tmp_path / "deep").mkdir()
    lines = [json.dumps({"text": "drei\nlines\u2028", "n": 1}), "", json.dumps({"text": "vier"})]
    (tmp_path / "deep" / "c.jsonl").write_text("\n".join(lines))
    (tmp_path / "a.txt").write_text("eins")
    (tmp_path / "README.md").write_text("not data")
    expected = ["eins", "zwei\r\n\u2028é", "drei\nlines\u2028", "vier"]
    assert list(read_documents(tmp_path)) == expected
    stream = token_stream(tmp_path, Bytes())
    assert stream.tolist()[:7] == [256, *b"eins", 257, 256]
    assert bytes(b for b in stream.tolist() if b < 256).decode() == "".join(expected)


def test_bytes_that_are_not_utf8_come_through(tmp_path):
    data = b"a\xff\x00\xe4b" + b"x" * 100_000
    (tmp_path / "odd.txt").write_bytes(data)
    assert bytes(token_stream(tmp_path / "odd.txt", Bytes()).tolist()[1:-1]) == data


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", "PAR1", r"a\.parquet does not end in \.jsonl or \.txt.*parquet is not read yet"),
        ("a.jsonl", '{"text": "x"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", '{"story": "x"}', 'line 1 has no string under the key "text"'),
        ("a.jsonl", "[1]", 'line 1 has no string under the key "text"'),
        ("a.jsonl", "\n", "holds no document"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        token_stream(tmp_path / name, Bytes())


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(ValueError, match="no file or folder"):
        list(read_documents(tmp_path / "gone"))
    with pytest.raises(ValueError, match="holds no file"):
        list(read_documents(tmp_path))
