"""Memories of one port: no cycle has two uses for it, and what waits for it is not lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.memory.ports import RowWriteLayout
from xnorcore_hw.memory.rows import ActivationRows
from xnorcore_hw.memory.single.generic import Access, SingleMemory
from xnorcore_hw.memory.writer import ResultWriter
from xnorcore_hw.sequence.issue import Issue
from xnorcore_hw.sequence.readout import ReadoutArbiter

from .scenario import Scenario

CONFIG = DeviceConfig(
    Geometry(2, 16, 8),
    acc_width=10,
    weight_depth=64,
    threshold_depth=16,
    act_depth=64,
    program_depth=64,
    line_bytes=0,
    act_ports=1,
)
"""A result has two words, and for strips four."""
WORDS = replace(CONFIG, geometry=Geometry(2, 8, 16))
"""A word has two bytes."""


def arbiter_scenario(arbiter: ReadoutArbiter) -> Scenario:
    s = Scenario(arbiter)
    s.drive(arbiter.valid, arbiter.reads, arbiter.bar, arbiter.result)
    # Who asks waits for the grant; a beat that may not leave does not.
    s.assume(~s.past(arbiter.valid & ~arbiter.grant, "asked") | arbiter.valid)
    s.assume(~((arbiter.barred | arbiter.writes) & arbiter.reads))
    waits, age = arbiter.valid & ~arbiter.grant, s.inside["age"]
    waited = Signal(4)
    s.m.d.sync += waited.eq(Mux(waits, Mux(waited.all(), waited, waited + 1), 0))
    s.claim(age == waited)
    s.claim(arbiter.writes == s.past(arbiter.result, "result"), "writes")
    s.claim(~(arbiter.grant & (arbiter.writes | arbiter.reads)), "alone")
    s.claim(~arbiter.grant | arbiter.barred, "barred")
    s.claim(~arbiter.grant | s.past(arbiter.valid, "before"), "unasked")
    # Whatever the beats do, the first cycle without a result is given once somebody waits for long.
    owed = waits & ~arbiter.result & (~arbiter.reads | age.all())
    s.claim(~s.past(owed, "owed") | arbiter.grant, "owed")
    s.reach(arbiter.grant & (waited == 15) & s.past(arbiter.writes, "wrote"), "waited")
    s.reach(arbiter.grant & (waited == 1), "at_once")
    return s


def test_a_cycle_is_given_once(tmp_path: Path) -> None:
    arbiter_scenario(ReadoutArbiter(1)).prove(tmp_path, steps=2, within=20)


class Hasty(ReadoutArbiter):
    """Gives away the cycle of a result."""

    def elaborate(self, platform: object) -> Module:
        result = self.result
        self.result = Signal()
        m = super().elaborate(platform)
        self.result = result
        m.d.sync += self.writes.eq(result)
        return m


def test_the_proof_sees_a_result_in_a_cycle_that_is_given_away(tmp_path: Path) -> None:
    assert arbiter_scenario(Hasty(1)).refuted(tmp_path, cycles=6) == {"alone"}


class Shown(SingleMemory):
    """Keeps nothing, but what it is asked for."""

    def __init__(self) -> None:
        self.accesses: list[Access] = []

    def add(self, m: Module, access: Access, depth: int) -> Value:
        self.accesses.append(access)
        return Const(0, len(access.data))


class Memories(wiring.Component):
    """All rows' memories, and who has them."""

    def __init__(self, arbiter: ReadoutArbiter) -> None:
        self.rows, self.arbiter, self.single = ActivationRows(WORDS), arbiter, Shown()
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows, m.submodules.arbiter = self.rows, self.arbiter
        m.d.comb += [self.arbiter.valid.eq(self.rows.request), self.rows.grant.eq(self.arbiter.grant)]
        return m


