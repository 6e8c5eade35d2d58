"""The line buffer: the image rows under a kernel."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth

__all__ = ["LineBuffer"]


class LineBuffer(wiring.Component):
    """Keep the values of an image as they come in, as many of them as there is room for.

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
    received : Out(10)
        Rows of the image that are there.
    addr : In
    en : In(1)
    data : Out(8)
        Read port, with a cycle's latency.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.depth = config.line_bytes
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "header": In(HeaderLayout(config)),
                "clear": In(1),
                "take": In(1),
                "row_ends": Out(1),
                "received": Out(10),
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
        place = range(depth + 1)  # in the buffer, or its end
        row_values, slots_end = (port[: depth.bit_length()] for port in (header.row_values, header.slots_end))
        bit, row_last, image_last = Signal(3), Signal(), Signal()
        value_left, write_at = Signal(place), Signal(place)
        m.d.comb += [
            read.addr.eq(self.addr),
            read.en.eq(self.en),
            self.data.eq(read.data),
            write.addr.eq(write_at[: len(self.addr)]),
            write.data.eq(Mux(header.packed, i.p.bit_select(bit, 1).replicate(2), i.p)),
            write.en.eq(self.take & i.valid),
            row_last.eq(value_left == 0),
            image_last.eq(row_last & (self.received == header.map_height - 1)),
            self.row_ends.eq(write.en & row_last),
            i.ready.eq(self.take & (~header.packed | (bit == 7) | image_last)),
        ]
        with m.If(write.en):
            following = write_at + 1
            m.d.sync += [
                write_at.eq(Mux(following == slots_end, 0, following)),
                value_left.eq(Mux(row_last, row_values - 1, value_left - 1)),
                self.received.eq(self.received + row_last),
                bit.eq(Mux(i.ready, 0, bit + 1)),
            ]
        with m.If(self.clear):
            m.d.sync += [self.received.eq(0), value_left.eq(row_values - 1), write_at.eq(0), bit.eq(0)]
        return m
