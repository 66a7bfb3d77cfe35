import gzip
import json
import sys

import pytest
import torch

from llama_mini.data.corpus import (
    Documents,
    fingerprint,
    map_tokens,
    read_documents,
    token_stream,
    write_tokens,
)
from llama_mini.tokenizer import Tokenizer


class Bytes(Tokenizer):
    """One id a byte; 256 begins and 257 ends a text."""

    def __init__(self):
        super().__init__([bytes([i]) for i in range(256)] + [b"", b""], {"<bos>": 256, "<eos>": 257})
        self.bos_id, self.eos_id = 256, 257

    def encode_plain(self, text):
        return list(text.encode("utf-8", "surrogateescape"))


def test_files_and_folders_are_read_in_order(tmp_path):
    (tmp_path / "b.txt").write_bytes("zwei\r\n\u2028é".encode())
    (tmp_path / "deep").mkdir()
    lines = [json.dumps({"text": "drei\nlines\u2028", "n": 1}), "", json.dumps({"text": "vier"})]
    (tmp_path / "deep" / "c.jsonl").write_text("\n".join(lines))
    (tmp_path / "a.txt").write_text("eins")
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / "folder.txt").mkdir()
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
        ("a.csv", "text", r"a\.csv does not end in \.jsonl or \.jsonl\.gz or \.parquet or \.txt"),
        ("a.parquet", "PAR1", r"a\.parquet is no whole parquet file"),
        ("a.jsonl.gz", "text", r"a\.jsonl\.gz is cut off or damaged"),
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


def test_a_damaged_archive_is_named(tmp_path):
    packed = bytearray(gzip.compress(b'{"text": "x"}\n'))
    packed[10] = 0xFF  # behind gzip's header: a block of no known type
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz is cut off or damaged"):
        list(read_documents(tmp_path))


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(ValueError, match="no file or folder"):
        list(read_documents(tmp_path / "gone"))
    with pytest.raises(ValueError, match="holds no file"):
        list(read_documents(tmp_path))


def test_every_kind_of_file_holds_the_same_documents(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = ["eins", "zwei\nZeilen", "\u2028é", ""] * 700
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines)
    parquet.write_table(pyarrow.table({"id": range(len(texts)), "text": texts}), tmp_path / "a.parquet")
    for file in sorted(tmp_path.iterdir()):
        assert list(read_documents(file)) == texts
    parquet.write_table(pyarrow.table({"story": texts}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r'b\.parquet is no whole parquet file with a column "text"'):
        list(read_documents(tmp_path / "b.parquet"))


def test_a_set_of_the_hub_says_when_it_cannot_be_reached(monkeypatch):
    class Library:
        @staticmethod
        def load_dataset(name, *, split, streaming):
            assert (name, split, streaming) == ("owner/name", "train", True)
            yield {"text": "eins"}
            raise ConnectionError("no net")

    monkeypatch.setitem(sys.modules, "datasets", Library)
    documents = read_documents("hf:owner/name")
    assert next(documents) == "eins"
    with pytest.raises(ValueError, match="hf:owner/name cannot be reached; offline"):
        next(documents)


def test_tokens_come_back_from_their_file(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    file = tmp_path / "tokens.bin"
    write_tokens(tmp_path / "a.jsonl", Bytes(), file)
    assert torch.equal(map_tokens(file), token_stream(tmp_path / "a.jsonl", Bytes()))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no document"):
        write_tokens(tmp_path / "empty.jsonl", Bytes(), file)
    assert len(map_tokens(file)) == 10  # what the file held before stands
    file.write_bytes(b"12345")
    with pytest.raises(ValueError, match="5 bytes, no whole number"):
        map_tokens(file)


def test_a_stream_is_seen_as_its_documents():
    documents = Documents(torch.tensor([9, 1, 2, 9, 3, 9], dtype=torch.int32), bos_id=9)
    assert [documents[i].tolist() for i in range(len(documents))] == [[9, 1, 2], [9, 3], [9]]
    assert len(documents) == 3
    assert len(list(documents)) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"no document {index} among 3"):
            documents[index]
    assert documents[0].data_ptr() == documents.stream.data_ptr()
    with pytest.raises(ValueError, match=r"begins with token \[5\], a document with 9"):
        Documents(torch.tensor([5, 9]), bos_id=9)


def test_the_fingerprint_changes_with_any_byte(tmp_path):
    (tmp_path / "a.txt").write_text("eins")
    (tmp_path / "b.txt").write_text("zwei")
    before = fingerprint(tmp_path)
    (tmp_path / "b.txt").write_text("zwe!")
    assert fingerprint(tmp_path) != before
    assert fingerprint("hf:owner/name") == "hf:owner/name"
