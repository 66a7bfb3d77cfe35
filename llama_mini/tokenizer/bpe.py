"""Byte-level byte-pair encoding from scratch: train a vocabulary, encode, save, load.

Gage (1994) compressed files by replacing the commonest pair of bytes with a new symbol, again and again;
Sennrich et al. (2016) made a vocabulary of it. Here a token is a byte string, its id is its rank (when it was
learned), and two neighbours may join whenever their concatenation is a token. A pattern first cuts text into
words, and nothing joins across a cut.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import AnyStr

import regex

from llama_mini.tokenizer.base import Tokenizer, split_markers

# A Chinese character alone; a word with the space before it; one digit; a newline; punctuation; other blanks.
PATTERN = r"\p{Han}| ?[^\P{L}\p{Han}]+|\p{N}|\n| ?[^\s\p{L}\p{N}]+|[^\S\n]+(?!\S)|[^\S\n]"

PAD_NAMES = ("<|pad|>", "<|finetune_right_pad_id|>")
STOP_NAMES = ("<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_middle|>")


class BPE(Tokenizer):
    """Byte-level BPE: ids below len(tokens) are ranks, special tokens follow in their own order.

    Special tokens with Llama 3's names get their roles: <|begin_of_text|> is the bos, <|end_of_text|> the
    eos. ValueError if a single byte or a rank is missing, or if a special token repeats.
    """

    def __init__(self, tokens: list[bytes], *, pattern: str = PATTERN, special_tokens: Collection[str] = ()):
        self.ranks = {token: rank for rank, token in enumerate(tokens)}
        missing = [byte for byte in range(256) if bytes([byte]) not in self.ranks]
        if missing or len(self.ranks) < len(tokens):
            raise ValueError(
                f"{len(tokens)} tokens hold {256 - len(missing)} of the 256 single bytes and "
                f"{len(tokens) - len(self.ranks)} repetitions: every byte must be there, and every token once"
            )
        specials = {name: len(tokens) + i for i, name in enumerate(special_tokens)}
        if len(specials) < len(special_tokens):
            raise ValueError(
                f"{len(special_tokens)} special tokens, {len(specials)} different: name each one once"
            )
        super().__init__([*tokens, *(name.encode() for name in specials)], specials)
        self.bos_id, self.eos_id = specials.get("<|begin_of_text|>"), specials.get("<|end_of_text|>")
        self.pad_id = next((specials[name] for name in PAD_NAMES if name in specials), None)
        self.stop_ids = frozenset(specials[name] for name in STOP_NAMES if name in specials)
        self.pattern = pattern

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        special_tokens: Collection[str] = (),
        pattern: str = PATTERN,
    ) -> "BPE":
        """Learn vocab_size tokens, special ones included; markers inside the texts teach nothing."""
        size = vocab_size - len(special_tokens)
        if size < 256:
            raise ValueError(
                f"vocab_size={vocab_size} has no room for 256 bytes and {len(special_tokens)} special tokens"
            )
        words: Counter[str] = Counter()
        for text in texts:
            for is_special, part in split_markers(text, special_tokens):
                words.update([] if is_special else cut(pattern, part))
        return cls(learn(words, size), pattern=pattern, special_tokens=special_tokens)

    def encode_plain(self, text: str) -> list[int]:
        return self.encode_words(cut(self.pattern, text))

    def encode_word(self, word: str) -> list[int]:
        raw = word.encode("utf-8", "surrogateescape")
        tokens = [raw] if raw in self.ranks else join(single(raw), self.ranks)
        return [self.ranks[token] for token in tokens]

    def save(self, path: str | Path) -> None:
        """Write pattern, tokens (in order of rank, a character for each byte) and special tokens as JSON."""
        tokens = [token.decode("latin-1") for token in self.vocab[: len(self.ranks)]]
        content = {"pattern": self.pattern, "special_tokens": list(self.special_tokens), "tokens": tokens}
        Path(path).write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> "BPE":
        """Read what `save` wrote; ValueError if the file holds something else."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.keys() != {"pattern", "special_tokens", "tokens"}:
            raise ValueError(
                "JSON, but not a tokenizer of llama_mini (keys pattern, special_tokens, tokens). "
                "For a Hugging Face folder give the tokenizer.model that comes with it"
            )
        tokens = [token.encode("latin-1") for token in content["tokens"]]
        return cls(tokens, pattern=content["pattern"], special_tokens=content["special_tokens"])


def cut(pattern: str, text: str) -> list[str]:
    """The words of text; ValueError if the pattern leaves out a character: it could never come back."""
    words = regex.findall(pattern, text)
    if (kept := sum(map(len, words))) != len(text):
        raise ValueError(
            f"the pattern {pattern!r} keeps {kept} of {len(text)} characters: it must match them all"
        )
    return words


def single(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


def join(parts: list[AnyStr], ranks: Mapping[AnyStr, int]) -> list[AnyStr]:
    """Join neighbours whose concatenation has a rank until none is left: lowest rank first, then leftmost.

    A heap of candidates over a linked list, O(n log n) in the number of parts. A candidate is one integer,
    rank * n + place: it sorts as the pair would and takes a third of its memory.
    """
    n = len(parts)
    tokens = list(parts)  # the empty string where a token has been joined to the one before
    left, right = list(range(-1, n)), list(range(1, n + 1))  # neighbours of each place; -1 and n lie outside
    queue = [ranks[pair] * n + i for i, (a, b) in enumerate(pairwise(parts)) if (pair := a + b) in ranks]
    heapq.heapify(queue)
    while queue:
        rank, i = divmod(heapq.heappop(queue), n)
        a, j = tokens[i], right[i]
        if not a or j == n or ranks.get(a + tokens[j]) != rank:
            continue  # one of the two has joined another neighbour since
        tokens[i], tokens[j] = a + tokens[j], a[:0]
        right[i] = right[j]
        left[right[j]] = i
        for place, after in ((left[i], i), (i, right[i])):
            if place >= 0 and after < n and (pair := tokens[place] + tokens[after]) in ranks:
                heapq.heappush(queue, ranks[pair] * n + place)
    return [token for token in tokens if token]


def learn(words: Mapping[str, int], size: int) -> list[bytes]:
    """The first `size` tokens of a corpus given as words and how often each occurs.

    The 256 bytes come first. Then, again and again, the byte string that most pairs of neighbours spell
    becomes a token; of equally frequent ones the first in byte order, so the result does not depend on the
    order of the texts. Only words that contain the new token are looked at again. ValueError if the corpus
    has no pair left to join.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    counts = list(words.values())
    splits = [single(word.encode("utf-8", "surrogateescape")) for word in words]
    pairs: Counter[bytes] = Counter()  # how many neighbours spell a string
    where: defaultdict[bytes, set[int]] = defaultdict(set)  # the words in which they stand, or stood

    def count(word: int, sign: int) -> None:
        for a, b in pairwise(splits[word]):
            pairs[a + b] += sign * counts[word]
            where[a + b].add(word)

    for word in range(len(splits)):
        count(word, +1)
    while len(tokens) < size:
        if not (most := max(pairs.values(), default=0)):
            raise ValueError(
                f"no pair is left after {len(tokens)} of {size} tokens: train on more text or ask for fewer"
            )
        token = min(pair for pair, number in pairs.items() if number == most)
        ranks[token] = len(tokens)
        tokens.append(token)
        for word in list(where[token]):
            count(word, -1)
            splits[word] = join(splits[word], ranks)
            count(word, +1)
        del pairs[token], where[token]
    return tokens
