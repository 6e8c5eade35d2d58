"""Carries out requests: memory access, program loading, image streaming, counters."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.program import COUNTERS, HEADER, PROGRAM_MAGIC
from xnorcore.protocol import (
    FLAG_ARMED,
    INFO_BYTES,
    INFO_FLAGS_OFFSET,
    INFO_NETWORK_OFFSET,
    RESPONSE,
    Command,
    DeviceInfo,
    Space,
    Status,
)

from .inference import infer_states
from .interfaces import LaneWriteSignature, ReadoutSignature, bits_for_depth, byte_stream
from .responder import RecordLayout

__all__ = ["Control"]

_ARGUMENTS = {
    Command.WRITE: 4,
    Command.READ: 6,
    Command.RUN: 2,
    Command.COUNTERS: 1,
}


class Control(wiring.Component):
    """Command processor.

    Every request but INFER waits until the array and the responder are idle and is then answered here.
    INFER hands its image bytes to the loader and leaves records for the responder.

    Members
    -------
    i : In(byte_stream)
        Request bodies without CRC.
    o : Out(byte_stream)
        Response bodies without CRC.
    idle : In(1)
        No batch is loaded, running or being sent.
    header : Out
        The loaded program's header words, side by side; reset to 0.
    write : Out(LaneWriteSignature)
        Writes into every memory.
    program_read : Out(1)
        `program_addr` is to be read.
    program_addr : Out
    program_data : In(32)
    readout : Out(ReadoutSignature)
    run, run_entry : Out
        Start the sequencer at an address.
    sequencer_idle : In(1)
    images : Out(stream of 8)
    restart, close : Out(1)
    loader_busy, boundary : In(1)
        As in `Loader`.
    batch : In(stream of 4)
        Batches that the loader has completed.
    record : Out(stream of RecordLayout)
    counters : In(32 * len(COUNTERS))
    clear_counters : Out(1)
    """

    def __init__(self, config: DeviceConfig, clock_hz: int) -> None:
        self.config, self.clock_hz = config, clock_hz
        super().__init__(
            {
                "i": In(byte_stream()),
                "o": Out(byte_stream()),
                "idle": In(1),
                "header": Out(32 * HEADER.words),
                "write": Out(LaneWriteSignature()),
                "program_read": Out(1),
                "program_addr": Out(bits_for_depth(config.program_depth)),
                "program_data": In(32),
                "readout": Out(ReadoutSignature(config.geometry.width)),
                "run": Out(1),
                "run_entry": Out(16),
                "sequencer_idle": In(1),
                "images": Out(stream.Signature(8)),
                "restart": Out(1),
                "close": Out(1),
                "loader_busy": In(1),
                "boundary": In(1),
                "batch": In(stream.Signature(4)),
                "record": Out(stream.Signature(RecordLayout)),
                "counters": In(32 * len(COUNTERS)),
                "clear_counters": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g = self.config, self.config.geometry
        i, o, write, readout = self.i, self.o, self.write, self.readout

        command, tag, status = Signal(8), Signal(16), Signal(8)
        ended, armed = Signal(), Signal()
        args, count = Signal(48), Signal(8)
        needed = Signal(8)
        space, bank, addr, words = args[0:8], args[8:16], args[16:32], args[32:48]
        over = Signal()
        lane = Signal(4)
        word = Signal(max(g.width, 32))

        m.d.comb += [
            write.space.eq(space),
            write.bank.eq(bank),
            write.addr.eq(addr),
            write.lane.eq(lane),
            write.data.eq(i.payload.data),
            readout.row.eq(bank),
            readout.addr.eq(addr),
            self.run_entry.eq(args[:16]),
            self.images.payload.eq(i.payload.data),
            self.program_addr.eq(Mux(command == Command.ARM, count, addr)),
        ]
        limits = {
            Space.PROGRAM: (1, config.program_depth, 4),
            Space.THRESHOLDS: (g.columns, config.threshold_depth, 4),
            Space.WEIGHTS: (g.columns, config.weight_depth, g.width // 8),
            Space.ACTIVATIONS: (g.rows, config.act_depth, g.width // 8),
        }
        inside, last_lane = Signal(), Signal(4)
        with m.Switch(space):
            for value, (banks, depth, size) in limits.items():
                with m.Case(value):
                    m.d.comb += [
                        inside.eq((bank < banks) & (addr < depth) & ~over),
                        last_lane.eq(size - 1),
                    ]

        def take() -> None:
            m.d.comb += i.ready.eq(1)
            with m.If(i.valid):
                m.d.sync += ended.eq(i.payload.last)

        def next_word() -> None:
            m.d.sync += [addr.eq(addr + 1), over.eq(addr.all())]

        def fail(code: Status) -> None:
            m.d.sync += status.eq(code)
            m.next = "DROP"

        with m.FSM():
            with m.State("TYPE"):
                take()
                m.d.sync += [status.eq(Status.OK), count.eq(0), over.eq(0), lane.eq(0)]
                with m.If(i.valid):
                    m.d.sync += command.eq(i.payload.data)
                    m.next = "TAG0"
            with m.State("TAG0"):
                take()
                with m.If(i.valid):
                    m.d.sync += tag[:8].eq(i.payload.data)
                    m.next = "TAG1"
            with m.State("TAG1"):
                take()
                with m.If(i.valid):
                    m.d.sync += tag[8:].eq(i.payload.data)
                    m.next = "ANSWER"
                    with m.If(command == Command.INFER):
                        m.next = "INFER"
            with m.State("ANSWER"):
                header = Cat(command | RESPONSE, tag)
                m.d.comb += [o.valid.eq(self.idle), o.payload.data.eq(header.word_select(count[:2], 8))]
                with m.If(o.valid & o.ready):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == 2):
                        m.d.sync += [count.eq(0), needed.eq(0)]
                        m.next = "ARGUMENTS"
                        with m.Switch(command):
                            for value, size in _ARGUMENTS.items():
                                with m.Case(value):
                                    m.d.sync += needed.eq(size)
            with m.State("ARGUMENTS"):
                with m.If(count == needed):
                    m.d.sync += count.eq(0)
                    m.next = "EXECUTE"
                with m.Elif(ended):
                    fail(Status.BAD_LENGTH)
                with m.Else():
                    take()
                    with m.If(i.valid):
                        m.d.sync += [args.word_select(count[:3], 8).eq(i.payload.data), count.eq(count + 1)]
            with m.State("EXECUTE"):
                with m.If(~ended & (command != Command.WRITE)):
                    fail(Status.BAD_LENGTH)
                with m.Else():
                    with m.Switch(command):
                        with m.Case(Command.INFO):
                            m.next = "BYTES"
                        with m.Case(Command.WRITE):
                            m.next = "WRITE"
                        with m.Case(Command.READ):
                            m.next = "READ"
                        with m.Case(Command.ARM):
                            m.d.sync += armed.eq(0)
                            m.next = "ARM"
                        with m.Case(Command.COUNTERS):
                            m.next = "BYTES"
                        with m.Case(Command.RUN):
                            m.d.comb += self.run.eq(1)
                            m.next = "RUN"
                        with m.Case(Command.RESET):
                            m.d.comb += [self.clear_counters.eq(1), self.restart.eq(1)]
                            m.d.sync += armed.eq(0)
                            m.next = "DROP"
                with m.If((command == 0) | (command > max(Command))):
                    fail(Status.BAD_COMMAND)
            with m.State("DROP"):
                with m.If(ended):
                    m.next = "STATUS"
                with m.Else():
                    take()
            with m.State("STATUS"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(status), o.payload.last.eq(1)]
                with m.If(o.ready):
                    m.next = "TYPE"

            with m.State("BYTES"):
                info, counter = Signal(8), Signal(8)
                m.d.comb += [
                    info.eq(Array(self._info(armed))[count]),
                    counter.eq(self.counters.word_select(count[: (4 * len(COUNTERS) - 1).bit_length()], 8)),
                    o.valid.eq(1),
                    o.payload.data.eq(Mux(command == Command.INFO, info, counter)),
                ]
                with m.If(o.ready):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == Mux(command == Command.INFO, INFO_BYTES - 1, 4 * len(COUNTERS) - 1)):
                        m.d.comb += self.clear_counters.eq((command == Command.COUNTERS) & args[0])
                        m.next = "STATUS"

            with m.State("WRITE"):
                with m.If(ended):
                    m.next = "STATUS"
                with m.Elif(~inside):
                    fail(Status.BAD_ADDRESS)
                with m.Elif(i.valid):
                    m.d.comb += write.valid.eq(1)
                    with m.If(write.ready | (space != Space.ACTIVATIONS)):
                        take()
                        with m.If(space != Space.ACTIVATIONS):
                            m.d.sync += armed.eq(0)
                        with m.If(lane == last_lane):
                            m.d.sync += lane.eq(0)
                            next_word()
                        with m.Else():
                            m.d.sync += lane.eq(lane + 1)
                            with m.If(i.payload.last):
                                m.d.sync += status.eq(Status.BAD_LENGTH)

            with m.State("READ"):
                with m.If(words == 0):
                    m.next = "STATUS"
                with m.Elif(~inside | ((space != Space.PROGRAM) & (space != Space.ACTIVATIONS))):
                    fail(Status.BAD_ADDRESS)
                with m.Elif(space == Space.PROGRAM):
                    m.d.comb += self.program_read.eq(1)
                    m.next = "READ_PROGRAM"
                with m.Else():
                    m.d.comb += readout.valid.eq(1)
                    with m.If(readout.done):
                        m.d.sync += word.eq(readout.data)
                        m.next = "READ_BYTES"
            with m.State("READ_PROGRAM"):
                m.d.sync += word.eq(self.program_data)
                m.next = "READ_BYTES"
            with m.State("READ_BYTES"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(word[:8])]
                with m.If(o.ready):
                    m.d.sync += [word.eq(word >> 8), lane.eq(lane + 1)]
                    with m.If(lane == last_lane):
                        m.d.sync += [lane.eq(0), words.eq(words - 1)]
                        next_word()
                        m.next = "READ"

            with m.State("ARM"):
                m.d.comb += self.program_read.eq(1)
                m.next = "ARM_WORD"
            with m.State("ARM_WORD"):
                m.d.sync += count.eq(count + 1)
                m.d.sync += self.header.word_select(count[: (HEADER.words - 1).bit_length()], 32).eq(
                    self.program_data
                )
                m.next = "ARM"
                with m.If((count == 0) & (self.program_data != PROGRAM_MAGIC)):
                    fail(Status.BAD_PROGRAM)
                with m.Elif(count == HEADER.words - 1):
                    m.d.comb += self.restart.eq(1)
                    m.d.sync += armed.eq(1)
                    m.next = "STATUS"

            with m.State("RUN"):
                m.next = "RUN_WAIT"
            with m.State("RUN_WAIT"):
                with m.If(self.sequencer_idle):
                    m.next = "STATUS"

            infer_states(m, self, tag, status, ended, armed, take)
        return m

    def _info(self, armed: Signal) -> list:
        info = DeviceInfo(self.config, self.clock_hz, build_id=self.config.digest())
        payload: list = [Const(byte, 8) for byte in info.pack()]
        payload[INFO_FLAGS_OFFSET] = Mux(armed, FLAG_ARMED, 0)
        low = 32 * HEADER.fields["id_low"].word
        for byte in range(8):
            network = self.header[low + 8 * byte : low + 8 * byte + 8]
            payload[INFO_NETWORK_OFFSET + byte] = Mux(armed, network, 0)
        return payload
