"""Pages: text is never markup, figures are the same for the same values, numbers are those of ``--json``."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.cli import main
from xnorcore.files import xnorfile
from xnorcore.model.network import Network
from xnorcore.pages import plots
from xnorcore.pages.diagram import diagram
from xnorcore.pages.html import Markup, document, pairs, paragraph, section, tab
from xnorcore.pages.pictures import picture
from xnorcore.pages.svg import CAUSE_COLOURS
from xnorcore.report.board import build_part
from xnorcore.report.gather import accuracy

EVIL = "</svg><script>alert(1)</script>&$x_1$ \x07\"'"


NAME = "<script>alert(1)</script>&$x_1$"
"""As a network's file may hold it."""


class Reader(HTMLParser):
    """Elements of a page, the cells of its tables, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("td", "th"):
            self._cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.cells[-1] += data

    @property
    def outside(self) -> list[str]:
        """What is not within the page, namespaces apart."""
        return [
            value
            for name, value in self.attributes
            if value and not value.startswith(("#", "data:image/png;base64,"))
            and name in ("href", "src", "xlink:href", "action", "srcset")
        ]  # fmt: skip


def test_whatever_is_not_made_here_is_text() -> None:
    nodes = [
        {"name": EVIL, "lines": [EVIL, EVIL], "reads": []},
        {"name": "b", "lines": ["", ""], "reads": [0]},
    ]
    parts = [
        paragraph(EVIL), section(EVIL, pairs([(EVIL, EVIL)]), tab((EVIL,), [(EVIL,), ((EVIL, EVIL),)], EVIL)),
        diagram(nodes), picture(np.zeros((2, 2, 1)), 1, EVIL),
        plots.bars("a", EVIL, [EVIL], {EVIL: [1.0]}, EVIL),
        plots.curves("b", EVIL, [1, 2], {EVIL: [1.0, 2.0]}, EVIL),
        plots.confusion("c", EVIL, [[1, 2], [3, 4]], [EVIL, "b"]),
        plots.spans("d", EVIL, [(EVIL, 0, 2)], EVIL),
        plots.roofline("e", EVIL, 8, {EVIL: 1.0}, [(EVIL, 1.0, 2.0)]),
    ]  # fmt: skip
    page = document(EVIL, parts, {EVIL: EVIL})
    found = Reader(page)
    assert "script" not in found.tags and not found.outside
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "style" not in [name for name, _ in found.attributes]
    assert found.tags.count("style") == 1 and "\x07" not in page
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and len(ids) > 20
    used = [v for n, v in found.attributes if v and n in ("href", "xlink:href")]
    assert {value[1:] for value in used} <= set(ids)


def test_drawings_have_the_colours_and_the_width_of_the_page() -> None:
    """No colour of their own, but white on the fullest cells; both themes know every name."""
    nodes = [{"name": "a", "lines": ["", ""], "reads": [0] * (n > 0)} for n in range(4)]
    some = np.arange(9).reshape(3, 3)
    drawings = [
        diagram(nodes[:1]), diagram(nodes),
        plots.bars("a", "s", ["x", "y"], {cause: [1, 2] for cause in CAUSE_COLOURS}, "cycles"),
        plots.curves("b", "s", [1, 2], {f"{n}": [1.0, 2.0] for n in range(9)}, "loss"),
        plots.confusion("c", "s", some.tolist(), ["a", "b", "c"]),
        plots.confusion("d", "s", np.eye(40, dtype=int).tolist(), [f"{n}" for n in range(40)]),
        plots.confusion("e", "s", np.eye(20, dtype=int).tolist(), [f"{n}" for n in range(20)]),
        plots.spans("f", "s", [("x", 0, 2), ("y", 2, 3)], "word"),
        plots.roofline("g", "s", 8, {"memory": 1.0, "wire": 0.1}, [("x", 1.0, 2.0)]),
        plots.grid("h", "s", [(x, y, x % 9) for x in range(9) for y in range(4)], list("abcdefghi")),
    ]  # fmt: skip
    style = (Path(plots.__file__).with_name("style.css")).read_text()
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for text in drawings:
        found = set(re.findall(r' (?:fill|stroke)="([^"]*)"', text))
        names = set(re.findall(r"var\(--(\w+),#[0-9a-f]{6}\)", " ".join(found)))
        plain = {value for value in found if not value.startswith("var(")}
        assert plain <= {"none", "currentColor", "#ffffff"} and "currentColor" in plain, plain
        assert all(f"--{name}: #" in part for name in names for part in (light, dark.split("@media")[0]))
        head = text[: text.index(">")]
        assert ' viewBox="0 0 ' in head
    heads = [text[: text.index(">")] for text in drawings]
    assert [("class=" in head) for head in heads] == [False, True] + [False] * 4 + [True] + [False] * 3


def test_the_same_values_give_the_same_figure() -> None:
    made = [
        plots.bars("a", "says", ["x", "y"], {"busy": [1, 2], "fetch": [0, 3]}, "cycles") for _ in range(2)
    ]
    assert made[0] == made[1] and "busy" in made[0]
    other = plots.bars("a", "says", ["x", "y"], {"busy": [1, 2], "fetch": [0, 4]}, "cycles")
    assert other != made[0]


def test_a_picture_holds_its_pixels() -> None:
    image = np.arange(12).reshape(2, 2, 3)
    data = re.search(r"base64,([^\"]+)", picture(image, 11, "a picture"))
    assert data
    png = base64.b64decode(data.group(1))
    start = png.index(b"IDAT") + 4
    lines = np.frombuffer(zlib.decompress(png[start : png.index(b"IEND") - 8]), np.uint8).reshape(2, 7)
    assert (lines[:, 1:].reshape(2, 2, 3) == np.rint(image / 11 * 255)).all() and not lines[:, 0].any()


def test_accuracy_by_hand() -> None:
    network = zoo.load("digits")
    scores = np.full((4, 10), -100)
    for number, (label, value) in enumerate([(3, 50), (3, 60), (2, 10), (9, 90)]):
        scores[number, label] = value
    scores[1, 5] = 59
    found = accuracy(network, scores, np.array([3, 5, 1, 9]))
    assert (found["correct"], found["accuracy"]) == (2, 0.5)
    assert [one["image"] for one in found["worst"]] == [2, 1]
    assert (
        found["confusion"][5][3] == found["confusion"][1][2] == 1 and sum(map(sum, found["confusion"])) == 4
    )


def cells_of(page: Path) -> set[str]:
    return {cell.strip() for cell in Reader(page.read_text()).cells}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digits under a name that would be markup."""
    network = zoo.load("digits")
    named = Network(NAME, network.input, network.layers, metadata=network.metadata)
    path = tmp_path_factory.mktemp("evil") / "evil.xnor"
    xnorfile.save(named, path)
    return str(path)


