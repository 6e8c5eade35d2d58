"""Frames on the wire to packets for the core: COBS, CRC-32, and a buffer that holds only good ones."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import CRC_BYTES, HEADER_BYTES, Command
from xnorcore.link.cobs import FULL

from ...parts.counting import down_or_load
from ...parts.limits import at_least
from .checksum import Checksum

__all__ = ["FrameReceiver"]


class FrameReceiver(wiring.Component):
    """Decode, check and buffer frames.

    A frame is dropped as a whole if its COBS is malformed, its CRC is wrong, its body is shorter than
    7 bytes or longer than `config.max_frame`, or the buffer has no room; empty frames are ignored. A
    packet takes its bytes and one or two more of the `config.fifo_bytes` of the buffer, never more than
    the frame has on the wire, and gives each back as it is read.

    A good RESET frame drops all packets before it, also the one that is being read, and goes through
    `reset` at once: whatever hangs behind `o` is no obstacle. If the buffer was too full for it, the buffer
    is empty then, and takes it when it is repeated.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    i : In(stream of 8 bits)
        Wire bytes; not ready for one or two cycles after a good frame.
    o : Out(stream of {"data": 8, "last": 1})
        Packet bytes from the type to the end of the payload, without the CRC; two or three cycles
        between packets.
    frames_good, frames_bad : Out(16)
        Frames passed on and dropped; they stop at 65535. Both stay 0 without `config.counters`.
    dropped : Out(1)
        A frame is dropped in this cycle.
    clear : In(1)
        Set both counts to 0.
    reset : Out(1)
        A RESET frame has come: start again with the packet that follows. For one cycle.
    """

    i: stream.Interface
    o: stream.Interface
    frames_good: Signal
    frames_bad: Signal
    dropped: Signal
    clear: Signal
    reset: Signal

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        # In the buffer, the low bytes of the pointer to a packet's end stand before it.
        self._prefix = 1 if config.max_frame < 256 else 2
        packet = stream.Signature(data.StructLayout({"data": 8, "last": 1}))
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(packet),
                "frames_good": Out(16),
                "frames_bad": Out(16),
                "dropped": Out(1),
                "clear": In(1),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the receiver."""
        m = Module()
        depth = self.config.fifo_bytes
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=depth, init=[])
        # Pointers carry one bit more than the address, so that a full buffer is not an empty one.
        start = Signal(range(2 * depth))  # of the packet that is being received; all before it is good
        read = Signal.like(start)  # the next byte to be read
        self._receive(m, buffer.write_port(), start, read)
        self._deliver(m, buffer.read_port(), start, read)
        return m

    def _receive(self, m: Module, port: memory.WritePort, start: Signal, read: Signal) -> None:
        prefix, longest = self._prefix, self.config.max_frame
        m.submodules.checksum = check = Checksum()
        i = self.i
        closing = Signal()  # a good packet gets its prefix
        seen = Signal()  # a byte, for a cycle: what it is, and what the one before it did, are in registers
        delimiter = Signal()
        step, end_of_frame = Signal(name="step"), Signal(name="end_of_frame")
        m.d.comb += [
            i.ready.eq(seen & ~closing),
            step.eq(i.valid & i.ready),
            end_of_frame.eq(step & delimiter),
        ]
        m.d.sync += [seen.eq(i.valid & ~step & ~closing), delimiter.eq(i.payload == 0)]
        left = Signal(8, init=1)  # bytes to the next code, which is the last of them
        zero = Signal()  # a zero comes before the next block
        at_code, put = Signal(name="at_code"), Signal()
        m.d.sync += at_code.eq(left == 1)
        m.d.comb += [
            put.eq(step & ~end_of_frame & (~at_code | zero)),
            check.data.eq(Mux(at_code, 0, i.payload)),
            check.add.eq(put),
            check.start.eq(end_of_frame),
        ]
        with m.If(end_of_frame):
            m.d.sync += [left.eq(1), zero.eq(0)]
        with m.Elif(step):
            m.d.sync += left.eq(down_or_load(~at_code, left, i.payload))
            with m.If(at_code):
                m.d.sync += zero.eq(i.payload != FULL)

        taken = Signal(range(prefix + longest + 1), init=prefix)  # by the prefix and the body so far
        place, end = Signal.like(start, name="place"), Signal.like(start, name="end")
        bad = Signal()  # the frame cannot be good any more
        full, good = Signal(name="full"), Signal(name="good")
        sound, longest_taken = Signal(name="sound"), Signal(name="longest_taken")
        m.d.sync += [
            full.eq(place == read ^ self.config.fifo_bytes),
            longest_taken.eq(taken == prefix + longest),
            sound.eq(check.good & ~bad & at_least(taken, prefix + HEADER_BYTES + CRC_BYTES)),
        ]
        m.d.comb += [
            place.eq(start + taken),
            good.eq(sound & at_code),
            port.addr.eq(place),
            port.data.eq(Mux(closing, end.word_select(taken[: prefix - 1], 8), check.data)),
            port.en.eq(closing | (put & ~full & ~bad)),
        ]
        with m.If(end_of_frame):
            # The prefix goes to the place that was left free for it.
            m.d.sync += [taken.eq(Mux(good, 0, prefix)), end.eq(place - CRC_BYTES), closing.eq(good)]
            m.d.sync += bad.eq(0)
        with m.Elif(put | closing):
            m.d.sync += taken.eq(taken + 1)
            with m.If(~closing & (full | longest_taken)):
                m.d.sync += bad.eq(1)
        with m.If(closing & (taken == prefix - 1)):
            m.d.sync += [closing.eq(0), start.eq(end)]

        # RESET is a body of the least length and is known by its type, whether there was room for it or not.
        asked, first = Signal(name="asked"), Signal(init=1)
        with m.If(put | end_of_frame):
            m.d.sync += first.eq(end_of_frame)
        with m.If(put & first):
            m.d.sync += asked.eq(check.data == Command.RESET)
        with m.Elif(put & longest_taken):
            m.d.sync += asked.eq(0)  # `taken` starts again
        wanted = Signal(name="wanted")
        m.d.sync += wanted.eq(check.good & asked & (taken == prefix + HEADER_BYTES + CRC_BYTES))
        m.d.sync += self.reset.eq(end_of_frame & at_code & wanted)

        begun = Signal()
        with m.If(step):
            m.d.sync += begun.eq(~end_of_frame)
        m.d.comb += self.dropped.eq(end_of_frame & begun & ~good)
        if self.config.counters:
            self._count(m, self.frames_good, end_of_frame & good)
            self._count(m, self.frames_bad, self.dropped)

    def _count(self, m: Module, count: Signal, condition: Value) -> None:
        following = Signal(len(count) + 1)
        m.d.comb += following.eq(count + 1)
        with m.If(self.clear):
            m.d.sync += count.eq(0)
        with m.Elif(condition & ~following[-1]):
            m.d.sync += count.eq(following)

    def _deliver(self, m: Module, port: memory.ReadPort, start: Signal, read: Signal) -> None:
        end = Signal(
            min(8 * self._prefix, len(read)), name="last"
        )  # of the packet, as far as the prefix tells
        m.d.comb += [
            port.addr.eq(read),
            self.o.p.data.eq(port.data),
            self.o.p.last.eq(end == read[: len(end)]),
        ]
        some = Signal()  # a cycle late, which only WAIT looks at
        m.d.sync += some.eq((read != start) & ~self.reset)
        with m.If(port.en):
            m.d.sync += read.eq(read + 1)
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += port.en.eq(some & ~self.reset)
                with m.If(port.en):
                    m.next = "PREFIX0"
            for number in range(self._prefix):
                with m.State(f"PREFIX{number}"):
                    m.d.comb += port.en.eq(1)
                    m.d.sync += end[8 * number : 8 * number + 8].eq(port.data)
                    m.next = "DATA" if number == self._prefix - 1 else f"PREFIX{number + 1}"
                    with m.If(self.reset):
                        m.next = "WAIT"
            with m.State("DATA"):
                m.d.comb += [self.o.valid.eq(1), port.en.eq(self.o.ready & ~self.o.p.last)]
                with m.If(self.o.ready & self.o.p.last | self.reset):
                    m.next = "WAIT"
        with m.If(self.reset):
            m.d.sync += read.eq(start)
