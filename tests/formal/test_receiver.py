"""The link receiver: nothing but good frames becomes packets, whole, in order, and nothing wedges it.

The reference below decodes COBS and computes the CRC in the textbook's way. The buffer's memory is left out:
its ports are free but for the words that are followed, so that the proofs hold for the buffer at full size.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Command
from xnorcore_hw.link import FrameReceiver

from ..yosys import prove_within
from .scenario import Scenario

SMALL = DeviceConfig(Geometry(1, 8, 8), fifo_bytes=512)  # one byte of prefix
LARGE = DeviceConfig(Geometry(1, 8, 8), fifo_bytes=4096)  # two


class Open(FrameReceiver):
    """A receiver whose buffer is elsewhere: `put` and `get` are the ports that lead there."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.config.fifo_bytes
        self.start = Signal(range(2 * depth))
        self.read = Signal.like(self.start)
        bits = (depth - 1).bit_length()
        self.put, self.get = (
            SimpleNamespace(
                addr=Signal(bits, name=f"{name}_addr"),
                data=Signal(8, name=f"{name}_data"),
                en=Signal(name=f"{name}_en"),
            )
            for name in ("put", "get")
        )
        self._receive(m, self.put, self.start, self.read)  # type: ignore[arg-type]
        self._deliver(m, self.get, self.start, self.read)  # type: ignore[arg-type]
        return m


def textbook_crc(m: Module, crc: Value, byte: Value) -> Value:
    """One byte of CRC-32, a bit at a time, as Ethernet's shift register does it."""
    for index in range(8):
        before, crc = crc, Signal(32, name=f"bit{index}")
        m.d.comb += crc.eq((before >> 1) ^ Mux(before[0] ^ byte[index], Const(0xEDB88320, 32), 0))
    return crc


class Reference:
    """A frame decoder without a buffer, one byte a step.

    Attributes
    ----------
    taken, ends : Value
        A byte is accepted; it is the delimiter.
    gives, byte : Value
        The byte adds one to the body, and which.
    length : Signal
        Bytes of the body before this one, at most 4095.
    good : Value
        The delimiter ends a good frame, but for its length's upper limit.
    kind : Signal
        First byte of the body.
    """

    def __init__(self, m: Module, receiver: FrameReceiver) -> None:
        i = receiver.i
        left, zero, started = Signal(8), Signal(), Signal()
        crc, self.length, self.kind = Signal(32, init=0xFFFFFFFF), Signal(12), Signal(8)
        self.left, self.zero, self.crc, self.started = left, zero, crc, started
        self.taken = i.valid & i.ready
        self.ends = self.taken & (i.payload == 0)
        code = left == 0  # a code byte is next
        self.gives, self.byte = Signal(), Signal(8)
        m.d.comb += [
            self.gives.eq(self.taken & ~self.ends & (~code | zero)),
            self.byte.eq(Mux(code, 0, i.payload)),
        ]
        self.good = Signal()
        m.d.comb += self.good.eq(self.ends & code & (self.length >= 7) & (crc == 0xDEBB20E3))
        after = textbook_crc(m, crc, self.byte)
        with m.If(self.ends):
            m.d.sync += [left.eq(0), zero.eq(0), crc.eq(0xFFFFFFFF), self.length.eq(0)]
        with m.Elif(self.taken):
            with m.If(code):
                m.d.sync += [left.eq(i.payload - 1), zero.eq(i.payload != 255)]
            with m.Else():
                m.d.sync += left.eq(left - 1)
            with m.If(self.gives):
                m.d.sync += crc.eq(after)
                with m.If(~self.length.all()):
                    m.d.sync += self.length.eq(self.length + 1)
                with m.If(self.length == 0):
                    m.d.sync += self.kind.eq(self.byte)


def test_the_residue_is_that_of_zlib() -> None:
    """The constant in `Reference`: the register after any body and its CRC, as zlib computes it."""
    for body in (b"", b"abc", bytes(20)):
        whole = body + zlib.crc32(body).to_bytes(4, "little")
        assert zlib.crc32(whole) ^ 0xFFFFFFFF == 0xDEBB20E3


