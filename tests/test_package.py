"""The rules of the house: imports point one way, and importing the package is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llama_mini

PACKAGE = Path(llama_mini.__file__).parent
CORE = ("config", "cache", "model", "decode", "generate")
STAGES = ("pretrain", "finetune", "align", "compress", "evaluate")
WHERE_USED = (
    "matplotlib",
    "ipywidgets",
    "IPython",
    "sentencepiece",
    "tiktoken",
    "typer",
    "transformers",
    "safetensors",
)


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, as 'tokenizer.bpe'."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("llama_mini.") for name in names if name.startswith("llama_mini.")}


def room(name: str) -> str:
    return name.split(".")[0]


MODULES = {path.relative_to(PACKAGE).as_posix(): imports(path) for path in PACKAGE.rglob("*.py")}


def test_nothing_outside_teach_imports_teach():
    assert not [
        m for m, names in MODULES.items() if not m.startswith("teach/") and "teach" in map(room, names)
    ]


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_only_what_stands_before_it(module):
    before = {"config", "cache"} | set(CORE[: CORE.index(module)])
    assert set(map(room, MODULES[f"{module}.py"])) <= before


@pytest.mark.parametrize("stage", STAGES)
def test_stages_do_not_import_each_other(stage):
    used = {room(name) for m, names in MODULES.items() if m.startswith(f"{stage}/") for name in names}
    assert not used & set(STAGES) - {stage}


def test_importing_the_package_leaves_optional_libraries_alone():
    code = f"import sys, llama_mini; print([m for m in {WHERE_USED} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_readable_in_one_sitting():
    words = ("english_words.py", "chinese_words.py")  # lists of words, not code
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 250 and name not in words} == {}
