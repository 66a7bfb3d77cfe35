"""Marks from a fresh process: partial, the same again, unmoved by what an answer does around it."""

import os
import sys

import pytest

from llama_mini.teach.grade import Verdict, grade, verdicts
from llama_mini.teach.grade.judge import definition

HIDDEN = """
### BEGIN HIDDEN TESTS
import torch
from llama_mini.teach.check import Exercise
from llama_mini.teach.grade import grade

def reference(x, n):
    return x.cumsum(-1) * n

running = Exercise(
    name="running",
    reference=reference,
    groups={
        "vectors": lambda g: [(torch.randn(5, generator=g), 1)],
        "matrices": lambda g: [(torch.randn(3, 5, generator=g), 1)],
        "times n": lambda g: [(torch.randn(3, 5, generator=g), n) for n in (2, 3)],
        "float16 inputs": lambda g: [(torch.ones(3, 5).half(), 2)],
    },
    wrong={"rows": (lambda x, n: x.cumsum(0) * n, "you sum down the rows.")},
)
grade(In, points=4)
### END HIDDEN TESTS
"""
GOOD = "def running(x, n):\n    return x.cumsum(-1) * n"
ALL = "running  ✓ vectors  ✓ matrices  ✓ times n  ✓ float16 inputs"


def after(line: str) -> str:
    """The right answer, after a line of mischief."""
    return GOOD.replace("    return", f"    {line}\n    return") + IS_SOCKET


IS_SOCKET = """

import os, stat
def is_socket(file):
    try:
        return stat.S_ISSOCK(os.fstat(file).st_mode)
    except OSError:
        return False
"""


ATTACKS = {
    "loop": ("while n > 1: pass", 0.5, "was still running after 3 s"),
    "exit": ("import os; n < 2 or os._exit(0)", 0.5, "your code ended its process"),
    "memory": ("n < 2 or [bytearray(10**8) for _ in range(10**6)]", 0.5, "your code raised MemoryError"),
    "prints": ("print('x' * 10**7)", 1.0, ALL),
    "stderr": ("import sys; sys.stderr.write('warning')", 1.0, ALL),
    "patches": ("from llama_mini.teach.check import Exercise; Exercise.run = lambda *a: []", 1.0, ALL),
    "forges": ("import os; [os.write(i, b'1' * 99) for i in range(99) if is_socket(i)]", 0.0, "code ended"),
    "escapes": ("import os, time; os.fork() or (os.setsid(), time.sleep(9)); time.sleep(9)", 0.0, "running"),
    "overwrites": ("import os; os.open(f'/proc/{os.getppid()}/fd/1', os.O_WRONLY)", 0.0, "PermissionError"),
    "reads": ("import os; open(f'/proc/{os.getppid()}/mem', 'rb')", 0.0, "PermissionError"),
    "shouts": ("raise ValueError('\\x1b[2J' + 'y' * 9999)", 0.0, "your code raised ValueError: �[2Jyyy"),
}
CELLS = {
    "missing": ("", "running: no cell defines running, or that cell has a syntax error"),
    "raises": ("raise ZeroDivisionError\nrunning = 3", "running: your cell raised ZeroDivisionError"),
    "value": ("running = 3", "your answer is 3, expected a function"),
    "kind": (
        "import numpy\ndef running(x, n):\n    return numpy.ones(5)",
        "your result is a ndarray, expected a",
    ),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Verdict]:
    """The verdicts on every attack and every cell without an answer, as one submission."""
    answers = {name: after(line) for name, (line, _, _) in ATTACKS.items()}
    answers |= {name: cell for name, (cell, _) in CELLS.items()}
    jobs = [[text, HIDDEN] for text in answers.values()]
    return dict(zip(answers, verdicts(jobs, seconds=3, megabytes=256), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_groups_only(name, found):
    _, share, said = ATTACKS[name]
    assert found[name]["share"] == share
    assert said in found[name]["text"]
    assert len(found[name]["text"]) < 1100


@pytest.mark.parametrize("name", CELLS)
def test_an_answer_that_is_none_gets_no_marks_and_a_reason(name, found):
    _, said = CELLS[name]
    assert found[name]["share"] == 0
    assert said in found[name]["text"]


def test_every_group_is_one_share(capsys):
    assert grade([GOOD, HIDDEN], points=4) == 4.0
    assert capsys.readouterr().out == ALL + "\n"
    rows = ["def running(x, n):\n    return x.cumsum(0) * n", HIDDEN]
    wrong, again = verdicts([rows, rows])
    assert wrong["share"] == 0.25
    assert wrong["text"].endswith("✗ times n  ✗ float16 inputs\nyou sum down the rows.")
    assert again == wrong


def test_other_cells_lend_definitions_and_their_faults_stay_their_own():
    cells = [
        "import torch\nAXIS = 1 - 2",
        "def times(x, n):\n    return x * n",
        "while True:\n    pass",
        "import no_such_module",
        "def helper(x:",
        "class check:\n    running = staticmethod(lambda f: None)",
        "%matplotlib inline\ndef running(x, n):\n    return times(x.cumsum(AXIS), n)\n\nrunning(3, 4)",
        "def times(x, n):\n    return x / n\ntimes?",
        HIDDEN.replace("running", "another"),
    ]
    trusted, wrong = verdicts([[*cells, HIDDEN], [GOOD, HIDDEN.replace("x.cumsum(-1)", "y")]])
    assert trusted == {"share": 1.0, "text": ALL}
    assert wrong["text"] == "not graded: the hidden cell raised NameError: name 'y' is not defined"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to the grader")
def test_no_process_outlives_the_grading(tmp_path):
    pid = tmp_path / "pid"
    orphan = f"os.setsid(), open({str(pid)!r}, 'w').write(str(os.getpid())), time.sleep(60)"
    line = f"import os, time; os.fork() or ({orphan})"
    assert verdicts([[after(line), HIDDEN]], seconds=5)[0] == {"share": 1.0, "text": ALL}
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("hidden", "error"),
    [("1 / 0", ZeroDivisionError), ("grade(In)", ValueError), (HIDDEN + "again = running", ValueError)],
)
def test_a_hidden_cell_defines_one_exercise(hidden, error):
    with pytest.raises(error):
        definition(hidden)
