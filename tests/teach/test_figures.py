"""Figures: the same bytes on every run, alt text on every one, small enough to store."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from math import log
from random import Random

import pytest
import torch

from llama_mini import load
from llama_mini.data import stories
from llama_mini.teach import figures

pyplot = pytest.importorskip("matplotlib.pyplot")

DRAW = r"""
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot as plt
from llama_mini.teach import figures
figures.style()
fig, (left, right) = plt.subplots(1, 2)
left.plot([0, 1.23456, 2], [3, 1, 2], "o--", label="a & b")
left.set(title="Down, then up", xlabel="position (tokens)", ylabel=r"$\theta$")
left.legend()
right.imshow([[0, 1], [2, 3]])
print(figures.svg(fig, alt='A line, "down" & up.'))
"""


def drawn(seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, "-c", DRAW], capture_output=True, text=True, env=env, check=True
    ).stdout


def test_two_processes_draw_the_same_bytes():
    first, second = drawn("1"), drawn("2")
    assert first == second
    assert "<dc:date>" not in first
    assert 'aria-label="A line, &quot;down&quot; &amp; up."' in first
    assert "<title>A line" in first
    assert ">position (tokens)</text>" in first, "text stays text, to be read and searched"
    assert not re.search(r'\bd="[^"]*\.\d{3}', first)


@pytest.fixture
def figure():
    with pyplot.rc_context():  # the style is for this test, not for those after it
        figures.style()
        fig, axes = pyplot.subplots()
        axes.plot([1, 2, 3])
        yield fig
        pyplot.close(fig)


def test_show_displays_svg_and_alt_text_and_closes_the_figure(figure, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    figures.show(figure, alt="A line going up.")
    assert shown[0]["image/svg+xml"].startswith("<?xml")
    assert shown[0]["image/svg+xml"].endswith("</svg>\n")
    assert shown[0]["text/plain"] == "[figure: A line going up.]"
    assert not pyplot.fignum_exists(figure.number)


def test_a_figure_without_alt_text_is_refused(figure):
    with pytest.raises(ValueError, match="needs alt text"):
        figures.show(figure, alt=" ")


def test_a_figure_too_large_to_store_names_both_sizes(figure):
    figure.axes[0].plot(range(40_000), [i * i % 7 for i in range(40_000)], "o")
    with pytest.raises(ValueError, match=f"at most {figures.LIMIT} are stored.*rasterized"):
        figures.svg(figure, alt="dots")


def test_rasterized_artists_fit(figure):
    x = [i % 997 for i in range(20_000)]
    figure.axes[0].plot(x, range(20_000), "o", rasterized=True)
    assert len(figures.svg(figure, alt="dots")) < figures.LIMIT


def pair_counts(tokenizer, tales):
    """How often each pair of tokens stands in the tales: (V * V), the pair (a, b) at a * V + b."""
    docs = [torch.tensor(tokenizer.encode(tale.text, bos=True, eos=True)) for tale in tales]
    pairs = torch.cat([ids[:-1] * 1280 + ids[1:] for ids in docs])
    return torch.bincount(pairs, minlength=1280**2)


def test_yardsticks_draw_the_lines_that_are_asked_for(figure):
    [axes] = figure.axes
    figures.yardsticks(axes, floor=0.5, uniform=None)
    assert [line.get_ydata()[0] for line in axes.lines[1:]] == [2.02, 0.5]
    assert [text.get_text() for text in axes.texts] == ["bigram", "floor"]


def test_yardsticks_are_those_of_plain_tales_under_the_bundled_tokenizer(figure):
    tokenizer = load("base")[1]
    read, unread = (
        [stories.sample(rng) for _ in range(n)] for rng, n in ((Random(2), 2000), (Random(3), 200))
    )
    counts, judged = (pair_counts(tokenizer, tales) for tales in (read, unread))
    smoothed = counts.view(1280, 1280) + 0.001
    nats = -(smoothed / smoothed.sum(-1, keepdim=True)).log()
    bigram = (nats.flatten() * judged).sum() / judged.sum()
    [axes] = figure.axes
    figures.yardsticks(axes)
    drawn = [line.get_ydata()[0] for line in axes.lines[1:]]
    assert drawn == pytest.approx([log(1280), bigram.item(), stories.floor(unread, tokenizer)], abs=0.02)


def test_colours_differ_in_grey():
    def grey(color: str) -> float:
        r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * r + 0.587 * g + 0.114 * b

    first_three = sorted(map(grey, figures.COLORS[:3]))
    assert min(b - a for a, b in pairwise(first_three)) > 10
    assert len(set(figures.COLORS)) == len(figures.COLORS)
