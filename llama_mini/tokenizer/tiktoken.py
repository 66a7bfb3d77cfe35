"""Llama 3's vocabulary file: one line a token, its bytes in base64 and its rank, as tiktoken has it."""

import base64
import binascii
from pathlib import Path

from llama_mini.tokenizer.bpe import BPE

# Contractions; a word with one sign or space before it; one to three digits; punctuation; line ends; blanks.
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The 256 special tokens of Llama 3.1 and later; in the first Llama 3, some of them were still reserved.
LLAMA3_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
)
LLAMA3_SPECIALS = LLAMA3_NAMED + tuple(
    f"<|reserved_special_token_{i}|>" for i in range(2, 258 - len(LLAMA3_NAMED))
)


def load_tiktoken(path: str | Path) -> BPE:
    """Llama 3's tokenizer from its rank file; ValueError, with the line, if the file is broken."""
    tokens = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split()
            tokens.append(base64.b64decode(token, validate=True))
            in_order = int(rank) == number - 1
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"line {number}: expected base64 and a rank, found {line[:60]!r}") from error
        if not in_order:
            raise ValueError(
                f"line {number}: rank {int(rank)}, expected {number - 1}: ranks must count up from 0"
            )
    return BPE(tokens, pattern=LLAMA3_PATTERN, special_tokens=LLAMA3_SPECIALS)


def is_llama3(tokenizer: BPE) -> bool:
    """Whether a rank file says all about a tokenizer: pattern and special tokens are not in it."""
    return tokenizer.pattern == LLAMA3_PATTERN and tuple(tokenizer.special_tokens) == LLAMA3_SPECIALS


def tiktoken_file(tokenizer: BPE) -> bytes:
    """The rank file of a tokenizer: one line a token, its bytes in base64 and its rank."""
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in tokenizer.ranks.items())
    return b"".join(lines)
