"""How other programs spell byte-level BPE: bytes as printable characters, tokens as pairs that may join."""

from collections.abc import Collection, Iterable
from functools import cache


@cache
def alphabet() -> dict[int, str]:
    """GPT-2's character for each byte: printable bytes stand for themselves, the others lie above U+00FF."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


@cache
def byte_of() -> dict[str, int]:
    """The alphabet backwards."""
    return {character: byte for byte, character in alphabet().items()}


def printable(token: bytes) -> str:
    """The bytes of a token as GPT-2's characters."""
    return token.decode("latin-1").translate(alphabet())


def unprintable(text: str) -> bytes:
    """The bytes behind GPT-2's characters: the inverse of printable; ValueError for any other character."""
    try:
        return bytes(map(byte_of().__getitem__, text))
    except KeyError as error:
        raise ValueError(f"{text!r} holds {error}, which stands for no byte") from error


def merges_of(pieces: Iterable[str], parts: Collection[str]) -> list[str]:
    """Every pair of parts whose concatenation is one of the pieces, "left right", in the order of the pieces.

    Our rule, that two neighbours join whenever their concatenation is a token, says in pairs what Llama 3's
    file says in tokens, and SentencePiece's in pieces.
    """
    return [
        f"{piece[:i]} {piece[i:]}"
        for piece in pieces
        for i in range(1, len(piece))
        if piece[:i] in parts and piece[i:] in parts
    ]
