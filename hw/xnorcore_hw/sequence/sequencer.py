"""Runs programs: fetches layer descriptors, issues array beats, keeps layers and batches in order."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import COUNTERS, STORE_COUNTERS

from ..given import GivenLayout
from ..interfaces import (
    ControlLayout,
    Emission,
    HeaderLayout,
    LayerLayout,
    OperandLayout,
    RingSignature,
)
from ..memory.ports import ProgramReadSignature
from .causes import merged
from .fetch import Fetch
from .hazards import LayerHazards
from .issue import Issue
from .readout import ReadoutArbiter
from .turns import Turns

__all__ = ["STALLS", "Sequencer", "stalls"]


STALLS = tuple(name for name in COUNTERS if name in {*Fetch.CAUSES, *Issue.CAUSES, *Turns.CAUSES})
"""What each cycle is counted as, on a device without a store."""


def stalls(config: DeviceConfig) -> tuple[str, ...]:
    """Return what each cycle is counted as, exactly one of them."""
    return STALLS + (STORE_COUNTERS if config.store_words else ())


class Sequencer(wiring.Component):
    """Issue the beats of one program after another.

    Members
    -------
    program : Out(ProgramReadSignature)
    header : In(HeaderLayout)
        Of the loaded program.
    batch : In(2)
        Per parity: inputs are complete and the output region is free.
    loaded : In(2)
        Per parity: inputs are complete (for the counters).
    parity : Out(1)
        Batch that runs, or will run next.
    start, start_parity : Out(1)
        A batch starts, and which.
    finish : Out(1)
        The last beat of batch `parity` is issued: its inputs may be replaced.
    run : In(1)
    run_entry : In(16)
        Run the program at `run_entry` once, outside the batches; only while `idle`.
    idle : Out(1)
        Nothing runs and every result is written.
    operand : Out(OperandLayout)
    ctl : Out(ControlLayout)
    emit : Out(Emission)
        In step with `ctl`.
    given : Out(GivenLayout)
        With `config.result_lanes`: in step with `ctl`; what the results unit takes is not in `emit`. The
        layer behind one whose codes it makes waits for all of them.
    layer : Out(stream of LayerLayout)
        The layer whose descriptor was fetched last, until its first emission reaches the writer; with
        `config.keeps_once`, until its last result is written.
    layer_done : In(1)
        The last result of a layer is being written.
    fault : Out(1)
        Since `forgive`, a program has run that this device cannot run: its descriptors do not end within
        program memory, hold a number that a memory of this device has no place for, or lead to an address
        behind the end of one. Such a program ends all the same, or at the reset; its results mean nothing.
    forgive : In(1)
    result : In(1)
        Only with memories of one port: they are to write a result in the next cycle.
    readout_valid : In(1)
    readout_grant : Out(1)
        The activation memories may do something else than read the operand. Beats go first, for at most
        16 cycles.
    stalls : Out(len(stalls(config)))
        One-hot, what this cycle is counted as.
    ring : Out(RingSignature)
        On a device with a store.
    lost : In(1)
        On a device with a store: a word was not what it was. Until `forgive`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        single = {"result": In(1)} if config.act_ports == 1 else {}
        super().__init__(
            {
                "program": Out(ProgramReadSignature(config.program_depth)),
                "header": In(HeaderLayout(config)),
                "batch": In(2),
                "loaded": In(2),
                "parity": Out(1),
                "start": Out(1),
                "start_parity": Out(1),
                "finish": Out(1),
                "run": In(1),
                "run_entry": In(16),
                "idle": Out(1),
                "operand": Out(OperandLayout(config)),
                "ctl": Out(ControlLayout(config)),
                "emit": Out(Emission),
                **({"given": Out(GivenLayout(config))} if config.result_lanes else {}),
                "layer": Out(stream.Signature(LayerLayout(config))),
                "layer_done": In(1),
                "fault": Out(1),
                "forgive": In(1),
                **single,
                "readout_valid": In(1),
                "readout_grant": Out(1),
                "stalls": Out(len(stalls(config))),
                **({"ring": Out(RingSignature(config)), "lost": In(1)} if config.store_words else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.turns = turns = Turns()
        m.submodules.fetch = fetch = Fetch(self.config)
        m.submodules.hazards = hazards = LayerHazards()
        m.submodules.issue = issue = Issue(self.config)
        m.submodules.arbiter = arbiter = ReadoutArbiter(self.config.act_ports)
        connect(m, fetch.program, flipped(self.program))
        connect(m, fetch.layer, flipped(self.layer))
        if self.config.store_words:
            connect(m, issue.ring, flipped(self.ring))
            m.d.comb += issue.lost.eq(self.lost)
        header, descriptor = self.header, fetch.descriptor
        depends = descriptor.depends
        if self.config.result_lanes:
            behind = Signal(name="behind_unit")
            with m.If(issue.last):
                m.d.sync += behind.eq(descriptor.rescaled & ~descriptor.score)
            depends = depends | behind
            m.d.comb += self.given.eq(issue.given)
        m.d.comb += [
            turns.batch.eq(self.batch),
            turns.loaded.eq(self.loaded),
            turns.run.eq(self.run),
            turns.unwritten.eq(hazards.unwritten),
            turns.fetched.eq(fetch.last),
            turns.issued.eq(issue.last),
            turns.end.eq(descriptor.end),
            turns.beat.eq(issue.beat),
            fetch.rest.eq(turns.rest),
            fetch.run.eq(self.run),
            fetch.run_entry.eq(self.run_entry),
            fetch.go.eq(turns.fetch),
            fetch.in_batch.eq(turns.in_batch),
            fetch.out_base.eq(Mux(turns.parity, header.out_base1, header.out_base0)),
            hazards.begin.eq(fetch.last),
            hazards.depends.eq(depends),
            hazards.done.eq(self.layer_done),
            issue.descriptor.eq(descriptor),
            issue.move.eq(fetch.move),
            issue.load.eq(fetch.load),
            issue.in_base.eq(header.in_base1),
            issue.parity.eq(turns.parity),
            issue.hazard.eq(hazards.hazard),
            issue.barred.eq(arbiter.barred),
            issue.grant.eq(arbiter.grant),
            issue.clear.eq(turns.rest),
            arbiter.valid.eq(self.readout_valid),
            arbiter.reads.eq(issue.reads),
            arbiter.bar.eq(issue.bar),
        ]
        if self.config.act_ports == 1:
            m.d.comb += [arbiter.result.eq(self.result), issue.writes.eq(arbiter.writes)]
        m.d.comb += [
            self.parity.eq(turns.parity),
            self.start.eq(turns.start),
            self.start_parity.eq(turns.start_parity),
            self.finish.eq(turns.finish),
            self.idle.eq(turns.idle),
            self.operand.eq(issue.operand),
            self.ctl.eq(issue.ctl),
            self.emit.eq(issue.emit),
            self.readout_grant.eq(arbiter.grant),
        ]
        causes = [turns.causes, fetch.causes, issue.causes]
        m.d.comb += self.stalls.eq(Cat(merged(causes, name) for name in stalls(self.config)))
        astray = Signal(name="astray")
        m.d.sync += astray.eq(fetch.astray | issue.astray)
        with m.If(astray):
            m.d.sync += self.fault.eq(1)
        with m.Elif(self.forgive):
            m.d.sync += self.fault.eq(0)
        return m
