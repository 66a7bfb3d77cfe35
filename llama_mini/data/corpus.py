"""Text on disk: documents read one at a time from files, and their tokens kept in one mapped file.

Nothing here holds a corpus: one document is in memory, and the system reads a page of tokens when it is
touched. N is the number of tokens of a whole stream.
"""

import gzip
import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from llama_mini.checkpoint.files import replacing
from llama_mini.tokenizer import Tokenizer

READABLE = (".jsonl", ".jsonl.gz", ".parquet", ".txt")
HUB = "hf:"  # begins the name of a data set on the Hugging Face hub


class Documents:
    """A stream (N) of token ids seen as documents, each from one BOS to the next: len() and [i].

    Document i is a view of the stream; held are only the places where they begin.
    """

    def __init__(self, stream: Tensor, bos_id: int):
        begins = torch.cat([torch.nonzero(part == bos_id)[:, 0] + at for at, part in pieces(stream)])
        if not len(begins) or begins[0] != 0:
            raise ValueError(f"the stream begins with token {stream[:1].tolist()}, a document with {bos_id}")
        self.stream = stream
        self.borders = torch.cat([begins, torch.tensor([len(stream)])])

    def __len__(self) -> int:
        return len(self.borders) - 1

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no document {index} among {len(self)}")
        start, end = self.borders[index : index + 2].tolist()
        return self.stream[start:end]


def pieces(stream: Tensor, size: int = 2**24) -> Iterator[tuple[int, Tensor]]:
    """Where each piece of a long stream begins, and the piece."""
    return ((at, stream[at : at + size]) for at in range(0, len(stream), size))


def token_stream(path: str | Path, tokenizer: Tokenizer) -> Tensor:
    """All documents of `read_documents` as one line of token ids (N) in int32, in memory, each between BOS
    and EOS."""
    ids = array("i")
    for text in read_documents(path):
        ids.extend(tokenizer.encode(text, bos=True, eos=True))
    if not ids:
        raise ValueError(f"{path} holds no document")
    return torch.tensor(ids, dtype=torch.int32)


def write_tokens(path: str | Path, tokenizer: Tokenizer, file: str | Path) -> None:
    """The same ids to a file, four bytes each in the machine's order, one document in memory at a time.

    The file appears when it is complete. `map_tokens` gives it back as a stream.
    """
    with replacing(Path(file)) as temporary:
        with temporary.open("wb") as out:
            for text in read_documents(path):
                array("i", tokenizer.encode(text, bos=True, eos=True)).tofile(out)
        if temporary.stat().st_size == 0:
            raise ValueError(f"{path} holds no document")


def map_tokens(file: str | Path) -> Tensor:
    """The stream (N) of token ids in a file of `write_tokens`, int32, mapped."""
    size = Path(file).stat().st_size
    if size == 0 or size % 4:
        raise ValueError(f"{file} has {size} bytes, no whole number of token ids: write it again")
    return torch.from_file(str(file), shared=False, size=size // 4, dtype=torch.int32)


def read_documents(path: str | Path) -> Iterator[str]:
    """The documents of a file, of every readable file below a folder in the order of their names, or of a
    data set on the Hugging Face hub.

    A .txt file is one document; a .jsonl or .jsonl.gz file has one a line and a .parquet file one a row,
    under the key "text". "hf:owner/name" streams the training part of a set through the `datasets` library.
    Bytes that are not UTF-8 come as lone surrogates, which tokenizers turn back into the same bytes.
    ValueError says what is wrong where.
    """
    if str(path).startswith(HUB):
        yield from read_hub(str(path).removeprefix(HUB))
        return
    for file in text_files(Path(path)):
        yield from read_file(file)


def text_files(path: Path) -> list[Path]:
    """A file itself, or the readable files below a folder."""
    if not path.exists():
        raise ValueError(
            f"there is no file or folder {path}; a set on the Hugging Face hub is {HUB}owner/name"
        )
    below = (file for file in path.rglob("*") if kind(file) and file.is_file())
    files = [path] if path.is_file() else sorted(below)
    if not files:
        raise ValueError(f"the folder {path} holds no file that ends in {' or '.join(READABLE)}")
    return files


def fingerprint(path: str | Path) -> str:
    """What changes when a text does: a hash of all bytes of its files, or the name of a set on the hub."""
    if str(path).startswith(HUB):
        return str(path)
    digest = hashlib.sha256()
    for file in text_files(Path(path)):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def kind(path: Path) -> str | None:
    """Which of the readable endings a file has."""
    return next((ending for ending in READABLE if path.name.endswith(ending)), None)


def read_file(path: Path) -> Iterator[str]:
    """The documents of one file."""
    ending = kind(path)
    if ending is None:
        raise ValueError(f"{path} does not end in {' or '.join(READABLE)}: write it as one of them")
    if ending == ".txt":
        yield path.read_bytes().decode("utf-8", "surrogateescape")
    elif ending == ".parquet":
        yield from read_parquet(path)
    else:
        opener = gzip.open if ending == ".jsonl.gz" else open
        try:
            with opener(path, "rt", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                yield from read_lines(lines, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is cut off or damaged: {error}") from error


def read_lines(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The string under "text" in each line of json."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise ValueError(f'{path}, line {number} has no string under the key "text"')
        yield record["text"]


def read_parquet(path: Path) -> Iterator[str]:
    """The column "text" of a .parquet file, some rows at a time."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ValueError(f"to read {path}: pip install 'llama-mini[data]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            for rows in file.iter_batches(batch_size=1024, columns=["text"]):
                yield from rows.column("text").cast("string").to_pylist()
    except (ArrowException, KeyError) as error:
        raise ValueError(f'{path} is no whole parquet file with a column "text": {error}') from error


def read_hub(name: str) -> Iterator[str]:
    """The texts of the training part of a data set on the Hugging Face hub, streamed."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(f"to read {HUB}{name}: pip install 'llama-mini[data]'") from error
    try:
        for record in load_dataset(name, split="train", streaming=True):
            yield record["text"]
    except ConnectionError as error:
        raise ValueError(f"{HUB}{name} cannot be reached; offline, name a file or folder: {error}") from error
    except KeyError as error:
        raise ValueError(f'{HUB}{name} has no column "text"') from error