def memories_scenario(memories: Memories) -> Scenario:
    """Beats, results, words read out and bytes, all at once."""
    s = Scenario(memories, platform=memories)
    rows, arbiter = memories.rows, memories.arbiter
    s.drive(arbiter.reads, arbiter.bar, arbiter.result, rows.operand, rows.result.p)
    s.drive(rows.control.valid, rows.control.p, rows.loader.valid, rows.loader.p)
    s.drive(rows.readout.valid, rows.readout.addr, rows.readout.row)
    s.m.d.comb += rows.result.valid.eq(s.past(arbiter.result, "result"))
    s.assume(~(arbiter.reads & (arbiter.barred | arbiter.writes)))
    readout, byte, taken = rows.readout, s.inside["rows.write_stage.o__payload"], s.inside["rows.writes"]
    kept = s.past(byte, "kept")
    waiting, reads_word = s.inside["rows.write_stage.o__valid"], s.inside["rows.reads"]
    again = s.past(readout.valid & ~readout.done, "asked")
    s.assume(~again | readout.valid & (readout.addr == s.past(readout.addr, "asked_addr")))
    byte = RowWriteLayout()(byte)
    for row, access in enumerate(memories.single.accesses):
        write, addr, mask, data = access.write, access.addr, access.mask, access.data
        s.claim(~arbiter.reads | ~write, f"beat{row}")
        s.claim(~reads_word | ~write & (addr == readout.addr[: len(addr)]), f"readout{row}")
        result = write & (addr == rows.result.p.addr) & (mask == rows.result.p.mask)
        s.claim(~rows.result.valid | result, f"result{row}")
        mine = byte.everywhere | (byte.place.bank == row)
        # A word's first byte clears the other.
        lane = byte.lane[0] & 1
        whole = Mux(lane, (mask == 2) & (data[8:] == byte.data), (mask == 3) & (data == byte.data))
        there = write & (addr == byte.place.addr[: len(addr)])
        s.claim(~taken | there & Mux(mine, whole, mask == 0), f"byte{row}")
    s.assume(byte.lane < 2)
    beat = memories.single.accesses[0].addr == rows.operand.addr
    s.claim(~arbiter.reads | beat, "operand")
    s.claim(~taken | waiting, "there")
    s.claim(readout.done == s.past(reads_word, "read"), "done")
    s.claim(~s.past(waiting & ~taken, "waits") | waiting & (Value.cast(byte) == kept), "kept")
    s.reach(taken & s.past(arbiter.reads, "beats") & s.past(waiting, "waited"), "byte")
    s.reach(rows.result.valid & waiting, "result_first")
    s.reach(reads_word & waiting, "readout_first")
    return s


def test_nothing_meets_in_the_memories_and_nothing_is_lost(tmp_path: Path) -> None:
    memories_scenario(Memories(ReadoutArbiter(1))).prove(tmp_path, steps=3, within=20)


def test_the_proof_sees_a_byte_that_a_result_displaces(tmp_path: Path) -> None:
    assert memories_scenario(Memories(Hasty(1))).refuted(tmp_path, cycles=6) & {"byte0", "byte1", "readout0"}


def writer_scenario(writer: ResultWriter) -> Scenario:
    s = Scenario(writer)
    s.drive(writer.emit, writer.layer.valid, writer.layer.p)
    # Whatever the memories are told was announced in the cycle before, and nothing else was.
    s.claim(writer.o.valid == s.past(writer.next, "announced"), "announced")
    s.reach(writer.o.valid & s.past(writer.o.valid & s.past(writer.o.valid, "first"), "second"), "parts")
    return s


def test_results_are_announced(tmp_path: Path) -> None:
    writer_scenario(ResultWriter(CONFIG)).prove(tmp_path, steps=2, within=14)


class Short(ResultWriter):
    """Announces only the first word of each result."""

    def elaborate(self, platform: object) -> Module:
        told = self.next
        self.next = Signal(name="unheard")
        m = super().elaborate(platform)
        m.d.comb += told.eq(self.next & ~self.o.valid)
        self.next = told
        return m


def test_the_proof_sees_a_word_that_comes_unannounced(tmp_path: Path) -> None:
    assert writer_scenario(Short(CONFIG)).refuted(tmp_path, cycles=14) == {"announced"}


def issue_scenario(issue: Issue) -> Scenario:
    s = Scenario(issue)
    s.drive(issue.writes, issue.barred, issue.hazard, issue.load, issue.descriptor)
    s.claim(~(issue.reads & (issue.writes | issue.barred)), "alone")
    s.claim(~(issue.causes.drain & issue.barred), "barred")
    # Slices of scores read nothing.
    s.reach(issue.reads & s.past(issue.writes & issue.causes.port, "waited"), "waits")
    s.reach(issue.causes.drain & issue.writes, "drains")
    return s


def test_no_beat_reads_in_the_cycle_of_a_result(tmp_path: Path) -> None:
    issue_scenario(Issue(CONFIG)).prove(tmp_path, steps=1, within=8)


class Deaf(Issue):
    """Does not hear of results."""

    def elaborate(self, platform: object) -> Module:
        writes = self.writes
        self.writes = Signal(name="unheard")
        m = super().elaborate(platform)
        self.writes = writes
        return m


def test_the_proof_sees_a_beat_in_the_cycle_of_a_result(tmp_path: Path) -> None:
    assert "alone" in issue_scenario(Deaf(CONFIG)).refuted(tmp_path, cycles=8)
