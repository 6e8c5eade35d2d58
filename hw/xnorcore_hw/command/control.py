"""Carries out requests: memory access, program loading, image streaming, counters."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import COUNTERS, HEADER, PROGRAM_MAGIC
from xnorcore.isa.protocol import (
    FLAG_ARMED,
    INFO_BYTES,
    INFO_FLAGS_OFFSET,
    INFO_NETWORK_OFFSET,
    KEY_BYTES,
    Command,
    DeviceInfo,
    Space,
    Status,
)

from ..interfaces import CounterSignature, HeaderLayout, bits_for_depth, byte_stream
from ..memory.ports import PlaceLayout, WordReadSignature, writes
from .infer import infer_states
from .records import RecordKind, RecordLayout

__all__ = ["IDENTITY_WORDS", "Control", "identity"]

IDENTITY_WORDS = INFO_BYTES // 4
"""Words of program memory, behind the program, that hold the answer to INFO."""

_ARGUMENTS = {Command.WRITE: (0, 3), Command.READ: (0, 5), Command.RUN: (2, 3), Command.COUNTERS: (5, 5)}
"""First and last argument byte of each command, counted as READ has them."""


def identity(config: DeviceConfig, clock_hz: int) -> list[int]:
    """Return the `IDENTITY_WORDS` words that follow the program in program memory."""
    payload = DeviceInfo(config, clock_hz, build_id=config.digest()).pack()
    return [int.from_bytes(payload[at : at + 4], "little") for at in range(0, INFO_BYTES, 4)]


class Control(wiring.Component):
    """Command processor.

    INFER hands its image bytes to the loader and leaves records for the responder. Every other request
    waits until the array and the responder are idle. INFO, ARM, READ and COUNTERS are one loop over words:
    of the identity behind the program, of the program's header, of a memory, of the counters.

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
        As of the cycle before.
        No batch is loaded, running or being sent, and no record is left.
    header : Out(HeaderLayout)
        Of the loaded program.
    write : Out(stream of WriteLayout)
        Writes into every memory.
    word : Out(PlaceLayout)
        What `RecordKind.WORD` asks for.
    program : Out(WordReadSignature)
    run, run_entry : Out
        Start the sequencer at an address.
    images : Out(stream of 8)
    settled : Out(1)
        A request other than INFER begins; all before it is done.
    restart, close : Out(1)
    loader_busy, boundary : In(1)
        As in `Loader`.
    batch : In(stream of 4)
        Batches that the loader has completed.
    record : Out(stream of RecordLayout)
    counter : Out(CounterSignature)
        Ignored if the configuration has none.
    clear_counters : Out(1)
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
                "run": Out(1),
                "run_entry": Out(bits_for_depth(config.program_depth)),
                "images": Out(stream.Signature(8)),
                "settled": Out(1),
                "restart": Out(1),
                "close": Out(1),
                "loader_busy": In(1),
                "boundary": In(1),
                "batch": In(stream.Signature(4)),
                "record": Out(stream.Signature(RecordLayout)),
                "counter": Out(CounterSignature()),
                "clear_counters": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g = self.config, self.config.geometry
        i, record, write = self.i, self.record, self.write

        command = Signal(4, init=Command.ARM if self.baked else 0)
        status = Signal(range(max(Status) + 1))
        armed = Signal()
        # At power-up, a baked device arms itself as if a request for it had just ended, but answers nobody.
        unasked = Signal(init=self.baked)
        ended = Signal(init=self.baked)
        expected = Signal(7)  # part of the group of images that is open; 0, none
        key = Signal(8 * KEY_BYTES, reset_less=True)  # of the armed program
        count = Signal(range(max(g.width // 8, 8)))  # byte of type and tag, of the arguments, of a word
        byte = Signal(8)
        limits = {
            Space.PROGRAM: (1, config.program_depth, 4),
            Space.THRESHOLDS: (g.columns, config.threshold_depth, 4),
            Space.WEIGHTS: (g.columns, config.weight_depth, g.width // 8),
            Space.ACTIVATIONS: (g.rows, config.act_depth, g.width // 8),
        }
        # Arguments, as wide as there are places; `stray` keeps that there were more bits.
        longest = range(max(IDENTITY_WORDS + depth for _, depth, _ in limits.values()))
        space = Signal(2)
        bank = Signal(range(max(g.rows, g.columns)))
        addr = Signal(longest)
        words = Signal(longest, init=IDENTITY_WORDS)
        stray = Signal()
        clear = Signal()
        # Decisions, in registers a cycle after what they depend on.
        inside, unknown, exhausted, refused = Signal(), Signal(), Signal(), Signal()
        reading, arming, live = Signal(), Signal(), Signal()
        m.d.sync += [
            unknown.eq((command == 0) | (not config.counters) & (command == Command.COUNTERS)),
            exhausted.eq((words == 0) & ~stray),
            refused.eq((command == Command.READ) & (space[0] ^ space[1])),
            reading.eq(command == Command.READ),
            arming.eq(command == Command.ARM),
            live.eq((command == Command.INFO) & armed),
        ]
        # Of the argument that comes next, which is not before the next cycle but one.
        last_argument = Signal()
        lasts = [(command == value) & (count == last) for value, (_, last) in _ARGUMENTS.items()]
        m.d.sync += last_argument.eq(Cat(lasts).any())
        for late in (self.run, self.settled, self.restart, self.clear_counters):
            m.d.sync += late.eq(0)
        last_lane = Signal.like(count)
        with m.Switch(space):
            for value, (banks, depth, size) in limits.items():
                with m.Case(value):
                    # Known a cycle after the address; a byte comes every other cycle at most.
                    m.d.sync += inside.eq((bank < banks) & (addr < depth) & ~stray)
                    m.d.comb += last_lane.eq(size - 1)
        # Large memories answer late in the cycle.
        stored: Value = self.program.data
        if not config.program_halves:
            stored = Signal(32, reset_less=True)
            m.d.sync += stored.eq(self.program.data)
        word, counter, counted = stored, self.counter, Const(1)
        if config.counters:
            counts = Signal()
            m.d.sync += counts.eq(command == Command.COUNTERS)
            word = Mux(counts, counter.data, stored)
            counted = counter.ready | ~counts
            m.d.comb += counter.index.eq(addr)

        m.d.comb += [
            self.word.bank.eq(bank),
            self.word.addr.eq(addr),
            write.p.space.eq(space),
            write.p.place.eq(self.word),
            write.p.lane.eq(count),
            write.p.data.eq(i.payload.data),
            self.run_entry.eq(addr),
            self.program.addr.eq(addr),
            self.images.payload.eq(i.payload.data),
            byte.eq(word.word_select(count[:2], 8)),
            record.payload.value.eq(i.payload.data),
        ]

        def take() -> None:
            m.d.comb += i.ready.eq(1)
            with m.If(i.valid):
                m.d.sync += ended.eq(i.payload.last)

        def answer_last() -> None:
            m.d.comb += record.valid.eq(~unasked)
            m.d.sync += count.eq(0)
            with m.If(record.ready):
                m.d.sync += unasked.eq(0)
                m.next = "HEADER"

        asked = Signal()
        # A state names the status with which it refuses, and refuses by going to DROP.
        with m.FSM(init="READ" if self.baked else "HEADER"):
            with m.State("HEADER"):
                m.d.comb += [record.valid.eq(i.valid), record.payload.kind.eq(RecordKind.BYTE)]
                # A new request has no arguments yet: what INFO, ARM and COUNTERS read.
                m.d.sync += [space.eq(0), bank.eq(0), addr.eq(0), stray.eq(0)]
                m.d.sync += words.eq(IDENTITY_WORDS)
                with m.If(count == 0):
                    m.d.comb += record.payload.value[7].eq(1)
                with m.If(record.ready):
                    take()
                    with m.If(i.valid):
                        m.d.sync += count.eq(count + 1)
                        with m.If(count == 0):
                            m.d.sync += command.eq(Mux(i.payload.data > max(Command), 0, i.payload.data))
                        with m.If(count == 2):
                            m.d.sync += count.eq(0)
                            m.next = "TYPE"
            with m.State("TYPE"):
                m.next = "EXECUTE"
                with m.Switch(command):
                    with m.Case(Command.INFER):
                        m.next = "PART"
                    for value, (first, last) in _ARGUMENTS.items():
                        with m.Case(value):
                            m.d.sync += [count.eq(first), last_argument.eq(first == last)]
                            m.next = "ARGUMENTS"
            with m.State("ARGUMENTS"):
                m.d.sync += status.eq(Status.BAD_LENGTH)
                with m.If(ended):
                    m.next = "DROP"
                with m.Else():
                    take()
                    with m.If(i.valid):
                        argument = i.payload.data
                        m.d.sync += [count.eq(count + 1), clear.eq(argument[0])]
                        places = (space, bank, addr[:8], addr[8:], words[:8], words[8:])
                        for index, place in enumerate(places):
                            with m.If(count == index):
                                m.d.sync += [
                                    place.eq(argument),
                                    stray.eq(stray | argument[len(place) :].any()),
                                ]
                        with m.If(last_argument):
                            m.d.sync += count.eq(0)
                            m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                reason = Mux(ended, Status.BAD_ADDRESS, Status.BAD_LENGTH)
                m.d.sync += [status.eq(Mux(unknown, Status.BAD_COMMAND, reason)), count.eq(0), expected.eq(0)]
                with m.Switch(command):
                    with m.Case(Command.INFO):
                        m.d.sync += addr.eq(config.program_depth)
                    with m.Case(Command.COUNTERS):
                        m.d.sync += words.eq(len(COUNTERS))
                with m.If(self.idle):
                    m.d.sync += self.settled.eq(1)
                    m.next = "NEXT"
                    with m.If(unknown | ~ended & (command != Command.WRITE)):
                        m.next = "DROP"
                    with m.Elif(command == Command.WRITE):
                        m.next = "WRITE"
                    with m.Elif(command == Command.RUN):
                        m.next = "DROP"
                        with m.If(inside):
                            m.d.sync += self.run.eq(1)
                            m.next = "RUN"
                    with m.Elif(command == Command.RESET):
                        m.d.sync += [self.clear_counters.eq(1), self.restart.eq(1)]
                        m.d.sync += armed.eq(0)
                        m.next = "DONE"
            with m.State("DROP"):
                m.d.comb += [record.payload.kind.eq(RecordKind.LAST), record.payload.value.eq(status)]
                m.d.sync += expected.eq(0)
                with m.If(ended):
                    answer_last()
                with m.Else():
                    take()
            with m.State("DONE"):
                m.d.comb += [record.payload.kind.eq(RecordKind.LAST), record.payload.value.eq(Status.OK)]
                answer_last()

            with m.State("WRITE"):
                m.d.sync += status.eq(Mux(inside, Status.BAD_LENGTH, Status.BAD_ADDRESS))
                with m.If(ended):
                    m.next = "DONE"
                with m.Elif(~inside):
                    m.next = "DROP"
                with m.Elif(i.valid):
                    m.d.comb += write.valid.eq(1)
                    with m.If(write.ready):
                        take()
                        with m.If(space != Space.ACTIVATIONS):
                            m.d.sync += armed.eq(0)
                        m.d.sync += count.eq(count + 1)
                        with m.If(count == last_lane):
                            m.d.sync += [count.eq(0), addr.eq(addr + 1)]
                        with m.Elif(i.payload.last):
                            m.next = "DROP"

            def next_word() -> None:
                m.d.sync += [addr.eq(addr + 1), words.eq(words - 1)]
                m.next = "NEXT"

            with m.State("NEXT"):
                m.next = "READ"

            with m.State("READ"):
                m.d.comb += [self.program.valid.eq(1), record.payload.kind.eq(RecordKind.WORD)]
                m.d.sync += status.eq(Status.BAD_ADDRESS)
                with m.If(exhausted):
                    with m.If(arming):
                        m.d.sync += [self.restart.eq(1), armed.eq(1)]
                    m.d.sync += self.clear_counters.eq((command == Command.COUNTERS) & clear)
                    m.next = "DONE"
                with m.Elif(refused | reading & ~inside):
                    m.next = "DROP"
                with m.Elif(space == Space.PROGRAM):
                    # What is ready in the first cycle may still be the word before.
                    m.d.sync += asked.eq(1)
                    m.d.comb += counter.valid.eq(1)
                    with m.If(self.program.ready & counted & (asked | (not config.program_halves))):
                        m.d.sync += asked.eq(0)
                        m.next = "BYTES" if config.program_halves else "WORD"
                with m.Else():
                    m.d.comb += record.valid.eq(1)
                    with m.If(record.ready):
                        m.next = "PAUSE"
            with m.State("RUN"):
                m.next = "PAUSE"
            with m.State("PAUSE"):
                m.next = "SETTLE"
            with m.State("SETTLE"), m.If(self.idle):
                with m.If(command == Command.RUN):
                    m.next = "DONE"
                with m.Else():
                    next_word()
            with m.State("WORD"):
                m.d.comb += self.program.valid.eq(1)
                m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += [self.program.valid.eq(1), record.payload.kind.eq(RecordKind.BYTE)]
                m.d.sync += status.eq(Status.BAD_PROGRAM)
                with m.If(arming):
                    m.d.sync += armed.eq(0)
                    next_word()
                    self._take_header(m, addr, stored)
                    with m.If(addr == HEADER.fields["id_low"].word):
                        m.d.sync += key.eq(stored)
                    with m.If((addr == HEADER.fields["magic"].word) & (stored != PROGRAM_MAGIC)):
                        m.next = "DROP"
                with m.Else():
                    m.d.comb += [record.valid.eq(1), record.payload.value.eq(byte)]
                    # What of INFO is not fixed: that a program is armed, and its identifier.
                    left = words[:4]
                    flags, network = divmod(INFO_FLAGS_OFFSET, 4), INFO_NETWORK_OFFSET // 4
                    with m.If(live & (left == IDENTITY_WORDS - flags[0]) & (count == flags[1])):
                        m.d.comb += record.payload.value.eq(byte | FLAG_ARMED)
                    with m.If(record.ready):
                        m.d.sync += count.eq(count + 1)
                        with m.If(count[:2].all()):
                            m.d.sync += count.eq(0)
                            next_word()
                            with m.If(live & (left == IDENTITY_WORDS - network + 1)):
                                m.d.sync += addr.eq(HEADER.fields["id_low"].word)

            infer_states(m, self, status, ended, armed, expected, key, count, take)
        return m

    def _take_header(self, m: Module, addr: Signal, stored: Value) -> None:
        for number in range(HEADER.words):
            with m.If(addr == number):
                for name, field in HEADER.fields.items():
                    if field.word == number and name in self.header.shape().members:
                        m.d.sync += self.header[name].eq(stored[field.low :][: field.width])
