"""The checks of the chapter text: each prints one line, or fails with the two values that disagree."""

from typing import Any

from torch import Tensor

from llama_mini.teach.check.compare import CheckFailed, difference, show


def equal(actual: Any, expected: Any, claim: str = "equal") -> None:
    """Assert that two tensors, numbers, strings, or lists of them are equal, up to float32 rounding."""
    _agree(actual, expected, 1e-4, 1e-5, claim)


def close(actual: Any, expected: Any, within: float, claim: str = "") -> None:
    """Assert that every number of `actual` lies within `within` of its partner in `expected`."""
    _agree(actual, expected, 0.0, within, claim or f"equal within {within:g}")


def between(actual: float | Tensor, low: float, high: float, claim: str = "") -> None:
    """Assert low <= actual <= high, for what differs between machines: a time, a loss after training."""
    value = float(actual)
    if not low <= value <= high:
        raise CheckFailed(f"{claim or 'the value'}: {show(value)} is not between {low:g} and {high:g}")
    print(f"✓ {claim or f'between {low:g} and {high:g}'}")


def _agree(actual: Any, expected: Any, rtol: float, atol: float, claim: str) -> None:
    if words := difference(actual, expected, rtol=rtol, atol=atol):
        raise CheckFailed(f"{claim}: your value {words}")
    print(f"✓ {claim}")
