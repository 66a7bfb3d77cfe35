"""The tokenizer of LLaMA 1 and Llama 2: SentencePiece's BPE with dummy space and byte fallback, and its file.

Kudo & Richardson (2018). Where byte-level BPE starts from bytes and cuts words by a pattern, this one starts
from characters, writes the space as U+2581 so that a piece can carry it, and puts one space before every
text, so that the first word looks like all others. A character that is no piece falls back to its bytes.
Since U+2581 stands for the space, that one character does not come back from ids: it returns as a space.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from llama_mini.tokenizer.base import Tokenizer, split_markers
from llama_mini.tokenizer.bpe import join
from llama_mini.tokenizer.protobuf import Message

SPACE = "\u2581"


class Kind(IntEnum):
    """What a piece is, by the numbers of the file. A user-defined piece is taken whole wherever it stands."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; the higher the score, the earlier it joins."""

    text: str
    score: float = 0.0
    kind: Kind = Kind.NORMAL

    def raw(self) -> bytes:
        """The bytes the piece stands for; none for a control piece, two question marks for the unknown."""
        if self.kind is Kind.BYTE:
            return bytes([int(self.text[1:-1], 16)])  # "<0x0A>"
        if self.kind is Kind.CONTROL:
            return b""
        return " \u2047 ".encode() if self.kind is Kind.UNKNOWN else self.text.replace(SPACE, " ").encode()


class SentencePiece(Tokenizer):
    """SentencePiece's BPE over a list of pieces, whose places are the ids.

    dummy_space puts a space before every text, and decoding takes it off again; collapse_spaces drops spaces
    at the ends and makes one of many (such text does not come back). Each stretch between markers, under
    special=True, is a text of its own. ValueError if the pieces lack the unknown one, hold some but not all
    bytes, or repeat.
    """

    def __init__(
        self,
        pieces: list[Piece],
        *,
        bos_id: int | None = 1,
        eos_id: int | None = 2,
        pad_id: int | None = None,
        dummy_space: bool = True,
        collapse_spaces: bool = False,
    ):
        self.ids = {piece.text: i for i, piece in enumerate(pieces)}
        self.kinds = [piece.kind for piece in pieces]
        check_pieces(self.kinds, len(self.ids))
        controls = {piece.text: i for i, piece in enumerate(pieces) if piece.kind is Kind.CONTROL}
        super().__init__([piece.raw() for piece in pieces], controls)
        self.bos_id, self.eos_id, self.pad_id = bos_id, eos_id, pad_id
        self.stop_ids = frozenset() if eos_id is None else frozenset([eos_id])
        self.dummy_space, self.collapse_spaces = dummy_space, collapse_spaces
        self.byte_ids = {self.vocab[i]: i for i, kind in enumerate(self.kinds) if kind is Kind.BYTE}
        self.fixed = [piece.text for piece in pieces if piece.kind is Kind.USER_DEFINED]
        self.ranks = rank_by_score(pieces)
        crossing = any(re.search(f"[^{SPACE}]{SPACE}", text) for text in self.ranks)
        self.words = re.compile(".+" if crossing else f"{SPACE}*[^{SPACE}]+|{SPACE}+", re.DOTALL)

    def encode_plain(self, text: str) -> list[int]:
        if self.collapse_spaces:
            text = text.lstrip(" ").rstrip(" " + SPACE)
        return self.encode_rest(" " + text if self.dummy_space and text else text)

    def encode_rest(self, text: str) -> list[int]:
        if self.collapse_spaces:
            text = re.sub(" +", " ", text)
        ids: list[int] = []
        for is_fixed, part in split_markers(text.replace(" ", SPACE), self.fixed):
            # no piece reaches beyond its word, so words can be encoded one by one
            ids += [self.ids[part]] if is_fixed else self.encode_words(self.words.findall(part))
        return ids

    def encode_word(self, word: str) -> list[int]:
        ids: list[int] = []
        for piece in join(list(word), self.ranks):
            if piece in self.ranks:
                ids.append(self.ids[piece])
            elif self.byte_ids:
                ids += [self.byte_ids[bytes([byte])] for byte in piece.encode("utf-8", "surrogateescape")]
            elif ids[-1:] != [self.kinds.index(Kind.UNKNOWN)]:  # a run of unknown characters is one unknown
                ids.append(self.kinds.index(Kind.UNKNOWN))
        return ids

    def pieces(self, ids: Iterable[int]) -> Iterator[bytes]:
        """The bytes of each id, without the dummy space at the start of the text."""
        at_start = self.dummy_space or self.collapse_spaces
        for token in ids:
            piece = self.token_bytes(token)
            if at_start and self.kinds[token] in (Kind.NORMAL, Kind.USER_DEFINED):
                piece = piece.removeprefix(b" ")
                at_start = self.collapse_spaces and not piece
            elif piece:
                at_start = False
            yield piece


def check_pieces(kinds: list[Kind], different: int) -> None:
    """Refuse vocabularies that this encoder would read wrongly."""
    n_bytes = kinds.count(Kind.BYTE)
    if different < len(kinds):
        raise ValueError(f"{len(kinds)} pieces, {different} different: every piece may be there once")
    if kinds.count(Kind.UNKNOWN) != 1 or n_bytes not in (0, 256):
        raise ValueError(
            f"{kinds.count(Kind.UNKNOWN)} unknown and {n_bytes} byte pieces: expected 1 and 0 or 256"
        )
    if Kind.UNUSED in kinds:
        raise ValueError(
            f"{kinds.count(Kind.UNUSED)} pieces are marked unused: export the model without them"
        )


def rank_by_score(pieces: list[Piece]) -> dict[str, int]:
    """The place of each normal piece in the order of joining, best score first; ties share a place."""
    normal = [piece for piece in pieces if piece.kind is Kind.NORMAL]
    places = {score: i for i, score in enumerate(sorted({piece.score for piece in normal}, reverse=True))}
    return {piece.text: places[piece.score] for piece in normal}


def load_sentencepiece(path: str | Path) -> SentencePiece:
    """Read a SentencePiece model file; ValueError if it is broken, not BPE, or rewrites text before encoding.

    Field numbers are those of sentencepiece_model.proto.
    """
    model = Message(Path(path).read_bytes())
    trainer, normalizer = Message(model.raw(2)), Message(model.raw(3))
    kind, table = trainer.integer(3, 1), normalizer.raw(2)
    if kind != 2 or table or trainer.integer(24, 0) or not normalizer.integer(5, 1):
        raise ValueError(
            f"model type {kind} with {len(table)} bytes of rules that rewrite text: only BPE (type 2) "
            "without rules (normalization_rule_name='identity') and with its spaces in front is read here"
        )
    pieces = read_pieces(model)
    roles = [trainer.integer(41, 1), trainer.integer(42, 2), trainer.integer(43, -1)]
    bos_id, eos_id, pad_id = (i if 0 <= i < len(pieces) else None for i in roles)
    return SentencePiece(
        pieces,
        bos_id=bos_id,
        eos_id=eos_id,
        pad_id=pad_id,
        dummy_space=bool(normalizer.integer(3, 1)),
        collapse_spaces=bool(normalizer.integer(4, 1)),
    )


def read_pieces(model: Message) -> list[Piece]:
    """The vocabulary of a SentencePiece model of any type, in order of ids."""
    pieces = []
    for entry in map(Message, model.repeated(1)):
        score = struct.unpack("<f", entry.raw(2).ljust(4, b"\0"))[0]
        pieces.append(Piece(entry.raw(1).decode(), score, Kind(entry.integer(3, Kind.NORMAL))))
    return pieces
