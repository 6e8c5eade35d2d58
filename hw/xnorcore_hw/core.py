"""The accelerator without its link: request packets in, response packets out."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space

from .array.array import Array
from .command.control import Control, identity
from .command.counters import Counters
from .command.records import RecordQueue
from .command.responder import Responder
from .input.interleaver import RowInterleaver
from .input.loader import Loader
from .interfaces import byte_stream
from .memory.activation import ActivationMemory, operand_latency, word_latency, write_latency
from .memory.write_stage import WriteStage
from .memory.writer import ResultWriter
from .parts.selection import select
from .parts.stream_register import StreamRegister
from .sequence.program_memory import ProgramMemory
from .sequence.sequencer import Sequencer

__all__ = ["Core"]

_RESET = ("valid", "clear")
"""What a reset must stop on its way to the array and the writer."""

_RECORDS = 8


class Core(wiring.Component):
    """Array, memories, sequencer and command processor.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO; 0 if unknown.
    bake : Program or None
        What the memories hold from power-up on; it is armed at once. Compiled for `config`, in one pass,
        and not stopped early: where the host reads results from memory, the driver relies on a device
        that restarts not to hold the same program again.

    Members
    -------
    i, o : In, Out(byte_stream)
        Request and response bodies (docs/protocol.md) without their CRC.
    frames_good, frames_bad : In(16)
        The link's counters.
    clear_counters : Out(1)
        Clear them.
    """

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        assert bake is None or not bake.results_read, "only a whole program of one pass can be baked"
        self.config, self.clock_hz, self.bake = config, clock_hz, bake
        super().__init__(
            {
                "i": In(byte_stream()),
                "o": Out(byte_stream()),
                "frames_good": In(16),
                "frames_bad": In(16),
                "clear_counters": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config, self.bake is not None)
        m.submodules.loader = loader = Loader(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.array = array = Array(config, self.bake)
        m.submodules.writer = writer = ResultWriter(config)
        m.submodules.responder = responder = Responder(config)
        m.submodules.counters = counters = Counters(config)
        m.submodules.records = records = RecordQueue(_RECORDS)
        m.submodules.requests = requests = StreamRegister(byte_stream())
        connect(m, flipped(self.i), requests.i)
        connect(m, requests.o, control.i)

        header = control.header
        m.d.comb += [
            loader.image_bytes.eq(header.image_bytes),
            loader.bits_last.eq(header.in_bits_last),
            loader.plane_stride.eq(header.plane_stride),
            loader.interleaved.eq(header.interleaved if config.line_bytes else 0),
            loader.spread.eq(header.spread),
            sequencer.entry.eq(header.entry),
            responder.out_words.eq(header.out_words),
            responder.out_bytes.eq(header.out_bytes),
        ]
        for number in range(2):
            for target, name in (
                (getattr(loader, f"base{number}"), "in_base"),
                (getattr(sequencer, f"in_base{number}"), "in_base"),
                (getattr(sequencer, f"out_base{number}"), "out_base"),
                (getattr(responder, f"base{number}"), "out_base"),
            ):
                m.d.comb += target.eq(header[f"{name}{number}"])

        self._memories(m, control, loader, sequencer, array, writer, responder)
        # Control words wait for operands that take longer than a plain read.
        for source, target in ((sequencer.ctl, array.ctl), (sequencer.emit, writer.emit)):
            for name in target.signature.members:
                early = getattr(source, name)
                for stage in range(operand_latency(config) - 1):
                    late = Signal.like(early, name=f"{name}_d{stage}", reset_less=name not in _RESET)
                    m.d.sync += late.eq(early)
                    early = late
                m.d.comb += getattr(target, name).eq(early)
        connect(m, sequencer.layer, writer.layer)
        # `batch_done` needs no such delay: results are asked for some cycles later.
        done = writer.layer_done
        for stage in range(write_latency(config)):
            early, done = done, Signal(name=f"layer_done_d{stage}")
            m.d.sync += done.eq(early)
        m.d.comb += [writer.bits.eq(array.bits), sequencer.layer_done.eq(done)]

        # Batches: loaded by the loader, run by the sequencer, sent by the responder.
        loaded, out_busy, out_ready = Signal(2), Signal(2), Signal(2)
        done_parity = Signal()
        sizes = [Signal(4, name=f"size{parity}") for parity in range(2)]
        accepted = Signal()
        m.d.comb += [
            accepted.eq(loader.batch.valid & loader.batch.ready),
            loader.full.eq(loaded),
            sequencer.loaded.eq(loaded),
            sequencer.batch.eq(loaded & ~out_busy),
            responder.ready.eq(out_ready),
        ]
        # A cycle late, which is before anyone asks again.
        started, finished, released, completed = Signal(2), Signal(2), Signal(2), Signal()
        m.d.sync += [
            started.eq(Mux(sequencer.start, 1 << sequencer.start_parity, 0)),
            finished.eq(Mux(sequencer.finish, 1 << sequencer.parity, 0)),
            completed.eq(writer.batch_done),
            released.eq(Mux(responder.release, 1 << responder.parity, 0)),
        ]
        for parity in range(2):
            with m.If(accepted & (loader.parity == parity)):
                m.d.sync += [loaded[parity].eq(1), sizes[parity].eq(loader.batch.payload)]
            with m.Elif(finished[parity]):
                m.d.sync += loaded[parity].eq(0)
            with m.If(started[parity]):
                m.d.sync += out_busy[parity].eq(1)
            with m.Elif(released[parity]):
                m.d.sync += [out_busy[parity].eq(0), out_ready[parity].eq(0)]
            with m.If(completed & (done_parity == parity)):
                m.d.sync += [out_ready[parity].eq(1), done_parity.eq(~done_parity)]

        connect(m, control.batch, loader.batch)
        self._images(m, control, loader)
        m.d.comb += [
            loader.restart.eq(control.restart),
            loader.close.eq(control.close),
            sequencer.run.eq(control.run),
            sequencer.run_entry.eq(control.run_entry),
            sequencer.forgive.eq(control.settled),
            responder.fault.eq(sequencer.fault),
        ]
        m.d.sync += control.idle.eq(
            sequencer.idle & responder.idle & records.empty & ~loaded.any() & ~out_busy.any()
        )
        connect(m, control.counter, counters.readout)
        connect(m, control.record, records.i)
        connect(m, records.o, responder.record)
        m.submodules.responses = responses = StreamRegister(byte_stream())
        connect(m, responder.o, responses.i)
        connect(m, responses.o, flipped(self.o))

        testing = Signal()
        with m.If(control.run):
            m.d.sync += testing.eq(1)
        with m.Elif(sequencer.idle):
            m.d.sync += testing.eq(0)
        m.d.comb += [
            counters.stalls.eq(sequencer.stalls),
            counters.counting.eq(~testing),
            counters.batch.eq(sequencer.start),
            counters.images.eq(Mux(sequencer.start_parity, sizes[1], sizes[0])),
            counters.frames_good.eq(self.frames_good),
            counters.frames_bad.eq(self.frames_bad),
            self.clear_counters.eq(control.clear_counters),
            counters.clear.eq(control.clear_counters),
        ]
        return m

    def _images(self, m: Module, control: Control, loader: Loader) -> None:
        m.submodules.bytes = register = StreamRegister(stream.Signature(8))
        connect(m, control.images, register.i)
        images = register.o
        if not self.config.line_bytes:
            connect(m, images, loader.i)
            m.d.comb += [
                control.loader_busy.eq(loader.busy | images.valid),
                control.boundary.eq(loader.boundary),
            ]
            return
        m.submodules.interleaver = interleaver = RowInterleaver(self.config)
        connect(m, interleaver.o, loader.values)
        m.d.comb += [
            loader.i.payload.eq(images.payload),
            interleaver.i.payload.eq(images.payload),
            interleaver.restart.eq(control.restart),
        ]
        names = (
            "packed",
            "pad",
            "kernel_last",
            "channels_last",
            "stride",
            "pad_left",
            "pad_right",
            "pad_top",
        )
        names += (
            "map_width",
            "map_height",
            "rows_last",
            "row_values",
            "slot_start",
            "slot_step",
            "slots_end",
        )
        for name in names:
            m.d.comb += getattr(interleaver, name).eq(control.header[name])
        with m.If(loader.interleaved):
            m.d.comb += [
                interleaver.i.valid.eq(images.valid),
                images.ready.eq(interleaver.i.ready),
                control.loader_busy.eq(
                    loader.busy | images.valid | ~(interleaver.idle | interleaver.starved)
                ),
                control.boundary.eq(loader.boundary & interleaver.idle),
            ]
        with m.Else():
            m.d.comb += [
                loader.i.valid.eq(images.valid),
                images.ready.eq(loader.i.ready),
                control.loader_busy.eq(loader.busy | images.valid),
                control.boundary.eq(loader.boundary),
            ]

    def _memories(
        self,
        m: Module,
        control: Control,
        loader: Loader,
        sequencer: Sequencer,
        array: Array,
        writer: ResultWriter,
        responder: Responder,
    ) -> None:
        config, g = self.config, self.config.geometry

        baked = self.bake.contents(Space.PROGRAM, 0) if self.bake else []
        free = [0] * (config.program_depth - len(baked))
        contents = [*baked, *free, *identity(config, self.clock_hz)]
        m.submodules.program = program = ProgramMemory(config, contents)
        write = control.write
        m.d.comb += [
            program.addr.eq(Mux(control.program_read, control.program_addr, sequencer.program_addr)),
            program.following.eq(sequencer.program_following),
            program.move.eq(sequencer.program_move),
            control.program_data.eq(program.data),
            control.program_ready.eq(program.ready),
            sequencer.program_data.eq(program.data),
            # Control reads program memory only while nothing runs or is about to.
            sequencer.program_ready.eq(program.ready),
        ]
        for name in ("valid", "space", "bank", "addr", "lane", "data"):
            m.d.comb += [getattr(target.write, name).eq(getattr(write, name)) for target in (array, program)]

        request, granted = Signal(), Signal(word_latency(config))
        m.submodules.write_stage = stage = WriteStage(config)
        connect(m, loader.write, stage.loader)
        for name in ("valid", "space", "bank", "addr", "lane", "data"):
            m.d.comb += getattr(stage.control, name).eq(getattr(write, name))
        m.d.comb += [
            write.ready.eq(stage.control.ready),
            stage.loader_everywhere.eq(loader.everywhere),
            loader.flushed.eq(stage.flushed),
            stage.busy.eq(writer.busy),
        ]
        words, outputs = [], []
        for number in range(g.rows):
            memory = ActivationMemory(config, number)
            m.submodules[f"activations{number}"] = memory
            for name in ("valid", "space", "bank", "addr", "lane", "data"):
                m.d.comb += getattr(memory.write, name).eq(getattr(stage.o, name))
            for name in memory.operand.signature.members:
                m.d.comb += getattr(memory.operand, name).eq(getattr(sequencer.operand, name))
            m.d.comb += [
                memory.raddr.eq(sequencer.raddr),
                memory.readout.eq(sequencer.readout_grant),
                memory.readout_addr.eq(responder.readout.addr),
                memory.everywhere.eq(stage.everywhere),
                memory.wvalid.eq(writer.busy),
                memory.waddr.eq(writer.waddr),
                memory.wmask.eq(writer.wmask),
                memory.wdata.eq(writer.wdata.word_select(number, min(g.columns, g.width))),
                memory.wclear.eq(writer.wclear),
            ]
            words.append(memory.x)
            outputs.append(memory.rdata)
        m.d.comb += array.x.eq(Cat(*words))

        m.d.comb += [
            request.eq(responder.readout.valid & ~granted.any()),
            sequencer.readout_valid.eq(request),
            responder.readout.data.eq(select(outputs, responder.readout.row)),
            responder.readout.done.eq(granted[-1]),
            responder.word_row.eq(write.bank),
            responder.word_addr.eq(write.addr),
        ]
        m.d.sync += granted.eq(Cat(sequencer.readout_grant, granted))
