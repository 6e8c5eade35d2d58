"""What a cycle is counted as: each part of the sequencer declares the causes that arise in it."""

from __future__ import annotations

from amaranth.hdl import Const, Value
from amaranth.lib import data

__all__ = ["CauseLayout", "merged"]


class CauseLayout(data.StructLayout):
    """One bit for each of some causes, names of `xnorcore.isa.layout.COUNTERS`."""

    def __init__(self, *names: str) -> None:
        super().__init__(dict.fromkeys(names, 1))


def merged(parts: list[data.View], name: str) -> Value:
    """Return whether a cause is given by any of the parts that declare it."""
    found: Value = Const(0, 1)
    for part in parts:
        layout = part.shape()
        if isinstance(layout, CauseLayout) and name in layout.members:
            found = found | part[name]
    return found
