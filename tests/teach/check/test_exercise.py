"""What `check.<exercise>` says to right answers, known wrong ones, and broken ones."""

import math

import pytest
import torch

from llama_mini.teach import check
from llama_mini.teach.check import Exercise


def double(x):
    return 2 * x


def draw(generator):
    return [(torch.randn(3, 2, generator=generator),) for _ in range(2)]


doubled = Exercise(
    name="doubled",
    reference=double,
    groups={"values": draw, "float16 inputs": lambda g: [(x.half(),) for (x,) in draw(g)]},
    wrong={
        "square": (lambda x: x * x, "you multiply x by itself."),
        "float": (lambda x: 2 * x.float(), "your result is float32 whatever the input is."),
        "nothing": (lambda x: None, "you print the result; return it."),
    },
)


def words(answer, exercise: Exercise = doubled) -> str:
    with pytest.raises(AssertionError) as failure:
        exercise(answer)
    return str(failure.value)


def test_the_right_answer_gets_a_tick_for_every_group(capsys):
    doubled(lambda x: x + x)
    assert capsys.readouterr().out == "doubled  ✓ values  ✓ float16 inputs\n"


def test_known_wrong_answers_are_named(capsys):
    assert words(lambda x: x**2) == "doubled: you multiply x by itself."
    assert words(lambda x: None) == "doubled: you print the result; return it."
    assert capsys.readouterr().out == ""
    assert words(lambda x: (x + x).float()) == "doubled: your result is float32 whatever the input is."
    assert capsys.readouterr().out == "doubled  ✓ values\n"


def test_other_wrong_answers_get_the_numbers():
    assert words(lambda x: 3 * x).startswith("doubled: your result is ")
    assert "expected" in words(lambda x: 3 * x)
    assert words(lambda x: x.T) == "doubled: your result has shape (2, 3), expected (3, 2)"
    assert words(lambda x: x.tolist()) == "doubled: your result is a list, expected a tensor of shape (3, 2)"


def test_broken_answers_hear_what_they_do():
    def in_place(x):
        return x.mul_(2)

    def empty(x):
        raise NotImplementedError

    def crooked(x):
        return x / undefined  # noqa: F821

    assert words(in_place) == "doubled: your code changes its input in place; leave the input as it came"
    assert words(empty) == "doubled: nothing is written yet"
    assert "NameError: name 'undefined' is not defined, in the line `return x / undefined" in words(crooked)
    assert words(lambda x: exit("bye")).startswith("doubled: your code raised SystemExit: bye")
    assert words(7) == "doubled: your answer is 7, expected a function"


def test_the_error_behind_a_failed_check_has_no_trace_of_the_package():
    with pytest.raises(AssertionError) as failure:
        doubled(lambda x: x)
    assert failure.value._render_traceback_() == [f"AssertionError: {failure.value}"]


def test_another_seed_gives_other_inputs_and_the_same_seed_the_same():
    seen = []
    for seed in (1, 1, 2):
        list(doubled.run(lambda x: seen.append(x) or 2 * x, seed))
    first, again, other = seen[:4], seen[4:8], seen[8:]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_all_groups_are_tried_and_each_is_judged_alone():
    groups = dict(doubled.run(lambda x: 2 * x.float(), 3))
    assert groups["values"] is None
    assert groups["float16 inputs"] == "your result is float32 whatever the input is."


def test_an_answer_may_be_a_value_or_a_property():
    guesses = Exercise(
        name="guesses",
        reference={"a": 0.0, "b": 0.0},
        groups={"written": lambda g: [()]},
        trial=lambda answer: sorted(k for k, v in answer.items() if v is not None),
    )
    guesses({"a": 17, "b": -3})
    assert words({"a": 17, "b": None}, guesses) == "guesses: your result has 1 items, expected 2"


def test_a_result_that_the_trial_cannot_use_is_a_mistake_of_the_answer():
    keys = Exercise(
        name="keys",
        reference={"a": 1},
        groups={"any": lambda g: [()]},
        trial=lambda answer: list(answer.keys()),
    )
    assert (
        words([1], keys)
        == "keys: your result cannot be used: AttributeError: 'list' object has no attribute 'keys'"
    )


def test_a_definition_without_inputs_is_refused():
    with pytest.raises(ValueError, match="0 groups"):
        Exercise(name="empty", reference=double, groups={})
    with pytest.raises(ValueError, match="'values' has 0 cases"):
        Exercise(name="empty", reference=double, groups={"values": lambda g: []})(double)


def test_exercises_are_found_by_name_and_a_wrong_name_lists_the_near_one():
    for name, exercise in check.exercises().items():
        assert getattr(check, name) is exercise
    name = next(iter(check.exercises()))
    with pytest.raises(AttributeError, match=f"did you mean check.{name}"):
        getattr(check, name[:-1])


@pytest.mark.parametrize("case", [([3, 1, 2],), ({"a": [1.5]},), ([math.nan, "b"],)])
def test_plain_numbers_and_words_may_not_be_changed_in_place_either(case):
    def spoil(values):
        last = values["a"] if isinstance(values, dict) else values
        last[-1] = 7
        return 1

    exercise = Exercise(name="one", reference=lambda values: 1, groups={"any": lambda g: [case]})
    with pytest.raises(AssertionError, match="changes its input in place"):
        exercise(spoil)
    exercise(lambda values: 1)
