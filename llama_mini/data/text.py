"""Text files to batches: read documents, then pack whole ones into rows or cut random windows from a stream.

A batch is a pair (inputs, targets), (B, T) int64 each: the targets are the inputs one token later, IGNORE
where there is nothing to learn. Shapes: B rows, T tokens, N tokens of a whole stream.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llama_mini.tokenizer import Tokenizer

IGNORE = -100  # the target that does not count, PyTorch's own convention
READABLE = (".jsonl", ".txt")


def pack(documents: Iterable[Sequence[int]], *, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """One batch (rows, length) of documents given as token ids, each with its BOS and EOS.

    Every row starts where a document starts and is filled with whole ones; the last is cut at the row's end.
    Takes from `documents` only what it needs; where they run out, the rest of the targets is IGNORE.
    """
    source = iter(documents)
    batch = torch.full((rows, length + 1), IGNORE)
    for row in batch:
        filled: list[int] = []
        while len(filled) <= length and (document := next(source, None)) is not None:
            filled.extend(document)
        filled = filled[: length + 1]
        row[: len(filled)] = torch.tensor(filled, dtype=torch.int64)
    return batch[:, :-1].clamp(min=0), batch[:, 1:].contiguous()


def one_a_row(documents: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """One batch of documents given as token ids, each alone in its row; the longest sets the length."""
    length = max(map(len, documents)) - 1
    rows = [pack([document], rows=1, length=length) for document in documents]
    return torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])


def random_windows(
    stream: Tensor, *, rows: int, length: int, seed: int
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The function from i to the i-th batch: `rows` windows of a stream (N) of token ids, from random places.

    Each batch depends on (seed, i) alone, on every machine, so a run can go on anywhere.
    """
    if len(stream) <= length:
        raise ValueError(f"the text has {len(stream)} tokens, a window needs {length + 1}: give more text")

    def batch(i: int) -> tuple[Tensor, Tensor]:
        starts = np.random.default_rng((seed, i)).integers(len(stream) - length, size=(rows, 1))
        windows = stream[torch.from_numpy(starts) + torch.arange(length + 1)].long()  # (B, T + 1)
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    return batch


def token_stream(path: str | Path, tokenizer: Tokenizer) -> Tensor:
    """All documents of a file or folder as one line of token ids (N) in int32, each between BOS and EOS."""
    documents = (tokenizer.encode(text, bos=True, eos=True) for text in read_documents(path))
    parts = [torch.tensor(document, dtype=torch.int32) for document in documents]
    if not parts:
        raise ValueError(f"{path} holds no document")
    return torch.cat(parts)


def read_documents(path: str | Path) -> Iterator[str]:
    """The documents of a file, or of every readable file below a folder in the order of their names.

    A .txt file is one document, a .jsonl file one a line, under the key "text". Bytes that are not UTF-8 come
    as lone surrogates, which tokenizers turn back into the same bytes. ValueError says what is wrong where.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in READABLE)
    if not files:
        raise ValueError(f"the folder {path} holds no file that ends in {' or '.join(READABLE)}")
    for file in files:
        yield from read_file(file)


def read_file(path: Path) -> Iterator[str]:
    """The documents of one file."""
    if path.suffix not in READABLE:
        kinds = " or ".join(READABLE)
        raise ValueError(
            f"{path} does not end in {kinds}: write it as one of them (.parquet is not read yet)"
        )
    if path.suffix == ".txt":
        yield path.read_bytes().decode("utf-8", "surrogateescape")
        return
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield text_of(line, f"{path}, line {number}")


def text_of(line: str, place: str) -> str:
    """The string under "text" in one line of a .jsonl file."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is not JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise ValueError(f'{place} has no string under the key "text"')
    return record["text"]
