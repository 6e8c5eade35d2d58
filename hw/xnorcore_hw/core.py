"""The accelerator without its link: request packets in, response packets out."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space
from xnorcore.isa.regions import flash_words

from .array.array import Array, array_latency
from .array.unit import ResultsUnit
from .command.boot import Boot, connect_boot
from .command.control import Control
from .command.counters import Counters
from .command.identity import identity
from .command.records import RecordMemory, RecordQueue
from .command.responder import Responder
from .input.images import ImageInput
from .interfaces import ControlLayout, byte_stream
from .memory.activation import operand_latency, write_latency
from .memory.keeper import Keeper, connect_keeper
from .memory.prefetch import Prefetcher
from .memory.rows import ActivationRows
from .memory.stores.access import StoreAccess
from .memory.stores.kinds import chip_ports, store_of
from .memory.writer import ResultWriter
from .parts.delay import delayed, delayed_bundle
from .parts.sizes import RECORD_WORDS, RECORDS
from .parts.stream_register import StreamRegister
from .sequence.batches import Batches
from .sequence.program_memory import ProgramMemory
from .sequence.sequencer import Sequencer

__all__ = ["Core"]


class Core(wiring.Component):
    """Array, memories, sequencer and command processor.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO; 0 if unknown.
    bake : Program or None
        What the memories hold from power-up on; it is armed at once. Compiled for `config`, in one pass,
        and not stopped early, nor with weights from the store: where the host reads results from memory, the
        driver relies on a device that restarts not to hold the same program again.

    Members
    -------
    i, o : In, Out(byte_stream)
        Request and response bodies (docs/protocol.md) without their CRC.
    frames_good, frames_bad : In(16)
        The link's counters.
    clear_counters : Out(1)
        Clear them.
    chip, flash
        Of what is outside of the FPGA (`xnorcore_hw.memory.stores.kinds`).
    """

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        assert bake is None or not (bake.results_read or bake.streams), "only what the buffers hold at once"
        self.config, self.clock_hz, self.bake = config, clock_hz, bake
        super().__init__(
            {
                "i": In(byte_stream()),
                "o": Out(byte_stream()),
                "frames_good": In(16),
                "frames_bad": In(16),
                "clear_counters": Out(1),
                **chip_ports(config),
            }
        )
        self._control, self._sequencer = Control(config, bake is not None), Sequencer(config)
        self._images, self._rows = ImageInput(config), ActivationRows(config)
        self._array, self._writer = Array(config, bake), ResultWriter(config)
        # Small devices have logic cells, large ones memory to spare.
        self._records = RecordMemory(RECORD_WORDS) if config.line_bytes else RecordQueue(RECORDS)
        self._responder, self._batches, self._counters = Responder(config), Batches(), Counters(config)
        self._unit = ResultsUnit(config, bake) if config.result_lanes else None
        self._boot = Boot(config) if flash_words(config) else None

    @property
    def watched(self) -> tuple[Sequencer, Array, ResultWriter]:
        """The parts that say what a cycle is, what the array multiplies, and what it gives: for pictures."""
        return self._sequencer, self._array, self._writer

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        control, sequencer, responder = self._control, self._sequencer, self._responder
        for name, part in {
            "control": control, "sequencer": sequencer, "input": self._images, "rows": self._rows,
            "array": self._array, "writer": self._writer, "responder": responder, "records": self._records,
            "batches": self._batches, "counters": self._counters,
        }.items():  # fmt: skip
            m.submodules[name] = part
        m.submodules.requests = requests = StreamRegister(byte_stream())
        m.submodules.responses = responses = StreamRegister(byte_stream())
        if self._boot is None:
            connect(m, flipped(self.i), requests.i)
        connect(m, requests.o, control.i)
        connect(m, control.record, self._records.i)
        connect(m, self._records.o, responder.record)
        if self._boot is None:
            connect(m, responder.o, responses.i)
        else:
            connect_boot(m, self._boot, flipped(self.i), requests, responder, responses)
        connect(m, responses.o, flipped(self.o))
        m.d.comb += [target.header.eq(control.header) for target in (sequencer, self._images, responder)]
        m.d.comb += [sequencer.run.eq(control.run), sequencer.run_entry.eq(control.run_entry)]
        m.d.comb += [sequencer.forgive.eq(control.settled), responder.fault.eq(sequencer.fault)]
        m.d.comb += responder.word.eq(control.word)
        idle = sequencer.idle & responder.idle & self._records.empty & self._batches.idle
        m.d.sync += control.idle.eq(idle)
        self._connect_program(m)
        self._connect_memories(m)
        self._connect_array(m)
        self._connect_batches(m)
        self._connect_counters(m)
        if self.config.store_words:
            self._connect_store(m, platform)
        if self._boot is not None and self.config.kept_words:
            connect_keeper(m, keeper := Keeper(self.config), self._boot, control)
            connect(m, keeper.flash, flipped(self.flash))
        return m

    def _connect_program(self, m: Module) -> None:
        config, control, sequencer = self.config, self._control, self._sequencer
        baked = self.bake.contents(Space.PROGRAM, 0) if self.bake else []
        free = [0] * (config.program_depth - len(baked))
        contents = [*baked, *free, *identity(config, self.clock_hz)]
        m.submodules.program = program = ProgramMemory(config, contents)
        # Control reads a word between those of the sequencer, which waits; but not while that one moves on.
        held = Signal()
        m.d.sync += held.eq(control.program.valid & ~sequencer.program.move)
        names = ("addr", "following", "move", "jump")
        m.d.comb += [
            *(getattr(program.read, name).eq(getattr(sequencer.program, name)) for name in names),
            program.instead.eq(control.program.valid),
            program.instead_addr.eq(control.program.addr),
            program.write.valid.eq(control.write.valid),
            program.write.p.eq(control.write.p),
        ]
        for reader, turn in ((control.program, held), (sequencer.program, ~held)):
            m.d.comb += [reader.data.eq(program.read.data), reader.ready.eq(program.read.ready & turn)]

    def _connect_memories(self, m: Module) -> None:
        control, images, rows, sequencer = self._control, self._images, self._rows, self._sequencer
        connect(m, control.loader, images.control)
        connect(m, control.write, rows.control)
        connect(m, images.write, rows.loader)
        connect(m, self._responder.readout, rows.readout)
        m.d.comb += [
            images.flushed.eq(rows.flushed),
            rows.operand.eq(sequencer.operand),
            rows.grant.eq(sequencer.readout_grant),
            sequencer.readout_valid.eq(rows.request),
        ]

    def _connect_array(self, m: Module) -> None:
        sequencer, array, writer = self._sequencer, self._array, self._writer
        connect(m, sequencer.layer, writer.layer)
        connect(m, writer.o, self._rows.result)
        if self.config.act_ports == 1:
            m.d.comb += sequencer.result.eq(writer.next)
        # Control words wait for operands that take longer than a plain read.
        late = operand_latency(self.config) - 1
        m.d.comb += [
            array.ctl.eq(delayed_bundle(m, sequencer.ctl, late, "ctl", ControlLayout.RESET)),
            writer.emit.eq(delayed(m, sequencer.emit, late, "emit", resets=True)),
            array.x.eq(self._rows.x),
            array.write.valid.eq(self._control.write.valid),
            array.write.p.eq(self._control.write.p),
            writer.bits.eq(array.bits),
        ]
        if (unit := self._unit) is not None:
            late += array_latency(self.config) - 1
            m.submodules.unit = unit
            m.d.comb += [
                unit.given.eq(delayed_bundle(m, sequencer.given, late, "given", ("emit",))),
            ]
            connect(m, array.write_o, unit.write)
            m.d.comb += [unit.sums.eq(array.sums), writer.unit.eq(unit.emit), writer.codes.eq(unit.codes)]
        # `batch_done` needs no such delay: results are asked for some cycles later.
        done = writer.layer_done
        for stage in range(write_latency(self.config)):
            early, done = done, Signal(name=f"layer_done_d{stage}")
            m.d.sync += done.eq(early)
        m.d.comb += sequencer.layer_done.eq(done)

    def _connect_batches(self, m: Module) -> None:
        batches, images, sequencer = self._batches, self._images, self._sequencer
        batch = self._control.loader.batch
        m.d.comb += [
            batches.accepted.eq(batch.valid & batch.ready),
            batches.accepted_parity.eq(images.parity),
            batches.size.eq(batch.p),
            batches.start.eq(sequencer.start),
            batches.start_parity.eq(sequencer.start_parity),
            batches.finish.eq(sequencer.finish),
            batches.finish_parity.eq(sequencer.parity),
            batches.complete.eq(self._writer.batch_done),
            batches.release.eq(self._responder.release),
            batches.release_parity.eq(self._responder.parity),
            images.full.eq(batches.loaded),
            sequencer.loaded.eq(batches.loaded),
            sequencer.batch.eq(batches.runnable),
            self._responder.ready.eq(batches.ready),
        ]

    def _connect_counters(self, m: Module) -> None:
        counters, control, sequencer = self._counters, self._control, self._sequencer
        connect(m, control.counter, counters.readout)
        testing = self._testing = Signal(name="testing")
        with m.If(control.run):
            m.d.sync += testing.eq(1)
        with m.Elif(sequencer.idle):
            m.d.sync += testing.eq(0)
        m.d.comb += [
            counters.stalls.eq(sequencer.stalls),
            counters.counting.eq(~testing),
            counters.batch.eq(sequencer.start),
            counters.images.eq(self._batches.images),
            counters.frames_good.eq(self.frames_good),
            counters.frames_bad.eq(self.frames_bad),
            counters.clear.eq(control.clear_counters),
            self.clear_counters.eq(control.clear_counters),
        ]

    def _store(self, platform: object) -> Any:
        return store_of(self.config, self.clock_hz, platform)

    def _connect_store(self, m: Module, platform: object) -> None:
        control, sequencer, array = self._control, self._sequencer, self._array
        boot = None if self.config.kept_words else self._boot
        m.submodules.store = store = self._store(platform)
        m.submodules.store_access = access = StoreAccess(self.config)
        m.submodules.prefetcher = prefetcher = Prefetcher(self.config)
        connect(m, access.bus, store.bus)
        if "chip" in chip_ports(self.config):
            connect(m, store.chip, flipped(self.chip))
        connect(m, control.store.write, access.write)
        connect(m, prefetcher.request, access.request)
        connect(m, access.word, prefetcher.word)
        connect(m, sequencer.ring, prefetcher.ring)
        connect(m, prefetcher.fill, array.fill)
        m.d.comb += [
            # Whatever is asked for but INFER: what comes next begins with the stream's first tile.
            prefetcher.rewind.eq(control.settled | self._testing & sequencer.idle),
            access.quiet.eq(prefetcher.quiet),
            access.valid.eq(control.program.valid & control.store.reads),
            (access.addr if boot is None else prefetcher.link).eq(Cat(control.word.addr, control.word.bank)),
        ]
        lane, octet = Signal(2, name="lane"), Signal(8, name="octet")
        m.d.comb += [lane.eq(control.store.lane), octet.eq(access.data.word_select(lane, 8))]
        if boot is not None:
            connect(m, control.store.flash, store.link)
            with m.If(boot.on):
                m.d.comb += [lane.eq(boot.lane), prefetcher.rewind.eq(boot.ends)]
            m.d.comb += [
                boot.octet.eq(octet),
                boot.word.p.eq(access.word.p),
                boot.word.valid.eq(access.word.valid),
                boot.damaged.eq(store.damaged),
                prefetcher.boots.eq(boot.on),
                prefetcher.booted.eq(boot.word.ready),
            ]
            damaged = store.damaged & ~(prefetcher.quiet | boot.on)
        else:
            damaged = prefetcher.damaged
        # What the link reads is as it is; what the array takes spoils the results.
        lost = Signal(name="lost")
        with m.If(damaged):
            m.d.sync += lost.eq(1)
        with m.If(control.settled):
            m.d.sync += lost.eq(0)
        m.d.comb += [sequencer.lost.eq(lost), self._responder.fault.eq(sequencer.fault | lost)]
        with m.If(control.store.reads):
            m.d.comb += control.program.ready.eq(access.ready)
        m.d.comb += control.store.octet.eq(octet)
