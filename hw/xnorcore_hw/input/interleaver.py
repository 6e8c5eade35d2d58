"""Reorders an image so that the values under a kernel lie side by side."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout
from .lines import LineBuffer
from .walk import WindowWalk

__all__ = ["RowInterleaver", "ValueLayout"]

ValueLayout = data.StructLayout({"value": 8, "column_last": 1, "row_last": 1, "image_last": 1})
"""A value; behind the last one of a column come lanes without one, behind that of a row a new word."""


class RowInterleaver(wiring.Component):
    """Send, for every row of output positions, the values of all kernel rows column by column.

    A buffer holds as many image rows as the kernel has. When the rows under a row of positions are
    there, their values leave in the order (x, kernel row, channel), padding included, so that the window
    of a position is one run of consecutive values. This is the packing of narrow first layers that
    docs/architecture.md describes.

    Bits of places and lengths beyond the size of the buffer do not count.

    Parameters
    ----------
    config : DeviceConfig
        With `line_bytes` > 0.

    Members
    -------
    i : In(stream of 8)
        Image bytes.
    header : In(HeaderLayout)
    o : Out(stream of ValueLayout)
    idle : Out(1)
        Between images.
    starved : Out(1)
        Nothing can happen before the next byte, and no value waits.
    restart : In(1)
        Forget the incomplete image; only while `idle` or `starved`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "header": In(HeaderLayout(config)),
                "o": Out(stream.Signature(ValueLayout)),
                "idle": Out(1),
                "starved": Out(1),
                "restart": In(1),
            }
        )
        self._lines, self._walk = LineBuffer(config), WindowWalk(config)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, o, header = self.i, self.o, self.header
        m.submodules.lines, m.submodules.walk = lines, walk = self._lines, self._walk
        connect(m, flipped(i), lines.i)
        # A value moves every other cycle, decided a cycle before: by then the one before it has left. What
        # the buffer gives waits in a register of its own before it leaves.
        moves, leaves, found = Signal(), Signal(), Signal()
        on_map, column_last, row_last, image_last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            lines.header.eq(header),
            lines.addr.eq(walk.place),
            lines.en.eq(moves),
            walk.header.eq(header),
            walk.step.eq(moves),
            leaves.eq(~o.valid | o.ready),
            self.starved.eq(lines.take & ~i.valid & ~found & ~o.valid),
        ]
        with m.If(leaves):
            m.d.sync += [
                o.valid.eq(found),
                o.p.value.eq(Mux(on_map, lines.data, header.pad)),
                o.p.column_last.eq(column_last),
                o.p.row_last.eq(row_last),
                o.p.image_last.eq(image_last),
                found.eq(0),
            ]
        with m.If(moves):
            m.d.sync += [
                found.eq(1),
                on_map.eq(walk.on_map),
                column_last.eq(walk.column_last),
                row_last.eq(walk.row_last),
                image_last.eq(walk.image_last),
            ]
        # Which rows are there is known a cycle late: `known` again a cycle after the last change.
        enough, known = Signal(), Signal()
        m.d.comb += [enough.eq(walk.enough | lines.complete), walk.row_comes.eq(lines.row_ends)]
        m.d.sync += [known.eq(0), moves.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~found & ~o.valid), lines.clear.eq(1), walk.clear.eq(1)]
                with m.If(i.valid & ~self.restart):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += lines.take.eq(known & ~enough)
                m.d.sync += known.eq(~lines.row_ends)
                with m.If(self.restart):
                    m.next = "IDLE"
                with m.Elif(known & enough):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.sync += moves.eq(~moves & (~found | leaves))
                with m.If(moves & walk.row_last):
                    m.next = "FILL"
                    with m.If(walk.image_last):
                        m.next = "SKIP"
            with m.State("SKIP"):
                m.d.comb += lines.take.eq(known & ~lines.complete)
                m.d.sync += known.eq(~lines.row_ends)
                with m.If(self.restart | (known & lines.complete)):
                    m.next = "IDLE"
        return m