def follow(config: DeviceConfig, kind: type[Open] = Open) -> tuple[Scenario, Open, Reference, int]:
    """A receiver beside the reference, and the invariants that tie them together.

    Assumed, as of the cycle before: what is not a good packet's is not read. `test_packets_come_out_whole`
    proves that, from what is proved here about cycles before.
    """
    receiver = kind(config)
    s = Scenario(receiver)
    s.drive(receiver.i.valid, receiver.i.payload, receiver.o.ready, receiver.clear, receiver.get.data)
    reference = Reference(s.m, receiver)
    prefix = 1 if config.max_frame < 256 else 2
    at = s.inside
    start, read, taken = receiver.start, receiver.read, at["taken"]
    unread = (start - read)[: len(start)]
    s.claim(at["checksum.crc"] == ~reference.crc)
    s.claim(at["fsm_state"] <= prefix + 1)
    s.claim(at["left"] == (reference.left + 1)[:8])
    s.claim(at["zero"] == reference.zero)
    s.assume(s.past(~receiver.get.en | (read != start), "read_what_is_good", init=1))
    # A frame's bytes go behind the good ones; from the place where there is none left, the frame is bad.
    s.claim(unread + 4 <= config.fifo_bytes)  # a packet gives up the places of its CRC
    s.claim(~at["closing"] | (unread + (at["end"] - start)[: len(start)] + 4 <= config.fifo_bytes))
    s.claim(at["closing"] | at["bad"] | (taken >= prefix))
    s.claim(~at["closing"] | (taken < prefix))
    fits = reference.length <= config.max_frame
    s.claim(at["closing"] | ~fits | (taken == prefix + reference.length))
    s.claim(fits | at["bad"])
    s.claim(at["closing"] | at["bad"] | (unread + taken <= config.fifo_bytes))
    # A byte stays until it is taken. What is known a cycle late is right when it is.
    offered = s.past(receiver.i.valid & ~receiver.i.ready, "offered")
    same = receiver.i.valid & (receiver.i.payload == s.past(receiver.i.payload, "payload_before"))
    s.assume(~offered | same)
    rests = at["seen"] & ~at["closing"]
    s.claim(~at["seen"] | (offered & (at["delimiter"] == (receiver.i.payload == 0))))
    good = reference.crc == 0xDEBB20E3
    least = prefix + 7
    s.claim(~rests | (at["at_code"] == (at["left"] == 1)))
    s.claim(~rests | (at["longest_taken"] == (taken == prefix + config.max_frame)))
    s.claim(~rests | (at["sound"] == (good & ~at["bad"] & (taken >= least))), "sound")
    s.claim(~rests | (at["wanted"] == (good & at["asked"] & (taken == least))))
    place = (start + taken)[: len(start)]
    s.claim(~rests | at["full"] | (place != read ^ config.fifo_bytes) | at["bad"])
    return s, receiver, reference, prefix


