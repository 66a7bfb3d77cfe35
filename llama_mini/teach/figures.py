"""The house style of figures, and `show`, which stores one as a small, reproducible SVG with its alt text."""

import io
import re
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common kind of colour blindness, and in grey
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#cc79a7", "#56b4e9", "#f0e442", "#000000", "#777777"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
SEQUENTIAL, DIVERGING = "cividis", "PuOr"  # colour maps: from little to much, and around zero

SMALL, SQUARE, WIDE = (4.0, 2.8), (4.5, 4.5), (8.0, 3.2)  # inches; a notebook's column is about 8 wide

LIMIT = 300_000  # characters of one figure; a whole notebook stays under 1 MiB


def style() -> None:
    """Set matplotlib up for the book; a chapter calls it once."""
    plt = _pyplot()
    plt.rcParams.update(
        {
            "figure.figsize": WIDE,
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 10,
            "axes.prop_cycle": plt.cycler(color=COLORS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "legend.frameon": False,
            "image.cmap": SEQUENTIAL,
            "image.interpolation": "none",  # one stored pixel per number, enlarged by the reader's browser
            "lines.linewidth": 1.8,
        }
    )


def yardsticks(
    ax: "Axes", *, floor: float | None = 0.46, bigram: float | None = 2.02, uniform: float | None = 7.15
) -> None:
    """Draw the lines that every plot of a loss carries, in nats per token (chapter 02); None leaves one out.

    The values given are those of plain tales under the bundled tokenizer.
    """
    marks = {"clueless, ln V": (uniform, ":"), "bigram": (bigram, "-."), "floor": (floor, "--")}
    for name, (nats, line) in marks.items():
        if nats is not None:
            ax.axhline(nats, color=GREY, linestyle=line, linewidth=1.2, zorder=1)
            at = ax.get_yaxis_transform()
            ax.annotate(name, (1, nats), (-3, 3), at, "offset points", ha="right", color=GREY, fontsize=8)


def show(figure: "Figure", alt: str) -> None:
    """Display a figure as SVG, and close it. `alt` says what a reader who cannot see it needs to know."""
    from IPython.display import display

    display({"image/svg+xml": svg(figure, alt), "text/plain": f"[figure: {alt}]"}, raw=True)


def svg(figure: "Figure", alt: str) -> str:
    """The figure as SVG text, the same on every run; the figure is closed.

    No date, no random names, text as text, coordinates to a hundredth of a point. ValueError where alt is
    empty or the SVG too long for a notebook.
    """
    if not alt.strip():
        raise ValueError(f"a figure needs alt text, got {alt!r}; say in a sentence what it shows")
    buffer = io.StringIO()
    with _pyplot().rc_context({"svg.hashsalt": "llama-mini", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    _pyplot().close(figure)
    text = _described(_lean(buffer.getvalue()), " ".join(alt.split()))
    if len(text) > LIMIT:
        raise ValueError(
            f"the figure has {len(text)} characters of SVG, at most {LIMIT} are stored; draw fewer points, "
            "or pass rasterized=True to the artist that has so many"
        )
    return text


def _lean(text: str) -> str:
    """Shorten the coordinates of paths, which make up nearly all of a figure's SVG."""

    def shorter(path: re.Match[str]) -> str:
        return re.sub(r"(\.\d\d)\d+", r"\1", path[0].replace("\n", " "))

    return re.sub(r'\bd="[^"]*"', shorter, text)


def _described(text: str, alt: str) -> str:
    """Give the SVG its alt text, where browsers and screen readers look for it."""
    label = escape(alt)
    head = f'<svg role="img" aria-label="{label}" '
    return re.sub(r"<svg ([^>]*)>", lambda m: f"{head}{m[1]}>\n <title>{label}</title>", text, count=1)


def _pyplot() -> ModuleType:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "llama-mini[book]"') from error
    return plt
