"""Just enough protobuf to read a SentencePiece model without its library.

A message is a row of fields: a key (field number * 8 + wire type), then the value. Wire type 0 is an integer
in groups of seven bits, the lowest first; 1 and 5 are eight and four raw bytes; 2 is a length and that many
bytes: a string, or another message.
"""

WIDTHS = {1: 8, 5: 4}


class Message:
    """The fields of one message; ValueError if the bytes end in the middle of a field or are no protobuf."""

    def __init__(self, data: bytes):
        self.data = data
        self.place = 0
        self.integers: dict[int, int] = {}
        self.chunks: dict[int, list[bytes]] = {}
        while self.place < len(data):
            field, wire = divmod(self._varint(), 8)
            if wire == 0:
                self.integers[field] = self._varint()
            elif wire == 2 or wire in WIDTHS:
                self.chunks.setdefault(field, []).append(self._take(WIDTHS.get(wire) or self._varint()))
            else:
                raise ValueError(f"wire type {wire} at byte {self.place} of {len(data)}: no protobuf file")

    def integer(self, field: int, default: int) -> int:
        """The signed 64-bit integer in a field, or the default where the field is absent."""
        value = self.integers.get(field, default)
        return value - (1 << 64) if value >= 1 << 63 else value

    def raw(self, field: int) -> bytes:
        """The bytes in a field, the last if it repeats; empty where it is absent."""
        return self.chunks.get(field, [b""])[-1]

    def repeated(self, field: int) -> list[bytes]:
        """Every value of a repeated field, in order."""
        return self.chunks.get(field, [])

    def _take(self, size: int) -> bytes:
        if self.place + size > len(self.data):
            raise ValueError(
                f"a field of {size} bytes at byte {self.place} of {len(self.data)}: cut short, or no protobuf"
            )
        self.place += size
        return self.data[self.place - size : self.place]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
