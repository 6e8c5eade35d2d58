"""Puts images into the input regions of activation memory, as bit planes where a value has many bits."""

from __future__ import annotations

from amaranth import Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth
from ..memory.ports import row_writes
from ..parts.counting import down_or_load, load_or_up
from .interleaver import ValueLayout
from .planes import BitPlanes

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Fill one batch, an image per row or one image in all rows, while the array works on another.

    One-bit images arrive packed and are stored as they are. Otherwise values arrive one by one; eight
    at a time are transposed into a byte for each plane, plane 0 the least significant (`BitPlanes`).

    Members
    -------
    i : In(stream of 8)
        Image bytes, if not interleaved.
    values : In(stream of ValueLayout)
        Values, if interleaved; every row starts at a new word.
    header : In(HeaderLayout)
    full : In(2)
        Per parity: the region still belongs to the array.
    restart : In(1)
        Forget the incomplete batch; not while `busy`.
    close : In(1)
        End the batch although rows are free; only at a `boundary`, not while `busy`.
    busy : Out(1)
        Bytes taken from `i` are not all stored, or a batch waits to be accepted.
    boundary : Out(1)
        The last byte was the last one of an image.
    batch : Out(stream of 4)
        A complete batch: its number of images.
    parity : Out(1)
        Region of the batch.
    write : Out(stream of RowWriteLayout)
    flushed : In(1)
        All bytes that were taken are in memory when this cycle ends.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "values": In(stream.Signature(ValueLayout)),
                "header": In(HeaderLayout(config)),
                "full": In(2),
                "restart": In(1),
                "close": In(1),
                "busy": Out(1),
                "boundary": Out(1),
                "batch": Out(stream.Signature(4)),
                "parity": Out(1),
                "write": Out(row_writes()),
                "flushed": In(1),
            }
        )
        # One value at a time, from either side, and whether it is the last one of a row and of an image.
        self._value = stream.Signature(ValueLayout).create(path=("value",))
        self._interleaved: Value = self.header.interleaved if config.line_bytes else Const(0)
        self._planes = BitPlanes(config)
        self._row = Signal(range(config.geometry.rows + 1))

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.planes = planes = self._planes
        taken, stored, fills, row_ended = Signal(), Signal(), Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += [
            planes.value.eq(self._value.p.value),
            planes.bits_last.eq(self.header.in_bits_last),
            planes.clear.eq(self.boundary | stored),
            planes.fill.eq(fills),
            taken.eq(self._value.ready & self._value.valid),
        ]
        self._choose(m, taken)
        self._place(m, stored, row_ended)
        self._states(m, stored, fills, row_ended)
        return m

    def _choose(self, m: Module, taken: Value) -> None:
        """Take bytes as values, or values of the interleaver."""
        config, value = self.config, self._value
        # Bytes of an image that are left; no value takes less than two bits, and results have a place.
        left = Signal(range(config.act_depth * config.geometry.width // 2), name="left", reset_less=True)
        with m.If(self.boundary | taken):
            m.d.sync += left.eq(down_or_load(taken, left, self.header.image_bytes[: len(left)]))
        last = Signal()
        m.d.comb += last.eq(left == 1)
        with m.If(self._interleaved):
            m.d.comb += [value.valid.eq(self.values.valid), value.p.eq(self.values.p)]
        with m.Else():
            m.d.comb += [
                value.valid.eq(self.i.valid),
                value.p.value.eq(self.i.p),
                value.p.column_last.eq(last),
                value.p.row_last.eq(last),
                value.p.image_last.eq(last),
                self.i.ready.eq(value.ready),
            ]

    def _place(self, m: Module, stored: Value, ends_row: Value) -> None:
        """Follow where the next byte goes: the word, its lane, and the distance of the plane."""
        config, write, header = self.config, self.write, self.header
        lanes, address = config.geometry.width // 8, bits_for_depth(config.act_depth)
        # What every image starts with in state START needs no reset.
        word, lane, offset = (
            Signal(shape, name=name, reset_less=True)
            for name, shape in (("word", address), ("lane", range(max(lanes, 2))), ("plane_offset", address))
        )
        m.d.comb += [
            write.p.everywhere.eq(header.spread),
            write.p.place.bank.eq(self._row),
            write.p.place.addr.eq((word + offset)[:address]),
            write.p.lane.eq(lane),
            self.batch.p.eq(self._row),
        ]
        with m.If(self.boundary | (stored & (ends_row | (lane == lanes - 1)))):
            m.d.sync += [lane.eq(0), word.eq(load_or_up(self.boundary, header.in_base1, word))]
        with m.Elif(stored):
            m.d.sync += lane.eq(lane + 1)
        with m.If(self.boundary & ~self.parity):
            m.d.sync += word.eq(0)  # a reset, and no look-up tables in front of the other region
        with m.If(self.boundary | stored):
            m.d.sync += offset.eq(0)
        with m.Elif(self._planes.advance & write.valid):
            m.d.sync += offset.eq(offset + header.plane_stride)

    def _states(self, m: Module, stored: Signal, fills: Signal, row_ended: Signal) -> None:
        value, planes, write, row = self._value, self._planes, self.write, self._row
        one_step = bool(self.config.line_bytes)
        # The last value of an image has come in, of a row (`row_ended`), or of a column that lanes without a
        # value follow (`fills`).
        ended, take = Signal(reset_less=True), Signal()
        m.d.comb += [self.values.ready.eq(take), write.p.data.eq(value.p.value)]
        if one_step:
            m.d.sync += take.eq(0)
        with m.If(self.boundary):
            m.d.sync += ended.eq(0)
        with m.If(self.boundary | stored):
            m.d.sync += [fills.eq(0), row_ended.eq(0)]
        with m.FSM():
            with m.State("START"):
                m.d.comb += self.boundary.eq(1)
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                with m.Elif(self.close):
                    with m.If(row != 0):
                        m.next = "BATCH"
                with m.Elif(value.valid & ~self.full.bit_select(self.parity, 1)):
                    with m.If(self._interleaved | (self.header.in_bits_last != 0)):
                        m.next = "VALUES"
                    with m.Else():
                        m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += [
                    write.valid.eq(value.valid),
                    value.ready.eq(write.ready),
                    stored.eq(value.valid & value.ready),
                ]
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                    m.next = "START"
                with m.Elif(stored & value.p.image_last):
                    m.next = "IMAGE"
            with m.State("VALUES"):
                # A row is filled up with zeros to a full eight, a column to its alignment.
                if one_step:
                    # Known a cycle before, at the price of one cycle for eight values.
                    ends = value.valid & take & (value.p.column_last | planes.last)
                    m.d.sync += take.eq(~fills & ~ends & ~self.restart)
                    m.d.comb += planes.shift.eq(take & value.valid | fills)
                else:
                    m.d.comb += take.eq(~fills & planes.value_last & planes.go)
                    m.d.comb += planes.shift.eq((value.valid | fills) & planes.go)
                m.d.comb += [self.busy.eq(fills), value.ready.eq(take)]
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                    m.next = "START"
                with m.Elif(planes.shift):
                    self._end(m, take, fills, row_ended, ended)
                    with m.If(planes.last):
                        m.next = "PLANES"
            with m.State("PLANES"):
                m.d.comb += [self.busy.eq(1), write.valid.eq(planes.go), write.p.data.eq(planes.plane)]
                with m.If(write.ready & planes.go):
                    m.d.comb += [planes.advance.eq(1), planes.shift.eq(planes.turn)]
                    with m.If(planes.plane_last):
                        m.d.comb += stored.eq(1)
                        with m.If(ended):
                            m.next = "IMAGE"
                        with m.Else():
                            m.next = "VALUES"
            with m.State("IMAGE"):
                m.d.comb += self.busy.eq(1)
                with m.If(self.flushed):
                    m.d.sync += row.eq(row + 1)
                    with m.If((row == self.config.geometry.rows - 1) | self.header.spread):
                        m.next = "BATCH"
                    with m.Else():
                        m.next = "START"
            with m.State("BATCH"):
                m.d.comb += [self.busy.eq(1), self.batch.valid.eq(1)]
                with m.If(self.batch.ready):
                    m.d.sync += [row.eq(0), self.parity.eq(~self.parity)]
                    m.next = "START"

    def _end(self, m: Module, take: Value, fills: Signal, row_ended: Signal, ended: Signal) -> None:
        """Follow what ends with the value, or the lane without one, of this step."""
        value, planes = self._value.p, self._planes
        m.d.comb += planes.advance.eq(1)
        with m.If(planes.column_last & ~row_ended):
            m.d.sync += fills.eq(0)
        with m.If(take):
            m.d.sync += [
                fills.eq(value.row_last | value.column_last & ~planes.column_last),
                row_ended.eq(value.row_last),
                ended.eq(value.image_last),
            ]
