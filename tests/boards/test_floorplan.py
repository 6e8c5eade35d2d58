"""The facts of a build: figures kept of a board, and where a placed netlist's cells lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xnorcore.errors import BuildError
from xnorcore_boards.measure.floorplan import MODULES, build_facts, floorplan


def placed(**cells: str) -> str:
    found = {name.replace("_", "."): {"attributes": {"NEXTPNR_BEL": bel}} for name, bel in cells.items()}
    return json.dumps({"modules": {"top": {"cells": found}}})


def test_a_tile_belongs_to_the_module_with_most_cells(tmp_path: Path) -> None:
    text = placed(
        core_array_a="X1/Y2/lc0", core_array_b="X1/Y2/lc1", core_writer_a="X1/Y2/lc2",
        pad="X0/Y0/io0", x_sequencer_y="X3Y4/LUT1",
    )  # fmt: skip
    (tmp_path / "seed1.json").write_text(text)
    found = floorplan(tmp_path, "seed1")
    assert found is not None
    names = found["modules"]
    assert [(x, y, names[kind]) for x, y, kind in found["cells"]] == [
        (0, 0, "others"), (1, 2, "array"), (3, 4, "sequencer")
    ]  # fmt: skip
    assert names == [*MODULES, "others"]
    assert floorplan(tmp_path, "seed2") is None


def test_facts_of_a_board(tmp_path: Path) -> None:
    found = build_facts("icebreaker", None)
    assert found is not None and found["figures"]["clock_mhz"] == 36.0
    assert build_facts("nobody", None) is None
    (tmp_path / "build.json").write_text('{"board": "ulx3s-25f", "seed": 1}')
    with pytest.raises(BuildError, match="a build of 'ulx3s-25f', not of 'icebreaker'"):
        build_facts("icebreaker", str(tmp_path))
    (tmp_path / "build.json").write_text('{"board": "icebreaker", "seed": 1}')
    (tmp_path / "seed1.json").write_text("{")
    with pytest.raises(BuildError, match="cannot read the build"):
        build_facts("icebreaker", str(tmp_path))
    (tmp_path / "seed1.json").write_text(placed(core_rows_row0="X1/Y1/lc0"))
    found = build_facts("icebreaker", str(tmp_path))
    assert found is not None and found["floorplan"]["cells"] == [[1, 1, MODULES.index("rows")]]
    (tmp_path / "build.json").unlink()
    with pytest.raises(BuildError, match="no finished build"):
        build_facts("icebreaker", str(tmp_path))
