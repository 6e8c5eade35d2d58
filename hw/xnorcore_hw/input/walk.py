"""The order in which an image's values leave the line buffer."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth
from ..parts.counting import down_or_load, load_or_up

__all__ = ["WindowWalk"]


class WindowWalk(wiring.Component):
    """Walk through the values under rows of positions: channels inside kernel rows inside columns.

    Parameters
    ----------
    config : DeviceConfig
        With `line_bytes` > 0.

    Members
    -------
    header : In(HeaderLayout)
    clear : In(1)
        To the image's first value; none of the map's rows are there.
    row_comes : In(1)
        The next row of the map is in the buffer, behind this cycle.
    step : In(1)
        To the next value.
    enough : Out(1)
        The map's rows under the row of positions are there; a cycle after it is known.
    place : Out
        Of the value in the line buffer, if it is on the map; that of the first value is 0.
    on_map : Out(1)
    column_last : Out(1)
        The last value under the kernel's column, where columns have an alignment; else as `row_last`.
    row_last, image_last : Out(1)
        The last value of a row of positions, of the last row.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.depth, self.align = config.line_bytes, config.column_align
        super().__init__(
            {
                "header": In(HeaderLayout(config)),
                "clear": In(1),
                "row_comes": In(1),
                "step": In(1),
                "enough": Out(1),
                "place": Out(bits_for_depth(self.depth)),
                "on_map": Out(1),
                "column_last": Out(1),
                "row_last": Out(1),
                "image_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        header, place = self.header, self.place
        row_values, column_step, line_step = (
            port[: len(place)] for port in (header.row_values, header.column_step, header.line_step)
        )
        x, rows_left, kernel, channel_left = Signal(10), Signal(10), Signal(3), Signal(8)
        channel_end, kernel_end, column_end, begin = Signal(), Signal(), Signal(), Signal()
        # Known long before the row of values ends.
        last_x, row_step = Signal(11), Signal.like(place)
        m.d.sync += [
            last_x.eq(header.map_width + header.pad_right - 1),
            row_step.eq(row_values - header.channels_last),
        ]
        m.d.comb += [
            channel_end.eq(channel_left == 0),
            kernel_end.eq(channel_end & (kernel == header.kernel_last)),
            column_end.eq(x == last_x),
            self.column_last.eq(kernel_end & (column_end | (self.align > 1))),
            self.row_last.eq(kernel_end & column_end),
            self.image_last.eq(self.row_last & (rows_left == 0)),
            begin.eq(self.clear | self.row_last),
        ]
        along = Mux(self.row_last, line_step, column_step)
        distance = Mux(kernel_end, along, Mux(channel_end, row_step, 1))
        with m.If(self.clear | self.step):
            m.d.sync += channel_left.eq(
                down_or_load(~(channel_end | self.clear), channel_left, header.channels_last)
            )
            m.d.sync += place.eq(Mux(self.clear, 0, place + distance))
            with m.If(channel_end | self.clear):
                m.d.sync += kernel.eq(Mux(kernel_end | self.clear, 0, kernel + 1))
            with m.If(kernel_end | self.clear):
                m.d.sync += x.eq(load_or_up(begin, -header.pad_left, x))
            with m.If(begin):
                m.d.sync += rows_left.eq(down_or_load(~self.clear, rows_left, header.rows_last))
        self._rows(m, kernel, x, self.step & self.row_last)
        return m

    def _rows(self, m: Module, kernel: Value, x: Value, row_ends: Value) -> None:
        """Follow which of the kernel's rows lie on the map, and on rows that are there.

        Rows come until there are enough or no more: those that are there then are those on the map.
        """
        header = self.header
        # Both counted from the first of the kernel's rows: the end of what is there, and padding.
        there, above = Signal(signed(5)), Signal(3)
        m.d.sync += self.enough.eq(there > header.kernel_last)
        m.d.comb += self.on_map.eq((kernel < there) & (kernel >= above) & (x < header.map_width))
        with m.If(self.clear):
            m.d.sync += [there.eq(header.pad_top), above.eq(header.pad_top)]
        with m.Elif(row_ends):
            m.d.sync += there.eq(there - header.stride)
            m.d.sync += above.eq(Mux(above > header.stride, above - header.stride, 0))
        with m.Elif(self.row_comes):
            m.d.sync += there.eq(there + 1)
