"""INFO, ARM, READ and COUNTERS: one loop over words; and the wait until RUN is over."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import FLAG_ARMED, INFO_FLAGS_OFFSET, INFO_NETWORK_OFFSET, Space, Status

from ..interfaces import CounterSignature, HeaderLayout
from ..memory.ports import WordReadSignature
from ..memory.stores.port import space_bits, stored_spaces
from .header import HeaderStore
from .identity import IDENTITY_WORDS
from .records import RecordKind, RecordLayout

__all__ = ["WordLoop"]


class WordLoop(wiring.Component):
    """Go over words: of the identity behind the program, the program's header, a memory, the counters.

    Parameters
    ----------
    config : DeviceConfig
    baked : bool
        At power-up the loop is at its first word already.

    Members
    -------
    active : In(1)
        A request is carried out here; until `refuse` or `done`.
    arming, counting, live, reading, running : In(1)
        It is ARM; COUNTERS; INFO, while a program is armed; READ; RUN.
    space : In(2)
    addr, words : In
        Where the next word is, and how many are left.
    exhausted, inside : In(1)
        None is left; the next one is somewhere that READ may read.
    idle : In(1)
        As in `Control`.
    stored : In(1), octet : In(8)
        On a device with a store: the word is one of it, and this is its byte at `count`.
    count : In(2)
        Byte of the word; 0 at the beginning.
    step : Out(1)
        The next one.
    program : Out(WordReadSignature)
    counter : Out(CounterSignature)
    record : Out(stream of RecordLayout)
    header : Out(HeaderLayout)
        Of the program that was armed last.
    byte : Out(8)
        Of the word at `addr`, while `known`.
    known : Out(1)
        That word has been read; only while it is asked for, here or by someone else.
    take : Out(1)
        A word of the header is read.
    next_word, to_network : Out(1)
        To the next address, or to that of the program's identifier; one word less.
    status, status_valid : Out
        With which the request is refused, from now on.
    refuse, done : Out(1)
        The request is at its end.
    """

    def __init__(self, config: DeviceConfig, baked: bool = False) -> None:
        self.config, self.baked = config, baked
        flags = ("active", "arming", "counting", "live", "reading", "running", "exhausted", "inside", "idle")
        outputs = ("step", "take", "next_word", "to_network", "status_valid", "refuse", "done")
        program = WordReadSignature(config.program_depth + IDENTITY_WORDS)
        super().__init__(
            {
                **dict.fromkeys(flags, In(1)),
                "space": In(space_bits(config)),
                "count": In(2),
                "addr": In(16),
                "words": In(4),
                "program": Out(program),
                "counter": Out(CounterSignature()),
                **({"stored": In(1), "octet": In(8)} if stored_spaces(config) else {}),
                "record": Out(stream.Signature(RecordLayout)),
                "header": Out(HeaderLayout(config)),
                "byte": Out(8),
                "known": Out(1),
                "status": Out(range(max(Status) + 1)),
                **dict.fromkeys(outputs, Out(1)),
            }
        )
        self._header = HeaderStore(config)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        record, counter, halves = self.record, self.counter, self.config.program_halves
        m.submodules.store = store = self._header
        # Large memories answer late in the cycle.
        stored: Value = self.program.data
        if halves:
            m.d.comb += self.known.eq(self.program.ready)
        else:
            stored = Signal(32, reset_less=True)
            m.d.sync += [stored.eq(self.program.data), self.known.eq(self.program.ready)]
        shown, counted = stored, Const(1)
        if self.config.counters:
            shown, counted = Mux(self.counting, counter.data, stored), counter.ready | ~self.counting
        byte, shown = self.byte, shown.word_select(self.count, 8)
        m.d.comb += [
            byte.eq(Mux(self.stored, self.octet, shown) if stored_spaces(self.config) else shown),
            store.word.eq(stored),
            store.number.eq(self.addr),
            store.take.eq(self.take),
            self.header.eq(store.header),
            record.p.value.eq(byte),
            self.program.addr.eq(self.addr),
            counter.index.eq(self.addr if self.config.counters else 0),
        ]
        with m.FSM(init="READ" if self.baked else "NEXT"):
            with m.State("NEXT"):
                with m.If(self.active):
                    m.next = "READ"
                    with m.If(self.running):
                        m.next = "PAUSE"
            with m.State("READ"):
                m.d.comb += [
                    self.program.valid.eq(1),
                    record.p.kind.eq(RecordKind.WORD),
                    self.status.eq(Status.BAD_ADDRESS),
                    self.status_valid.eq(1),
                ]
                with m.If(self.exhausted | self.reading & ~self.inside):
                    m.d.comb += [self.done.eq(self.exhausted), self.refuse.eq(~self.exhausted)]
                    m.next = "NEXT"
                with m.Elif(self.space.matches(Space.PROGRAM, *stored_spaces(self.config))):
                    m.d.comb += counter.valid.eq(1)
                    with m.If(self.program.ready & counted):
                        m.next = "BYTES"
                with m.Else():
                    m.d.comb += record.valid.eq(1)
                    with m.If(record.ready):
                        m.next = "PAUSE"
            with m.State("PAUSE"):
                m.next = "SETTLE"
            with m.State("SETTLE"), m.If(self.idle):
                m.d.comb += [self.done.eq(self.running), self.next_word.eq(~self.running)]
                m.next = "NEXT"
            self._bytes(m, byte)
        return m

    def _bytes(self, m: Module, byte: Value) -> None:
        """Keep a word of the header, or send the bytes of any other."""
        record, lane = self.record, self.count
        with m.State("BYTES"):
            m.d.comb += [
                self.program.valid.eq(1),
                record.p.kind.eq(RecordKind.BYTE),
                self.status.eq(Status.BAD_PROGRAM),
                self.status_valid.eq(1),
            ]
            with m.If(self.arming):
                m.d.comb += [self.take.eq(1), self.next_word.eq(1), self.refuse.eq(self._header.foreign)]
                m.next = "NEXT"
            with m.Else():
                m.d.comb += record.valid.eq(1)
                # What of INFO is not fixed: that a program is armed, and its identifier.
                flags, network = divmod(INFO_FLAGS_OFFSET, 4), INFO_NETWORK_OFFSET // 4
                with m.If(self.live & (self.words == IDENTITY_WORDS - flags[0]) & (lane == flags[1])):
                    m.d.comb += record.p.value.eq(byte | FLAG_ARMED)
                with m.If(record.ready):
                    m.d.comb += self.step.eq(1)
                    with m.If(lane.all()):
                        m.d.comb += self.next_word.eq(1)
                        m.d.comb += self.to_network.eq(
                            self.live & (self.words == IDENTITY_WORDS - network + 1)
                        )
                        m.next = "NEXT"
