"""What of a board's netlist is simulated: everything inside the pads and behind the PLL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xnorcore.errors import EngineError
from xnorcore.isa.device import DeviceConfig

from ..board import Board
from .cells import cell_key, lower_cells
from .chips import ChipModel, chip_models
from .circuit import Circuit
from .flatten import build_circuit

__all__ = ["cut", "netlist_circuit"]


def cut(top: Mapping[str, Any], board: Board, chips: Sequence[ChipModel] = ()) -> dict[str, Any]:
    """Return a board's top module without pads and PLL: inputs ``clk`` and ``uart_rx``, output ``uart_tx``.

    Chips beside the FPGA become cells of it.

    Parameters
    ----------
    top : mapping
        The module, in Yosys' JSON.
    board : Board
    chips : sequence of ChipModel

    Raises
    ------
    EngineError
        If a pad or the clock is not found.
    """
    ways: dict[str, dict[Any, list[Any]]] = {way: {} for way in ("into", "out", "off", "on", "late")}
    inside, outside = ways["into"], ways["out"]
    clock: list[Any] = []
    fixed: dict[Any, str] = {}
    known = board.part.family.cells()
    cells = {}
    for name, cell in top["cells"].items():
        kind, pins = cell["type"], cell["connections"]
        if pad := known.pads.get(kind):
            pin = pins[pad.pin][0]
            for way, nets in ways.items():
                nets[pin] = pins.get(getattr(pad, way), [])
        elif pll := known.plls.get(kind):
            clock = pins[pll.clock]
            fixed[pins[pll.lock][0]] = "1"
        elif known.flash_clock(cell):
            # No model is beside that flash: nobody sees its clock.
            fixed |= dict.fromkeys(pins.get("Q", ()), "0")
        elif kind != "$scopeinfo":
            cells[name] = known.plain(cell)

    def pad_of(resource: str, where: dict[Any, list[Any]]) -> list[Any]:
        port = top["ports"].get(resource)
        found = [net for bit in port["bits"] for net in where.get(bit, [])] if port else []
        if not found or not port or len(found) != len(port["bits"]):
            raise EngineError(f"the netlist has no pad {resource}; was it built for {board.name}?")
        return found

    clock = clock or pad_of(f"{board.clock_pin}_0__io", inside)
    ports = {
        "clk": {"direction": "input", "bits": clock},
        "uart_rx": {"direction": "input", "bits": pad_of(f"{board.uart}_0__rx__io", inside)},
        "uart_tx": {"direction": "output", "bits": pad_of(f"{board.uart}_0__tx__io", outside)},
    }
    for chip in chips:
        stem = f"{chip.resource}_0__"

        def pads(pin: str, way: str, stem: str = stem) -> list[Any]:
            return pad_of(f"{stem}{pin}__io", ways[way])

        cells[chip.kind] = chip.cell(pads, clock)
    cut_cells = {
        name: {**cell, "connections": {pin: [fixed.get(b, b) for b in bits] for pin, bits in pins.items()}}
        for name, cell in cells.items()
        for pins in [cell["connections"]]
    }
    return {"ports": ports, "cells": cut_cells, "netnames": top["netnames"]}


def netlist_circuit(top: Mapping[str, Any], board: Board, config: DeviceConfig | None = None) -> Circuit:
    """Return the circuit of a board's synthesized top module, with the chips beside it.

    Parameters
    ----------
    top : mapping
    board : Board
    config : DeviceConfig, optional
        What it was built for. Default: the board's.

    Raises
    ------
    EngineError
        If it has cells that have no model, or Yosys fails.
    """
    chips = chip_models(board, config or board.config)
    module, known = cut(top, board, chips), board.part.family.cells()
    foreign = {*known.blocks, *(chip.kind for chip in chips)}
    ordinary = [cell for cell in module["cells"].values() if cell["type"] not in foreign]
    modules, names = lower_cells(known.files, ordinary, known.own)
    module["cells"] = {
        name: cell if cell["type"] in foreign else {**cell, "type": names[cell_key(cell)], "parameters": {}}
        for name, cell in module["cells"].items()
    }
    for chip in chips:
        modules |= chip.modules()
    return build_circuit({**modules, "top": module}, "top", "clk", known.blocks)
