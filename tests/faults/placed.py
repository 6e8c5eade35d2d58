"""Faults at a place of the array: one bit of one port of one processing element sticks, or is inverted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth import Cat, Module, Value
from amaranth.lib import wiring

from xnorcore_hw.array.array import ColumnGroup
from xnorcore_hw.array.pe import ProcessingElement

from .truth import CONFIG

__all__ = ["Placed", "draw_placed"]

_PORTS = {"x": 8, "w": 8, "start": 14, "valid": 1, "double": 1, "clear": 1, "bit": 1}
_HOW = ("sticks at 0", "sticks at 1", "is inverted")


@dataclass(frozen=True)
class Placed:
    """A fault of the element in one row and column: bit `bit` of `port` is as `how` says."""

    row: int
    column: int
    port: str
    bit: int
    how: str

    @property
    def name(self) -> str:
        """What identifies it in a record."""
        return f"row {self.row}, column {self.column}: {self.port}[{self.bit}] {self.how}"

    def of(self, value: Value) -> Value:
        """Return what becomes of the port's value."""
        bits = list(value)
        bits[self.bit] = {"sticks at 0": 0, "sticks at 1": 1, "is inverted": ~bits[self.bit]}[self.how]
        return Cat(*bits)

    def plant(self) -> bool:
        """Bring the fault into the gateware that this process has imported."""
        fault, whole, element = self, ColumnGroup.elaborate, ProcessingElement.elaborate

        def group(self: ColumnGroup, platform: object) -> Module:
            module = whole(self, platform)
            column = fault.column - self.first
            if 0 <= column < self.count:
                getattr(module.submodules, f"pe{fault.row}_{column}").wrong = True
            return module

        def wrapped(self: ProcessingElement, platform: object) -> Module:
            if not getattr(self, "wrong", False):
                return element(self, platform)
            module = Module()
            module.submodules.inside = inside = ProcessingElement(self.width, self.acc_width)
            for name, member in self.signature.members.items():
                inward = member.flow == wiring.In
                source, target = (self, inside) if inward else (inside, self)
                value = getattr(source, name)
                module.d.comb += getattr(target, name).eq(fault.of(value) if name == fault.port else value)
            return module

        ColumnGroup.elaborate, ProcessingElement.elaborate = group, wrapped
        return True


def draw_placed(seed: int) -> Iterator[Placed]:
    """Yield faults at random places, for ever."""
    pick, g = random.Random(f"{seed} placed"), CONFIG.geometry
    while True:
        port = pick.choice(list(_PORTS))
        bit = pick.randrange(_PORTS[port])
        yield Placed(pick.randrange(g.rows), pick.randrange(g.columns), port, bit, pick.choice(_HOW))
