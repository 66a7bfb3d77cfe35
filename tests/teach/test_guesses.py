import math

import pytest

from llama_mini.teach.check import guesses
from llama_mini.teach.check.compare import CheckFailed

SIZES = guesses("sizes", large=(1, 100), share=(0, 1))


def test_any_possible_number_is_a_guess(capsys):
    SIZES({"large": 7, "share": 0.5})
    assert capsys.readouterr().out == "sizes  ✓ large  ✓ share\n"
    SIZES({"large": "7", "share": 1, "more": None})


def test_each_guess_has_its_own_share():
    assert [words for _, words in SIZES.run({"large": 7}, seed=0)] == [None, 'there is no guess for "share"']


@pytest.mark.parametrize("guess", ["many", True, math.nan, math.inf, -1, 101, [1]])
def test_what_is_no_possible_number_is_said(guess):
    with pytest.raises(CheckFailed, match='"large" is no number from 1 to 100'):
        SIZES({"large": guess, "share": 0})


def test_its_own_wrong_answers_hear_their_words():
    for answer, words in SIZES.wrong.values():
        assert words in [said for _, said in SIZES.run(answer, seed=0)]
