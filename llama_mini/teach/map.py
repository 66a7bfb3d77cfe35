"""The map of the book: the model as one drawing, each part with its chapter, lit once you have built it.

python -m llama_mini.teach.map FILE.svg draws it unlit, as the README shows it.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_mini.teach import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, SHADE, INK = "#ffffff", "#f2f2f2", "#222222"
STREAM, SIDE, LIFE_X = (
    3.2,
    1.35,
    9.6,
)  # x of the residual stream, of the way around a layer, of the model's life


@dataclass(frozen=True)
class Part:
    """A box of the map: what it says, the chapters that build it, its centre (x, y) and its width."""

    name: str
    chapters: tuple[int, ...]
    x: float
    y: float
    width: float = 3.0


MODEL = (
    Part("tokenizer", (3,), STREAM, 0.9),
    Part("embedding", (4,), STREAM, 1.9),
    Part("RMSNorm", (4,), STREAM, 3.6),
    Part("attention", (5, 8), STREAM, 4.6),
    Part("RoPE", (6,), 0.35, 4.6, 1.5),
    Part("KV cache", (10,), 6.15, 4.6, 1.9),
    Part("RMSNorm", (4,), STREAM, 6.4),
    Part("SwiGLU", (7,), STREAM, 7.4),
    Part("RMSNorm", (4,), STREAM, 9.2),
    Part("output head", (9,), STREAM, 10.2),
    Part("softmax, loss", (2,), STREAM, 11.2),
    Part("sampling", (11, 12), STREAM, 12.2),
)
STAGES = (
    ("clean and mix data", (15, 16)),
    ("pretrain", (17, 18, 19)),
    ("stretch, fill in, measure", (20, 21, 22)),
    ("teach it to follow", (23, 24)),
    ("LoRA, languages, labels", (25, 26, 27)),
    ("align: PPO, DPO", (28, 29, 30, 31)),
    ("quantize", (32, 33)),
    ("prune and distil", (34,)),
    ("eyes, experts", (35, 36)),
    ("your own llama", (37, 38)),
)
LIFE = tuple(Part(name, n, LIFE_X, 0.9 + 11.3 / 9 * i, 4.4) for i, (name, n) in enumerate(STAGES))
ALT = (
    "The model from text to next word: tokenizer, embedding, a repeated block of RMSNorm, attention with "
    "RoPE and KV cache, RMSNorm and SwiGLU, then norm, output head, softmax and sampling; beside it the "
    "model's life from data to alignment and quantization. Each part carries the number of its chapter."
)


def built(folder: Path) -> set[int]:
    """The chapters whose exercise notebook in `folder` was saved with a passed check in it."""
    chapters = set()
    for path in sorted(folder.glob("*/[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        if any("✓" in "".join(output.get("text", "")) for output in outputs):
            chapters.add(int(path.name[:2]))
    return chapters


def written(folder: Path) -> dict[int, str]:
    """The chapters in `folder`: number to file name."""
    return {int(path.name[:2]): path.name for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}


def draw_map(lit: set[int], files: Mapping[int, str]) -> "Figure":
    """The model on the left, its life on the right; a part is filled when one of its chapters is in `lit`.

    In a page that draws the SVG itself, each part links to the first of its chapters that `files` has.
    """
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.2, 8.8))
    axes.set(xlim=(-0.6, 12.0), ylim=(-0.3, 13.6), aspect="equal")
    axes.axis("off")
    axes.add_patch(plt.Rectangle((-0.55, 2.6), 7.8, 5.9, facecolor=SHADE, edgecolor="none", zorder=0))
    axes.text(7.1, 8.35, "a block, repeated", ha="right", va="top", fontsize=9, color=figures.GREY)
    draw_roads(axes)
    for part in (*MODEL, *LIFE):
        link = next((files[chapter] for chapter in part.chapters if chapter in files), None)
        draw_part(axes, part, bool(lit.intersection(part.chapters)), link)
    axes.text(STREAM, -0.1, '"The little goat was"', ha="center", fontsize=10, style="italic")
    axes.text(STREAM, 13.15, '"hungry"', ha="center", fontsize=10, style="italic")
    axes.text(LIFE_X, 13.15, "the life of the model", ha="center", fontsize=10)
    return figure


def draw_roads(axes: "Axes") -> None:
    """The residual stream, the way around each layer to its plus sign, and the path of the stages."""
    arrow = {"arrowstyle": "->", "color": figures.GREY, "lw": 1.5}
    axes.annotate("", (STREAM, 13.0), (STREAM, 0.2), arrowprops=arrow, zorder=1)
    for bottom, top in ((2.9, 5.5), (5.7, 8.2)):
        axes.plot(
            [STREAM, SIDE, SIDE, STREAM], [bottom, bottom, top, top], color=figures.GREY, lw=1.5, zorder=1
        )
        axes.plot([STREAM], [top], "o", ms=12, mfc=PAPER, mec=figures.GREY, zorder=2)
        axes.text(STREAM, top, "+", ha="center", va="center", fontsize=11, zorder=3)
    axes.plot([0.35, 6.15], [4.6, 4.6], color=figures.GREY, lw=1.5, zorder=1)
    axes.annotate("", (LIFE_X, 13.0), (LIFE_X, 0.9), arrowprops=arrow, zorder=1)


def draw_part(axes: "Axes", part: Part, lit: bool, link: str | None) -> None:
    """One box: its name, its first and last chapter, and a link to one of them."""
    from matplotlib.patches import FancyBboxPatch

    corner, shape = (part.x - part.width / 2, part.y - 0.31), "round,pad=0.02,rounding_size=0.12"
    fill, ink = (figures.BLUE, PAPER) if lit else (PAPER, INK)
    box = FancyBboxPatch(corner, part.width, 0.62, boxstyle=shape, fc=fill, ec=figures.BLUE, lw=1.2, zorder=2)
    box.set_url(link)
    axes.add_patch(box)
    first, last = part.chapters[0], part.chapters[-1]
    joint = "–" if last - first == len(part.chapters) - 1 else ", "
    numbers = f"{first:02}" if first == last else f"{first:02}{joint}{last:02}"
    label = f"{part.name}  {numbers}"
    axes.text(part.x, part.y, label, ha="center", va="center", fontsize=9, color=ink, zorder=3)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(figures.svg(draw_map(set(), written(target.parent)), ALT), encoding="utf-8")
