"""The recipe of the bundled tokenizer: byte-level BPE trained on pages of the story world."""

from collections.abc import Iterator

from llama_mini.config import CONFIGS
from llama_mini.data import stories
from llama_mini.tokenizer import BPE

VOCAB_SIZE = CONFIGS["mini-1m"].vocab_size
CORPUS_BYTES = 1_000_000
SEED = 1

# Llama 3's names where it has one; then the parts of a gap to fill, and places for later chapters.
SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|pad|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|prefix|>",
    "<|suffix|>",
    "<|middle|>",
    "<|end_of_middle|>",
    "<|image|>",
    *(f"<|reserved_{i}|>" for i in range(5)),
)


def corpus() -> Iterator[str]:
    """Pages of every kind, in the shares the base model sees, until they hold CORPUS_BYTES of UTF-8."""
    size = 0
    for page in stories.pages(SEED):
        yield page.text
        size += len(page.text.encode())
        if size >= CORPUS_BYTES:
            return


def train_tokenizer() -> BPE:
    """The bundled tokenizer, the same on every machine."""
    return BPE.train(corpus(), VOCAB_SIZE, special_tokens=SPECIAL_TOKENS)
