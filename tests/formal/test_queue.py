"""The queues between streams keep order and lose nothing, for ever."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Array, Cat, Elaboratable, Module, Signal, Value
from amaranth.lib import data, stream

from tests.campaigns import some
from xnorcore_hw.command import records
from xnorcore_hw.command.records import RecordMemory, RecordQueue
from xnorcore_hw.parts.stream_register import StreamRegister

from .scenario import Scenario


def queue_scenario(queue: RecordQueue) -> Scenario:
    """Two marked items, one put in anywhere, and another one anywhere after it.

    Whatever value they have, each leaves unchanged, once, and in that order: as the marks may be any two of
    the items, that is all there is to say about a queue. The marks travel in a shadow of the queue.
    """
    s = Scenario(queue)
    m, depth = s.m, queue.depth
    s.drive(queue.i.valid, queue.i.payload, queue.o.ready)
    free = s.inside["free"]
    items = [Value.cast(s.inside[f"item{place}"]) for place in range(depth)]
    # How many items went in before each mark, and out: places and marks as counts.
    entered = Signal(depth.bit_length())
    puts, takes = Signal(), Signal()
    m.d.comb += [puts.eq(queue.i.valid & queue.i.ready), takes.eq(queue.o.valid & queue.o.ready)]
    m.d.sync += entered.eq(entered + puts - takes)
    inside = sum((~bit for bit in free), start=Value.cast(0))
    # Nothing is lost or made: what is inside is what entered and did not leave.
    s.claim(entered == inside, "count")
    s.claim(queue.empty == (inside == 0), "empty")
    # The mark: chosen once among the items that enter, with the items that are in front of it.
    choose, marked, gone = s.free(1, "choose"), Signal(), Signal()
    value, ahead = Signal(len(items[0])), Signal(depth.bit_length())
    with m.If(puts & choose & ~marked):
        m.d.sync += [marked.eq(1), value.eq(Value.cast(queue.i.payload)), ahead.eq(entered - takes)]
    with m.Elif(marked & ~gone & takes):
        m.d.sync += [ahead.eq(ahead - 1), gone.eq(ahead == 0)]
    waiting = marked & ~gone
    s.claim(~waiting | (ahead < entered))
    # It is the item that has `ahead` others between it and the output.
    for place in range(depth):
        in_front = sum((~bit for bit in free[place + 1 :]), start=Value.cast(0))
        s.claim(~(waiting & ~free[place] & (in_front == ahead)) | (items[place] == value))
    s.claim(~(waiting & takes & (ahead == 0)) | (Value.cast(queue.o.payload) == value), "value")
    s.claim(~gone | marked)
    s.reach(waiting & (ahead == depth - 1) & (value != 0), "marked_behind_others")
    s.reach(
        gone & s.past(queue.o.valid & (Value.cast(queue.o.payload) == value), "out") & (value != 0), "gone"
    )
    return s


@pytest.mark.parametrize("depth", some([2, 1, 8], 2))
def test_the_queue_keeps_order_and_loses_nothing(depth: int, tmp_path: Path) -> None:
    queue_scenario(RecordQueue(depth)).prove(tmp_path, steps=2, within=2 * depth + 4)


class Registers(Elaboratable):
    """What `amaranth.lib.memory.Memory` is, made of registers, of which a claim can speak."""

    def __init__(self, shape: data.StructLayout, depth: int, init: list[int]) -> None:
        assert not init
        self.words = Array(Signal(shape.size, name=f"word{place}") for place in range(depth))
        self.write = SimpleNamespace(addr=Signal(range(depth)), data=Signal(shape), en=Signal())
        self.read = SimpleNamespace(addr=Signal(range(depth)), data=Signal(shape))

    def write_port(self) -> SimpleNamespace:
        """Return the one port that writes."""
        return self.write

    def read_port(self) -> SimpleNamespace:
        """Return the one port that reads: what was there a cycle ago."""
        return self.read

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        with m.If(self.write.en):
            m.d.sync += self.words[self.write.addr].eq(Value.cast(self.write.data))
        m.d.sync += Value.cast(self.read.data).eq(self.words[self.read.addr])
        return m


def memory_scenario(queue: RecordMemory, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """One marked item, put in anywhere among the others, leaves unchanged and in its turn."""
    made: list[Registers] = []

    def registers(**of: Any) -> Registers:
        made.append(Registers(**of))
        return made[-1]

    monkeypatch.setattr(records, "Memory", registers)
    s = Scenario(queue)
    m, last = s.m, queue.depth - 1
    (memory,) = made
    s.drive(queue.i.valid, queue.i.payload, queue.o.ready)
    entering, leaving = s.inside["entering"], s.inside["leaving"]
    entered, inside = Signal.like(entering), Signal.like(entering)
    puts, takes = Signal(), Signal()
    m.d.comb += [
        puts.eq(queue.i.valid & queue.i.ready),
        takes.eq(queue.o.valid & queue.o.ready),
        inside.eq(entering - leaving),
    ]
    m.d.sync += entered.eq(entered + puts - takes)
    s.claim(entered == inside, "count")
    s.claim(queue.empty == (inside == 0), "empty")
    s.claim(~queue.i.ready | (inside != last), "room")
    s.claim(~queue.o.valid | (inside != 0), "offer")
    offered = Value.cast(queue.o.payload)
    s.claim(~queue.o.valid | (offered == memory.words[leaving]), "first")
    choose, marked, gone = s.free(1, "choose"), Signal(), Signal()
    value, slot, ahead = Signal(len(offered)), Signal.like(entering), Signal.like(entering)
    with m.If(puts & choose & ~marked):
        m.d.sync += [
            marked.eq(1),
            value.eq(Value.cast(queue.i.payload)),
            slot.eq(entering),
            ahead.eq(entered - takes),
        ]
    with m.Elif(marked & ~gone & takes):
        m.d.sync += [ahead.eq(ahead - 1), gone.eq(ahead == 0)]
    waiting, distance = marked & ~gone, Signal.like(entering)
    m.d.comb += distance.eq(slot - leaving)
    s.claim(~waiting | ((ahead < entered) & (distance == ahead)))
    s.claim(~waiting | (memory.words[slot] == value), "kept")
    s.claim(~(waiting & takes & (ahead == 0)) | (offered == value), "value")
    s.claim(~gone | marked)
    s.reach(waiting & (ahead == last - 1) & (value != 0), "marked_behind_others")
    s.reach(gone & (inside == last), "full_again")
    return s


@pytest.mark.parametrize("depth", some([4, 16], 1))
def test_a_queue_in_a_memory_keeps_order_and_loses_nothing(
    depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_scenario(RecordMemory(depth), monkeypatch).prove(tmp_path, steps=2, within=2 * depth + 8)


class Overfull(RecordMemory):
    """Takes an item that has no place."""

    def elaborate(self, platform: object):
        m = super().elaborate(platform)
        m.d.sync += self.i.ready.eq(1)
        return m


class Hasty(RecordMemory):
    """Offers what is behind an item that leaves before it has been read."""

    def elaborate(self, platform: object):
        m = super().elaborate(platform)
        m.d.sync += self.o.valid.eq(~self.empty)
        return m


@pytest.mark.parametrize(("wrong", "claims"), [(Overfull, {"room"}), (Hasty, {"first"})])
def test_the_proof_sees_a_wrong_queue_in_a_memory(
    wrong: type[RecordMemory], claims: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert claims <= memory_scenario(wrong(4), monkeypatch).refuted(tmp_path, cycles=12)


def test_an_offer_stays(tmp_path: Path) -> None:
    queue = RecordQueue(8)
    s = Scenario(queue)
    s.drive(queue.i.valid, queue.i.payload, queue.o.ready)
    offer = Cat(queue.o.valid, queue.o.payload)
    before = s.past(offer, "before")
    kept = s.past(queue.o.valid & ~queue.o.ready, "kept")
    s.claim(~kept | (offer == before))
    s.reach(kept & ~s.past(queue.empty, "was_empty") & (offer[1:] != 0), "kept")
    s.prove(tmp_path, steps=2, within=12)


@pytest.mark.parametrize("width", [1, 9])
def test_a_stream_register_keeps_order_and_loses_nothing(width: int, tmp_path: Path) -> None:
    """It holds the item that entered last until it leaves, and takes none before."""
    s = Scenario(register := StreamRegister(stream.Signature(width)))
    i, o = register.i, register.o
    s.drive(i.valid, i.payload, o.ready)
    puts, takes = i.valid & i.ready, o.valid & o.ready
    holds, last = Signal(), Signal(width)
    s.m.d.sync += holds.eq(holds + puts - takes)
    with s.m.If(puts):
        s.m.d.sync += last.eq(i.payload)
    s.claim((s.inside["full"] == holds) & (o.valid == holds) & (i.ready == ~holds))
    s.claim(~holds | (s.inside["payload"] == last))
    s.claim(~holds | (o.payload == last))
    s.reach(takes & (last == (1 << width) - 1), "taken")
    s.prove(tmp_path, steps=2, within=4)


class Losing(RecordQueue):
    """Forgets an item that enters while the one before it moves on."""

    def elaborate(self, platform: object):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


def test_the_proof_sees_a_lost_item(tmp_path: Path) -> None:
    assert queue_scenario(Losing(2)).refuted(tmp_path, cycles=8) == {"count"}
