"""The CRC-32 of frames, a byte per cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Checksum"]

_POLYNOMIAL = 0xEDB88320  # 0x04C11DB7 with its bits reversed, as bytes go lowest bit first
_RESIDUE = 0x2144DF1C  # the CRC of any bytes followed by their own CRC


class Checksum(wiring.Component):
    """CRC-32/ISO-HDLC (docs/protocol.md) of the bytes since `start`.

    Eight steps of a shift register in a row; synthesis finds what they share, and needs half the LUTs that
    a sum of bits for each bit of the result takes.

    Members
    -------
    start : In(1)
        Begin again; `add` does nothing.
    add : In(1)
        Add the byte `data`. The complement of the low byte of `crc` moves the others down, so that four
        times show the bytes of `crc` there, in the order of the wire.
    data : In(8)
    crc : Out(32)
        The CRC.
    good : Out(1)
        The bytes end with their own CRC.
    """

    start: Signal
    add: Signal
    data: Signal
    crc: Signal
    good: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "add": In(1),
                "data": In(8),
                "crc": Out(32),
                "good": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the checksum."""
        m = Module()
        after: Value = self.crc ^ self.data
        for number in range(8):
            before, after = after, Signal(32, name=f"step{number}")
            m.d.comb += after.eq(_step(before))
        with m.If(self.start):
            m.d.sync += self.crc.eq(0)
        with m.Elif(self.add):
            m.d.sync += self.crc.eq(after)
        m.d.comb += self.good.eq(self.crc == _RESIDUE)
        return m


def _step(crc: Value) -> Value:
    # `crc` is kept as it is sent, the complement of the usual register: ones come in, and zeros fall out.
    return Cat(crc[1:], Const(1, 1)) ^ Mux(crc[0], 0, _POLYNOMIAL)
