"""Performance counters."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.program import COUNTERS

from .sequencer import STALLS

__all__ = ["Counters"]


class Counters(wiring.Component):
    """Count what `xnorcore.program.COUNTERS` names, modulo 2**32, if `config.counters`.

    Members
    -------
    stalls : In(len(STALLS))
        What this cycle is counted as.
    counting : In(1)
        A batch, and not a self-test, is what the cycle is spent on.
    batch : In(1)
        A batch starts in this cycle.
    images : In(4)
        Images of that batch.
    frames_good, frames_bad : In(16)
        Counts that the link keeps itself.
    clear : In(1)
    values : Out
        All counters side by side, the first in the low bits.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "stalls": In(len(STALLS)),
                "counting": In(1),
                "batch": In(1),
                "images": In(4),
                "frames_good": In(16),
                "frames_bad": In(16),
                "clear": In(1),
                "values": Out(32 * len(COUNTERS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        if not self.config.counters:
            return m
        # All a cycle late, and so in step: what a cycle is counted as is known late in that cycle.
        events = Cat(self.stalls, self.counting, self.batch, self.images, self.clear)
        late = Signal(len(events))
        m.d.sync += late.eq(events)
        stalls, (counting, batch), clear = late[: len(STALLS)], late[len(STALLS) :][:2], late[-1]
        images = late[len(STALLS) + 2 : -1]
        step = {
            **{name: stalls[index] & counting for index, name in enumerate(STALLS)},
            "active": counting & ~stalls[STALLS.index("wait_input")],
            "images": Mux(batch, images, 0),
            "batches": batch,
        }
        for index, name in enumerate(COUNTERS):
            value = self.values.word_select(index, 32)
            if name not in step:
                m.d.comb += value.eq(getattr(self, name))
                continue
            counter = Signal(32, name=name)
            m.d.comb += value.eq(counter)
            with m.If(clear):
                m.d.sync += counter.eq(0)
            with m.Else():
                m.d.sync += counter.eq(counter + step[name])
        return m
