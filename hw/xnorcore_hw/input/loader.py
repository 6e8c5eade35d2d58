"""Puts images into the input regions of activation memory, as bit planes where a value has many bits."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from ..interfaces import LaneWriteSignature, bits_for_depth
from ..parts.counting import load_or_up
from .interleaver import ValueLayout

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Fill one batch, an image per row or one image in all rows, while the array works on another.

    One-bit images arrive packed and are stored as they are. Otherwise values arrive one by one; eight
    at a time are transposed into a byte for each plane, plane 0 the least significant. Then a value takes
    one cycle on a device with a line buffer, and sixteen on any other, in a fraction of the logic.

    Bits of addresses and lengths beyond the size of activation memory do not count.

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
    flushed : In(1)
        All bytes that were taken are in memory when this cycle ends.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        # Without the interleaver, which sends values again and again, they come no faster than the link's
        # bytes, ten bit times apart.
        self.bits_per_cycle = 8 if config.line_bytes else 1
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
                "flushed": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g, write = self.config, self.config.geometry, self.write
        address = bits_for_depth(config.act_depth)
        # What every image starts with in state START needs no reset.
        word, lane = (Signal(n, reset_less=True) for n in (address, range(max(g.width // 8, 2))))
        row = Signal(range(g.rows + 1))
        plane_offset = Signal(address, reset_less=True)  # from plane 0 to the one that is written
        # Bytes of an image so far, counted from one; no value takes less than two bits.
        number = Signal(range(config.act_depth * g.width // 2 + 1), init=1, reset_less=True)

        # One value at a time, from either side.
        valid, value, take, take_value = Signal(), Signal(8), Signal(), Signal()
        last_of_row, last_of_image = Signal(), Signal()
        interleaved = self.interleaved if config.line_bytes else Const(0)
        m.d.comb += self.values.ready.eq(take_value)  # if not interleaved, there are none
        with m.If(interleaved):
            m.d.comb += [
                valid.eq(self.values.valid),
                value.eq(self.values.payload.value),
                last_of_row.eq(self.values.payload.row_last),
                last_of_image.eq(self.values.payload.image_last),
            ]
        with m.Else():
            m.d.comb += [
                valid.eq(self.i.valid),
                value.eq(self.i.payload),
                last_of_row.eq(last_of_image),
                last_of_image.eq(number == self.image_bytes[: len(number)]),
                self.i.ready.eq(take),
            ]

        steps = 8 // self.bits_per_cycle
        count = Signal(range(8 * steps), reset_less=True)  # steps of values while they come in, then planes
        step, plane = count[: len(count) - 3], count[:3]
        within = plane[: self.bits_per_cycle.bit_length() - 1]  # of the planes that a shift brings
        advance, shift, plane_byte = Signal(), Signal(), Signal(8)
        # The last value of one has come in.
        ends_row, ends_image = Signal(reset_less=True), Signal(reset_less=True)
        bits = Signal(self.bits_per_cycle)
        m.d.comb += bits.eq(Mux(ends_row, 0, value.word_select(step, self.bits_per_cycle)))
        self._transpose(m, bits, shift, within, plane_byte)

        m.d.comb += [
            write.space.eq(Space.ACTIVATIONS),
            write.bank.eq(row),
            write.addr.eq((word + plane_offset)[:address]),
            write.lane.eq(lane),
            write.data.eq(value),
            self.everywhere.eq(self.spread),
            self.batch.payload.eq(row),
        ]
        # Without a line buffer each bit of a value takes two cycles, one of them for what depends on `count`.
        go, last_step, last_count, last_plane = Signal(), Signal(), Signal(), Signal()
        if config.line_bytes:
            m.d.comb += [go.eq(1), last_step.eq(step.all() if len(step) else 1), last_count.eq(count.all())]
            m.d.comb += last_plane.eq(plane == self.bits_last)
        else:
            m.d.sync += [go.eq(~advance), last_step.eq(step.all()), last_count.eq(count.all())]
            m.d.sync += last_plane.eq(plane == self.bits_last)
        stored = Signal()  # a byte, or a byte of each plane
        base = Mux(self.parity, self.base1, self.base0)[:address]
        with m.If(self.boundary | (stored & (ends_row | (lane == g.width // 8 - 1)))):
            m.d.sync += [lane.eq(0), word.eq(load_or_up(self.boundary, base, word))]
        with m.Elif(stored):
            m.d.sync += lane.eq(lane + 1)
        with m.If(self.boundary):
            m.d.sync += [number.eq(1), ends_image.eq(0)]
        with m.Elif(take & valid):
            m.d.sync += number.eq(number + 1)
        with m.If(self.boundary | stored):
            m.d.sync += [count.eq(0), plane_offset.eq(0), ends_row.eq(0)]
        with m.Elif(advance):
            m.d.sync += count.eq(count + 1)
            with m.If(write.valid):
                m.d.sync += plane_offset.eq(plane_offset + self.plane_stride)

        if config.line_bytes:
            m.d.sync += take_value.eq(0)
        with m.FSM():
            with m.State("START"):
                m.d.comb += self.boundary.eq(1)
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                with m.Elif(self.close):
                    with m.If(row != 0):
                        m.next = "BATCH"
                with m.Elif(valid & ~self.full.bit_select(self.parity, 1)):
                    with m.If(interleaved | (self.bits_last != 0)):
                        m.next = "VALUES"
                    with m.Else():
                        m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += [write.valid.eq(valid), take.eq(write.ready), stored.eq(valid & take)]
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                    m.next = "START"
                with m.Elif(stored & last_of_image):
                    m.next = "IMAGE"
            with m.State("VALUES"):
                # A row that does not end with a full eight is filled up with zeros.
                m.d.comb += [
                    self.busy.eq(ends_row),
                    shift.eq(take_value & valid | ends_row)
                    if config.line_bytes
                    else shift.eq((valid | ends_row) & go),
                    take.eq(take_value),
                ]
                if config.line_bytes:
                    # Known a cycle before, at the price of one cycle for eight values.
                    ends = valid & take & (last_of_row | count.all())
                    m.d.sync += take_value.eq(~ends_row & ~ends & ~self.restart)
                else:
                    m.d.comb += take_value.eq(~ends_row & last_step & go)
                with m.If(self.restart):
                    m.d.sync += row.eq(0)
                    m.next = "START"
                with m.Elif(shift):
                    m.d.comb += advance.eq(1)
                    with m.If(take):
                        m.d.sync += [ends_row.eq(last_of_row), ends_image.eq(last_of_image)]
                    with m.If(last_count):
                        m.next = "PLANES"
            with m.State("PLANES"):
                m.d.comb += [self.busy.eq(1), write.valid.eq(go), write.data.eq(plane_byte)]
                with m.If(write.ready & go):
                    m.d.comb += [advance.eq(1), shift.eq(within.all() if len(within) else 1)]
                    with m.If(last_plane):
                        m.d.comb += stored.eq(1)
                        with m.If(ends_image):
                            m.next = "IMAGE"
                        with m.Else():
                            m.next = "VALUES"
            with m.State("IMAGE"):
                m.d.comb += self.busy.eq(1)
                with m.If(self.flushed):
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

    def _transpose(self, m: Module, bits: Value, shift: Value, within: Value, plane_byte: Signal) -> None:
        """Shift bits of values in, and then those of the planes out.

        Each bit that comes in with a cycle has a shift register of its own. When eight values are in, the
        registers hold the bits of the first planes at every `steps`-th place, and a shift brings the next
        planes there: no register bit has more than one source.
        """
        steps = 8 // self.bits_per_cycle
        chains = [
            Signal(8 * steps, name=f"chain{number}", reset_less=True) for number in range(self.bits_per_cycle)
        ]
        with m.If(shift):
            m.d.sync += [chain.eq(Cat(chain[1:], bit)) for chain, bit in zip(chains, bits, strict=True)]
        shown = Cat(chain[::steps] for chain in chains)
        m.d.comb += plane_byte.eq(shown.word_select(within, 8))
