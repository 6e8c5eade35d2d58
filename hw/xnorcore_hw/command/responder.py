"""Sends responses: the bytes that records hold, and results out of activation memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Status

from ..interfaces import HeaderLayout, byte_stream
from ..memory.ports import PlaceLayout, ReadoutSignature
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

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        record, o, readout, g = self.record, self.o, self.readout, self.config.geometry
        header, address = self.header, len(self.header.out_base0)
        kind, value = record.payload.kind, record.payload.value
        # Row, word of its results, byte of the word; each ends at 0, where the next begins.
        row, number = Signal(range(g.rows)), Signal(address)
        lane = Signal(range(max(g.width // 8, 2)))
        next_row, next_number = Signal(range(g.rows + 1)), Signal(address)
        word = Signal(g.width, reset_less=True)
        single = Signal()
        # Known a cycle after the counters, since `o` takes a byte every other cycle at most.
        last_byte, last_word, last_row = Signal(), Signal(), Signal()
        base = Mux(single, self.word.addr, Mux(self.parity, header.out_base1, header.out_base0))
        m.d.comb += [
            single.eq(kind == RecordKind.WORD),
            o.payload.data.eq(value),
            next_row.eq(row + 1),
            next_number.eq(number + 1),
        ]
        m.d.sync += [
            last_byte.eq((lane == g.width // 8 - 1) | (~single & (lane + 1 == header.out_bytes))),
            readout.addr.eq((base + number)[:address]),
            readout.row.eq(Mux(single, self.word.bank, row)),
            last_word.eq(next_number == header.out_words),
            last_row.eq(next_row == value[: len(next_row)]),
        ]

        lanes = [word[at : at + 8] for at in range(0, g.width, 8)]
        with m.FSM():
            with m.State("RECORD"):
                plain = ~kind[1]
                ok = value[: max(Status).bit_length()] == Status.OK
                with m.If(self.fault & (kind == RecordKind.LAST) & ok):
                    m.d.comb += o.payload.data.eq(Status.BAD_PROGRAM)
                m.d.comb += [
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
                    m.d.sync += word.eq(readout.data)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(select(lanes, lane))]
                with m.If(o.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(last_byte):
                        m.d.sync += [lane.eq(0), number.eq(next_number)]
                        m.next = "READ"
                        with m.If(single):
                            m.d.sync += number.eq(0)
                            m.d.comb += record.ready.eq(1)
                            m.next = "RECORD"
                        with m.Elif(last_word):
                            m.d.sync += [number.eq(0), row.eq(next_row)]
                            with m.If(last_row):
                                m.d.sync += [row.eq(0), self.parity.eq(~self.parity)]
                                m.d.comb += [self.release.eq(1), record.ready.eq(1)]
                                m.next = "RECORD"
        return m
