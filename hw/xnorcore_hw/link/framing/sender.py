"""Packets of the core to frames on the wire: CRC-32, reverse COBS and the delimiter, all on the fly."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.protocol import CRC_BYTES
from xnorcore.link.cobs import FULL

from .checksum import Checksum

__all__ = ["FrameSender"]


class FrameSender(wiring.Component):
    """Frame packets without holding them back.

    A frame costs its own bytes plus four of CRC, one code byte per 254 bytes and at the end, and the
    delimiter; two cycles each.

    Members
    -------
    i : In(stream of {"data": 8, "last": 1})
        Packet bytes, from the type to the status; `last` on the final one.
    o : Out(stream of 8 bits)
        Wire bytes.
    abort : In(1)
        The rest of a packet will not come: end its frame with a delimiter, which leaves it damaged.
    """

    i: stream.Interface
    o: stream.Interface
    abort: Signal

    def __init__(self) -> None:
        packet = stream.Signature(data.StructLayout({"data": 8, "last": 1}))
        super().__init__({"i": In(packet), "o": Out(stream.Signature(8)), "abort": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the sender."""
        m = Module()
        m.submodules.checksum = check = Checksum()

        code = Signal(range(FULL + 1), init=1)  # data bytes of the block so far, plus one
        number = Signal(range(CRC_BYTES))  # byte of the CRC
        body = Signal(8)
        room = Signal()  # the output register takes a byte
        full = Signal()
        free = Signal()  # for a byte that is not the code of a full block
        take = Signal()  # `body` leaves, as itself or as a code
        close = Signal()  # the last code leaves
        delimit = Signal()

        m.d.comb += [
            room.eq(~self.o.valid),
            free.eq(room & ~full),
            body.eq(self.i.p.data),
            check.data.eq(body),
        ]
        # The output register is not free again before this follows `code`.
        m.d.sync += full.eq(code == FULL)
        with m.FSM():
            with m.State("BODY"):
                m.d.comb += [self.i.ready.eq(free), take.eq(self.i.valid & free), check.add.eq(take)]
                with m.If(take & self.i.p.last):
                    m.next = "CRC"
                with m.If(self.abort):
                    m.next = "DELIMITER"
            with m.State("CRC"):
                m.d.comb += [body.eq(check.crc), take.eq(free), check.data.eq(~body), check.add.eq(free)]
                with m.If(take):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == CRC_BYTES - 1):
                        m.next = "CODE"
                with m.If(self.abort):
                    m.next = "DELIMITER"
            with m.State("CODE"):
                m.d.comb += close.eq(free)
                with m.If(free | self.abort):
                    m.next = "DELIMITER"
            with m.State("DELIMITER"):
                m.d.comb += [check.start.eq(1), delimit.eq(1)]
                m.d.sync += number.eq(0)
                with m.If(room):
                    m.next = "BODY"

        with m.If(room):
            m.d.sync += self.o.valid.eq(full | take | close | delimit)
            with m.If(delimit):
                m.d.sync += self.o.payload.eq(0)
            with m.Elif(full | close | (body == 0)):
                m.d.sync += self.o.payload.eq(code)
            with m.Else():
                m.d.sync += self.o.payload.eq(body)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If((full & room) | delimit | (take & (body == 0))):
            m.d.sync += code.eq(1)
        with m.Elif(take):
            m.d.sync += code.eq(code + 1)
        return m
