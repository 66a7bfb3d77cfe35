"""Controls for a figure where somebody is there to move them, and the same picture still everywhere else."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llama_mini.teach import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def explore(draw: "Callable[..., Figure]", *, alt: str, **controls: Sequence[Any]) -> None:
    """Show the figure that `draw` returns, with one control for each argument of it that is named here.

    A tuple (low, high, step) makes a slider, a list a choice. draw's own defaults are where the controls
    start, and what the still picture shows: in a stored notebook, on the web, under nbval and nbgrader.
    """
    start = {name: _start(draw, name, values) for name, values in controls.items()}
    if not live():
        figures.show(draw(**start), alt=alt)
        return
    widgets = _widgets()
    from IPython.display import display

    picture = widgets.Image(format="svg+xml", layout={"max_width": "100%"})
    knobs = {name: _knob(widgets, name, values, start[name]) for name, values in controls.items()}

    def redraw(_: Any = None) -> None:
        chosen = {name: knob.value for name, knob in knobs.items()}
        picture.value = figures.svg(draw(**chosen), alt).encode()

    for knob in knobs.values():
        knob.observe(redraw, "value")
    redraw()
    display(widgets.VBox([*knobs.values(), picture], layout={"align_items": "flex-start"}))


def progress(iterable: Iterable[Any], total: int | None = None, label: str = "") -> Iterator[Any]:
    """Go through `iterable`, in a live front end with a bar that leaves when it is done."""
    if not live():
        yield from iterable
        return
    from tqdm.auto import tqdm

    yield from tqdm(iterable, total=total, desc=label, leave=False)


def watch(
    iterable: Iterable[Any], draw: "Callable[[], Figure]", *, alt: str, every: int = 25
) -> Iterator[Any]:
    """Go through `iterable`; in a live front end, draw the figure again after every few items.

    It takes no part in what is stored: where nobody watches, nothing is drawn.
    """
    if not live():
        yield from iterable
        return
    widgets = _widgets()
    from IPython.display import display

    picture = widgets.Image(format="svg+xml", layout={"max_width": "100%"})
    display(picture)
    for i, item in enumerate(iterable):
        yield item
        if i % every == every - 1:
            picture.value = figures.svg(draw(), alt).encode()
    picture.close()  # the cell draws the last one itself, to be stored


def live() -> bool:
    """Whether the running cell was sent by a front end with a person at it.

    JupyterLab, Notebook and VS Code name the cell in their request; nbconvert, nbval and nbgrader do not.
    """
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and "cellId" in kernel.get_parent().get("metadata", {})


def _start(draw: "Callable[..., Figure]", name: str, values: Sequence[Any]) -> Any:
    """Where the control of this argument starts: the default that draw gives it."""
    parameter = inspect.signature(draw).parameters.get(name)
    if parameter is None or parameter.default is parameter.empty:
        raise ValueError(
            f"explore: the argument {name!r} of the drawing function needs a default to start from"
        )
    value = parameter.default
    slider = isinstance(values, tuple)
    if slider and len(values) != 3:
        raise ValueError(f"explore: {name} has {len(values)} numbers, a slider takes 3: (low, high, step)")
    if not (values[0] <= value <= values[1] if slider else value in values):
        raise ValueError(f"explore: {name} starts at {value!r}, which is not in {values!r}")
    return value


def _knob(widgets: Any, name: str, values: Sequence[Any], start: Any) -> Any:
    look = {
        "description": name.replace("_", " "),
        "style": {"description_width": "8em"},
        "layout": {"width": "30em"},
    }
    if isinstance(values, tuple):
        whole = all(isinstance(number, int) for number in (*values, start))
        slider = widgets.IntSlider if whole else widgets.FloatSlider
        return slider(min=values[0], max=values[1], step=values[2], value=start, **look)
    return widgets.SelectionSlider(options=list(values), value=start, **look)


def _widgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError('controls need ipywidgets: pip install "llama-mini[book]"') from error
    return ipywidgets