def deliverable(config: DeviceConfig, kind: type[Open] = Open) -> Scenario:
    s, receiver, reference, prefix = follow(config, kind)
    m, at = s.m, s.inside
    start, read, put = receiver.start, receiver.read, receiver.put
    closing, bad = at["closing"], at["bad"]
    # Only a good frame makes a packet, once, and no longer than allowed.
    passed, length = Signal(), Signal(12)
    with m.If(reference.ends):
        m.d.sync += [
            passed.eq(reference.good & (reference.length <= config.max_frame)),
            length.eq(reference.length),
        ]
    s.claim(~closing | passed, "passed")
    moved = s.past(start, "start_before") != start
    s.claim(~moved | s.past(closing, "closing_before"))
    s.claim(~s.past(~closing & ~reference.ends, "quiet") | ~moved)
    # It ends where its CRC began.
    ends = (start + prefix + length - 4)[: len(start)]
    s.claim(~closing | (at["end"] == ends))
    s.claim(~moved | (start == s.past(ends, "end_before")))
    # Body byte k goes to place k behind the prefix; the prefix is the end's low bytes.
    place = (start + prefix + reference.length)[: len(put.addr)]
    s.claim(~(put.en & ~closing) | (reference.gives & (put.addr == place) & (put.data == reference.byte)))
    # If there is room for it; a byte that was read in the cycle before may still count, and at a reset all.
    freed = s.past(receiver.get.en | receiver.reset, "freed")
    unread_then = (start - s.past(read, "read_before"))[: len(start)]
    there = reference.length + prefix + Mux(freed, unread_then, (start - read)[: len(start)])
    s.claim(~(reference.gives & ~bad) | put.en | (there >= config.fifo_bytes))
    number = at["taken"][: prefix - 1]
    s.claim(~(put.en & closing) | (put.addr == (start + number)[: len(put.addr)]))
    s.claim(~(put.en & closing) | (put.data == at["end"].word_select(number, 8)))
    # No byte that is still to be read is overwritten: a write is at least as far from `read` as `start`.
    distance = (put.addr - read)[: len(put.addr)]
    unread = (start - read)[: len(start)]
    s.claim(~put.en | ((distance >= unread) & (unread < config.fifo_bytes)))
    # RESET: only a good frame of that type without payload, and then nothing of what came before is left.
    asked = reference.good & (reference.kind == Command.RESET) & (reference.length == 7)
    s.claim(receiver.reset == s.past(asked, "asked_before"))
    fits = reference.length <= config.max_frame
    s.claim((reference.length == 0) | (at["asked"] == (fits & (reference.kind == Command.RESET))))
    s.claim(at["first"] == (reference.length == 0))
    s.claim(~s.past(receiver.reset, "was_reset") | (at["fsm_state"] == 0))
    s.claim(~s.past(receiver.reset, "was_reset2") | (read == s.past(start, "start_before2")))
    s.reach(moved & (start == length - 4 + prefix), "packet")
    s.reach(receiver.reset & (start == 0), "reset")
    s.reach(s.past(reference.ends & (reference.length >= 7), "frame_ended") & ~closing, "bad_frame")
    return s


@pytest.mark.parametrize("config", some([SMALL, LARGE], 0), ids=["prefix1", "prefix2"])
def test_only_good_frames_become_packets(config: DeviceConfig, tmp_path: Path) -> None:
    deliverable(config).prove(tmp_path, 3, within=26)


@pytest.mark.campaign
def test_the_proof_sees_an_unchecked_crc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorcore_hw.link.framing.checksum._RESIDUE", 0x2144DF1D)
    # Seven bytes of a frame, two cycles each, are not enough.
    assert "sound" in deliverable(SMALL).refuted(tmp_path, cycles=26, after=17)


