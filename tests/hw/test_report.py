"""The report of a network on the simulated device: every cycle has a layer and a cause; the page says so."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import some
from tests.lean import lean_board
from xnorcore.boards import board_config
from xnorcore.cli import main
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.files import xnorfile
from xnorcore_hw.bench.cnn import random_cnv


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


SMALL = ["--rows=1", "--columns=32", "--width=32", "--set=act_depth=8192", "--set=weight_depth=2048"]
"""Of a board: an array that is simulated in seconds, with memories that hold CNV."""
CNV = "cnv.xnor"
BARE = {"store_words": 0, "store_kind": 0, "act_depth": 1024}
"""Of a board: no store, and too little room for CNV's maps."""
REPORTS = {
    "digits": ["digits"],
    "fashion on ecpix5-45f": ["fashion", "--board", "ecpix5-45f", *SMALL],
    "digits on ice40-hx8k-b-evn": ["digits", "--board", "ice40-hx8k-b-evn"],
    "CNV refused": [CNV, "--board", "ulx3s-25f", *(f"--set={name}={value}" for name, value in BARE.items())],
    "CNV where nothing fits": [CNV, "--board", "icebreaker", "--set=store_words=0"],
    "CNV on ecpix5-45f": [CNV, "--board", "ecpix5-45f", *SMALL],
    "CNV on ecpix5-85f": [CNV, "--board", "ecpix5-85f", *SMALL],
    "fashion on ecpix5-85f": ["fashion", "--board", "ecpix5-85f", *SMALL],
}


