"""The sum of a stream: a wrong word, whichever it is, is seen with the next check word."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from xnorcore_hw.memory.stream_sum import StreamSum

from .scenario import Scenario


class Two(wiring.Component):
    """What is right, and what came."""

    def __init__(self, came: StreamSum) -> None:
        self.right, self.came = StreamSum(), came
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.right, m.submodules.came = self.right, self.came
        return m


def scenario(came: StreamSum) -> Scenario:
    """One word is another one than it was, in any of its bits."""
    s = Scenario(two := Two(came))
    s.drive(two.right.taken, two.right.check, two.right.word)
    error, happens, happened = s.free(32, "error"), s.free(1, "happens"), Signal(name="happened")
    s.assume(~happens | (error != 0) & two.right.taken & ~happened)
    with s.m.If(happens):
        s.m.d.sync += happened.eq(1)
    s.m.d.comb += [
        came.taken.eq(two.right.taken),
        came.check.eq(two.right.check),
        came.word.eq(two.right.word ^ happens.replicate(32) & error),
    ]
    right, other = s.inside["right.total"], s.inside["came.total"]
    s.claim((right != other) == happened, "differ")
    checked = s.past(came.taken & came.check, "checked")
    # Check words are what they should be, or were.
    s.assume(~checked | (right == 0))
    s.claim(came.wrong == (checked & happened), "seen")
    s.reach(came.wrong, "wrong")
    return s


def test_a_wrong_word_is_seen(tmp_path: Path) -> None:
    scenario(StreamSum()).prove(tmp_path, steps=1, within=6)


class Lossy(StreamSum):
    """Takes words as they are, and so loses what goes out at the upper end."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total, ends = Signal(32, name="total"), Signal(name="ends")
        with m.If(self.taken):
            m.d.sync += total.eq((total << 1)[:32] ^ self.word)
        m.d.sync += ends.eq(self.taken & self.check)
        m.d.comb += self.wrong.eq(ends & total.any())
        return m


def test_the_proof_sees_a_sum_that_forgets(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="proof did fail"):
        scenario(Lossy()).prove(tmp_path, steps=1, within=1)
