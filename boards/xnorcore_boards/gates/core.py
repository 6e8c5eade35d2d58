"""What of a board's netlist is simulated: everything inside the pads and behind the PLL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xnorcore.errors import EngineError

from ..board import Board
from .cells import cell_key, lower_cells
from .circuit import Circuit
from .flatten import build_circuit

__all__ = ["cut", "netlist_circuit"]


def cut(top: Mapping[str, Any], board: Board) -> dict[str, Any]:
    """Return a board's top module without pads and PLL: inputs ``clk`` and ``uart_rx``, output ``uart_tx``.

    Parameters
    ----------
    top : mapping
        The module, in Yosys' JSON.
    board : Board

    Raises
    ------
    EngineError
        If a pad or the clock is not found.
    """
    inside: dict[Any, list[Any]] = {}
    outside: dict[Any, list[Any]] = {}
    clock: list[Any] = []
    fixed: dict[Any, str] = {}
    known = board.part.family.cells()
    cells = {}
    for name, cell in top["cells"].items():
        kind, pins = cell["type"], cell["connections"]
        if pad := known.pads.get(kind):
            pin = pins[pad.pin][0]
            inside[pin], outside[pin] = pins.get(pad.into, []), pins.get(pad.out, [])
        elif pll := known.plls.get(kind):
            clock = pins[pll.clock]
            fixed[pins[pll.lock][0]] = "1"
        elif kind != "$scopeinfo":
            cells[name] = cell

    def pad_of(resource: str, where: dict[Any, list[Any]]) -> list[Any]:
        port = top["ports"].get(resource)
        found = where.get(port["bits"][0], []) if port else []
        if not found:
            raise EngineError(f"the netlist has no pad {resource}; was it built for {board.name}?")
        return found

    clock = clock or pad_of(f"{board.clock_pin}_0__io", inside)
    ports = {
        "clk": {"direction": "input", "bits": clock},
        "uart_rx": {"direction": "input", "bits": pad_of(f"{board.uart}_0__rx__io", inside)},
        "uart_tx": {"direction": "output", "bits": pad_of(f"{board.uart}_0__tx__io", outside)},
    }
    cut_cells = {
        name: {**cell, "connections": {pin: [fixed.get(b, b) for b in bits] for pin, bits in pins.items()}}
        for name, cell in cells.items()
        for pins in [cell["connections"]]
    }
    return {"ports": ports, "cells": cut_cells, "netnames": top["netnames"]}


def netlist_circuit(top: Mapping[str, Any], board: Board) -> Circuit:
    """Return the circuit of a board's synthesized top module.

    Raises
    ------
    EngineError
        If it has cells that have no model, or Yosys fails.
    """
    module, known = cut(top, board), board.part.family.cells()
    ordinary = [cell for cell in module["cells"].values() if cell["type"] not in known.blocks]
    modules, names = lower_cells(known.files, ordinary, known.own)
    module["cells"] = {
        name: cell
        if cell["type"] in known.blocks
        else {**cell, "type": names[cell_key(cell)], "parameters": {}}
        for name, cell in module["cells"].items()
    }
    return build_circuit({**modules, "top": module}, "top", "clk", known.blocks)
