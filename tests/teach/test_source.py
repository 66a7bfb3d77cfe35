"""The source that a chapter shows is the package's own."""

import inspect

from llama_mini.model import RMSNorm, rotate
from llama_mini.teach.source import show_source


def test_source_is_shown_with_its_file_and_without_its_indent(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    show_source(rotate, RMSNorm.forward)
    function, method = shown
    assert function["text/plain"] == inspect.getsource(rotate).rstrip()
    assert function["text/markdown"].startswith("`llama_mini/model.py`\n```python\ndef rotate(")
    assert method["text/plain"].startswith("def forward(")
