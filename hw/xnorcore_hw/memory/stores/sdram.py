"""A store in SDRAM: its words at the speed of its data lines, refreshes between them."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import SDRAM_HZ

from ...parts.sizes import STORE_PLACES
from .port import StoreSignature
from .sdram_chips import REFRESHED_NS, SdramChip, cycles_of
from .sdram_pins import PAD_STAGES, PRECHARGE_ALL, SdramCommand, SdramPins

__all__ = ["SdramStore", "SdramTimes"]

_FORCED = 4
"""Refreshes that are owed before words have to wait for them. Half of what may be, since they wait, too."""
_SHORT = 4
"""Cycles of a reset that are fewer than those at power-up."""


class _Row(IntEnum):
    """What is open, or on its way to be."""

    UNKNOWN = 0
    """At power-up: banks are not to be touched yet."""
    CLOSED = 1
    OPEN = 2
    CLOSING = 3


class SdramTimes:
    """A chip's times in cycles of a clock, from one command to the next.

    Parameters
    ----------
    chip : SdramChip
    clock_hz : int
        Within `SDRAM_HZ`.

    Attributes
    ----------
    latency : int
        CAS latency.
    beats : int
        Of a word.
    interval : int
        From one refresh to the next: as many as there are rows, and those that may be owed, in their time.
    pause : int
        Intervals at power-up.
    activate, precharge, refresh, mode : int
        From these to the next command.
    close : int
        From the cycle in which the next command could come to PRECHARGE. A row has been open for long enough
        then, whatever it was opened for.
    """

    def __init__(self, chip: SdramChip, clock_hz: int) -> None:
        def cycles(nanoseconds: float) -> int:
            return max(cycles_of(nanoseconds, clock_hz), 1)

        assert SDRAM_HZ[0] <= clock_hz <= SDRAM_HZ[1] and chip.ck3 <= 1e9 / clock_hz, clock_hz
        self.latency, self.beats = chip.latency(clock_hz), 32 // chip.width
        self.interval = REFRESHED_NS * clock_hz // ((chip.refreshes + 2 * _FORCED) * 1_000_000_000)
        self.pause = cycles_of(chip.pause, clock_hz) // self.interval + 2
        self.activate, self.precharge = cycles(chip.rcd), cycles(chip.rp)
        self.refresh, self.mode = cycles(chip.rfc), max(cycles(chip.mrd), 2)
        self.close = max(
            cycles(chip.ras) - self.activate,
            cycles(chip.rc) - self.activate - self.precharge,
            cycles(chip.wr) - 1,
            1,
        )


class SdramStore(wiring.Component):
    """Controller of an SDRAM that is there for one stream of words.

    One row is open, until another is asked for, or a refresh comes. Refreshes wait for the end of a row, or
    for a cycle in which nothing is asked for, as long as few of them are owed. A word is a burst of all its
    beats; a byte of the link is written by itself.

    The chip keeps its words, and its refreshes, through a reset that is shorter than the one at power-up.

    Parameters
    ----------
    config : DeviceConfig
    chip : SdramChip
    clock_hz : int

    Members
    -------
    bus : In(StoreSignature)
    chip : Out(SdramPins)
    """

    def __init__(self, config: DeviceConfig, chip: SdramChip, clock_hz: int) -> None:
        assert config.store_words <= chip.words, f"{chip.name} has {chip.words} words"
        self.config, self.part, self.times = config, chip, SdramTimes(chip, clock_hz)
        super().__init__({"bus": In(StoreSignature(config)), "chip": Out(SdramPins(chip))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        bus = self.bus
        # What is to be done: a word is wanted, or a byte to be written.
        reads, writes = Signal(name="reads"), Signal(name="writes")
        link = Signal(bus.write.p.shape(), name="link", reset_less=True)
        addr, row = Signal.like(link.addr, name="addr", reset_less=True), self._row_of(link.addr)
        open_row = Signal.like(row, name="open_row", reset_less=True)
        hit, done = Signal(name="hit", reset_less=True), Signal(name="done")
        free = self._words(m, done & reads)
        asked = Signal(name="asked")
        m.d.comb += [
            addr.eq(Mux(bus.write.valid, bus.write.p.addr, bus.request.p)),
            bus.write.ready.eq(~(reads | writes) | done),
            bus.request.ready.eq(bus.write.ready & free & ~bus.write.valid),
            asked.eq(bus.request.valid & bus.request.ready),
        ]
        with m.If(bus.write.ready):
            m.d.sync += [writes.eq(bus.write.valid), reads.eq(asked)]
            m.d.sync += [link.eq(bus.write.p), link.addr.eq(addr), hit.eq(self._row_of(addr) == open_row)]
        opened = Signal(name="opened")
        with m.If(opened):
            m.d.sync += [open_row.eq(row), hit.eq(1)]
        self._commands(m, link, (reads, writes, hit), (opened, done))
        return m

    def _row_of(self, address: Value) -> Value:
        """Return bank and row of a word, the bank first."""
        return address[self.part.column_bits - self.times.beats + 1 :]

    def _words(self, m: Module, read: Value) -> Value:
        """Take the words of READ commands as they come; return whether there is a place for another."""
        bus, chip, times = self.bus, self.chip, self.times
        m.submodules.words = words = SyncFIFO(width=32, depth=STORE_PLACES)
        # A command has registers here and at the pads, and the word one at the pads.
        coming = Signal(PAD_STAGES + times.latency + times.beats + 1, name="coming")
        m.d.sync += coming.eq(Cat(read, coming))
        arrived = Cat(chip.i)
        if times.beats == 2:
            first = Signal.like(chip.i, name="first", reset_less=True)
            m.d.sync += first.eq(chip.i)
            arrived = Cat(first, chip.i)
        used = Signal(range(STORE_PLACES + 1), name="used")
        taken = bus.word.valid & bus.word.ready
        m.d.sync += used.eq(used + (bus.request.valid & bus.request.ready) - taken)
        m.d.comb += [
            words.w_en.eq(coming[-1]),
            words.w_data.eq(arrived),
            bus.word.valid.eq(words.r_rdy),
            bus.word.p.eq(words.r_data),
            words.r_en.eq(bus.word.ready),
        ]
        return used != STORE_PLACES

    def _lost(self, m: Module) -> Value:
        """Return whether the chip is not known: a reset that lasts is one of the clock, as at power-up."""
        alive, rests = Signal(name="alive"), Signal(range(_SHORT + 1), name="rests", reset_less=True)
        m.d.sync += alive.eq(1)
        with m.If(alive):
            m.d.sync += rests.eq(0)
        with m.Elif(rests != _SHORT):
            m.d.sync += rests.eq(rests + 1)
        return rests == _SHORT

    def _refreshes(self, m: Module, done: Value, begins: Value, lost: Value) -> tuple[Signal, Value]:
        """Count what is owed; at power-up, intervals of the pause. Return it, and whether that is over."""
        times = self.times
        left = Signal(range(times.interval), name="left", init=times.interval - 1, reset_less=True)
        most = max(times.pause, self.part.first_refreshes, 2 * _FORCED)
        owed = Signal(range(most + 1), name="owed", reset_less=True)
        due = Signal(name="due")
        m.d.comb += due.eq(left == 0)
        m.d.sync += left.eq(Mux(due, times.interval - 1, left - 1))
        with m.If(due & ~done):
            m.d.sync += owed.eq(owed + 1)
        with m.If(done & ~due):
            m.d.sync += owed.eq(owed - 1)
        over = owed == times.pause
        with m.If(begins & over):
            m.d.sync += owed.eq(self.part.first_refreshes)
        with m.If(lost):
            m.d.sync += [left.eq(times.interval - 1), owed.eq(0)]
        return owed, over

    def _commands(
        self, m: Module, link: Value, wanted: tuple[Value, Value, Value], told: tuple[Signal, Signal]
    ) -> None:
        """Choose a command in each cycle in which there may be one.

        Parameters
        ----------
        link : View of StoreWriteLayout
            The word that is wanted, and the byte to write.
        wanted : tuple
            It is read; written; its row is open, if any.
        told : tuple
            Its row is opened; it is done with.
        """
        times, part = self.times, self.part
        reads, writes, hit = wanted
        opened, done = told
        state = Signal(_Row, name="state", reset_less=True)
        fresh = Signal(name="fresh", init=1, reset_less=True)
        longest = max(times.activate, times.precharge, times.refresh, times.mode, times.close, times.beats)
        wait = Signal(range(max(longest, 2)), name="wait", reset_less=True)
        refreshed, lost = Signal(name="refreshed"), self._lost(m)
        owed, over = self._refreshes(m, refreshed, state == _Row.UNKNOWN, lost)
        # A cycle late: whether a word may be asked for depends on it.
        urgent = Signal(name="urgent", reset_less=True)
        m.d.sync += urgent.eq(owed >= _FORCED)
        command = Signal(3, name="command", init=SdramCommand.NOP)
        address = Signal(part.row_bits, name="address")
        row = self._row_of(link.addr)
        half = (link.lane[1] & writes,) if times.beats == 2 else ()
        column = Cat(*half, link.addr)[: part.column_bits]
        mode = (times.beats - 1) | times.latency << 4 | 1 << 9
        m.d.comb += [command.eq(SdramCommand.NOP), address.eq(row[2:])]

        def give(what: SdramCommand, cycles: int) -> list[object]:
            m.d.sync += wait.eq(cycles - 1)
            return [command.eq(what)]

        m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
        with m.If(wait == 0):
            with m.Switch(state):
                with m.Case(_Row.UNKNOWN):
                    with m.If(over):
                        m.d.comb += [
                            *give(SdramCommand.PRECHARGE, times.precharge),
                            address.eq(PRECHARGE_ALL),
                        ]
                        m.d.sync += state.eq(_Row.CLOSED)
                with m.Case(_Row.CLOSED):
                    with m.If(owed != 0):
                        m.d.comb += [*give(SdramCommand.REFRESH, times.refresh), refreshed.eq(1)]
                    with m.Elif(fresh):
                        m.d.comb += [*give(SdramCommand.LOAD_MODE, times.mode), address.eq(mode)]
                        m.d.sync += fresh.eq(0)
                    with m.Elif(reads | writes):
                        m.d.comb += [*give(SdramCommand.ACTIVE, times.activate), opened.eq(1)]
                        m.d.sync += state.eq(_Row.OPEN)
                with m.Case(_Row.OPEN):
                    idle = ~(reads | writes)
                    with m.If(urgent | idle & (owed != 0) | ~idle & ~hit):
                        m.d.sync += [state.eq(_Row.CLOSING), wait.eq(times.close - 1)]
                    with m.Elif(reads):
                        m.d.comb += [*give(SdramCommand.READ, times.beats), address.eq(column), done.eq(1)]
                    with m.Elif(writes):
                        m.d.comb += [*give(SdramCommand.WRITE, 1), address.eq(column), done.eq(1)]
                with m.Case(_Row.CLOSING):
                    m.d.comb += [*give(SdramCommand.PRECHARGE, times.precharge), address.eq(PRECHARGE_ALL)]
                    m.d.sync += state.eq(_Row.CLOSED)
        with m.If(lost):
            m.d.comb += command.eq(SdramCommand.NOP)
            m.d.sync += [state.eq(_Row.UNKNOWN), fresh.eq(1), wait.eq(0)]
        self._pins(m, command, address, row[:2], link)

    def _pins(self, m: Module, command: Value, address: Value, bank: Value, link: Value) -> None:
        """Put a command into registers; the byte that is written is on all lines."""
        chip, writes = self.chip, command == SdramCommand.WRITE
        byte = link.lane[: 1 if self.times.beats == 2 else 2]
        values = {
            "command": command,
            "bank": Mux(command == SdramCommand.LOAD_MODE, 0, bank),
            "address": address,
            "mask": Mux(writes, ~(1 << byte), 0),
            "oe": writes,
        }
        for name, value in values.items():
            port = getattr(chip, name)
            held = Signal(port.shape(), name=f"{name}_q", init=port.init, reset_less=True)
            m.d.sync += held.eq(value)
            m.d.comb += port.eq(held)
        data = Signal(8, name="data_q", reset_less=True)
        m.d.sync += data.eq(link.data)
        m.d.comb += chip.o.eq(data.replicate(len(chip.o) // 8))
