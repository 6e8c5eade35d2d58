"""What a serial flash takes time for besides its content: power-up, and its status register."""

from __future__ import annotations

from math import ceil

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .flash_table import FlashTable

__all__ = ["FlashTimes"]


class FlashTimes(wiring.Component):
    """Counters, which begin with the power.

    Parameters
    ----------
    clock_hz : int
    table : FlashTable
    pace : float
        As of `FlashModel`, of the time that the status takes.
    configured_s : float
        Seconds that the chip has had power when the first cycle begins. Only changes rely on them.

    Members
    -------
    sets : In(1)
        The status register is written for good.
    busy : Out(1)
        That is under way.
    up : Out(1)
        The chip may be selected,
    changes : Out(1)
        and it may be told to change something.
    """

    def __init__(self, clock_hz: int, table: FlashTable, pace: float, configured_s: float) -> None:
        self._up = ceil(table.up_s * clock_hz)
        self._changes = max(ceil((table.change_s - configured_s) * clock_hz), 0)
        self._status = max(ceil(table.status_s * clock_hz * pace), 1)
        super().__init__({"sets": In(1), "busy": Out(1), "up": Out(1), "changes": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        since, most = Signal(range(max(self._up, self._changes) + 1)), max(self._up, self._changes)
        left = Signal(range(self._status + 1))
        m.d.comb += [
            self.up.eq(since >= self._up),
            self.changes.eq(since >= self._changes),
            self.busy.eq(left != 0),
        ]
        with m.If(since != most):
            m.d.sync += since.eq(since + 1)
        with m.If(self.sets):
            m.d.sync += left.eq(self._status)
        with m.Elif(self.busy):
            m.d.sync += left.eq(left - 1)
        return m
