"""The line buffer: the image rows under a kernel."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth
from ..parts.counting import down_or_load, load_or_up

__all__ = ["LineBuffer"]


class LineBuffer(wiring.Component):
    """Keep the values of an image as they come in, as many of them as there is room for: a ring.

    It has as many bytes as the next power of two, so that places are numbers of so many bits.

    Parameters
    ----------
    config : DeviceConfig
        With `line_bytes` > 0.

    Members
    -------
    i : In(stream of 8)
        Image bytes, each a value, or `packed`: eight of one bit, which become 3 or 0.
    header : In(HeaderLayout)
    clear : In(1)
        The next value is an image's first.
    take : In(1)
        There is room for a value.
    row_ends : Out(1)
        A value comes in that is its row's last.
    complete : Out(1)
        All rows of the image are there; a cycle after it is known.
    addr : In
    en : In(1)
    data : Out(8)
        Read port, with a cycle's latency.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.depth = 1 << bits_for_depth(config.line_bytes)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "header": In(HeaderLayout(config)),
                "clear": In(1),
                "take": In(1),
                "row_ends": Out(1),
                "complete": Out(1),
                "addr": In(bits_for_depth(self.depth)),
                "en": In(1),
                "data": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, header, depth = self.i, self.header, self.depth
        m.submodules.memory = memory = Memory(shape=8, depth=depth, init=[])
        read, write = memory.read_port(), memory.write_port()
        bit, row_last, image_last = Signal(3), Signal(), Signal()
        values_left, rows_left = Signal(len(header.row_values)), Signal(10)
        write_at = Signal(len(self.addr))
        m.d.comb += [
            read.addr.eq(self.addr),
            read.en.eq(self.en),
            self.data.eq(read.data),
            write.addr.eq(write_at),
            write.data.eq(Mux(header.packed, i.p.bit_select(bit, 1).replicate(2), i.p)),
            write.en.eq(self.take & i.valid),
            row_last.eq(values_left == 1),
            image_last.eq(row_last & (rows_left == 1)),
            self.row_ends.eq(write.en & row_last),
            i.ready.eq(self.take & (~header.packed | (bit == 7) | image_last)),
        ]
        m.d.sync += self.complete.eq(rows_left == 0)
        with m.If(self.clear | write.en):
            m.d.sync += [
                write_at.eq(load_or_up(self.clear, header.first_place[: len(write_at)], write_at)),
                values_left.eq(down_or_load(~(self.clear | row_last), values_left, header.row_values)),
                bit.eq(Mux(self.clear | i.ready, 0, bit + 1)),
            ]
        with m.If(self.clear | self.row_ends):
            m.d.sync += rows_left.eq(down_or_load(~self.clear, rows_left, header.map_height))
        return m
