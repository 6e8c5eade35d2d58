"""The facts of a build: figures kept of a board, and where a placed netlist's cells lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lean import LEAN, lean_board
from xnorcore.errors import BuildError
from xnorcore.isa.device import DeviceConfig, Geometry, options
from xnorcore_boards.board import all_boards
from xnorcore_boards.measure.estimate import config_of
from xnorcore_boards.measure.floorplan import MODULES, build_facts, floorplan
from xnorcore_boards.measure.recorded import read_records


def placed(**cells: str) -> str:
    """A netlist with cells and their places, laid out as nextpnr does."""
    found = {name.replace("_", "."): {"attributes": {"NEXTPNR_BEL": bel}} for name, bel in cells.items()}
    return json.dumps({"modules": {"top": {"cells": found, "netnames": {"core.array.a": {}}}}}, indent=2)


def test_a_tile_belongs_to_the_module_with_most_cells(tmp_path: Path) -> None:
    text = placed(
        core_array_a="X1/Y2/lc0", core_array_b="X1/Y2/lc1", core_writer_a="X1/Y2/lc2",
        pad="X0/Y0/io0", x_sequencer_y="X3Y4/LUT1",
    )  # fmt: skip
    (tmp_path / "seed1.json").write_text(text)
    found = floorplan(tmp_path / "seed1.json")
    assert found is not None
    names = found["modules"]
    assert [(x, y, names[kind]) for x, y, kind in found["cells"]] == [
        (0, 0, "others"), (1, 2, "array"), (3, 4, "sequencer")
    ]  # fmt: skip
    assert names == [*MODULES, "others"]
    assert floorplan(tmp_path / "seed2.json") is None
    (tmp_path / "seed2.json").write_text(placed(core_array_a=""))
    with pytest.raises(BuildError, match="no placed cells"):
        floorplan(tmp_path / "seed2.json")


USAGE = {
    "lut4": 4000, "array_lut4": 900, "logic_cells": 4500, "array_logic_cells": 1000, "bram": 20, "ff": 2000
}  # fmt: skip
BUILT = {
    "board": "icebreaker", "seed": 2, "clock_hz": 24_000_000, "divisor": 8, "fmax_mhz": {"2": 30.5},
    "usage": USAGE, "tools": {"yosys": "0.70"}, "critical_path": "from a: x to b: y",
    "config": options(DeviceConfig(Geometry(1, 8, 8))),
}  # fmt: skip
OWN = LEAN


def test_a_build_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps(BUILT))
    (tmp_path / "seed2.json").write_text(placed(core_rows_row0="X1/Y1/lc0"))
    found = build_facts("icebreaker", str(tmp_path), OWN)
    assert found is not None and found["source"] == "build"
    assert found["device"] == BUILT["config"] and (found["clock_hz"], found["divisor"]) == (24_000_000, 8)
    assert found["figures"] == {
        "lut4": 4000, "lut4_available": 5280, "logic_cells": 4500, "ff": 2000, "bram": 20,
        "bram_available": 30, "clock_mhz": 24.0, "fmax_mhz": 30.5,
    }  # fmt: skip
    assert found["critical_path"] == "from a: x to b: y"
    assert found["floorplan"]["cells"] == [[1, 1, MODULES.index("rows")]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(BUILT | {"board": "ulx3s-25f"}), "a build of 'ulx3s-25f', not of 'icebreaker'"),
        (json.dumps({key: value for key, value in BUILT.items() if key != "config"}), "it has no 'config'"),
        (json.dumps(BUILT | {"config": {"rows": 99}}), "rows"),
        (json.dumps(BUILT | {"usage": {"lut4": 1}}), "cannot read the build"),
        (json.dumps([]), "cannot read the build"),
        ("{", "cannot read the build"),
        (None, "no finished build"),
    ],
)
def test_a_build_that_is_none(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "build.json").write_text(text)
    with pytest.raises(BuildError, match=said):
        build_facts("icebreaker", str(tmp_path), OWN)


def test_without_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is of the board's own design only; a build in its usual place only of the same device."""
    monkeypatch.chdir(tmp_path)
    record = read_records()["icebreaker"]
    recorded = config_of(record["config"])
    lean_board(monkeypatch, recorded)
    assert build_facts("nobody", None, recorded) is None
    own = build_facts("icebreaker", None, recorded)
    assert own is not None and own["source"] == "record"
    assert own["figures"]["fmax_mhz"] == record["fmax_mhz"] > own["figures"]["clock_mhz"]
    place = tmp_path / f"build/icebreaker-{recorded.geometry}"
    place.mkdir(parents=True)
    (place / "build.json").write_text(json.dumps(BUILT))
    again = build_facts("icebreaker", None, recorded)
    assert again == own
    (place / "build.json").write_text(json.dumps(BUILT | {"config": options(recorded)}))
    built = build_facts("icebreaker", None, recorded)
    assert built is not None and built["source"] == "build" and built["floorplan"] is None
    other = build_facts("icebreaker", None, replace(OWN, geometry=Geometry(4, 16, 32)))
    assert other is not None and other["source"] == "estimate" and not other["critical_path"]
    assert other["figures"]["logic_cells_estimated"] > 5280 and "too large for iCE40UP5K" in other["refusal"]
    deep = build_facts("icebreaker", None, replace(OWN, weight_depth=4096))
    assert deep is not None and f"{deep['figures']['bram']} memory blocks of 30" in deep["refusal"]


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-25f", "tang-nano-9k"])
def test_every_family_writes_the_places_of_cells(name: str) -> None:
    part = all_boards()[name].part
    arguments = part.family.place_arguments(part, "seed3", 3, 12.0)
    assert arguments[arguments.index("--write") + 1] == part.family.netlist("seed3") == "seed3.json"
    assert arguments.count("--write") == 1
