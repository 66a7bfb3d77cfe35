"""A still picture where nobody can move anything, controls where somebody can."""

import pytest

from llama_mini.teach import explore as module
from llama_mini.teach.explore import explore, progress, watch

pyplot = pytest.importorskip("matplotlib.pyplot")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipywidgets")


def draw(angle=30, base=10_000.0, pair="first"):
    figure, axes = pyplot.subplots()
    axes.plot([0, angle], [0, base])
    axes.set_title(f"{angle} {base:g} {pair}")
    return figure


@pytest.fixture
def shown(monkeypatch) -> list:
    displayed: list = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw=False: displayed.append(data))
    return displayed


def test_without_a_front_end_the_defaults_make_a_still_picture(shown):
    explore(draw, alt="A line.", angle=(0, 90, 15), pair=["first", "last"])
    assert list(shown[0]) == ["image/svg+xml", "text/plain"]
    assert ">30 10000 first</text>" in shown[0]["image/svg+xml"]
    assert not pyplot.get_fignums()


def test_with_a_front_end_every_control_redraws(shown, monkeypatch):
    monkeypatch.setattr(module, "live", lambda: True)
    explore(draw, alt="A line.", angle=(0, 90, 15), base=(1e3, 1e5, 1e3), pair=["first", "last"])
    angle, base, pair, picture = shown[0].children
    assert b">30 10000 first</text>" in bytes(picture.value)
    angle.value, base.value, pair.value = 45, 5e3, "last"
    assert b">45 5000 last</text>" in bytes(picture.value)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ({"size": (0, 1, 1)}, "'size' of the drawing function needs a default"),
        ({"angle": (0, 90)}, "angle has 2 numbers, a slider takes 3"),
        ({"angle": (40, 90, 5)}, "angle starts at 30, which is not in"),
        ({"pair": ["last"]}, "pair starts at 'first', which is not in"),
    ],
)
def test_controls_that_cannot_start_are_refused(controls, said):
    with pytest.raises(ValueError, match=said):
        explore(draw, alt="A line.", **controls)


def test_progress_passes_everything_on_and_shows_a_bar_only_to_somebody(monkeypatch, capsys):
    assert list(progress(range(3), total=3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    bars = []
    monkeypatch.setattr(module, "live", lambda: True)
    monkeypatch.setattr("tqdm.auto.tqdm", lambda it, **settings: bars.append(settings) or it)
    assert list(progress(range(3), total=3, label="tales")) == [0, 1, 2]
    assert bars == [{"total": 3, "desc": "tales", "leave": False}]


def test_watch_passes_everything_on_and_redraws_only_for_somebody(shown, monkeypatch):
    seen = []

    def curve():
        seen.append(None)
        return draw(len(seen))

    assert list(watch(range(7), curve, alt="A curve.", every=3)) == [*range(7)]
    assert seen == shown == []
    monkeypatch.setattr(module, "live", lambda: True)
    pictures = []
    for i in watch(range(7), curve, alt="A curve.", every=3):
        pictures.append((i, bytes(shown[0].value)))
    assert len(seen) == 2
    assert [b">1 10000 first</text>" in picture for _, picture in pictures] == [
        i in (3, 4, 5) for i in range(7)
    ]
    assert b">2 10000 first</text>" in pictures[-1][1]


def test_an_executed_notebook_stores_the_still_picture_and_nothing_live():
    client = pytest.importorskip("nbclient")
    code = [
        "from matplotlib import pyplot as plt\nfrom llama_mini.teach.explore import explore, progress",
        "def draw(angle=30):\n    fig, ax = plt.subplots()\n    ax.plot([0, angle])\n    return fig\n"
        "explore(draw, alt='A line.', angle=(0, 90, 15))",
        "print(sum(progress(range(4), total=4)))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    client.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    assert "widgets" not in notebook.metadata
    setup, still, bar = (cell.outputs for cell in notebook.cells)
    assert setup == []
    assert [list(output.data) for output in still] == [["image/svg+xml", "text/plain"]]
    assert [output.text for output in bar] == ["6\n"]
