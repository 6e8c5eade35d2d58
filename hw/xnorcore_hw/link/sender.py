"""Packets of the core to frames on the wire: CRC-32, reverse COBS and the delimiter, all on the fly."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from xnorcore.link.cobs import FULL, RUN

__all__ = ["FrameSender"]


class FrameSender(wiring.Component):
    """Frame packets without holding them back.

    A frame costs its own bytes plus four of CRC, one code byte per 254 bytes and at the end, and the
    delimiter; one cycle each.

    Members
    -------
    i : In(stream of {"data": 8, "last": 1})
        Packet bytes, from the type to the status; `last` on the final one.
    o : Out(stream of 8 bits)
        Wire bytes.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        packet = stream.Signature(data.StructLayout({"data": 8, "last": 1}))
        super().__init__({"i": In(packet), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        """Build the sender."""
        m = Module()
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))

        count = Signal(range(RUN + 1))  # data bytes of the block so far
        number = Signal(2)  # byte of the CRC
        body = Signal(8)
        present = Signal()  # `body` is there to be sent
        room = Signal()  # the output register takes a byte
        take = Signal()  # `body` leaves, as itself or as a code
        full = Signal()

        m.d.comb += [
            room.eq(~self.o.valid | self.o.ready),
            full.eq(count == RUN),
            take.eq(present & room & ~full),
            check.data.eq(self.i.p.data),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("BODY"):
                m.d.comb += [
                    body.eq(self.i.p.data),
                    present.eq(self.i.valid),
                    self.i.ready.eq(room & ~full),
                    check.valid.eq(take),
                ]
                with m.If(take & self.i.p.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [body.eq(check.crc.word_select(number, 8)), present.eq(1)]
                with m.If(take):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == 3):
                        m.next = "CODE"
            with m.State("CODE"), m.If(room & ~full):
                m.d.comb += check.start.eq(1)
                m.d.sync += [self.o.payload.eq(count + 1), self.o.valid.eq(1), count.eq(0)]
                m.next = "DELIMITER"
            with m.State("DELIMITER"), m.If(room):
                m.d.sync += [self.o.payload.eq(0), self.o.valid.eq(1)]
                m.next = "BODY"

        with m.If(full & room):
            m.d.sync += [self.o.payload.eq(FULL), self.o.valid.eq(1), count.eq(0)]
        with m.Elif(take):
            m.d.sync += self.o.valid.eq(1)
            with m.If(body == 0):
                m.d.sync += [self.o.payload.eq(count + 1), count.eq(0)]
            with m.Else():
                m.d.sync += [self.o.payload.eq(body), count.eq(count + 1)]
        return m
