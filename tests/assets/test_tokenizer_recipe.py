"""The bundled tokenizer is what its recipe makes, and suits what the book does with it."""

from itertools import islice
from pathlib import Path
from random import Random

import pytest

import llama_mini.assets
from llama_mini.assets.tokenizer import SPECIAL_TOKENS, train_tokenizer
from llama_mini.data import stories
from llama_mini.tokenizer import load_tokenizer
from llama_mini.tokenizer.bpe import cut

BUNDLED = Path(llama_mini.assets.__file__).with_name("tokenizer.json")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(BUNDLED)


def test_the_recipe_makes_the_same_file(tmp_path):
    train_tokenizer().save(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == BUNDLED.read_bytes()


def test_ids_that_checkpoints_rely_on(tokenizer):
    assert len(tokenizer) == 1280
    assert list(tokenizer.special_tokens) == list(SPECIAL_TOKENS)
    assert list(tokenizer.special_tokens.values()) == list(range(1264, 1280))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1264, 1265, 1266)
    assert tokenizer.stop_ids == {1265, 1269, 1273}


def test_every_kind_of_page_comes_back_and_fits_its_length(tokenizer):
    for page in islice(stories.pages(1), 300):
        ids = tokenizer.encode(page.text, special=True)
        assert tokenizer.decode(ids) == page.text
        assert len(ids) <= (512 if page.kind == "saga" else 256)


def test_tales_are_short_and_nine_words_in_ten_are_one_token(tokenizer):
    tales = [stories.sample(Random(seed)).text for seed in range(200)]
    lengths = [len(tokenizer.encode(tale)) for tale in tales]
    assert sum(lengths) / len(lengths) < 110
    words = [word for tale in tales for word in cut(tokenizer.pattern, tale)]
    assert sum(len(tokenizer.encode_word(word)) == 1 for word in words) / len(words) > 0.88


def test_numbers_are_single_digits(tokenizer):
    pieces = [tokenizer.token_bytes(i) for i in tokenizer.encode("12+305")]
    assert pieces == [b"1", b"2", b"+", b"3", b"0", b"5"]
