"""A line buffer that holds the padding of an image, too."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth
from ..parts.counting import down_or_load, load_or_up

__all__ = ["PaddedLines"]


class PaddedLines(wiring.Component):
    """Keep rows of values, as many of them as there is room for: a ring of a power of two of bytes.

    A row is as many values as there are from a window's row to the next, `row_step` and `run_last`. The last
    `row_values` of them are an image's, and those before them padding, one at least. `pad_top` rows of only
    padding come first; behind the image, they never end.

    Parameters
    ----------
    config : DeviceConfig
        With `whole_windows`.

    Members
    -------
    i : In(stream of 8)
        Image bytes, each a value, or `packed`: eight of one bit, which become 3 or 0.
    header : In(HeaderLayout)
    clear : In(1)
        The next value is the first one of all, and goes to `first_place`.
    take : In(1)
        There is room for a value.
    waits : Out(1)
        It would have to come from `i`, which has none.
    row_ends : Out(1)
        A value comes in that is its row's last.
    between : Out(1)
        The next value is one of padding, to the right of one row and to the left of the next, or that is not
        known yet.
    complete : Out(1)
        All values of the image are there.
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
                "waits": Out(1),
                "row_ends": Out(1),
                "between": Out(1),
                "complete": Out(1),
                "addr": In(bits_for_depth(self.depth)),
                "en": In(1),
                "data": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, header = self.i, self.header
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[])
        read, write = memory.read_port(), memory.write_port()
        write_at, values_left = Signal(len(self.addr)), Signal(len(header.row_values))
        row_length, begun, begins = Signal.like(values_left), Signal(), Signal()
        above, over, rows_left, bit = Signal(3), Signal(), Signal(10), Signal(3)
        real, last, row_last, image_last = Signal(), Signal(), Signal(), Signal()
        # What the counters say is known a cycle late: a value is taken every other cycle.
        settled, inside = Signal(), Signal()
        m.d.sync += [
            settled.eq(~(self.clear | write.en)),
            begins.eq(values_left == header.row_values),
            last.eq(values_left == 1),
            over.eq(above == 0),
        ]
        m.d.comb += [
            inside.eq(begun | begins | last),
            self.between.eq(~(inside & settled)),
            real.eq(inside & over & ~self.complete),
            image_last.eq(last & row_last),
            read.addr.eq(self.addr),
            read.en.eq(self.en),
            self.data.eq(read.data),
            write.addr.eq(write_at),
            write.data.eq(Mux(header.packed, i.p.bit_select(bit, 1).replicate(2), i.p)),
            write.en.eq(self.take & settled & (i.valid | ~real)),
            self.waits.eq(self.take & settled & ~i.valid & real),
            self.row_ends.eq(write.en & last),
            i.ready.eq(self.take & settled & real & (~header.packed | (bit == 7) | image_last)),
        ]
        with m.If(~real):
            m.d.comb += write.data.eq(header.pad)
        # Known long before they count.
        m.d.sync += [row_length.eq(header.row_step + header.run_last), row_last.eq(rows_left == 1)]
        with m.If(self.clear | write.en):
            first = header.first_place.as_signed()
            m.d.sync += [
                write_at.eq(load_or_up(self.clear, Cat(first, first[-1].replicate(16)), write_at)),
                values_left.eq(down_or_load(~(self.clear | last), values_left, row_length)),
                begun.eq(~(self.clear | last) & (begun | begins)),
            ]
        with m.If(self.clear | (write.en & real)):
            m.d.sync += bit.eq(Mux(self.clear | i.ready, 0, bit + 1))
        with m.If(self.clear | (self.row_ends & ~over)):
            m.d.sync += above.eq(down_or_load(~self.clear, above, header.pad_top))
        with m.If(self.clear | (self.row_ends & over)):
            m.d.sync += [
                rows_left.eq(down_or_load(~(self.clear | self.complete), rows_left, header.map_height)),
                self.complete.eq(~self.clear & (self.complete | row_last)),
            ]
        return m
