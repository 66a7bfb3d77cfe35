"""What a chapter's checks say, and that they can fail."""

import pytest
import torch

from llama_mini.teach import check


def words(actual, expected) -> str:
    with pytest.raises(AssertionError) as failure:
        check.equal(actual, expected, "claim")
    return str(failure.value)


def test_a_check_that_holds_prints_its_claim(capsys):
    check.equal(torch.ones(2, 3), torch.ones(2, 3) + 1e-7, "ones")
    check.equal({"a": [1, 2.0, "x"], "b": None}, {"a": (1, 2.0 + 1e-9, "x"), "b": None})
    check.equal(float("nan"), float("nan"))
    check.close([0.5, 0.6], [0.51, 0.59], within=0.02)
    check.between(torch.tensor(2.0), 1.9, 2.3, "loss")
    assert capsys.readouterr().out == "✓ ones\n✓ equal\n✓ equal\n✓ equal within 0.02\n✓ loss\n"


@pytest.mark.parametrize(
    ("actual", "expected", "said"),
    [
        (None, 1.0, "is None: is there a return at the end?"),
        ([1.0], torch.ones(1), "is a list, expected a tensor of shape (1,)"),
        (torch.ones(2, 3), torch.ones(3, 2), "has shape (2, 3), expected (3, 2)"),
        (torch.ones(2).half(), torch.ones(2), "has dtype torch.float16, expected torch.float32"),
        (
            torch.tensor([1.0, 2.0]),
            torch.tensor([1.0, 3.0]),
            "is 2 at [1], expected 3 (1 of 2 numbers differ)",
        ),
        (torch.tensor(1.5), torch.tensor(2.5), "is 1.5, expected 2.5"),
        (torch.tensor([100_000]), torch.tensor([100_001]), "is 100000 at [0], expected 100001"),
        (100_000, 100_001, "is 100000, expected 100001"),
        (torch.tensor(2.0), 2.0, "is a tensor of shape (), expected a number: .item() makes one of it"),
        (True, 1.0, "is True, expected 1"),
        (2.0, 2.1, "is 2, expected 2.1"),
        ([1, 2], [1, 2, 3], "has 2 items, expected 3"),
        ([1, [2, 4]], [1, [2, 3]], "is wrong at index 1: it is wrong at index 1: it is 4, expected 3"),
        ({"a": 1}, {"b": 1}, "has the keys ['a'], expected ['b']"),
        ({"a": 1}, {"a": 2}, "is wrong in 'a': it is 1, expected 2"),
        ("cat", "dog", "is 'cat', expected 'dog'"),
        (object(), "dog", "is an object, expected 'dog'"),
    ],
)
def test_a_check_that_fails_names_both_values(actual, expected, said):
    assert words(actual, expected).startswith(f"claim: your value {said}")


def test_low_precision_is_forgiven_its_rounding_and_no_more():
    x = torch.linspace(0.5, 2, 99)
    check.equal((x * 1.001).half(), x.half())
    check.equal((x * 1.01).bfloat16(), x.bfloat16())
    assert "numbers differ" in words((x * 1.01).half(), x.half())
    assert "numbers differ" in words(x * 1.001, x)


def test_a_band_names_the_number_outside_it():
    with pytest.raises(AssertionError, match=r"loss: 2.5 is not between 1.9 and 2.3"):
        check.between(2.5, 1.9, 2.3, "loss")
