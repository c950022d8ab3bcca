"""The notebook runs from top to bottom and still says what it is kept with; its page in the documentation is made of it."""

from __future__ import annotations

import json
import re

import nbformat
import notebook
import pytest


@pytest.mark.slow
def test_the_notebook_runs_and_says_what_is_kept() -> None:
    kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
    assert not notebook.differences(kept, notebook.executed(notebook.NOTEBOOK))


def test_outputs_are_kept_without_what_changes_from_run_to_run() -> None:
    text = notebook.NOTEBOOK.read_text(encoding="utf-8")
    document = json.loads(text)
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] is None for cell in code)
    assert all(cell["outputs"] for cell in code[1:])
    assert not any(cell["metadata"] for cell in document["cells"])
    assert not re.search(r"0x[0-9a-f]{8,}|/(?:home|Users|root|work|tmp)/", text)
    assert "Traceback" not in text


def test_the_page_is_made_of_the_notebook(tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "IMAGES", tmp_path)
    kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
    assert notebook.PAGE.read_text(encoding="utf-8") == notebook.page(kept), "run `make notebook`"


def test_a_cell_that_fails_or_says_something_else_is_told() -> None:
    a, b = (
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text=text)])])
        for text in ("1\n", "2\n")
    )
    assert notebook.differences(a, a) == []
    assert "cell 0" in notebook.differences(a, b)[0]
