"""Sends responses: the bytes that records hold, and results out of activation memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Status
from xnorcore.isa.results import bytes_at_once

from ..interfaces import HeaderLayout, byte_stream
from ..memory.ports import PlaceLayout, ReadoutSignature
from ..parts.counting import down_or_load, load_or_up
from ..parts.selection import select
from .records import RecordKind, RecordLayout

__all__ = ["Responder"]


class Responder(wiring.Component):
    """Turn records into response frames, in order.

    Members
    -------
    record : In(stream of RecordLayout)
    header : In(HeaderLayout)
    word : In(PlaceLayout)
        What `RecordKind.WORD` asks for.
    fault : In(1)
        What would be answered with OK is answered with BAD_PROGRAM.
    ready : In(2)
        Per parity: all results are written.
    release : Out(1)
        The region of parity `parity` has been sent.
    parity : Out(1)
    readout : Out(ReadoutSignature)
    o : Out(byte_stream)
    idle : Out(1)
        Not at work on a record.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "record": In(stream.Signature(RecordLayout)),
                "header": In(HeaderLayout(config)),
                "word": In(PlaceLayout()),
                "fault": In(1),
                "ready": In(2),
                "release": Out(1),
                "parity": Out(1),
                "readout": Out(ReadoutSignature(config.geometry.width)),
                "o": Out(byte_stream()),
                "idle": Out(1),
            }
        )
        g = config.geometry
        # If more is sent, the word is read again.
        self._kept = bytes_at_once(g)
        # Row, and byte of its word; the first word of a row comes next; it, or the next one, does.
        self._row, self._lane = Signal(range(g.rows)), Signal(range(max(g.width // 8, 2)))
        self._first, self._moves = Signal(), Signal()

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        record, o, readout, g = self.record, self.o, self.readout, self.config.geometry
        kind, value = record.payload.kind, record.payload.value
        row, lane, first, moves = self._row, self._lane, self._first, self._moves
        next_row, single = Signal(range(g.rows + 1)), Signal()
        # Known a cycle after the counters, since `o` takes a byte every other cycle at most.
        last_byte, last_row = Signal(), Signal()
        m.d.comb += [
            single.eq(kind == RecordKind.WORD),
            o.payload.data.eq(value),
            next_row.eq(row + 1),
        ]
        m.d.sync += [
            last_byte.eq((lane == g.width // 8 - 1) | (~single & (lane + 1 == self.header.out_bytes))),
            readout.row.eq(Mux(single, self.word.bank, row)),
            last_row.eq(next_row == value[: len(next_row)]),
        ]
        last_word = self._address(m, single)
        part = Signal(8 * self._kept, reset_less=True)
        within = (self._kept - 1).bit_length()
        lanes = [part[at : at + 8] for at in range(0, len(part), 8)]
        parts = [readout.data[at : at + len(part)] for at in range(0, g.width, len(part))]
        with m.FSM():
            with m.State("RECORD"):
                plain = ~kind[1]
                ok = value[: max(Status).bit_length()] == Status.OK
                with m.If(self.fault & (kind == RecordKind.LAST) & ok):
                    m.d.comb += o.payload.data.eq(Status.BAD_PROGRAM)
                m.d.comb += [
                    first.eq(1),
                    moves.eq(1),
                    self.idle.eq(1),
                    o.valid.eq(record.valid & plain),
                    o.payload.last.eq(kind[0]),
                    record.ready.eq(o.ready & plain),
                ]
                with m.If(record.valid & ~plain & (single | self.ready.bit_select(self.parity, 1))):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += readout.valid.eq(1)
                with m.If(readout.done):
                    m.d.sync += part.eq(select(parts, lane[within:]))
                    m.next = "SEND"
            with m.State("SEND"):
                # Behind a row's last word comes the next one's first: that a byte leaves is known late.
                m.d.comb += [
                    o.valid.eq(1),
                    o.payload.data.eq(select(lanes, lane[:within])),
                    first.eq(last_word),
                ]
                with m.If(o.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane[:within].all()):
                        m.next = "READ"
                    with m.If(last_byte):
                        m.d.sync += lane.eq(0)
                        m.d.comb += moves.eq(1)
                        m.next = "READ"
                        with m.If(single):
                            m.d.comb += record.ready.eq(1)
                            m.next = "RECORD"
                        with m.Elif(last_word):
                            m.d.sync += row.eq(next_row)
                            with m.If(last_row):
                                m.d.sync += [row.eq(0), self.parity.eq(~self.parity)]
                                m.d.comb += [self.release.eq(1), record.ready.eq(1)]
                                m.next = "RECORD"
        return m

    def _address(self, m: Module, single: Value) -> Value:
        """Follow the address, and return whether it is that of a row's last word, a cycle late."""
        header, word, first = self.header, self.readout.addr, self._first
        left, last = Signal(len(header.out_words)), Signal(name="last_word")
        base = Mux(single, self.word.addr, Mux(self.parity, header.out_base1, header.out_base0))
        addr = Signal(len(header.out_base0), name="addr")
        m.d.comb += word.eq(addr)
        m.d.sync += last.eq(left == 1)
        with m.If(self._moves):
            m.d.sync += [
                addr.eq(load_or_up(first, base[: len(addr)], addr)),
                left.eq(down_or_load(~first, left, header.out_words)),
            ]
        return last
