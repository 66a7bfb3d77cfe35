"""What every tokenizer here offers: text to ids and back, whatever file the vocabulary came from.

Text may also be given as bytes. Bytes that are not UTF-8 travel through `str` as lone surrogates (Python's
"surrogateescape"), so that every input has ids and comes back as the same bytes.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

CACHED_WORDS = 100_000


class Tokenizer:
    """A vocabulary of byte strings with special tokens; a subclass says how plain text becomes ids.

    bos_id, eos_id and pad_id are None where the vocabulary has no such token; stop_ids end a generation.
    """

    def __init__(self, vocab: list[bytes], special_tokens: dict[str, int]):
        self.vocab = vocab
        self.special_tokens = special_tokens
        self.bos_id: int | None = None
        self.eos_id: int | None = None
        self.pad_id: int | None = None
        self.stop_ids: frozenset[int] = frozenset()
        self._cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.vocab)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(
        self, text: str | bytes, *, bos: bool = False, eos: bool = False, special: bool = False
    ) -> list[int]:
        """Ids of text, with the begin and end markers around it if asked.

        A marker such as <|eot_id|> inside the text stays plain text, because users can type it; only
        special=True turns it into its id. ValueError if bos or eos is asked of a vocabulary without one.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        ids = [self._marker("bos_id")] if bos else []
        for is_special, part in split_markers(text, self.special_tokens if special else ()):
            ids += [self.special_tokens[part]] if is_special else self.encode_plain(part)
        return [*ids, self._marker("eos_id")] if eos else ids

    def encode_plain(self, text: str) -> list[int]:
        """Ids of text in which nothing is a marker."""
        raise NotImplementedError

    def encode_rest(self, text: str) -> list[int]:
        """Ids of plain text that goes on after other text; for SentencePiece a text begins with a space."""
        return self.encode_plain(text)

    def encode_word(self, word: str) -> list[int]:
        """Ids of a stretch of text that joins with nothing around it."""
        raise NotImplementedError

    def encode_words(self, words: list[str]) -> list[int]:
        """Ids of words one after the other, each different one encoded once: texts repeat their words."""
        if len(self._cache) >= CACHED_WORDS:
            self._cache.clear()
        for word in set(words):
            if word not in self._cache:
                self._cache[word] = self.encode_word(word)
        return list(chain.from_iterable(map(self._cache.__getitem__, words)))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for; ValueError if there is no such id."""
        if not 0 <= token < len(self.vocab):
            raise ValueError(
                f"token {int(token)} is not in this vocabulary of {len(self.vocab)}: ids start at 0"
            )
        return self.vocab[token]

    def pieces(self, ids: Iterable[int]) -> Iterator[bytes]:
        """The bytes of each id, as they read one after the other."""
        return map(self.token_bytes, ids)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for, whether or not they are valid UTF-8."""
        return b"".join(self.pieces(ids))

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; U+FFFD stands where the bytes are not valid UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def stream_decode(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids as it grows; a character is held back until its last byte has come."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self.pieces(ids):
            if text := decoder.decode(piece):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def _marker(self, role: str) -> int:
        token = getattr(self, role)
        if token is None:
            raise ValueError(f"this vocabulary of {len(self)} has no {role}: encode without it")
        return token


def split_markers(text: str, markers: Iterable[str]) -> Iterator[tuple[bool, str]]:
    """The non-empty stretches of text in order, each with True if it is a marker (the longest that fits)."""
    names = sorted(markers, key=len, reverse=True)
    parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text) if names else [text]
    for i, part in enumerate(parts):
        if part:
            yield i % 2 == 1, part
