"""Reorders an image so that the values under a kernel lie side by side."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import bits_for_depth

__all__ = ["RowInterleaver", "ValueLayout"]

ValueLayout = data.StructLayout({"value": 8, "row_last": 1, "image_last": 1})


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
    packed : In(1)
        A byte holds eight 1-bit values, the first one lowest; each becomes the value 3 or 0.
    pad : In(8)
        Value outside the map.
    kernel_last : In(3)
        Kernel rows, minus one.
    channels_last : In(8)
        Values of a pixel, minus one.
    row_values : In(16)
        Values of an image row.
    map_width, map_height : In(10)
    pad_left, pad_right, pad_top : In(3)
    stride : In(3)
        Image rows from one row of positions to the next.
    rows_last : In(10)
        Rows of positions, minus one.
    slot_start, slot_step, slots_end : In(16)
        Place in the buffer of the first kernel row; how it moves with `stride`; end of the used part.
    o : Out(stream of ValueLayout)
    idle : Out(1)
        Between images.
    starved : Out(1)
        Nothing can happen before the next byte, and no value waits.
    restart : In(1)
        Forget the incomplete image; only while `idle` or `starved`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "packed": In(1),
                "pad": In(8),
                "kernel_last": In(3),
                "channels_last": In(8),
                "row_values": In(16),
                "map_width": In(10),
                "map_height": In(10),
                "pad_left": In(3),
                "pad_right": In(3),
                "pad_top": In(3),
                "stride": In(3),
                "rows_last": In(10),
                "slot_start": In(16),
                "slot_step": In(16),
                "slots_end": In(16),
                "o": Out(stream.Signature(ValueLayout)),
                "idle": Out(1),
                "starved": Out(1),
                "restart": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, o = self.i, self.o
        depth = self.config.line_bytes
        m.submodules.lines = lines = Memory(shape=8, depth=depth, init=[])
        read, write = lines.read_port(), lines.write_port()
        address = bits_for_depth(depth)
        place = range(depth + 1)  # in the buffer, or its end
        row_values, slot_start, slot_step, slots_end = (
            port[: depth.bit_length()]
            for port in (self.row_values, self.slot_start, self.slot_step, self.slots_end)
        )

        # Incoming values.
        bit = Signal(3)
        value = Signal(8)
        received, value_left, write_at = Signal(10), Signal(place), Signal(place)
        row_done, take, found = Signal(), Signal(), Signal()
        m.d.comb += [
            value.eq(Mux(self.packed, i.payload.bit_select(bit, 1).replicate(2), i.payload)),
            write.addr.eq(write_at[:address]),
            write.data.eq(value),
            write.en.eq(take & i.valid),
            row_done.eq(value_left == 0),
            self.starved.eq(take & ~i.valid & ~found & ~o.valid),
            i.ready.eq(take & (~self.packed | (bit == 7) | (row_done & (received == self.map_height - 1)))),
        ]
        with m.If(take & i.valid):
            following = write_at + 1
            m.d.sync += [
                write_at.eq(Mux(following == slots_end, 0, following)),
                value_left.eq(Mux(row_done, row_values - 1, value_left - 1)),
                received.eq(received + row_done),
                bit.eq(Mux(i.ready, 0, bit + 1)),
            ]

        # The value that is read: row y of the map, column x, from the buffer's place `at`.
        top, y, x = Signal(10), Signal(10), Signal(10)
        rows_left, kernel_left, channel_left = Signal(10), Signal(3), Signal(8)
        first_slot, slot, column = Signal(place), Signal(place), Signal(place)
        offset, inside = Signal(8), Signal()
        # Which rows are there is known a cycle late: `known` again a cycle after the last change.
        needed, enough, complete, known = Signal(10), Signal(), Signal(), Signal()
        # The value that the buffer gives waits in a register of its own before it leaves.
        on_map, row_last, image_last = Signal(), Signal(), Signal()
        moves, leaves = Signal(), Signal()
        after_slot = Signal(place)
        next_slot = Signal(place)
        # Known long before the row of values ends.
        moved = Signal(range(2 * depth))
        m.d.comb += [
            needed.eq(top + self.kernel_last + 1),
            inside.eq((y < self.map_height) & (x < self.map_width)),
            read.addr.eq((slot + column + offset)[:address]),
            read.en.eq(moves),
            after_slot.eq(slot + row_values),
            next_slot.eq(Mux(after_slot == slots_end, 0, after_slot)),
            leaves.eq(~o.valid | o.ready),
        ]
        with m.If(leaves):
            m.d.sync += [
                o.valid.eq(found),
                o.payload.value.eq(Mux(on_map, read.data, self.pad)),
                o.payload.row_last.eq(row_last),
                o.payload.image_last.eq(image_last),
            ]
        channel_end, kernel_end = channel_left == 0, kernel_left == 0
        last_x, row_end = Signal(11), Signal()
        column_end, all_rows = x == last_x, received == self.map_height
        m.d.sync += [
            last_x.eq(self.map_width + self.pad_right - 1),
            moved.eq(first_slot + slot_step),
            enough.eq((received >= needed) | all_rows),
            complete.eq(all_rows),
            known.eq(0),
        ]
        m.d.comb += row_end.eq(channel_end & kernel_end & column_end)

        def start_column() -> None:
            m.d.sync += [
                y.eq(top), slot.eq(first_slot), kernel_left.eq(self.kernel_last),
                channel_left.eq(self.channels_last), offset.eq(0),
            ]  # fmt: skip

        # A value moves every other cycle, decided a cycle before: by then the one before it has left.
        m.d.sync += moves.eq(0)
        with m.If(leaves):
            m.d.sync += found.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~found & ~o.valid)
                m.d.sync += [
                    received.eq(0), value_left.eq(row_values - 1), write_at.eq(0), bit.eq(0),
                    top.eq(-self.pad_top), rows_left.eq(self.rows_last), first_slot.eq(slot_start),
                ]  # fmt: skip
                with m.If(i.valid & ~self.restart):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += take.eq(known & ~enough)
                start_column()
                m.d.sync += [x.eq(-self.pad_left), column.eq(0), known.eq(~(write.en & row_done))]
                with m.If(self.restart):
                    m.next = "IDLE"
                with m.Elif(known & enough):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.sync += moves.eq(~moves & (~found | leaves))
                with m.If(moves):
                    m.d.sync += [
                        found.eq(1),
                        on_map.eq(inside),
                        row_last.eq(row_end),
                        image_last.eq(row_end & (rows_left == 0)),
                    ]
                    with m.If(~channel_end):
                        m.d.sync += [channel_left.eq(channel_left - 1), offset.eq(offset + 1)]
                    with m.Else():
                        m.d.sync += [channel_left.eq(self.channels_last), offset.eq(0)]
                        with m.If(~kernel_end):
                            m.d.sync += [kernel_left.eq(kernel_left - 1), y.eq(y + 1), slot.eq(next_slot)]
                        with m.Else():
                            start_column()
                            m.d.sync += x.eq(x + 1)
                            with m.If(x < self.map_width):
                                m.d.sync += column.eq(column + self.channels_last + 1)
                    with m.If(row_end):
                        m.d.sync += [
                            rows_left.eq(rows_left - 1),
                            top.eq(top + self.stride),
                            first_slot.eq(Mux(moved >= slots_end, moved - slots_end, moved)),
                        ]
                        m.next = "FILL"
                        with m.If(rows_left == 0):
                            m.next = "SKIP"
            with m.State("SKIP"):
                m.d.comb += take.eq(known & ~complete)
                m.d.sync += known.eq(~(write.en & row_done))
                with m.If(self.restart | (known & complete)):
                    m.next = "IDLE"
        return m
