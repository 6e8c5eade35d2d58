"""The notebook in docs: its cells run, one after the other, and print what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "notebook.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    return [cell for cell in book["cells"] if cell["cell_type"] == kind]


def test_every_cell_prints_what_is_shown(capsys: pytest.CaptureFixture[str]):
    """Python alone runs them: nothing in a cell is of the notebook's program."""
    names: dict[str, Any] = {}
    found = cells("code")
    assert len(found) >= 5
    for cell in found:
        text = "".join(cell["source"])
        exec(compile(text, str(NOTEBOOK), "exec"), names)
        shown = ["".join(output["text"]) for output in cell["outputs"]]
        assert [capsys.readouterr().out] == shown, text


def test_its_links_lead_somewhere():
    text = "".join("".join(cell["source"]) for cell in cells("markdown"))
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links and all((DOCS / link).exists() for link in links)
