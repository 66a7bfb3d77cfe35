"""The typed values of a GGUF header, read one after the other."""

import struct
from pathlib import Path
from typing import Any

from torch import Tensor

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Cursor:
    """Reads one value after the other from mapped bytes; ValueError where they end too early."""

    def __init__(self, path: Path, data: Tensor):
        self.path, self.data, self.at = path, data.numpy().data, 0

    def take(self, n_bytes: int) -> memoryview:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise ValueError(f"{self.path}: the file ends at byte {len(self.data)}, inside its own header")
        return self.data[start : self.at]

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize("<" + code)))

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def string(self) -> str:
        return bytes(self.take(self.number("Q"))).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """A value of a metadata type: a number, a string, or an array of one type."""
        if kind != ARRAY:
            return self.scalar(kind)
        kind, count = self.number("I"), self.number("Q")
        if kind in NUMBERS:
            return list(self.numbers(NUMBERS[kind], count))
        return [self.scalar(kind) for _ in range(count)]

    def scalar(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind not in NUMBERS:
            raise ValueError(
                f"{self.path}: metadata of type {kind} at byte {self.at} is unknown; the file is damaged"
            )
        return self.number(NUMBERS[kind])
