"""Practice of chapter 01: what `check` knows about configuration files."""

from collections.abc import Callable
from typing import Any

from torch import Generator, randint

from llama_mini.teach.check.exercise import Exercise

Params = dict[str, Any]


def _shape(params: Params) -> dict[str, int]:
    n_heads = params["n_heads"]
    n_kv_heads = params.get("n_kv_heads") or n_heads
    return {"n_heads": n_heads, "n_kv_heads": n_kv_heads, "head_dim": params["dim"] // n_heads}


def _with(name: str, value: Callable[[Params], Any]) -> Callable[[Params], dict[str, Any]]:
    """The right answer with one entry computed otherwise."""
    return lambda params: _shape(params) | {name: value(params)}


def _params(g: Generator, **more: int | None) -> tuple[Params]:
    """A file of a made-up model: 6 to 16 query heads, 10 to 30 numbers wide."""
    n_heads, half = (2 * int(randint(low, high, (), generator=g)) for low, high in ((3, 9), (5, 16)))
    return ({"dim": n_heads * half, "n_heads": n_heads, "n_layers": 5, "norm_eps": 1e-6} | more,)


attention_shape = Exercise(
    name="attention_shape",
    reference=_shape,
    groups={
        "an old file": lambda g: [_params(g), _params(g)],
        "shared keys": lambda g: [_params(g, n_kv_heads=2), _params(g, n_kv_heads=1)],
        "None": lambda g: [_params(g, n_kv_heads=None)],
    },
    wrong={
        "one key head": (
            _with("n_kv_heads", lambda p: p.get("n_kv_heads") or 1),
            "a missing n_kv_heads became 1. An old file shares nothing: there are as many as query heads.",
        ),
        "eight key heads": (
            _with("n_kv_heads", lambda p: p.get("n_kv_heads") or 8),
            "a missing n_kv_heads became 8, as in Llama 3. The older models share nothing.",
        ),
        "None stays": (
            _with("n_kv_heads", lambda p: p.get("n_kv_heads", p["n_heads"])),
            "n_kv_heads is None where the file says null: .get(name, default) helps with missing names only.",
        ),
        "always all": (
            _with("n_kv_heads", lambda p: p["n_heads"]),
            "n_kv_heads is always n_heads: where the file names a number, that number counts.",
        ),
        "128": (
            _with("head_dim", lambda p: 128),
            "head_dim is always 128. Nearly all of the family have that, and Llama 3.2 1B has not: divide.",
        ),
        "by key heads": (
            _with("head_dim", lambda p: p["dim"] // (p.get("n_kv_heads") or p["n_heads"])),
            "head_dim grows when keys are shared: you divided by n_kv_heads. Divide by n_heads.",
        ),
    },
)

EXERCISES = [attention_shape]
