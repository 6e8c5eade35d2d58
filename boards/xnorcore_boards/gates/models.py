"""What the simulation of a netlist needs to know of a family's cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .circuit import Bits, Block

__all__ = [
    "BlockReader",
    "CellModels",
    "Nets",
    "Pad",
    "Parameters",
    "Pll",
    "byte_enables",
    "joined",
    "number",
]

Nets = Callable[[str], Bits]
Parameters = Mapping[str, Any]
Cell = Mapping[str, Any]
"""As in Yosys' JSON."""
BlockReader = Callable[[Parameters, Nets], Block]
"""``reader(parameters, nets)`` returns the block RAM that a cell is; ``nets(port)`` are its nets."""


@dataclass(frozen=True)
class Pad:
    """A cell at a pin: its ports to the pin, into the device, out of it, what turns that off; or empty.

    Registers in pads are those of the chip behind them (`xnorcore_boards.gates.chips`): `late` goes out in
    the second half of a cycle, and `on` turns an output on.
    """

    pin: str
    into: str = ""
    out: str = ""
    off: str = ""
    on: str = ""
    late: str = ""


@dataclass(frozen=True)
class Pll:
    """A clock generator: its ports of the clock, and of its being there."""

    clock: str
    lock: str = "LOCK"


@dataclass(frozen=True)
class CellModels:
    """The cells of a family, as far as they are not gates.

    Attributes
    ----------
    files : tuple of str
        Files of Yosys with models in Verilog, relative to its data folder.
    pads : mapping of str to Pad
        By type of cell, as the others.
    plls : mapping of str to Pll
    blocks : mapping of str to BlockReader
        Block RAMs of which Yosys has no model.
    own : mapping of str to str
        Models in Verilog in place of those of Yosys.
    plain : callable
        Returns a cell, or one that is the same and has a model.
    flash_clock : callable
        Tells cells that only clock a flash, beside a netlist that has none: what they put out is 0.
    """

    files: tuple[str, ...]
    pads: Mapping[str, Pad]
    plls: Mapping[str, Pll]
    blocks: Mapping[str, BlockReader] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    plain: Callable[[Cell], Cell] = lambda cell: cell
    flash_clock: Callable[[Cell], bool] = lambda cell: False


def joined(nets: Nets, names: str) -> Bits:
    """Return the nets of several ports, named in one text, one after the other."""
    return tuple(net for name in names.split() for net in nets(name))


def byte_enables(width: int, address: Bits) -> Bits:
    """Return the enables of the bytes, which take the place of the lowest bits of an address."""
    return address[: width // 8 if width > 9 else 0] or (1,)


def number(value: Any) -> int:
    """Return a parameter of Yosys' JSON as a number; bits that are not given are 0."""
    if isinstance(value, int):
        return value
    return int(value.replace("x", "0").replace("z", "0") or "0", 2)
