"""The report of a network on the simulated device: every cycle has a layer and a cause; the page says so."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from xnorcore.cli import main


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Cells]:
    page = tmp_path_factory.mktemp("report") / "page.html"
    out = page.with_suffix(".json")
    with pytest.MonkeyPatch.context() as patch, out.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert main(["report", "digits", "-o", str(page), "--json"]) == 0
    return json.loads(out.read_text()), Cells(page.read_text())


def test_every_cycle_has_a_layer_and_a_cause(made: tuple[dict[str, Any], Cells], tmp_path: Path) -> None:
    value, _ = made
    measured = value["measured"]
    layers = measured["layers"]
    assert [row["layer"] for row in layers] == ["dense0", "dense1", "dense2", "between batches"]
    assert [row["causes"].get("busy", 0) for row in layers] == [
        layer["beats"] for layer in value["layers"]
    ] + [0]
    for row in layers:
        assert sum(row["causes"].values()) == pytest.approx(row["cycles_per_batch"])
    # The device's own counters say the same of all of them together.
    within = sum(row["cycles_per_batch"] for row in layers[:-1]) + layers[-1]["causes"]["tail"]
    assert within == pytest.approx(measured["cycles_per_image"])
    assert measured["mismatches"] == 0
    for point, row in zip(value["roofline"]["points"], layers, strict=False):
        assert point["macs_per_cycle"] <= min(
            value["roofline"]["peak"], point["macs_per_byte"] * value["roofline"]["slopes"]["memory"]
        ), row  # fmt: skip


def test_the_page_says_what_json_says(made: tuple[dict[str, Any], Cells]) -> None:
    value, page = made
    rows = {tuple(row) for row in page.rows}
    by_name = {row[0]: row for row in page.rows if row}
    for row in value["measured"]["layers"]:
        share = "" if row["busy_share"] is None else f"{row['busy_share']:.1%}"
        shown = next(
            each for each in page.rows if each[:2] == [row["layer"], f"{row['cycles_per_batch']:,.1f}"]
        )
        assert shown[2] == share
        assert [cell for cell in shown[3:] if cell] == [
            f"{row['causes'][cause]:,.1f}"
            for cause in ("busy", "drain", "fetch", "hazard", "port", "tail", "wait_input")
            if cause in row["causes"]
        ]
    for layer in value["layers"]:
        shape = " x ".join(map(str, layer["output"]))
        numbers = (layer["weight_bits"], layer["macs"], layer["beats"], layer["accumulator_bits"])
        assert (layer["name"], layer["what"], shape, *(f"{number:,}" for number in numbers)) in rows
    for point in value["roofline"]["points"]:
        cells = f"{point['macs_per_byte']:,.1f}", f"{point['macs_per_cycle']:,.1f}"
        assert (point["name"], point["fed_by"], *cells) in rows
    memory = value["memory"]["act_depth"]
    assert by_name["activations, words per row"][1:3] == [f"{memory['used']:,}", f"{memory['available']:,}"]
    for name, said in value["made_by"].items():
        assert (name, str(said)) in rows
    correct = value["accuracy"]["correct"], value["accuracy"]["images"]
    assert by_name["accuracy"][1].endswith("{:,} of {:,}".format(*correct))
