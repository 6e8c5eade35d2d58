"""The chips beside an FPGA, as cells of its netlist: their models of the simulation, lowered to gates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from xnorcore.errors import BuildError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.regions import flash_words
from xnorcore.isa.stores import SDRAMS, StoreKind

from ..board import Board
from .cells import LOWER, run_script

__all__ = ["ChipModel", "PadsOf", "chip_models"]

PadsOf = Callable[[str, str], list[Any]]
"""``pads(pin, way)``: nets of pads ``into`` the FPGA, ``out`` of it, or another field of `Pad`."""


class ChipModel(ABC):
    """A chip beside a board's FPGA.

    Attributes
    ----------
    kind : str
        Type of its cell.
    resource : str
        Of the board's platform.
    """

    kind: str

    def __init__(self, resource: str) -> None:
        self.resource = resource

    @abstractmethod
    def cell(self, pads: PadsOf, clock: list[Any]) -> dict[str, Any]:
        """Return the cell, as in Yosys' JSON."""

    @abstractmethod
    def modules(self) -> dict[str, Any]:
        """Return the module of its `kind`, and those that it needs."""


class SdramChipModel(ChipModel):
    """An SDRAM (`xnorcore_hw.sim.models.sdram`). Behind a violation it gives nothing any more.

    Parameters
    ----------
    resource : str
    store : StoreKind
        Of `SDRAM_CHIPS`.
    clock_hz, words : int
        As of `SdramModel`.
    """

    kind = "chip_sdram"

    def __init__(self, resource: str, store: StoreKind, clock_hz: int, words: int) -> None:
        super().__init__(resource)
        self.store, self.clock_hz, self.words = store, clock_hz, words

    def cell(self, pads: PadsOf, clock: list[Any]) -> dict[str, Any]:
        """Return the cell: CKE and the clock are not connected."""
        pins = {
            "command": [net for pin in ("ras", "cas", "we", "cs") for net in pads(pin, "out")],
            "bank": pads("ba", "out"),
            "address": pads("a", "out"),
            "mask": pads("dqm", "out"),
            "o": pads("dq", "out"),
            "off": pads("dq", "off")[:1],
            "i": pads("dq", "into"),
        }
        connections = {**{f"pins__{name}": nets for name, nets in pins.items()}, "clk": clock, "rst": ["0"]}
        return {"type": self.kind, "parameters": {}, "connections": connections}

    def modules(self) -> dict[str, Any]:
        """Return the model's gates."""
        from xnorcore_hw.memory.stores.sdram_chips import SDRAM_CHIPS
        from xnorcore_hw.sim.adapter import to_rtlil
        from xnorcore_hw.sim.models.sdram import SdramModel

        text = to_rtlil(SdramModel(SDRAM_CHIPS[self.store], self.clock_hz, self.words))
        # It is empty, and a bit for each of its millions is more than Yosys writes.
        empty = "setparam -set INIT 0 t:$mem_v2"
        script = f"read_rtlil model.il; hierarchy -top top; flatten; chformal -remove; {LOWER}; {empty}"
        module = run_script({"model.il": text}, script)["top"]
        ports, cells = module["ports"], module["cells"]
        # A pad has what turns it off in place of what turns it on; and there is no command without CS#.
        off, unselected, *command = range(-1, -6, -1)
        gates = [("$_NOT_", {"A": [off], "Y": ports.pop("pins__oe")["bits"]})]
        for outer, inner in zip(command, ports["pins__command"]["bits"], strict=True):
            gates.append(("$_OR_", {"A": [outer], "B": [unselected], "Y": [inner]}))
        for name, bits in (("off", [off]), ("command", [*command, unselected])):
            ports[f"pins__{name}"] = {"direction": "input", "bits": bits}
        for number, (kind, pins) in enumerate(gates):
            cells[f"outer{number}"] = {"type": kind, "parameters": {}, "connections": pins}
        return {self.kind: module}


class FlashChipModel(ChipModel):
    """A serial flash (`xnorcore_hw.sim.models.flash`) behind the registers of its pads.

    Parameters
    ----------
    resource : str
    place : FlashPlace
    clock_hz, words : int
        As of `FlashModel`.
    """

    kind = "chip_flash"

    def __init__(self, resource: str, place: Any, clock_hz: int, words: int) -> None:
        super().__init__(resource)
        self.place, self.clock_hz, self.words = place, clock_hz, words

    def cell(self, pads: PadsOf, clock: list[Any]) -> dict[str, Any]:
        """Return the cell."""
        pins = {
            "unselected": pads("cs", "out"),
            "clock": pads("clk", "late"),
            "o": pads("dq", "out"),
            "drive": pads("dq", "on"),
            "i": pads("dq", "into"),
        }
        return {"type": self.kind, "parameters": {}, "connections": {**pins, "clk": clock, "rst": ["0"]}}

    def modules(self) -> dict[str, Any]:
        """Return the model's gates."""
        from xnorcore_hw.sim.adapter import to_rtlil
        from xnorcore_hw.sim.models.flash_wired import PaddedFlash

        text = to_rtlil(PaddedFlash(self.clock_hz, self.place, self.words))
        script = f"read_rtlil model.il; hierarchy -top top; flatten; chformal -remove; {LOWER}"
        return {self.kind: run_script({"model.il": text}, script)["top"]}


class NoChipModel(ChipModel):
    """Pads of a flash that is not there: its lines are pulled up."""

    kind = "chip_none"

    def __init__(self, resource: str, lines: int) -> None:
        super().__init__(resource)
        self.lines = lines

    def cell(self, pads: PadsOf, clock: list[Any]) -> dict[str, Any]:
        """Return the cell."""
        return {"type": self.kind, "parameters": {}, "connections": {"i": pads("dq", "into")}}

    def modules(self) -> dict[str, Any]:
        """Return its module."""
        port = {"direction": "output", "bits": list(range(2, 2 + self.lines))}
        high = {
            f"high{net}": {"type": "$_NOT_", "parameters": {}, "connections": {"A": ["0"], "Y": [net]}}
            for net in port["bits"]
        }
        return {self.kind: {"ports": {"i": port}, "cells": high, "netnames": {}}}


def chip_models(board: Board, config: DeviceConfig) -> list[ChipModel]:
    """Return the chips beside the FPGA: the one that a configuration's store is in, and its flash.

    Raises
    ------
    BuildError
        If the board has no such chip, or its family makes the clock of the store's flash out of logic.
        One that only keeps a network is left out then: its lines are pulled up.
    """
    found: list[ChipModel] = []
    for name, chip in board.beside(config).items():
        if chip.kind in SDRAMS:
            found.append(SdramChipModel(chip.resource, chip.kind, board.true_hz, config.store_words))
            continue
        from ..flash_pads import flash_place

        place = flash_place(chip)
        if any(pad.late for pad in board.part.family.cells().pads.values()):
            found.append(FlashChipModel(chip.resource, place, board.true_hz, flash_words(config)))
        elif name == "flash":
            found.append(NoChipModel(chip.resource, place.lanes))
        else:
            raise BuildError(
                f"{board.name}: its flash cannot be beside a netlist, whose clock no pad makes; "
                "leave out --check-netlist"
            )
    return found
