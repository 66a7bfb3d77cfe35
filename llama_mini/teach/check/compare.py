"""Say in words where two results differ: kind, shape, dtype, or the two numbers that disagree."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class CheckFailed(AssertionError):
    """A check that does not hold; a notebook shows it as one line, without the way through this package."""

    def _render_traceback_(self) -> list[str]:
        return [f"AssertionError: {self}"]


def difference(actual: Any, expected: Any, *, rtol: float, atol: float) -> str | None:
    """How `actual` differs from `expected`, to be read after "your result"; None where the two agree.

    Tensors agree in shape, dtype and values, a list or tuple item by item, a dict key by key. Whole numbers
    agree exactly; low precision is forgiven two units in the last place.
    """
    if actual is None and expected is not None:
        return "is None: is there a return at the end?"
    if isinstance(expected, Tensor):
        return _tensors(actual, expected, rtol, atol)
    if isinstance(expected, dict):
        return _dicts(actual, expected, rtol, atol)
    if isinstance(expected, list | tuple):
        return _sequences(actual, expected, rtol, atol)
    if isinstance(expected, int | float):
        return _numbers(actual, expected, rtol, atol)
    return None if actual == expected else f"is {show(actual)}, expected {show(expected)}"


def show(value: Any) -> str:
    """A value in few characters, the same on every machine: never an address, never a page of digits."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool | int | complex | None):
        return str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bytes):
        return repr(value if len(value) <= 60 else value[:57] + b"...")
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _tensors(actual: Any, expected: Tensor, rtol: float, atol: float) -> str | None:
    if not isinstance(actual, Tensor):
        return f"is {show(actual)}, expected {show(expected)}"
    if actual.shape != expected.shape:
        return f"has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if actual.dtype != expected.dtype:
        return f"has dtype {actual.dtype}, expected {expected.dtype}"
    a, b = actual.detach().cpu(), expected.detach().cpu()
    if b.is_floating_point():
        eps = torch.finfo(b.dtype).eps
        close = torch.isclose(
            a.double(), b.double(), rtol=max(rtol, 2 * eps), atol=max(atol, eps), equal_nan=True
        )
    else:
        close = a == b
    if close.all():
        return None
    place = tuple((~close).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    count = f" ({int((~close).sum())} of {close.numel()} numbers differ)" if place else ""
    return f"is {show(a[place].item())}{where}, expected {show(b[place].item())}{count}"


def _numbers(actual: Any, expected: float, rtol: float, atol: float) -> str | None:
    if isinstance(actual, Tensor) and actual.numel() == 1:
        return f"is {show(actual)}, expected a number: .item() makes one of it"
    if not isinstance(actual, int | float) or isinstance(actual, bool) != isinstance(expected, bool):
        return f"is {show(actual)}, expected {show(expected)}"
    same = actual == expected or (actual != actual and expected != expected)
    if isinstance(expected, float):
        same = same or math.isclose(actual, expected, rel_tol=rtol, abs_tol=atol)
    return None if same else f"is {show(actual)}, expected {show(expected)}"


def _sequences(actual: Any, expected: Sequence[Any], rtol: float, atol: float) -> str | None:
    if not isinstance(actual, list | tuple):
        return f"is {show(actual)}, expected {show(expected)}"
    if len(actual) != len(expected):
        return f"has {len(actual)} items, expected {len(expected)}"
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        if words := difference(a, b, rtol=rtol, atol=atol):
            return f"is wrong at index {i}: it {words}"
    return None


def _dicts(actual: Any, expected: dict[Any, Any], rtol: float, atol: float) -> str | None:
    if not isinstance(actual, dict):
        return f"is {show(actual)}, expected {show(expected)}"
    if actual.keys() != expected.keys():
        return f"has the keys {sorted(map(str, actual))}, expected {sorted(map(str, expected))}"
    for key, b in expected.items():
        if words := difference(actual[key], b, rtol=rtol, atol=atol):
            return f"is wrong in {key!r}: it {words}"
    return None
