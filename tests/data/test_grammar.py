"""The engine of the story world on toy grammars whose probabilities can be counted by hand."""

from collections import Counter
from math import exp, log
from random import Random

import pytest

from llama_mini.data.stories.grammar import Grammar, Rule
from llama_mini.data.stories.parser import END, next_words, readings, total

TOY = Grammar(
    facts={
        "animal": Rule({"hen": 3, "goat": 1}),
        "sound": Rule({"hen": ["cluck"], "goat": ["baa", "meh"]}, "animal"),
        "n": Rule(range(2)),
        "double": Rule(lambda n: [2 * n], "n"),
    },
    phrases={
        "start": Rule(["{Sound}, said the {animal}.", "The {animal} {verb} {double}."]),
        "verb": Rule(["had", "saw"]),
    },
)
AMBIGUOUS = Grammar({}, {"start": Rule({"{word}{word}": 1, "{word}": 3}), "word": Rule(["a", "aa", ""])})


def p(grammar: Grammar, text: str) -> float:
    return exp(total([state.logprob for state in readings(grammar, "start", text + END)]))


def all_texts(grammar: Grammar, prefix: str = "") -> set[str]:
    """Every text, found by always taking the next word."""
    found = set()
    for word in next_words(grammar, "start", prefix):
        found |= all_texts(grammar, prefix + word) if word else {prefix}
    return found


@pytest.mark.parametrize("grammar", [TOY, AMBIGUOUS])
def test_the_probabilities_of_all_texts_sum_to_one(grammar):
    assert sum(p(grammar, text) for text in all_texts(grammar)) == pytest.approx(1, abs=1e-12)


def test_a_probability_counted_by_hand():
    assert p(TOY, "Baa, said the goat.") == pytest.approx(1 / 2 * 1 / 4 * 1 / 2)
    assert p(TOY, "The hen saw 2.") == pytest.approx(1 / 2 * 3 / 4 * 1 / 2 * 1 / 2)
    assert p(TOY, "Baa, said the hen.") == 0
    assert p(TOY, "The hen saw 1.") == 0


def test_two_derivations_of_one_text_add_up():
    # "aa" is "aa" alone, "a" + "a", "aa" + "" and "" + "aa"
    assert p(AMBIGUOUS, "aa") == pytest.approx(3 / 4 * 1 / 3 + 1 / 4 * 3 / 9)


@pytest.mark.parametrize("grammar", [TOY, AMBIGUOUS])
def test_texts_are_drawn_as_often_as_they_are_probable(grammar):
    rng, n = Random(0), 20_000
    counts = Counter(grammar.sample("start", rng)[0] for _ in range(n))
    assert set(counts) == all_texts(grammar)
    for text, count in counts.items():
        assert count / n == pytest.approx(p(grammar, text), abs=0.015)


def test_the_next_word_has_its_share_of_the_prefix():
    words = next_words(TOY, "start", "The")
    assert {word: exp(nats) for word, nats in words.items()} == pytest.approx({" hen": 3 / 8, " goat": 1 / 8})
    assert next_words(TOY, "start", "The go") == pytest.approx({"at": log(1 / 8)})
    assert next_words(TOY, "start", "The cow") == {}


def test_given_facts_are_kept():
    texts = {TOY.sample("start", Random(seed), {"animal": "goat", "n": 1})[0] for seed in range(50)}
    assert texts == {"Baa, said the goat.", "Meh, said the goat.", "The goat had 2.", "The goat saw 2."}


def test_a_fact_said_again_is_the_same_fact():
    grammar = Grammar(
        {"n": Rule(range(1, 5)), "double": Rule(lambda n: [2 * n], "n")},
        {"start": Rule(["{n} {double} {double} {n}"])},
    )
    assert all_texts(grammar) == {f"{n} {2 * n} {2 * n} {n}" for n in range(1, 5)}


def test_withheld_words_give_their_probability_to_the_others():
    mute = Grammar(TOY.facts, TOY.phrases, without=frozenset({"saw"}))
    assert p(mute, "The hen had 0.") == pytest.approx(2 * p(TOY, "The hen had 0."))
    assert p(mute, "The hen saw 0.") == 0
    with pytest.raises(ValueError, match="nothing is left to say for 'verb'"):
        Grammar(TOY.facts, TOY.phrases, without=frozenset({"saw", "had"})).sample("verb", Random(0))


def test_a_slot_without_a_rule_is_named():
    with pytest.raises(ValueError, match="no fact or phrase 'ghost'"):
        Grammar({}, {"start": Rule(["{ghost}"])}).sample("start", Random(0))
