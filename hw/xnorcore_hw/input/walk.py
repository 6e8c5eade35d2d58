"""The order in which an image's values leave the line buffer."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth

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
        To the image's first row of positions.
    start : In(1)
        To the first value of the row.
    step : In(1)
        To the next value; behind the last one of a row to the next row, which a `start` must follow.
    top : Out(10)
        Row of the map that is the first under the row of positions; modulo 2**10.
    place : Out
        Of the value in the line buffer, if it is on the map.
    on_map : Out(1)
    row_last, image_last : Out(1)
        The last value of a row of positions, of the last row.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.depth = config.line_bytes
        super().__init__(
            {
                "header": In(HeaderLayout(config)),
                "clear": In(1),
                "start": In(1),
                "step": In(1),
                "top": Out(10),
                "place": Out(bits_for_depth(self.depth)),
                "on_map": Out(1),
                "row_last": Out(1),
                "image_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        header, depth, top = self.header, self.depth, self.top
        places = range(depth + 1)  # in the buffer, or its end
        row_values, slot_start, slot_step, slots_end = (
            port[: depth.bit_length()]
            for port in (header.row_values, header.slot_start, header.slot_step, header.slots_end)
        )
        # Row and column of the map; in the buffer the first kernel row, this one, the pixel, the channel.
        y, x = Signal(10), Signal(10)
        rows_left, kernel_left, channel_left = Signal(10), Signal(3), Signal(8)
        first_slot, slot, column, offset = Signal(places), Signal(places), Signal(places), Signal(8)
        # Known long before the row of values ends.
        last_x, moved = Signal(11), Signal(range(2 * depth))
        m.d.sync += [last_x.eq(header.map_width + header.pad_right - 1), moved.eq(first_slot + slot_step)]
        after_slot, next_slot = Signal(places), Signal(places)
        channel_end, kernel_end, column_end = channel_left == 0, kernel_left == 0, x == last_x
        m.d.comb += [
            after_slot.eq(slot + row_values),
            next_slot.eq(Mux(after_slot == slots_end, 0, after_slot)),
            self.place.eq((slot + column + offset)[: len(self.place)]),
            self.on_map.eq((y < header.map_height) & (x < header.map_width)),
            self.row_last.eq(channel_end & kernel_end & column_end),
            self.image_last.eq(self.row_last & (rows_left == 0)),
        ]
        with m.If(self.step):
            m.d.sync += [channel_left.eq(channel_left - 1), offset.eq(offset + 1)]
            with m.If(channel_end):
                m.d.sync += [channel_left.eq(header.channels_last), offset.eq(0)]
                m.d.sync += [kernel_left.eq(kernel_left - 1), y.eq(y + 1), slot.eq(next_slot)]
                with m.If(kernel_end):
                    m.d.sync += x.eq(x + 1)
                    with m.If(x < header.map_width):
                        m.d.sync += column.eq(column + header.channels_last + 1)
            with m.If(self.row_last):
                m.d.sync += [
                    rows_left.eq(rows_left - 1),
                    top.eq(top + header.stride),
                    first_slot.eq(Mux(moved >= slots_end, moved - slots_end, moved)),
                ]
        with m.If(self.start | (self.step & channel_end & kernel_end)):
            m.d.sync += [
                y.eq(top), slot.eq(first_slot), kernel_left.eq(header.kernel_last),
                channel_left.eq(header.channels_last), offset.eq(0),
            ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [x.eq(-header.pad_left), column.eq(0)]
        with m.If(self.clear):
            m.d.sync += [top.eq(-header.pad_top), rows_left.eq(header.rows_last), first_slot.eq(slot_start)]
        return m
