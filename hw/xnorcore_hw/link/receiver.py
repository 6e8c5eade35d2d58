"""Frames on the wire to packets for the core: COBS, CRC-32, and a buffer that holds only good ones."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import crc, data, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.link.cobs import FULL
from xnorcore.protocol import CRC_BYTES, HEADER_BYTES

__all__ = ["FrameReceiver"]

_LENGTH_BYTES = 2  # before each packet in the buffer


class FrameReceiver(wiring.Component):
    """Decode, check and buffer frames.

    A frame is dropped as a whole if its COBS is malformed, its CRC is wrong, its body is shorter than
    7 bytes or longer than `config.max_frame`, or the buffer has no room; empty frames are ignored. A
    packet takes its bytes and two more of the `config.fifo_bytes` of the buffer, never more than the
    frame has on the wire, and gives each back as it is read.

    Members
    -------
    i : In(stream of 8 bits)
        Wire bytes; not ready for two cycles after a good frame.
    o : Out(stream of {"data": 8, "last": 1})
        Packet bytes from the type to the end of the payload, without the CRC; three cycles between
        packets.
    frames_good, frames_bad : Out(16)
        Frames passed on and dropped; they stop at 65535.
    clear : In(1)
        Set both counts to 0.
    """

    i: stream.Interface
    o: stream.Interface
    frames_good: Signal
    frames_bad: Signal
    clear: Signal

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        packet = stream.Signature(data.StructLayout({"data": 8, "last": 1}))
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(packet),
                "frames_good": Out(16),
                "frames_bad": Out(16),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the receiver."""
        m = Module()
        depth = self.config.fifo_bytes
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=depth, init=[])
        # Pointers carry one bit more than the address, so that a full buffer is not an empty one.
        start = Signal(range(2 * depth))  # of the packet that is being received; all before it is good
        read = Signal.like(start)
        self._receive(m, buffer.write_port(), start, read)
        self._deliver(m, buffer.read_port(), start, read)
        return m

    def _receive(self, m: Module, port: memory.WritePort, start: Signal, read: Signal) -> None:
        depth, longest = self.config.fifo_bytes, self.config.max_frame
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        write = Signal.like(start, init=_LENGTH_BYTES)
        length = Signal(range(longest + 2))  # bytes of the body so far
        packet = Signal.like(length)
        bad = Signal()  # the frame cannot be good any more
        begun = Signal()
        left = Signal(8)  # data bytes until the next code
        zero = Signal()  # a zero comes before the next block
        byte = Signal(8)
        put = Signal()
        full = Signal()
        m.d.comb += [
            full.eq((write - read)[depth.bit_length() - 1]),
            packet.eq(length - CRC_BYTES),
            check.data.eq(byte),
            check.valid.eq(put),
            port.addr.eq(write),
            port.data.eq(byte),
        ]
        with m.If(put):
            with m.If(full | (length == longest)):
                m.d.sync += bad.eq(1)
            with m.Else():
                m.d.comb += port.en.eq(1)
                m.d.sync += [write.eq(write + 1), length.eq(length + 1)]

        good = Signal()
        m.d.comb += good.eq(check.match_detected & ~bad & (left == 0) & (length >= HEADER_BYTES + CRC_BYTES))
        counts = {True: self.frames_good, False: self.frames_bad}
        with m.FSM():
            with m.State("FRAME"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & (self.i.payload == 0)):
                    m.d.comb += check.start.eq(1)
                    m.d.sync += [begun.eq(0), bad.eq(0), left.eq(0), zero.eq(0)]
                    with m.If(good):
                        m.next = "LOW"
                    with m.Else():
                        m.d.sync += [write.eq(start + _LENGTH_BYTES), length.eq(0)]
                        self._count(m, begun, counts[False])
                with m.Elif(self.i.valid):
                    m.d.sync += begun.eq(1)
                    with m.If(left != 0):
                        m.d.comb += [byte.eq(self.i.payload), put.eq(1)]
                        m.d.sync += left.eq(left - 1)
                    with m.Else():
                        m.d.comb += put.eq(zero)
                        m.d.sync += [left.eq(self.i.payload - 1), zero.eq(self.i.payload != FULL)]
            with m.State("LOW"):
                m.d.comb += [port.addr.eq(start), port.data.eq(packet), port.en.eq(1)]
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += [port.addr.eq(start + 1), port.data.eq(packet[8:]), port.en.eq(1)]
                after = start + _LENGTH_BYTES + packet
                m.d.sync += [start.eq(after), write.eq(after + _LENGTH_BYTES), length.eq(0)]
                self._count(m, 1, counts[True])
                m.next = "FRAME"
        with m.If(self.clear):
            m.d.sync += [count.eq(0) for count in counts.values()]

    @staticmethod
    def _count(m: Module, condition: Signal | int, count: Signal) -> None:
        with m.If(condition & ~count.all()):
            m.d.sync += count.eq(count + 1)

    def _deliver(self, m: Module, port: memory.ReadPort, start: Signal, read: Signal) -> None:
        left = Signal(range(self.config.max_frame + 1))  # bytes of the packet after this one
        step = Signal()
        address = Signal.like(read)
        # The port reads ahead: `port.data` is always the byte at `read`.
        m.d.comb += [address.eq(Mux(step, read + 1, read)), port.addr.eq(address), port.en.eq(1)]
        m.d.sync += read.eq(address)
        m.d.comb += [self.o.p.data.eq(port.data), self.o.p.last.eq(left == 0)]
        with m.FSM():
            # One cycle to see a new packet: the port may still hold what was there before it.
            with m.State("WAIT"), m.If(read != start):
                m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += step.eq(1)
                m.d.sync += left[:8].eq(port.data)
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += step.eq(1)
                m.d.sync += left.eq((left[:8] | (port.data << 8)) - 1)
                m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.comb += step.eq(1)
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.next = "WAIT"