class Reader(FrameReceiver):
    """The half of a receiver that delivers packets, its memory elsewhere."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.start = Signal(range(2 * self.config.fifo_bytes))
        self.read = Signal.like(self.start)
        bits = (self.config.fifo_bytes - 1).bit_length()
        self.get = SimpleNamespace(addr=Signal(bits), data=Signal(8), en=Signal())
        self._deliver(m, self.get, self.start, self.read)  # type: ignore[arg-type]
        return m


@pytest.mark.parametrize("config", some([SMALL, LARGE], 1), ids=["prefix1", "prefix2"])
def test_packets_come_out_whole(config: DeviceConfig, tmp_path: Path) -> None:
    """A packet from `first` to `end`, of any legal length: its bytes, all of them, in order, and no more.

    The buffer still has what was put there, as proved above; the reader then stops in front of `end`, where
    the next packet begins, and so on from packet to packet.
    """
    reader = Reader(config)
    s = Scenario(reader)
    m, at, read, get = s.m, s.inside, reader.read, reader.get
    prefix = 1 if config.max_frame < 256 else 2
    first, end = s.constant(len(read), "first"), s.constant(len(read), "end")
    size = (end - first)[: len(read)]
    s.assume((size >= prefix + 3) & (size <= prefix + config.max_frame - 4))
    s.drive(reader.start, reader.o.ready, reader.reset, get.data)
    waits = at["fsm_state"] == 0
    # The prefix holds the end's low bytes.
    for number in range(prefix):
        asked = s.past(get.en & (read == (first + number)[: len(read)]), f"asked{number}")
        s.assume(~asked | (get.data == (end >> 8 * number)[:8]))
    inside, sent = Signal(), Signal(12)
    begins = waits & get.en & (read == first)
    leaves = reader.o.valid & reader.o.ready
    with m.If(reader.reset):
        m.d.sync += inside.eq(0)
    with m.Elif(begins):
        m.d.sync += [inside.eq(1), sent.eq(0)]
    with m.Elif(inside & leaves):
        m.d.sync += [sent.eq(sent + 1), inside.eq(~reader.o.payload.last)]
    last = size - prefix - 1
    for number in range(prefix):
        state = at["fsm_state"] == 1 + number
        s.claim(~(inside & state) | ((read == (first + 1 + number)[: len(read)]) & (sent == 0)))
        if number:
            s.claim(~(inside & state) | (at["last"][:8] == end[:8]))
    data = at["fsm_state"] == 1 + prefix
    s.claim(at["fsm_state"] <= 1 + prefix)
    s.claim(reader.o.valid == data)
    s.claim(~inside | ~waits)
    s.claim(~(inside & data) | (at["last"] == end[: len(at["last"])]))
    # The byte that is offered is the one after those sent; the last one, and only that, is marked.
    s.claim(~(inside & data) | (read == (first + prefix + 1 + sent)[: len(read)]))
    s.claim(~(inside & data) | (sent <= last))
    s.claim(~(inside & data) | (reader.o.payload.last == (sent == last)))
    s.claim(~reader.o.valid | (Value.cast(reader.o.payload.data) == get.data))
    # What is read lies before the end, and there the next packet is waited for.
    s.claim(~(inside & get.en) | ((end - read)[: len(read)] < size) & (read != end))
    over = s.past(inside & leaves & reader.o.payload.last & ~reader.reset, "over")
    s.claim(~over | (waits & (read == end)))
    offered = s.past(reader.o.valid & ~reader.o.ready & ~reader.reset, "offered")
    s.claim(~offered | reader.o.valid)
    s.reach(over & (size == prefix + 5), "packet_read")
    s.reach(s.past(reader.reset & inside & data, "cut") & waits, "cut_short")
    s.prove(tmp_path, 4, within=prefix + 12)


@pytest.mark.parametrize("config", some([SMALL, LARGE], 1), ids=["prefix1", "prefix2"])
def test_one_delimiter_ends_whatever_was(config: DeviceConfig, tmp_path: Path) -> None:
    """From every state, reached or not: a delimiter, and the receiver is where it is at power-up."""
    receiver = Open(config)
    s = Scenario(receiver)
    prefix, at = 1 if config.max_frame < 256 else 2, s.inside
    s.drive(receiver.o.ready, receiver.get.data)
    s.m.d.comb += [receiver.i.valid.eq(1), receiver.i.payload.eq(0)]
    # Both are proved above.
    s.assume(~at["closing"] | (at["taken"] < prefix))
    s.assume(~at["seen"] | at["delimiter"])
    s.claim(Cat(at["left"] == 1, ~at["zero"], ~at["bad"], at["first"], at["checksum.crc"] == 0).all())
    s.claim(at["taken"] == prefix)
    s.claim(~at["closing"])
    # A good frame may end in the first cycle, and is closed in the next ones.
    settled = 2 + prefix
    s.reach(at["bad"] & at["zero"] & ~at["first"] & at["seen"], "inside_a_bad_frame")
    s.reach(at["closing"] & (at["taken"] == prefix - 1), "closing")
    s.check_reached(tmp_path, settled, anywhere=True)
    prove_within(s.rtlil(), tmp_path, settled + 2, anywhere=True, skip=settled)
