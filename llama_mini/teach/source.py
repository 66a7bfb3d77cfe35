"""Show the package's own source in a notebook, instead of a copy that would drift from it."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def show_source(*things: Callable[..., Any] | type) -> None:
    """Display the source of functions and classes, as it stands in the installed package."""
    from IPython.display import display

    for thing in things:
        code = textwrap.dedent(inspect.getsource(thing)).rstrip()
        where = thing.__module__.replace(".", "/") + ".py"
        display({"text/markdown": f"`{where}`\n```python\n{code}\n```", "text/plain": code}, raw=True)
