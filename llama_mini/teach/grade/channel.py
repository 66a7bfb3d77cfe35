"""Values between the grader and the student's process: a length, then what `torch.save` writes.

Everything that arrives is untrusted: only tensors and plain containers are unpickled (`weights_only=True`).
"""

import io
import struct
from typing import Any

import torch
from torch import Tensor

Stream = io.BufferedRWPair

LIMIT = 64 * 2**20  # bytes of one message


class Broken(Exception):
    """The other side is gone, or sent what is no value, or too much of it."""


def send(stream: Stream, value: Any) -> None:
    """Write one value made of tensors, numbers, strings, lists, tuples and dicts."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    data = buffer.getvalue()
    if len(data) > LIMIT:
        raise Broken(f"{len(data)} bytes, at most {LIMIT} can be sent")
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def receive(stream: Stream) -> Any:
    """Read one value."""
    head = stream.read(8)
    size = struct.unpack(">Q", head)[0] if len(head) == 8 else LIMIT + 1
    if size > LIMIT:
        raise Broken("the stream has ended, or the message is too long")
    try:
        return torch.load(io.BytesIO(stream.read(size)), weights_only=True)
    except Exception as error:  # whatever a hostile message provokes in the reader, it is no value
        raise Broken("not a value") from error


def plain(value: Any) -> Any:
    """The value as it can be sent, tensors without their history; TypeError names any other kind."""
    if isinstance(value, Tensor):
        return value.detach().cpu().to_dense().clone()
    if isinstance(value, list | tuple):
        return [*map(plain, value)] if isinstance(value, list) else tuple(map(plain, value))
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    raise TypeError(type(value).__name__)
