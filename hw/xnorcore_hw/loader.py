"""Puts images into the input regions of activation memory, as bit planes where a value has many bits."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.protocol import Space

from .interfaces import LaneWriteSignature
from .interleaver import ValueLayout

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Fill one batch, an image per row or one image in all rows, while the array works on another.

    One-bit images arrive packed and are stored as they are. Otherwise values arrive one by one; eight
    at a time are transposed into a byte for each plane, plane 0 the least significant.

    Members
    -------
    i : In(stream of 8)
        Image bytes, if not `interleaved`.
    values : In(stream of ValueLayout)
        Values, if `interleaved`; every row starts at a new word.
    interleaved : In(1)
    everywhere : Out(1)
        As `spread`, while bytes are written.
    spread : In(1)
        An image goes to all rows, and is a batch.
    image_bytes : In(24)
        Bytes of one image on the wire.
    bits_last : In(3)
        Bits of a value, minus one.
    base0, base1, plane_stride : In(16)
        Input regions of the two parities; distance between planes.
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
    write : Out(LaneWriteSignature)
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "values": In(stream.Signature(ValueLayout)),
                "interleaved": In(1),
                "spread": In(1),
                "everywhere": Out(1),
                "image_bytes": In(24),
                "bits_last": In(3),
                "base0": In(16),
                "base1": In(16),
                "plane_stride": In(16),
                "full": In(2),
                "restart": In(1),
                "close": In(1),
                "busy": Out(1),
                "boundary": Out(1),
                "batch": Out(stream.Signature(4)),
                "parity": Out(1),
                "write": Out(LaneWriteSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g, write = self.config.geometry, self.write
        left, word = Signal(24), Signal(16)
        lane = Signal(range(max(g.width // 8, 2)))
        row = Signal(range(g.rows + 1))
        buffer = [Signal(8, name=f"value{i}") for i in range(8)]
        filled, plane, plane_word = Signal(3), Signal(3), Signal(16)
        ends_row, ends_image = Signal(), Signal()

        # One value at a time, from either side.
        valid, value, take = Signal(), Signal(8), Signal()
        last_of_row, last_of_image = Signal(), Signal()
        with m.If(self.interleaved):
            m.d.comb += [
                valid.eq(self.values.valid),
                value.eq(self.values.payload.value),
                last_of_row.eq(self.values.payload.row_last),
                last_of_image.eq(self.values.payload.image_last),
                self.values.ready.eq(take),
            ]
        with m.Else():
            m.d.comb += [
                valid.eq(self.i.valid),
                value.eq(self.i.payload),
                last_of_row.eq(left == 0),
                last_of_image.eq(left == 0),
                self.i.ready.eq(take),
            ]

        m.d.comb += [
            write.space.eq(Space.ACTIVATIONS),
            write.bank.eq(row),
            write.lane.eq(lane),
            self.everywhere.eq(self.spread),
            self.batch.payload.eq(row),
        ]

        def next_lane(align: Signal | int = 0) -> None:
            with m.If((lane == g.width // 8 - 1) | align):
                m.d.sync += [lane.eq(0), word.eq(word + 1)]
            with m.Else():
                m.d.sync += lane.eq(lane + 1)

        def forget() -> None:
            m.d.sync += row.eq(0)
            m.d.sync += [signal.eq(0) for signal in buffer]

        with m.FSM():
            with m.State("START"):
                m.d.comb += self.boundary.eq(1)
                m.d.sync += [
                    left.eq(self.image_bytes - 1),
                    word.eq(Mux(self.parity, self.base1, self.base0)),
                    lane.eq(0),
                    filled.eq(0),
                ]
                with m.If(self.restart):
                    forget()
                with m.Elif(self.close):
                    with m.If(row != 0):
                        m.next = "BATCH"
                with m.Elif(valid & ~self.full.bit_select(self.parity, 1)):
                    with m.If(self.interleaved | (self.bits_last != 0)):
                        m.next = "VALUES"
                    with m.Else():
                        m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += [
                    write.valid.eq(valid),
                    write.addr.eq(word),
                    write.data.eq(value),
                    take.eq(write.ready),
                ]
                with m.If(self.restart):
                    forget()
                    m.next = "START"
                with m.Elif(valid & take):
                    m.d.sync += left.eq(left - 1)
                    next_lane()
                    with m.If(last_of_image):
                        m.next = "IMAGE"
            with m.State("VALUES"):
                m.d.comb += take.eq(1)
                with m.If(self.restart):
                    forget()
                    m.next = "START"
                with m.Elif(valid):
                    m.d.sync += [left.eq(left - 1), filled.eq(filled + 1)]
                    for index, signal in enumerate(buffer):
                        with m.If(filled == index):
                            m.d.sync += signal.eq(value)
                    with m.If((filled == 7) | last_of_row):
                        m.d.sync += [
                            plane.eq(0),
                            plane_word.eq(word),
                            ends_row.eq(last_of_row),
                            ends_image.eq(last_of_image),
                        ]
                        m.next = "PLANES"
            with m.State("PLANES"):
                m.d.comb += [
                    self.busy.eq(1),
                    write.valid.eq(1),
                    write.addr.eq(plane_word),
                    write.data.eq(Cat(signal[0] for signal in buffer)),
                ]
                with m.If(write.ready):
                    m.d.sync += [signal.eq(signal >> 1) for signal in buffer]
                    m.d.sync += [plane.eq(plane + 1), plane_word.eq(plane_word + self.plane_stride)]
                    with m.If(plane == self.bits_last):
                        m.d.sync += [signal.eq(0) for signal in buffer]
                        m.d.sync += filled.eq(0)
                        next_lane(align=ends_row)
                        with m.If(ends_image):
                            m.next = "IMAGE"
                        with m.Else():
                            m.next = "VALUES"
            with m.State("IMAGE"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += row.eq(row + 1)
                with m.If((row == g.rows - 1) | self.spread):
                    m.next = "BATCH"
                with m.Else():
                    m.next = "START"
            with m.State("BATCH"):
                m.d.comb += [self.busy.eq(1), self.batch.valid.eq(1)]
                with m.If(self.batch.ready):
                    m.d.sync += [row.eq(0), self.parity.eq(~self.parity)]
                    m.next = "START"
        return m
