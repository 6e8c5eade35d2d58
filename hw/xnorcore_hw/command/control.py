"""Carries out requests: memory access, program loading, image streaming, counters."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Command, Status

from ..interfaces import CounterSignature, HeaderLayout, LoaderSignature, bits_for_depth, byte_stream
from ..memory.ports import PlaceLayout, WordReadSignature, writes
from ..memory.stores.port import store_ports, stores_of, tell_stores
from ..parts.limits import at_least
from .arguments import Arguments
from .identity import IDENTITY_WORDS
from .infer import Infer
from .records import RecordKind, RecordLayout
from .words import WordLoop
from .writing import ByteWriter

__all__ = ["Control"]

_ARGUMENTS = {Command.WRITE: (0, 3), Command.READ: (0, 5), Command.RUN: (2, 3), Command.COUNTERS: (5, 5)}
"""First and last argument byte of each command, counted as READ has them."""


class Control(wiring.Component):
    """Command processor.

    INFER (`Infer`) hands its image bytes to the loader and leaves records for the responder. Other requests
    wait until nothing runs or is sent. INFO, ARM, READ and COUNTERS are one loop over words (`WordLoop`).

    Parameters
    ----------
    config : DeviceConfig
    baked : bool
        Program memory holds a program from power-up on: arm it, as ARM does.

    Members
    -------
    i : In(byte_stream)
        Request bodies without CRC.
    idle : In(1)
        In the cycle before, no batch was loaded, running or being sent, and no record left.
    header : Out(HeaderLayout)
        Of the loaded program.
    write : Out(stream of WriteLayout)
        Writes into every memory.
    word : Out(PlaceLayout)
        What `RecordKind.WORD` asks for.
    program : Out(WordReadSignature)
    run, run_entry : Out
        Start the sequencer at an address.
    settled : Out(1)
        A request other than INFER begins; all before it is done.
    loader : Out(LoaderSignature)
    record : Out(stream of RecordLayout)
    counter : Out(CounterSignature)
        Ignored if the configuration has none.
    clear_counters : Out(1)
    store, kept : Out(LinkStoreSignature)
        Of `stores_of`; `reads`: `program` asks for a word of it, at the place `word`.
    """

    def __init__(self, config: DeviceConfig, baked: bool = False) -> None:
        self.config, self.baked = config, baked
        super().__init__(
            {
                "i": In(byte_stream()),
                "idle": In(1),
                "header": Out(HeaderLayout(config)),
                "write": Out(writes()),
                "word": Out(PlaceLayout()),
                "program": Out(WordReadSignature(config.program_depth + IDENTITY_WORDS)),
                "run_entry": Out(bits_for_depth(config.program_depth)),
                "loader": Out(LoaderSignature()),
                "record": Out(stream.Signature(RecordLayout)),
                "counter": Out(CounterSignature()),
                **dict.fromkeys(("run", "settled", "clear_counters"), Out(1)),
                **store_ports(config),
            }
        )
        self._arguments, self._writer = Arguments(config), ByteWriter(config)
        self._words, self._infer = WordLoop(config, baked), Infer()
        self._command = Signal(4, init=Command.ARM if baked else 0)
        self._status = Signal(range(max(Status) + 1))
        self._armed, self._clear = Signal(), Signal()
        # A byte of the packet is taken if there is one; it was the packet's last one.
        self._take, self._ended = Signal(), Signal(init=baked)
        # At power-up, a baked device arms itself as if a request for it had just ended, but answers nobody.
        self._unasked = Signal(init=baked)
        self._count = Signal(range(max(config.geometry.width // 8, 8)))
        """Byte of type and tag, of the arguments, of a word."""

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        arguments, writer, words, infer = parts = self._arguments, self._writer, self._words, self._infer
        m.submodules.arguments, m.submodules.writer, m.submodules.loop, m.submodules.infer = parts
        i, command = self.i, self._command
        ours = ((writer.write, self.write), (words.program, self.program), (words.counter, self.counter))
        for inner, outer in (*ours, (infer.loader.images, self.loader.images)):
            connect(m, inner, flipped(outer))
        connect(m, flipped(self.loader.batch), infer.loader.batch)
        m.d.comb += [
            i.ready.eq(self._take),
            arguments.number.eq(self._count),
            arguments.data.eq(i.p.data),
            arguments.next_word.eq(words.next_word),
            arguments.to_network.eq(words.to_network),
            words.count.eq(self._count),
            *(getattr(words, n).eq(getattr(arguments, n)) for n in ("space", "addr", "words", "exhausted")),
            words.inside.eq(arguments.inside & arguments.readable),
            words.running.eq(command == Command.RUN),
            words.idle.eq(self.idle),
            self.header.eq(words.header),
            infer.key.eq(words.byte),
            infer.key_known.eq(words.known),
            infer.armed.eq(self._armed),
            infer.ended.eq(self._ended),
            infer.loader.busy.eq(self.loader.busy),
            infer.loader.boundary.eq(self.loader.boundary),
            infer.i.p.eq(i.p),
            infer.count.eq(self._count),
            self.loader.close.eq(infer.loader.close),
            self.run_entry.eq(arguments.addr),
            self.word.bank.eq(arguments.bank),
            self.word.addr.eq(arguments.addr),
            writer.i.p.eq(i.p),
            writer.ended.eq(self._ended),
            writer.space.eq(arguments.space),
            writer.place.eq(self.word),
            writer.count.eq(self._count),
            writer.lane_last.eq(arguments.lane_last),
            writer.inside.eq(arguments.inside),
            arguments.next.eq(writer.next),
            self.record.p.kind.eq(RecordKind.LAST),
            self.record.p.value.eq(i.p.data),
        ]
        for name in stores_of(self.config):
            link = getattr(self, name)
            connect(m, getattr(writer, name), flipped(link.write))
            m.d.comb += link.lane.eq(self._count)
            with m.If(link.reads):
                m.d.comb += [words.stored.eq(1), words.octet.eq(link.octet)]
        tell_stores(m, self.config, self, arguments.space, writer.active, words.active)
        with m.If(i.ready & i.valid):
            m.d.sync += self._ended.eq(i.p.last)
        with m.If(writer.changed | words.take):
            m.d.sync += self._armed.eq(0)
        # Decisions, in registers a cycle after what they depend on.
        m.d.sync += [
            words.reading.eq(command == Command.READ),
            words.arming.eq(command == Command.ARM),
            words.live.eq((command == Command.INFO) & self._armed),
            *(late.eq(0) for late in (self.run, self.settled, self.loader.restart, self.clear_counters)),
        ]
        if self.config.counters:
            m.d.sync += words.counting.eq(command == Command.COUNTERS)
        # A state names the status with which it refuses, and refuses by going to DROP.
        with m.FSM(init="WORDS" if self.baked else "HEADER"):
            self._head(m)
            self._execute(m)
            self._answer(m)
            self._parts(m)
        return m

    def _head(self, m: Module) -> None:
        """Read type and tag, and then the arguments."""
        i, count, command, arguments = self.i, self._count, self._command, self._arguments
        # Of the argument that comes next, which is not before the next cycle but one.
        last_argument = Signal()
        lasts = [(command == value) & (count == last) for value, (_, last) in _ARGUMENTS.items()]
        m.d.sync += last_argument.eq(Cat(lasts).any())
        with m.State("HEADER"):
            m.d.comb += [
                self.record.valid.eq(i.valid),
                self.record.p.kind.eq(RecordKind.BYTE),
                self._take.eq(self.record.ready),
                # A new request has no arguments yet: what INFO, ARM and COUNTERS read.
                arguments.clear.eq(1),
            ]
            with m.If(count == 0):
                m.d.comb += self.record.p.value[7].eq(1)
            with m.If(i.ready & i.valid):
                m.d.sync += count.eq(count + 1)
                with m.If(count == 0):
                    m.d.sync += command.eq(Mux(at_least(i.p.data, max(Command) + 1), 0, i.p.data))
                with m.If(count == 2):
                    m.d.sync += count.eq(0)
                    m.next = "TYPE"
        with m.State("TYPE"):
            m.next = "EXECUTE"
            with m.Switch(command):
                with m.Case(Command.INFER):
                    m.d.comb += [arguments.next.eq(1), arguments.to_network.eq(1)]  # the images' key
                    m.next = "INFER"
                for value, (first, last) in _ARGUMENTS.items():
                    with m.Case(value):
                        m.d.sync += [count.eq(first), last_argument.eq(first == last)]
                        m.next = "ARGUMENTS"
        with m.State("ARGUMENTS"):
            m.d.sync += self._status.eq(Status.BAD_LENGTH)
            m.d.comb += self._take.eq(~self._ended)
            with m.If(self._ended):
                m.next = "DROP"
            with m.Elif(i.valid):
                m.d.comb += arguments.put.eq(1)
                m.d.sync += [count.eq(count + 1), self._clear.eq(i.p.data[0])]
                with m.If(last_argument):
                    m.d.sync += count.eq(0)
                    m.next = "CHECK"
        with m.State("CHECK"):
            m.next = "EXECUTE"

    def _execute(self, m: Module) -> None:
        """Begin what is asked for, as soon as nothing else is at work."""
        command, arguments = self._command, self._arguments
        unknown, none = Signal(), (not self.config.counters) & (command == Command.COUNTERS)
        m.d.sync += unknown.eq((command == 0) | none)
        with m.State("EXECUTE"):
            reason = Mux(self._ended, Status.BAD_ADDRESS, Status.BAD_LENGTH)
            m.d.sync += [self._status.eq(Mux(unknown, Status.BAD_COMMAND, reason)), self._count.eq(0)]
            m.d.comb += [
                self._infer.forget.eq(1),
                arguments.to_identity.eq(command == Command.INFO),
                arguments.to_counters.eq(command == Command.COUNTERS),
            ]
            with m.If(self.idle):
                m.d.sync += self.settled.eq(1)
                m.next = "WORDS"
                with m.If(unknown | ~self._ended & (command != Command.WRITE)):
                    m.next = "DROP"
                with m.Elif(command == Command.WRITE):
                    m.next = "WRITE"
                with m.Elif(command == Command.RUN):
                    m.d.sync += self.run.eq(arguments.inside)
                    with m.If(~arguments.inside):
                        m.next = "DROP"
                with m.Elif(command == Command.RESET):
                    m.d.sync += [self.clear_counters.eq(1), self.loader.restart.eq(1), self._armed.eq(0)]
                    m.next = "DONE"

    def _answer(self, m: Module) -> None:
        """End the response with its status, behind the last byte of a request that is refused."""
        record = self.record
        with m.State("DROP"):
            m.d.comb += [
                record.p.value.eq(self._status),
                record.valid.eq(self._ended & ~self._unasked),
                self._take.eq(~self._ended),
                self._infer.forget.eq(1),
            ]
            with m.If(self._ended):
                self._answered(m)
        with m.State("DONE"):
            m.d.comb += [record.p.value.eq(Status.OK), record.valid.eq(~self._unasked)]
            self._answered(m)

    def _answered(self, m: Module) -> None:
        m.d.sync += self._count.eq(0)
        with m.If(self.record.ready):
            m.d.sync += self._unasked.eq(0)
            m.next = "HEADER"

    def _parts(self, m: Module) -> None:
        """Let `ByteWriter`, `WordLoop` or `Infer` carry out a request."""
        writer, words, infer = self._writer, self._words, self._infer
        with m.State("WRITE"):
            m.d.comb += [writer.active.eq(1), writer.i.valid.eq(self.i.valid), self._take.eq(writer.i.ready)]
            self._follow(m, writer)
            with m.If(writer.next):
                m.d.sync += self._count.eq(0)
        with m.State("WORDS"):
            m.d.comb += words.active.eq(1)
            with m.If(words.done):
                m.d.sync += self.clear_counters.eq((self._command == Command.COUNTERS) & self._clear)
                with m.If(words.arming):
                    m.d.sync += [self.loader.restart.eq(1), self._armed.eq(1)]
            self._follow(m, words)
        with m.State("INFER"):
            m.d.comb += [infer.active.eq(1), infer.i.valid.eq(self.i.valid), self._take.eq(infer.i.ready)]
            m.d.comb += self.program.valid.eq(infer.asks)
            m.d.sync += self.loader.restart.eq(infer.loader.restart)
            self._follow(m, infer)

    def _follow(self, m: Module, part: ByteWriter | WordLoop | Infer) -> None:
        with m.If(part.step):
            m.d.sync += self._count.eq(self._count + 1)
        with m.If(part.status_valid):
            m.d.sync += self._status.eq(part.status)
        with m.If(part.refuse):
            m.next = "DROP"
        with m.Elif(part.done):
            m.next = "DONE"
        if not isinstance(part, ByteWriter):
            record, found = self.record, part.record
            m.d.comb += [record.valid.eq(found.valid), record.p.eq(found.p), found.ready.eq(record.ready)]