@pytest.mark.usefixtures("lean_board")
def test_report_of_a_name_that_would_be_markup(evil: str, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.html"
    command = [
        "report",
        evil,
        "-o",
        str(page),
        "--board",
        "icebreaker",
        "--no-sim",
        "--data",
        "digits",
        "--json",
    ]
    assert main(command) == 1  # does not fit
    value = json.loads(capsys.readouterr().out)
    found = Reader(page.read_text())
    assert "script" not in found.tags and "alert(1)" in page.read_text() and not found.outside
    assert "does not fit" in value["refusal"] or value["refusal"]
    assert value["measured"] is None and value["accuracy"]["correct"] > 300


def test_eval_page_says_what_json_says(tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.html"
    assert main(["eval", "digits", "--data", "digits", "--html", str(page), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    cells, text = cells_of(page), page.read_text()
    assert f"{value['correct']:,} ({value['accuracy']:.2%})" in cells
    counts = np.array(value["confusion"])
    assert counts.trace() == value["correct"] and counts.sum() == value["images"]
    for count in counts[counts > 0].tolist():
        assert f">{count}</text>" in text
    assert text.count("<img ") == len(value["worst"]) == min(12, value["images"] - value["correct"])


def test_without_matplotlib_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main(["report", "digits", "-o", str(tmp_path / "p.html")]) == 2
    said = capsys.readouterr().err
    assert "Matplotlib" in said and "pip install" in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--build", "nowhere"], "--build is of a board"),
        (["--board", "icebreaker", "--build", "nowhere"], "'nowhere' is no folder"),
        (["--board", "icebraker"], "icebreaker"),
        (["--data", "nothing"], "nothing"),
    ],
)
def test_what_is_refused(more: list[str], said: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["report", "digits", "-o", str(tmp_path / "p.html"), "--no-sim", *more]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_markup_is_only_made_here() -> None:
    assert section("empty") == Markup() and "<h2>a</h2>" in section("a", paragraph("b"))


def test_labels_of_a_roofline_do_not_stand_on_each_other() -> None:
    labels = [("one", 3.0, 10.0), ("another one", 3.1, 10.5), ("a third", 2.9, 9.8), ("far", 500.0, 10.0)]
    found = plots._apart(labels, (1.0, 1000.0), (1.0, 1000.0))
    sizes = 72 * (plots.WIDTH - 0.8), 72 * (plots._ROOF_HIGH - 0.9)
    # Points above the axis.
    lines = {label[0]: sizes[1] * math.log10(label[2]) / 3 - down for label, down in found}
    assert {label[0]: down for label, down in found}["far"] == 9.0
    near = sorted(lines[name] for name in ("one", "another one", "a third"))
    assert all(b - a >= plots._LINE - 1e-9 for a, b in pairwise(near))


def test_what_brings_a_floorplan_is_told() -> None:
    """Of a build without its netlist, of a record, of what does not fit; not where there is one."""
    facts = {
        "figures": {"clock_mhz": 12.0}, "folder": None, "refusal": None, "floorplan": None,
        "command": "make it", "default_folder": "build/x-1x8x8",
    }  # fmt: skip
    there = {"modules": ["array"], "cells": [[0, 0, 0], [1, 0, 0]]}
    said = [
        build_part(facts | {"source": source, **more})
        for source, more in (
            ("record", {}), ("build", {"folder": "build/y"}), ("estimate", {"refusal": "too large"}),
            ("build", {"folder": "build/y", "floorplan": there}),
        )
    ]  # fmt: skip
    assert "No floorplan: there is no build of this device in build/x-1x8x8. make it makes one" in said[0]
    assert "No floorplan: build/y has no placed netlist. make it makes one" in said[1]
    assert "No floorplan: this device does not fit the board" in said[2]
    assert "No floorplan" not in said[3] and ["<svg" in part for part in said] == [False] * 3 + [True]


def test_plan_of_a_name_that_would_be_markup(evil: str, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "plan.html"
    assert main(["plan", evil, "--board", "ulx3s-25f", "--html", str(page)]) == 0
    found = Reader(page.read_text())
    assert "script" not in found.tags and "alert(1)" in page.read_text() and not found.outside
    assert f"page: {page}" in capsys.readouterr().out
