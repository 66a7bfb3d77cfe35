"""Our own BPE against a vocabulary worked out by hand, a slow reference and the tiktoken library."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from llama_mini.tokenizer import BPE, load_tokenizer
from llama_mini.tokenizer.bpe import cut, join

TALE = "The little hen had 12 eggs.\nShe saw the fox, and the fox saw the little hen. 小母鸡看见了狐狸。\n"
MARKERS = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|eot_id|>"]


@pytest.fixture(scope="module")
def tokenizer():
    return BPE.train([TALE * 3], 300, special_tokens=MARKERS)


def slow_train(text, size):
    """The definition: count what every two neighbours spell, make a token of the commonest, split again."""
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < size:
        ranks = {token: rank for rank, token in enumerate(tokens)}
        split = [slow_join(word.encode(), ranks) for word in cut(BPE.train([], 256).pattern, text)]
        pairs = Counter(a + b for parts in split for a, b in pairwise(parts))
        tokens.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
    return tokens


def slow_join(raw, ranks):
    parts = [raw[i : i + 1] for i in range(len(raw))]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return parts
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_the_eleven_letters_of_mississippi_by_hand():
    # m i s s i s s i p p i: "is", "si" and "ss" occur twice, and "is" comes first in byte order.
    # m is s is s i p p i: only "iss" occurs twice.
    # m iss iss i p p i: everything occurs once, and "ip" comes first.
    tokenizer = BPE.train(["mississippi"], 259)
    assert tokenizer.vocab[256:] == [b"is", b"iss", b"ip"]
    assert tokenizer.encode("mississippi") == [ord("m"), 257, 257, 258, ord("p"), ord("i")]


def test_overlapping_pairs_join_from_the_left():
    assert BPE.train(["aaaaa"], 257).encode("aaaaa") == [256, 256, ord("a")]


def test_training_equals_the_definition():
    rng = random.Random(0)
    for alphabet in ("ab", "abc ", "the fox\n1é"):
        text = "".join(rng.choice(alphabet) for _ in range(300))
        assert BPE.train([text], 280).vocab == slow_train(text, 280)


def test_the_order_of_texts_does_not_matter():
    sentences = TALE.split(". ")
    assert BPE.train(sentences, 300).vocab == BPE.train(sentences[::-1], 300).vocab


def test_join_equals_the_definition_on_random_words():
    rng = random.Random(1)
    for _ in range(300):
        ranks = {bytes(rng.choices(b"ab", k=rng.randint(2, 5))): rank for rank in range(9)}
        word = bytes(rng.choices(b"ab", k=rng.randint(0, 30)))
        assert join([word[i : i + 1] for i in range(len(word))], ranks) == slow_join(word, ranks)


def test_ids_equal_the_tiktoken_library(tokenizer):
    tiktoken = pytest.importorskip("tiktoken")
    library = tiktoken.Encoding(
        "ours",
        pat_str=tokenizer.pattern,
        mergeable_ranks=tokenizer.ranks,
        special_tokens=tokenizer.special_tokens,
    )
    rng = random.Random(2)
    for text in [
        TALE,
        "",
        " ",
        "\n\n  x",
        *("".join(rng.choices(TALE + " \t\r😀é", k=40)) for _ in range(200)),
    ]:
        assert tokenizer.encode(text) == library.encode(text, disallowed_special=())


def test_any_bytes_come_back(tokenizer):
    rng = random.Random(3)
    for raw in [
        b"\0",
        b"\xff\xfe",
        "😀".encode()[:3],
        TALE.encode(),
        *(rng.randbytes(50) for _ in range(1000)),
    ]:
        assert tokenizer.decode_bytes(tokenizer.encode(raw)) == raw


def test_text_and_its_bytes_have_the_same_ids(tokenizer):
    assert tokenizer.encode(TALE) == tokenizer.encode(TALE.encode())
    assert tokenizer.decode(tokenizer.encode(TALE)) == TALE


def test_one_word_of_a_hundred_thousand_letters(tokenizer):
    word = "the" * 33_333
    ids = tokenizer.encode(word)
    assert len(ids) < len(word)
    assert tokenizer.decode(ids) == word


def test_digits_and_chinese_characters_stand_alone_and_words_carry_their_space():
    pattern = BPE.train([], 256).pattern
    assert cut(pattern, "The fox: 12 小鸡!\n\n  go") == [
        "The", " fox", ":", " ", "1", "2", " ", "小", "鸡", "!", "\n", "\n", " ", " go",
    ]  # fmt: skip


def test_markers_in_a_text_stay_text_unless_asked(tokenizer):
    text = "The fox<|eot_id|>"
    plain, marked = tokenizer.encode(text), tokenizer.encode(text, special=True)
    assert not set(plain) & set(tokenizer.special_tokens.values())
    assert marked == [*tokenizer.encode("The fox"), tokenizer.special_tokens["<|eot_id|>"]]
    assert tokenizer.decode(plain) == tokenizer.decode(marked) == text


def test_markers_teach_nothing():
    tokenizer = BPE.train(["<|eot_id|>fox" * 9], 258, special_tokens=["<|eot_id|>"])
    assert tokenizer.vocab[256] == b"fo"


def test_roles_of_the_special_tokens(tokenizer):
    assert [tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id] == [296, 297, 298]
    assert tokenizer.stop_ids == {297, 299}
    assert len(tokenizer) == tokenizer.vocab_size == 300
    assert tokenizer.encode("", bos=True, eos=True) == [296, 297]
    assert tokenizer.token_bytes(299) == b"<|eot_id|>"


def test_a_stream_never_shows_half_a_character(tokenizer):
    text = "狐狸 😀 the end"
    ids = tokenizer.encode(text)
    pieces = list(tokenizer.stream_decode(iter(ids)))
    assert "".join(pieces) == text
    assert len(pieces) > 3
    assert not any("\ufffd" in piece for piece in pieces)
    broken = tokenizer.encode("😀")[:2]
    assert "".join(tokenizer.stream_decode(broken)) == tokenizer.decode(broken) == "\ufffd"


def test_ids_of_whole_texts_equal_the_library(tokenizer, real_data):
    tiktoken = pytest.importorskip("tiktoken")
    library = tiktoken.Encoding(
        "ours", pat_str=tokenizer.pattern, mergeable_ranks=tokenizer.ranks, special_tokens={}
    )
    for name in ("text/tinyshakespeare.txt", "text/tang_poems.json"):
        text = real_data(name).read_text(encoding="utf-8")
        ids = tokenizer.encode(text)
        assert ids == library.encode(text)
        assert tokenizer.decode(ids) == text


def test_saving_and_loading_changes_nothing(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert again.encode(TALE) == tokenizer.encode(TALE)
    assert again.special_tokens == tokenizer.special_tokens
    assert again.stop_ids == tokenizer.stop_ids


def test_what_cannot_be_is_refused(tokenizer):
    with pytest.raises(ValueError, match="vocab_size=257 has no room for 256 bytes and 2"):
        BPE.train([TALE], 257, special_tokens=["<a>", "<b>"])
    with pytest.raises(ValueError, match="no pair is left after 258 of 300"):
        BPE.train(["fox"], 300)
    with pytest.raises(ValueError, match="keeps 3 of 4 characters"):
        BPE.train(["fox."], 257, pattern=r"\w+")
    with pytest.raises(ValueError, match="token 300 is not in this vocabulary of 300"):
        tokenizer.decode([300])
    with pytest.raises(ValueError, match="token -1"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match="no bos_id"):
        BPE.train([], 256).encode("fox", bos=True)
    with pytest.raises(ValueError, match="255 of the 256 single bytes"):
        BPE(tokenizer.vocab[1:256])
    with pytest.raises(ValueError, match="1 repetitions"):
        BPE([*tokenizer.vocab[:256], b"a"])
    with pytest.raises(ValueError, match="2 special tokens, 1 different"):
        BPE(tokenizer.vocab[:256], special_tokens=["<a>", "<a>"])
