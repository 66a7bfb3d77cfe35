"""The story world: what is drawn can be read, what is wrong is refused there, and every number is exact."""

import hashlib
import re
from itertools import islice
from math import inf, log
from random import Random

import pytest

from llama_mini.data import stories

KINDS = tuple(stories.GRAMMARS)
TALE = next(  # a tale that speaks of everything the corruptions below touch
    tale
    for tale in (stories.sample(Random(seed)) for seed in range(10_000))
    if tale.attributes["ending"] == "sad"
    and tale.attributes["tried"]
    and tale.attributes["pronoun"] == "he"
    and "So remember: " in tale.text
    and "First he" in tale.text
    and tale.text.startswith("Once there was")
)


def draw(n: int, kind: str = "tale", seed: int = 0, **options) -> list[stories.Tale]:
    rng = Random(seed)
    return [stories.sample(rng, kind=kind, **options) for _ in range(n)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_drawn_can_be_read(kind):
    for tale in draw(60, kind):
        read = stories.parse(tale.text)
        assert (read.kind, read.attributes) == (kind, tale.attributes)
        assert read.logprob == pytest.approx(tale.logprob, abs=1e-9)
        assert tale.text == tale.text.strip()


def test_a_page_of_the_mixture_also_pays_for_its_kind():
    for page in islice(stories.pages(3), 40):
        alone = stories.parse(page.text).logprob
        assert page.logprob == pytest.approx(alone + log(stories.SHARES[page.kind]), abs=1e-9)
        assert stories.logprob(page.text, stories.SHARES) == pytest.approx(page.logprob, abs=1e-9)


def test_the_next_words_of_a_tale_multiply_to_its_probability():
    text, prefix, nats = TALE.text, "", 0.0
    while prefix != text:
        words = stories.next_words(prefix)
        assert sum(words.values()) == pytest.approx(1, abs=1e-9)
        word = max((word for word in words if word and text.startswith(prefix + word)), key=len)
        nats += log(words[word])
        prefix += word
    assert stories.next_words(text) == {"": pytest.approx(1)}
    assert nats == pytest.approx(stories.logprob(text), abs=1e-9)


def test_the_next_words_of_the_mixture_sum_to_one():
    words = stories.next_words("", stories.SHARES)
    assert sum(words.values()) == pytest.approx(1)
    assert words["def"] == pytest.approx(stories.SHARES["function"])
    assert stories.next_words("The colonel") == {}


HERO = TALE.attributes["hero"]
WRONG = {
    "another hero": (rf"({HERO}.*?){HERO}", r"\1Rosa"),
    "another pronoun": ("First he", "First she"),
    "a moral for another ending": (r"So remember: .*", "So remember: hope is stronger than a hard heart."),
    "the end is missing": (r" So remember.*", ""),
    "a doubled space": (r"\. First", ".  First"),
    "an unknown word": ("because", "since"),
    "a small letter": (r"\. First he", ". first he"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tale_is_refused_where_it_goes_wrong(name):
    wrong = re.sub(*WRONG[name], TALE.text, count=1)
    same = next((i for i, (a, b) in enumerate(zip(wrong, TALE.text, strict=False)) if a != b), len(wrong))
    assert wrong != TALE.text
    with pytest.raises(stories.NotATale, match=r"the grammar goes on with one of: '") as error:
        stories.parse(wrong)
    start_of_word = same - len(re.search(r" ?[A-Za-z]*$", wrong[:same])[0])
    assert start_of_word <= error.value.position <= same
    assert stories.logprob(wrong) == -inf


@pytest.mark.parametrize(
    "text", ["", "Hello", TALE.text + " ", TALE.text + " " + TALE.text, "\0", TALE.text + "\0"]
)
def test_other_texts_are_no_tales(text):
    with pytest.raises(stories.NotATale):
        stories.parse(text)


def test_a_seed_fixes_the_corpus():
    texts = [page.text for page in islice(stories.pages(0), 50)]
    digest = hashlib.sha256("\n\n".join(texts).encode()).hexdigest()
    assert digest == "0d7c2a2fa926a1fd0d4a7cd7782d24cf31392f80b4ea2d287b1875eaa0f4a02f", (
        "the corpus has changed, and with it every stored result of the book"
    )
    assert texts == [page.text for page in islice(stories.pages(0), 50)]
    assert texts != [page.text for page in islice(stories.pages(1), 50)]


def test_shares_are_shares():
    assert sum(stories.SHARES.values()) == pytest.approx(1)
    assert {page.kind for page in islice(stories.pages(0, {"tale": 1, "fact": 1}), 40)} == {"tale", "fact"}
    with pytest.raises(ValueError, match="no kind of page is called 'poem'"):
        stories.sample(Random(0), kind="poem")


def test_withheld_words_do_not_occur_and_the_others_share_their_probability():
    half = frozenset(word for words in stories.SYNONYMS.values() for word in words[::2])
    for kind in ("tale", "saga", "questions"):
        said = set(re.findall(r"\w+", " ".join(tale.text for tale in draw(60, kind, without=half))))
        assert not said & half
        assert said & {word for words in stories.SYNONYMS.values() for word in words[1::2]}
    for tale in draw(20, without=half):
        used = sum(
            word in re.findall(r"\w+", tale.text) for words in stories.SYNONYMS.values() for word in words
        )
        assert used
        assert stories.logprob(tale.text, without=half) == pytest.approx(tale.logprob, abs=1e-9)
        assert tale.logprob > stories.logprob(tale.text)
    with pytest.raises(ValueError, match="only words of SYNONYMS can be withheld, not goat"):
        stories.sample(Random(0), without=frozenset({"goat"}))


def test_there_are_more_than_a_billion_tales_of_a_readable_length():
    tales = draw(2000)
    nats = [-tale.logprob for tale in tales]
    assert 35 < sum(nats) / len(nats) < 50
    assert min(nats) > log(1e9)  # no tale is likelier than one in a billion, so there are more than that
    lengths = [len(re.findall(r"\w+|[^\w\s]", tale.text)) for tale in tales]
    assert min(lengths) >= 40
    assert max(lengths) <= 125
    assert 70 < sum(lengths) / len(lengths) < 100


def test_kindness_makes_happy_endings():
    tales = draw(4000, seed=2)
    kind = [tale.attributes["ending"] == "happy" for tale in tales if tale.attributes["kind"]]
    cruel = [tale.attributes["ending"] == "happy" for tale in tales if not tale.attributes["kind"]]
    assert sum(kind) / len(kind) == pytest.approx(0.8, abs=0.04)
    assert sum(cruel) / len(cruel) == pytest.approx(1 / 7, abs=0.04)
    assert (sum(kind) + sum(cruel)) / len(tales) == pytest.approx(0.54, abs=0.04)
    assert sum(kind) / len(tales) == pytest.approx(0.48, abs=0.04)


def test_a_tale_keeps_its_name_and_its_pronoun():
    others = {"she": r"\b(he|him|his)\b", "he": r"\b(she|her)\b"}
    heroes = set(stories.FACTS["hero"].rows)
    for tale in draw(300, seed=4):
        assert set(re.findall(r"\w+", tale.text)) & heroes == {tale.attributes["hero"]}
        assert not re.search(others[tale.attributes["pronoun"]], tale.text, re.IGNORECASE)


def test_the_chinese_tale_tells_the_same_facts():
    for tale in draw(200, seed=5):
        text = stories.chinese(tale)
        assert stories.parse(text, ["chinese"]).attributes == tale.attributes
        assert stories.chinese(tale) == text
        assert not re.search(r"[A-Za-z ]", text)


def test_few_words_and_characters_say_it_all():
    kinds = [kind for kind in KINDS if kind not in ("fact", "chinese")]
    english = " ".join(tale.text for kind in kinds for tale in draw(1000, kind))
    assert len(set(re.findall(r"[A-Za-z]+", english))) < 600
    assert len({character for tale in draw(3000, "chinese") for character in tale.text}) < 245


def test_functions_say_what_python_says():
    for tale in draw(200, "function"):
        head, body, *calls = tale.text.split("\n")
        world: dict = {}
        exec(f"{head}\n{body}", world)
        assert len(calls) == 2
        assert all(eval(call, world) is True for call in calls)


def test_sums_are_right():
    for tale in draw(300, "arithmetic"):
        have = tale.attributes["n"]
        for sign, number in re.findall(r"(gave|got|lost|took).*? (\d+)", tale.text.split("\n")[0]):
            have += int(number) if sign in ("gave", "got") else -int(number)
        assert [int(answer) for answer in tale.attributes["answers"].values()] == [have]
        assert 0 <= have <= 20


def test_sagas_answer_from_their_first_lines():
    for saga in draw(60, "saga"):
        told, *asked = saga.text.split("\n")
        assert 4 <= len(asked) <= 6
        assert len(re.findall(r"\w+|[^\w\s]|\n", saga.text)) >= 256
        for answer in saga.attributes["answers"].values():
            assert answer in told[: len(told) // 3]


def test_a_saga_keeps_its_places_and_guests_to_the_end_of_a_stage():
    for saga in draw(200, "saga", seed=6):
        for one, again in [
            (r"{walked} to the (?:\w+) and \w+ a (\w+)\.", r"played with the (\w+) until"),
            (r"Then a (\w+) got stuck", r"and the (\w+) was free again"),
            (r"had a fight with a (\w+)\.", r"soon the (\w+) was"),
            (r"helped a (\w+) for", r"The (\w+) was \w+ and gave"),
        ]:
            one = one.replace("{walked}", f"(?:{'|'.join(stories.SYNONYMS['walked'])})")
            assert re.findall(one, saga.text) == re.findall(again, saga.text)


def test_question_pages_hold_nothing_but_questions():
    pages = [page.text for page in draw(100, "questions")]
    chats = [page for page in pages if page.startswith("<|start_header_id|>")]
    assert 30 < len(chats) < 70
    turn = r"<\|start_header_id\|>user<\|end_header_id\|>\n\n[^<]*\?<\|eot_id\|>"
    assert all(re.fullmatch(rf"({turn}){{3,8}}", chat) for chat in chats)
    assert all(line.endswith("?") for page in pages if page not in chats for line in page.split("\n"))


def test_an_animal_fact_never_changes_and_few_animals_are_famous():
    pages = draw(3000, "fact")
    known: dict = {}
    for page in pages:
        animal = known.setdefault(page.attributes["entity"], {})
        for trait, value in page.attributes.items():
            assert animal.setdefault(trait, value) == value
    first = sum(page.attributes["entity"] == next(iter(stories._puzzles.ANIMALS)) for page in pages)
    assert first / len(pages) == pytest.approx(1 / sum(rank**-1.1 for rank in range(1, 3001)), abs=0.03)
    assert len(known) > 500


def test_the_floor_counts_every_token_and_the_end():
    class Letters:
        def encode(self, text: str, special: bool = False) -> list[int]:
            assert special
            return [ord(letter) for letter in text]

    tales = draw(5)
    tokens = sum(len(tale.text) + 1 for tale in tales)
    assert stories.floor(tales, Letters()) == pytest.approx(-sum(tale.logprob for tale in tales) / tokens)
