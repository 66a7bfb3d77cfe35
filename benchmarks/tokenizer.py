"""Our BPE against the plain loop that tutorials show, on the same text in the same process.

Prints JSON: python benchmarks/tokenizer.py [TEXT] [--vocab-size 1024]; without TEXT, 1 MB of the story world.

The plain loop keeps one list of ids for each chunk of text, repeated chunks included: to train it counts
every pair anew before each merge, to encode it looks for the lowest merge in each chunk again and again.
Training so takes many minutes, in proportion to the text: it gets every tenth line, its time counts tenfold.
"""

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import tiktoken

from llama_mini.assets.tokenizer import corpus
from llama_mini.tokenizer import BPE
from llama_mini.tokenizer.bpe import PATTERN, cut

Pair = tuple[int, int]
T = TypeVar("T")


def count(ids: list[int], counts: dict[Pair, int]) -> None:
    """Add the pairs of neighbours in ids to counts."""
    for pair in pairwise(ids):
        counts[pair] = counts.get(pair, 0) + 1


def replace(ids: list[int], pair: Pair, new: int) -> list[int]:
    """Ids with every occurrence of the pair, from the left, as one new id."""
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def plain_train(text: str, vocab_size: int) -> dict[Pair, int]:
    chunks = [list(chunk.encode()) for chunk in cut(PATTERN, text)]
    merges: dict[Pair, int] = {}
    for new in range(256, vocab_size):
        counts: dict[Pair, int] = {}
        for ids in chunks:
            count(ids, counts)
        best = max(counts, key=counts.__getitem__)
        chunks = [replace(ids, best, new) for ids in chunks]
        merges[best] = new
    return merges


def plain_encode(text: str, merges: dict[Pair, int]) -> list[int]:
    out: list[int] = []
    for chunk in cut(PATTERN, text):
        ids = list(chunk.encode())
        while len(ids) > 1:
            counts: dict[Pair, int] = {}
            count(ids, counts)
            pair = min(counts, key=lambda pair: merges.get(pair, len(merges) + 256))
            if pair not in merges:
                break
            ids = replace(ids, pair, merges[pair])
        out += ids
    return out


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """The result of run and the seconds this process computed for it, whatever else the machine was doing."""
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--vocab-size", type=int, default=1024)
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8") if options.text else "\n".join(corpus())
    ours, train = timed(lambda: BPE.train([text], options.vocab_size))
    library = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ours.ranks, special_tokens={})
    ids, encode = timed(lambda: ours.encode(text))
    theirs, encode_library = timed(lambda: library.encode(text))
    tenth = "".join(text.splitlines(keepends=True)[::10])
    merges, train_plain = timed(lambda: plain_train(tenth, options.vocab_size))
    train_plain *= len(text) / len(tenth)
    plain, encode_plain = timed(lambda: plain_encode(text, merges))
    if ids != theirs or ours.decode(ids) != text:
        raise RuntimeError("our ids differ from tiktoken's, so the times mean nothing")
    row = {
        "bytes": len(text.encode()),
        "vocab_size": options.vocab_size,
        "tokens": {"ours": len(ids), "plain loop": len(plain)},
        "train_s": {"ours": train, "plain loop": train_plain, "ratio": train_plain / train},
        "encode_s": {"ours": encode, "plain loop": encode_plain, "ratio": encode_plain / encode},
        "encode_tiktoken_s": encode_library,
    }
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
