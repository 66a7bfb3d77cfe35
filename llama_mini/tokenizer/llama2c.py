"""The tokenizer files of llama2.c: a SentencePiece vocabulary as scores and strings, nothing else.

Layout, little-endian: int32 longest piece; then for each piece float32 score, int32 length, the bytes. Spaces
stand for U+2581. Kinds are not in the file but in its order: unknown, bos, eos, 256 bytes, then the normal
pieces.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from llama_mini.tokenizer.sentencepiece import SPACE, Kind, Piece, SentencePiece

FIRST_KINDS = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * 256]


def load_llama2c(path: str | Path) -> SentencePiece:
    """Read a tokenizer.bin; ValueError if it is cut short.

    The format does not say whether runs of spaces collapse: they do if no piece holds two, since then it was
    trained on such text (tok512 is one; Llama 2's vocabulary has pieces of up to 16 spaces).
    """
    pieces: list[Piece] = []
    for score, raw in read_records(Path(path).read_bytes()):
        kind = FIRST_KINDS[len(pieces)] if len(pieces) < len(FIRST_KINDS) else Kind.NORMAL
        text = raw.decode().strip("\n") if kind is Kind.CONTROL else raw.decode().replace(" ", SPACE)
        pieces.append(Piece(text, score, kind))
    collapse_spaces = not any(2 * SPACE in piece.text for piece in pieces)
    return SentencePiece(pieces, collapse_spaces=collapse_spaces)


def read_records(data: bytes) -> Iterator[tuple[float, bytes]]:
    place = 4
    while place < len(data):
        text = place + 8
        score, length = struct.unpack("<fi", data[place:text]) if text <= len(data) else (0.0, -1)
        place = text + length
        if length < 0 or place > len(data):
            raise ValueError(
                f"a piece needs {length} bytes at byte {text} of {len(data)}: the file is cut short"
            )
        yield score, data[text:place]
