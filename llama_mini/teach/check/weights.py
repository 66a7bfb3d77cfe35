"""Practice of chapter 14: what `check` knows about reading a tensor out of the bytes of a file."""

import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise

KINDS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
Entries = dict[str, dict[str, Any]]


def _open(data: bytes) -> tuple[int, Entries]:
    """Where the numbers of a safetensors file begin, and its list of contents."""
    begin = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:begin])
    entries.pop("__metadata__", None)
    return begin, entries


def _take(data: bytes, start: int, entry: dict[str, Any], dtype: torch.dtype | None = None) -> Tensor:
    count = math.prod(entry["shape"])
    kind = dtype or KINDS[entry["dtype"]]
    return torch.frombuffer(bytearray(data[start:]), dtype=kind, count=count).view(entry["shape"])


def _tensor(data: bytes, name: str) -> Tensor:
    """The tensor of that name in the bytes of a safetensors file, in its own dtype and shape."""
    begin, entries = _open(data)
    return _take(data, begin + entries[name]["data_offsets"][0], entries[name])


def _from(shift: Callable[[int], int]) -> Callable[[bytes, str], Tensor]:
    """The reader that thinks the numbers begin at shift(begin)."""

    def read(data: bytes, name: str) -> Tensor:
        begin, entries = _open(data)
        return _take(data, shift(begin) + entries[name]["data_offsets"][0], entries[name])

    return read


def _all_float16(data: bytes, name: str) -> Tensor:
    begin, entries = _open(data)
    two_bytes = torch.float16 if entries[name]["dtype"] == "BF16" else None
    return _take(data, begin + entries[name]["data_offsets"][0], entries[name], two_bytes)


def _all_bfloat16(data: bytes, name: str) -> Tensor:
    begin, entries = _open(data)
    two_bytes = torch.bfloat16 if entries[name]["dtype"] == "F16" else None
    return _take(data, begin + entries[name]["data_offsets"][0], entries[name], two_bytes)


def _listed(data: bytes, name: str) -> Tensor:
    begin, entries = _open(data)
    for other, entry in entries.items():
        if other == name:
            break
        begin += math.prod(entry["shape"]) * KINDS[entry["dtype"]].itemsize
    return _take(data, begin, entries[name])


def _to_the_bracket(data: bytes, name: str) -> Tensor:
    _, entries = _open(data)
    return _take(data, data.index(b"}}") + 2 + entries[name]["data_offsets"][0], entries[name])


def _short_length(data: bytes, name: str) -> Tensor:
    begin, entries = _open(data)
    return _take(data, 8 + (begin - 8) % 2**16 + entries[name]["data_offsets"][0], entries[name])


def _columns_first(data: bytes, name: str) -> Tensor:
    tensor = _tensor(data, name)
    return tensor.reshape(tensor.shape[::-1]).permute(*reversed(range(tensor.ndim)))


def _file(generator: Generator, *shapes: tuple[int, ...], kind: str = "F32") -> bytes:
    """A safetensors file of tensors "a", "b", ... in this order of bytes, listed the other way round."""
    entries: Entries = {}
    body = b""
    for letter, shape in zip("abcdef", shapes, strict=False):
        tensor = torch.randn(shape, generator=generator).to(KINDS[kind])
        start = len(body)
        body += tensor.view(torch.uint8).numpy().tobytes()
        entries[letter] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, len(body)]}
    listed: dict[str, Any] = {letter: entries[letter] for letter in reversed(entries)}
    if len(shapes[0]) == 1:  # a recipe of 70,000 letters: a list longer than two bytes can say
        listed["__metadata__"] = {"note": "x" * 70_000}
    text = json.dumps(listed).encode()
    text += b" " * (16 + -len(text) % 8)  # writers may pad the list
    return len(text).to_bytes(8, "little") + text + body


def _cases(*shapes: tuple[int, ...], kind: str) -> Callable[[Generator], list[tuple[Any, ...]]]:
    """One file of these shapes; its last tensor, its first and the one between are asked for."""

    def inputs(generator: Generator) -> list[tuple[Any, ...]]:
        data = _file(generator, *shapes, kind=kind)
        return [(data, name) for name in ("c", "a", "b")]

    return inputs


tensor_from_bytes = Exercise(
    name="tensor_from_bytes",
    reference=_tensor,
    groups={
        "float32": _cases((5, 3), (2, 7), (4, 6), kind="F32"),
        "float16": _cases((3, 8), (9, 2), (5, 4), kind="F16"),
        "bfloat16": _cases((6, 4), (3, 10), (7, 2), kind="BF16"),
        "one axis and three": _cases((12,), (2, 3, 4), (3, 2, 5), kind="F32"),
    },
    wrong={
        "eight early": (
            _from(lambda begin: begin - 8),
            "your numbers begin 8 bytes too early: the length does not count its own eight bytes.",
        ),
        "from the list": (
            _from(lambda begin: 8),
            "you read numbers out of the JSON text. Offsets count from where that ends: 8 + its length.",
        ),
        "from the file": (
            _from(lambda begin: 0),
            "your offsets count from the start of the file. They count from the end of the JSON.",
        ),
        "to the bracket": (
            _to_the_bracket,
            "you look for the end of the JSON. Spaces may follow: the first eight bytes say how long it is.",
        ),
        "short length": (
            _short_length,
            "you read two bytes of the length. It has eight, and lists can be longer than 65,535 bytes.",
        ),
        "as listed": (
            _listed,
            "you take the tensors to lie in the order of the list. Only data_offsets says where they lie.",
        ),
        "as float16": (
            _all_float16,
            "you read BF16 as float16. Both have sixteen bits, but eight of bfloat16's are exponent.",
        ),
        "as bfloat16": (
            _all_bfloat16,
            "you read F16 as bfloat16. Both have sixteen bits, but only five of float16's are exponent.",
        ),
        "as float32": (
            lambda data, name: _tensor(data, name).float(),
            "your result is float32 whatever is stored. It has the dtype that the list gives.",
        ),
        "flat": (
            lambda data, name: _tensor(data, name).flatten(),
            "your result has one axis. The list gives a shape: view it so.",
        ),
        "columns first": (
            _columns_first,
            "your numbers run down the columns. In torch the last axis is the fastest: rows one by one.",
        ),
    },
)

EXERCISES = [tensor_from_bytes]
