"""Answers INFER requests: reads results out of activation memory and sends them."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.protocol import RESPONSE, Command

from .interfaces import ReadoutSignature, byte_stream

__all__ = ["RecordKind", "RecordLayout", "Responder"]


class RecordKind(IntEnum):
    """What a record asks of the responder."""

    BEGIN = 0
    """Send a response header; the value is its tag."""
    BATCH = 1
    """Send the results of the next batch; the value is its number of images."""
    END = 2
    """Send the status, which is the value, and end the frame."""


RecordLayout = data.StructLayout({"kind": RecordKind, "value": 16})


class Responder(wiring.Component):
    """Turn records into response frames, in order.

    Members
    -------
    record : In(stream of RecordLayout)
    out_words : In(16)
        Result words per image.
    out_bytes : In(8)
        Bytes sent of each, from the least significant on.
    base0, base1 : In(16)
        Output regions of the two parities.
    ready : In(2)
        Per parity: all results are written.
    release : Out(1)
        The region of parity `parity` has been sent.
    parity : Out(1)
    readout : Out(ReadoutSignature)
    o : Out(byte_stream)
    idle : Out(1)
        Between frames, no record waiting.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "record": In(stream.Signature(RecordLayout)),
                "out_words": In(16),
                "out_bytes": In(8),
                "base0": In(16),
                "base1": In(16),
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
        record, o, readout = self.record, self.o, self.readout
        row, words_left, bytes_left = Signal(4), Signal(16), Signal(8)
        addr, shift = Signal(16), Signal(self.config.geometry.width)
        base = Mux(self.parity, self.base1, self.base0)
        m.d.comb += [readout.row.eq(row), readout.addr.eq(addr)]

        with m.FSM():
            with m.State("RECORD"):
                m.d.comb += self.idle.eq(~record.valid)
                m.d.sync += [row.eq(0), addr.eq(base), words_left.eq(self.out_words - 1)]
                with m.If(record.valid):
                    with m.Switch(record.payload.kind):
                        with m.Case(RecordKind.BEGIN):
                            m.d.comb += [o.valid.eq(1), o.payload.data.eq(RESPONSE | Command.INFER)]
                            with m.If(o.ready):
                                m.next = "TAG0"
                        with m.Case(RecordKind.BATCH):
                            with m.If(self.ready.bit_select(self.parity, 1)):
                                m.next = "READ"
                        with m.Default():
                            m.d.comb += [
                                o.valid.eq(1),
                                o.payload.data.eq(record.payload.value),
                                o.payload.last.eq(1),
                                record.ready.eq(o.ready),
                            ]
            for byte in range(2):
                with m.State(f"TAG{byte}"):
                    m.d.comb += [o.valid.eq(1), o.payload.data.eq(record.payload.value.word_select(byte, 8))]
                    with m.If(o.ready):
                        m.d.comb += record.ready.eq(byte)
                        m.next = "RECORD" if byte else "TAG1"
            with m.State("READ"):
                m.d.comb += readout.valid.eq(1)
                with m.If(readout.done):
                    m.d.sync += [shift.eq(readout.data), bytes_left.eq(self.out_bytes - 1), addr.eq(addr + 1)]
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(shift[:8])]
                with m.If(o.ready):
                    m.d.sync += [shift.eq(shift >> 8), bytes_left.eq(bytes_left - 1)]
                    with m.If(bytes_left == 0):
                        m.next = "READ"
                        m.d.sync += words_left.eq(words_left - 1)
                        with m.If(words_left == 0):
                            m.d.sync += [row.eq(row + 1), addr.eq(base), words_left.eq(self.out_words - 1)]
                            with m.If(row == record.payload.value - 1):
                                m.d.comb += [self.release.eq(1), record.ready.eq(1)]
                                m.d.sync += self.parity.eq(~self.parity)
                                m.next = "RECORD"
        return m
