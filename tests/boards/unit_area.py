"""Print what a results unit takes on ECP5, by the flow's synthesis: `python -m tests.boards.unit_area`.

Arrays of 1x16x16 with accumulators of 18 bits, with one multiplier block in each lane.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, Value

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_boards.board import find_board
from xnorcore_boards.build.flow import synthesis_script
from xnorcore_boards.build.tools import require_tools, run_tool
from xnorcore_hw.array.unit import ResultsUnit

__all__ = ["unit_area"]


def unit_area(lanes: int, bits: int = 8, values: int = 0, scales: int = 0) -> tuple[int, int]:
    """Return look-up tables, of which a carry cell takes two, and multiplier blocks.

    Parameters
    ----------
    lanes, bits : int
        `DeviceConfig.result_lanes`, `DeviceConfig.code_bits`.
    values, scales : int
        `DeviceConfig.value_depth`, `DeviceConfig.scale_depth`.
    """
    config = DeviceConfig(
        Geometry(1, 16, 16), 18, threshold_depth=64, code_bits=bits, result_lanes=lanes, value_depth=values,
        scale_depth=scales,
    )  # fmt: skip
    board, unit = find_board("ulx3s-25f"), ResultsUnit(config)
    m, ports = Module(), []
    m.submodules.unit = unit
    for name, member, inward in (
        ("given", unit.given, True), ("sums", unit.sums, True), ("valid", unit.write.valid, True),
        ("write", unit.write.p, True), ("emit", unit.emit, False), ("codes", unit.codes, False),
    ):  # fmt: skip
        value = Value.cast(member)
        ports.append(port := Signal(len(value), name=name))
        m.d.comb += value.eq(port) if inward else port.eq(value)
    yosys = require_tools(board.part.family.tools)[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        design = rtlil.convert(m, platform=board.new_platform(), name="top", ports=ports)
        (folder / "top.il").write_text(design)
        (folder / "top.ys").write_text(synthesis_script(board.part, None, multiplies=True))
        run_tool(yosys, ["-q", "top.ys"], folder, "yosys.log")
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0), cells.get("MULT18X18D", 0)


if __name__ == "__main__":
    for lanes, bits, values, scales in (
        (1, 3, 0, 0), (1, 8, 0, 0), (1, 8, 1 << 14, 0), (1, 8, 0, 1 << 10), (1, 8, 1 << 14, 1 << 10),
        (2, 8, 1 << 13, 1 << 10), (4, 8, 1 << 12, 1 << 10),
    ):  # fmt: skip
        luts, blocks = unit_area(lanes, bits, values, scales)
        print(f"{lanes} lanes, {bits} bits, {values} values, {scales} K: {luts} LUT4, {blocks} multipliers")