def made(name: str, folder: Path) -> tuple[dict[str, Any], Cells]:
    """Make a report once; return what ``--json`` prints, and the page's cells."""
    page, out = folder / f"{name}.html", folder / f"{name}.json"
    if not out.exists():
        if not (folder / CNV).exists():
            xnorfile.save(random_cnv(), folder / CNV)
        command = ["report", *REPORTS[name], "-o", str(page), "--json"]
        with pytest.MonkeyPatch.context() as patch, out.open("w") as file:
            patch.setattr("sys.stdout", file)
            patch.chdir(folder)
            lean_board(patch)
            assert main(command) == (1 if name.startswith("CNV ") and "on" not in name.split() else 0)
    return json.loads(out.read_text()), Cells(page.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


MEASURED = [name for name in REPORTS if name == "digits" or " on " in name]


@pytest.mark.parametrize("name", some([name for name in MEASURED if "85f" not in name], 0))
def test_every_cycle_has_a_layer_and_a_cause(name: str, folder: Path) -> None:
    value, _ = made(name, folder)
    measured = value["measured"]
    layers = measured["layers"]
    own = [layer for layer in value["layers"] if layer["beats"] is not None]
    assert [row["layer"] for row in layers] == [layer["name"] for layer in own] + ["between batches"]
    assert [row["causes"].get("busy", 0) for row in layers] == [layer["beats"] for layer in own] + [0]
    for row in layers:
        assert sum(row["causes"].values()) == pytest.approx(row["cycles_per_batch"])
    # The device's own counters say the same of all of them together.
    within = sum(row["cycles_per_batch"] for row in layers[:-1]) + layers[-1]["causes"]["tail"]
    batch = value["geometry"]["rows"] if "ice40" in name else 1
    assert within / batch == pytest.approx(measured["cycles_per_image"])
    assert measured["mismatches"] == 0 and measured["scores"] > 0
    # The program says the same, but for the start of the first batch, and for results on their way out.
    for row, computed in zip(layers[:-1], value["expected"], strict=True):
        assert computed["layer"] == row["layer"]
        for cause in ("busy", "drain", "hazard"):
            assert computed["causes"].get(cause, 0) == row["causes"].get(cause, 0), row["layer"]
        assert 0 <= row["causes"]["fetch"] - computed["causes"]["fetch"] <= 1
        its, said = (one["cycles_per_batch"] - _waits(one) for one in (row, computed))
        assert abs(its - said) <= 16, (row, computed)
    # Those for words of a store are computed as the most that they can be, all layers together.
    assert sum(map(_waits, layers[:-1])) <= sum(map(_waits, value["expected"]))


def _waits(row: dict) -> float:
    return row["causes"].get("wait_weights", 0)


@pytest.mark.parametrize("name", some(REPORTS, 1))
def test_the_page_says_what_json_says(name: str, folder: Path) -> None:
    value, page = made(name, folder)
    rows = {tuple(row) for row in page.rows}
    by_name = {row[0]: row for row in page.rows if row}
    measured = value["measured"]
    assert (measured is not None) == (name in MEASURED) and (value["refusal"] is None) == (name in MEASURED)
    shown_layers = measured["layers"] if measured else value["expected"]
    causes = ("busy", "drain", "fetch", "hazard", "port", "wait_output", "tail", "wait_input")
    for row in shown_layers:
        share = "" if row["busy_share"] is None else f"{row['busy_share']:.1%}"
        shown = next(
            each for each in page.rows if each[:2] == [row["layer"], f"{row['cycles_per_batch']:,.1f}"]
        )
        assert shown[2] == share
        assert [cell for cell in shown[3:] if cell] == [
            f"{row['causes'][cause]:,.1f}" for cause in causes if cause in row["causes"]
        ]
    for layer in value["layers"]:
        shape = " x ".join(
            f"{size:,}" if len(layer["output"]) == 1 else str(size) for size in layer["output"]
        )
        numbers = (layer["weight_bits"], layer["macs"], layer["beats"], layer["accumulator_bits"])
        cells = ("" if number is None else f"{number:,}" for number in numbers)
        assert (layer["name"], layer["what"], shape, *cells) in rows
    roof = value["roofline"]
    for point in roof["points"]:
        cells = f"{point['macs_per_byte']:,.1f}", f"{point['macs_per_cycle']:,.1f}"
        assert (point["name"], point["fed_by"], *cells) in rows
        bound = min(roof["peak"], point["macs_per_byte"] * roof["slopes"][point["fed_by"]])
        assert 0 < point["macs_per_cycle"] <= bound * (1 + 1e-9)
    memory = value["memory"]["act_depth"]
    assert by_name["activations, words per row"][1:3] == [f"{memory['used']:,}", f"{memory['available']:,}"]
    for key, said in value["made_by"].items():
        assert (key, str(said)) in rows
    if value["accuracy"]:
        correct = value["accuracy"]["correct"], value["accuracy"]["images"]
        assert by_name["accuracy"][1].endswith("{:,} of {:,}".format(*correct))
    if measured:
        assert by_name["cycles per image, measured"][1] == f"{measured['cycles_per_image']:,.1f}"
        said = f"{measured['array_images_per_s']:,.0f} at {value['clock_hz'] / 1e6:g} MHz"
        assert by_name["images per second of the array"][1] == said


@pytest.mark.parametrize("name", some([name for name in REPORTS if name != "digits"], 0))
def test_the_board_on_the_page(name: str, folder: Path) -> None:
    value, page = made(name, folder)
    by_name = {row[0]: row for row in page.rows if row}
    figures = value["build"]["figures"]
    assert value["build"]["source"] == ("record" if name == "digits on ice40-hx8k-b-evn" else "estimate")
    for label, key, there in (
        ("logic cells, estimated", "logic_cells_estimated", "lut4_available"),
        ("memory blocks", "bram", "bram_available"),
    ):
        if key in figures:
            assert by_name[label][1:3] == [f"{figures[key]:,}", f"{figures[there]:,}"]
    # Nothing is built here: the page says what would bring a floorplan.
    board, refusal = value["device"]["board"], value["build"]["refusal"]
    lacks = f"No floorplan: there is no build of this device in build/{board}-"
    assert value["build"]["command"].split()[:3] == ["xnorcore", "build", board]
    brings = escape(f"{value['build']['command']} makes one; then make this page again.")
    assert page.text.count(lacks) == page.text.count(brings) == (refusal is None)
    assert page.text.count("No floorplan: this device does not fit the board.") == (refusal is not None)
    for way in value["ways"]:
        options = next(row for row in page.rows if row[1:2] == [str(way["passes"])] and row[0][:2] == "--")
        assert options[2:4] == [str(way["images_per_batch"]), f"{way['cycles_per_batch']:,}"]
        assert (options[4] == "yes, by estimate") == (way["refusal"] is None)
        for field, number in way["changes"].items():
            assert f"{field}={number}" in options[0] or f"--{field} {number}" in options[0]


@pytest.mark.campaign
def test_what_would_run_it_does(folder: Path) -> None:
    """A device that holds map and weights, and is too large; one with weights in passes; none that fits."""
    value, _ = made("CNV refused", folder)
    found = {way["passes"] > 1: way["refusal"] for way in value["ways"]}
    assert found[True] is None and "too large" in found[False] and len(value["ways"]) == 2
    for way in value["ways"]:
        config = board_config("ulx3s-25f", BARE | way["changes"])
        program = compile_network(random_cnv(), config)
        assert (program.passes, program.cycles, program.batch) == tuple(
            way[key] for key in ("passes", "cycles_per_batch", "images_per_batch")
        )
        for field in way["changes"].keys() - {"rows"}:
            with suppress(CompileError):
                less = compile_network(random_cnv(), replace(config, **{field: way["changes"][field] - 1}))
                assert less.passes > way["passes"], field
    ice, _ = made("CNV where nothing fits", folder)
    assert ice["ways"] and all("too large" in way["refusal"] for way in ice["ways"])
