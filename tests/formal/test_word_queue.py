"""The queue of words in memory of one port keeps order and loses nothing, for ever."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.hdl import Array, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore_hw.memory.queue import WordQueue
from xnorcore_hw.memory.single.generic import Access, SingleMemory

from .scenario import Scenario


class Registers(SingleMemory):
    """A memory of one port, of which a claim can speak; behind a cycle that wrote, it shows anything."""

    def __init__(self) -> None:
        self.anything = Signal(32, name="anything")
        self.words: Array = Array()

    def add(self, m: Module, access: Access, depth: int) -> Value:
        """Add the memory."""
        self.words = Array(Signal(32, name=f"word{place}") for place in range(depth))
        shown = Signal(32, name="shown")
        m.d.sync += shown.eq(self.words[access.addr])
        with m.If(access.write):
            m.d.sync += [self.words[access.addr].eq(access.data), shown.eq(self.anything)]
        return shown


def scenario(queue: WordQueue, depth: int) -> Scenario:
    """One marked word, put in anywhere among the others, comes out unchanged and in its turn.

    Words may come and be withdrawn at any time. Who takes them is ready until it has one, and may say
    anything in the cycle behind.
    """
    memory = Registers()
    s = Scenario(queue, SimpleNamespace(single=memory))
    m, i, o, clear = s.m, queue.i, queue.o, queue.clear
    s.drive(i.valid, i.p, o.ready, clear, memory.anything)
    here, other, turned, grew = (s.inside[name] for name in ("here", "other", "turned", "grew"))
    same, wrote, read = (s.inside[name] for name in ("same", "wrote", "read"))
    earlier = s.past(o.valid, "valid_before")
    waits = s.past(o.ready & ~o.valid & ~earlier, "waits")
    s.assume(~waits | o.ready | clear)
    puts, reads = Signal(), Signal()
    back, front, inside = Signal.like(here), Signal.like(here), Signal(range(depth + 1))
    m.d.comb += [
        puts.eq(i.valid & i.ready & ~clear),
        back.eq(Mux(turned, here, other)),
        front.eq(Mux(turned, other, here)),
        inside.eq(Mux(back == front, Mux(grew, depth, 0), (back - front)[: len(here)])),
    ]
    # A word is read in the cycle in which the front moves: of this cycle, that is known in the next one.
    held, left = Signal.like(inside), Signal.like(inside)
    m.d.comb += [reads.eq(read), left.eq(held - reads)]
    m.d.sync += held.eq(Mux(clear, 0, left + puts))
    s.claim(left == inside, "count")
    s.claim(~(turned & ~wrote) | (inside != depth), "room")
    s.claim(~wrote | (turned & grew))
    s.claim(~read | ~(turned | grew))
    s.claim(read | wrote | (same == (here == other)), "same")
    s.claim(~o.valid | o.ready, "taken")
    s.claim(~(o.valid & (earlier | s.past(earlier, "valid_earlier"))), "one_at_a_time")
    choose, marked, gone = s.free(1, "choose"), Signal(), Signal()
    value, slot, ahead = Signal(32), Signal.like(here), Signal.like(inside)
    with m.If(clear):
        m.d.sync += [marked.eq(0), gone.eq(0)]
    with m.Elif(puts & choose & ~marked):
        m.d.sync += [marked.eq(1), value.eq(i.p), slot.eq(here), ahead.eq(left)]
    with m.Elif(marked & ~gone & reads):
        m.d.sync += [ahead.eq(ahead - 1), gone.eq(ahead == 0)]
    waiting, comes = marked & ~gone, Signal()
    m.d.comb += comes.eq(waiting & reads & (ahead == 0))
    s.claim(~gone | marked)
    s.claim(~waiting | (ahead < held))
    s.claim(~waiting | ((slot - front + reads)[: len(here)] == ahead[: len(here)]), "place")
    s.claim(~waiting | (memory.words[slot] == value), "kept")
    s.claim(~(comes & ~clear) | (o.valid & (o.p == value)), "value")
    s.reach(waiting & (ahead == depth - 1) & (value != 0), "marked_behind_others")
    s.reach(gone & (inside == depth), "full_again")
    return s


@pytest.mark.parametrize("depth", some([4, 16], 1))
def test_the_queue_keeps_order_and_loses_nothing(depth: int, tmp_path: Path) -> None:
    scenario(WordQueue(depth), depth).prove(tmp_path, steps=2, within=4 * depth + 12)


class Overfull(WordQueue):
    """Takes a word while the address is that of another one."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


class Stale(WordQueue):
    """Offers a word again."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.o.valid.eq(1)
        return m


@pytest.mark.parametrize(("wrong", "claims"), [(Overfull, {"count"}), (Stale, {"taken"})])
def test_the_proof_sees_a_wrong_queue(wrong: type[WordQueue], claims: set[str], tmp_path: Path) -> None:
    assert claims <= scenario(wrong(4), 4).refuted(tmp_path, cycles=12)
