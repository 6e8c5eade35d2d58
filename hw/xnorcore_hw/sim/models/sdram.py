"""An SDRAM that asks for what its datasheet asks for: any violation fails the simulation.

The rules are those of JEDEC's single data rate SDRAM as the datasheets of `memory.stores.sdram_chips` have
them: functional description (initialisation, bank activation, reads, writes, precharge, auto refresh, DQM),
truth tables of commands, and the table of AC characteristics, whose times are checked in cycles of the clock.
"""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, connect, flipped

from ...memory.stores.sdram_chips import BANKS, REFRESHED_NS, SdramChip, cycles_of
from ...memory.stores.sdram_pins import PadRegisters, SdramCommand, SdramPins

__all__ = ["POSTPONED", "SdramBoard", "SdramModel"]

_ALL = 10
"""Address bit of PRECHARGE: all banks."""
POSTPONED = 8
"""Refreshes that may be owed at any time."""
_NOTHING = 0x5A
"""What is on the data lines, in each byte, while nobody drives them."""


class SdramModel(wiring.Component):
    """An SDRAM at its pins, in the domain of its clock.

    CKE is high and CS# low for ever; power-down, self refresh, auto precharge and burst termination are not
    modelled, nor bursts but those of one or two words that are written one by one: to ask for them fails.

    Parameters
    ----------
    chip : SdramChip
    clock_hz : int
    words : int
        Of 32 bits that are there, from address 0 on in the order column, bank, row: at least a row of each
        bank, at most the whole chip. An address beyond them fails.

    Members
    -------
    pins : In(SdramPins)
    """

    def __init__(self, chip: SdramChip, clock_hz: int, words: int) -> None:
        self.chip, self.clock_hz = chip, clock_hz
        page = BANKS * chip.width << chip.column_bits - 5
        self.words = min(max(words, page), chip.words)
        super().__init__({"pins": In(SdramPins(chip))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        pins = self.pins
        self._asked = {
            one: Signal(name=f"asks_{one.name.lower()}") for one in SdramCommand if one != SdramCommand.NOP
        }
        m.d.comb += [asked.eq(pins.command == one) for one, asked in self._asked.items()]
        self._of_bank = [Signal(name=f"bank{number}") for number in range(BANKS)]
        m.d.comb += [chosen.eq(pins.bank == number) for number, chosen in enumerate(self._of_bank)]
        self._open = [Signal(name=f"open{number}") for number in range(BANKS)]
        self._rows = [Signal(self.chip.row_bits, name=f"row{number}") for number in range(BANKS)]
        self._wrong = Signal(name="wrong")
        self._latency = Signal(range(4), name="latency", init=2)
        self._pairs = Signal(name="pairs")
        self._initialise(m)
        self._refresh(m)
        self._activate(m)
        self._precharge(m)
        self._transfer(m)
        return m

    def _rule(self, m: Module, holds: Value, message: str) -> None:
        """Assert something in the place of the call. Where nobody looks at that, nothing is read any more."""
        m.d.sync += Assert(holds, message, src_loc_at=1)
        with m.If(~holds):
            m.d.sync += self._wrong.eq(1)

    def _since(self, m: Module, event: Value, nanoseconds: float, name: str, least: int = 1) -> Value:
        """Return whether it is so long ago, and so many cycles."""
        cycles = max(cycles_of(nanoseconds, self.clock_hz), least)
        left = Signal(range(max(cycles, 2)), name=f"{name}_left")
        with m.If(event):
            m.d.sync += left.eq(cycles - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return left == 0

    def _initialise(self, m: Module) -> None:
        chip, asked, pins = self.chip, self._asked, self.pins
        pause = cycles_of(chip.pause, self.clock_hz)
        paused, closed = Signal(range(pause + 1), name="paused"), Signal(name="precharged")
        refreshed, loaded = Signal(range(chip.first_refreshes + 1), name="refreshed"), Signal(name="loaded")
        with m.If(paused != pause):
            m.d.sync += paused.eq(paused + 1)
            self._rule(m, pins.command == SdramCommand.NOP, "a command before the pause at power-up is over")
        with m.If(asked[SdramCommand.PRECHARGE] & pins.address[_ALL]):
            m.d.sync += closed.eq(1)
        with m.If(asked[SdramCommand.REFRESH]):
            self._rule(m, closed, "AUTO REFRESH before all banks were precharged at power-up")
            with m.If(refreshed != chip.first_refreshes):
                m.d.sync += refreshed.eq(refreshed + 1)
        with m.If(asked[SdramCommand.LOAD_MODE]):
            self._rule(
                m, refreshed == chip.first_refreshes, "LOAD MODE REGISTER before the refreshes at power-up"
            )
            mode = pins.address
            m.d.sync += [loaded.eq(1), self._latency.eq(mode[4:7]), self._pairs.eq(mode[0])]
            known = (mode[1:4] == 0) & ((mode[4:7] == 2) | (mode[4:7] == 3)) & (mode[7:9] == 0) & mode[9]
            self._rule(m, known & (mode[10:] == 0) & (pins.bank == 0), "a mode that is not modelled")
            self._rule(
                m,
                (mode[4:7] == 3) | Const(int(chip.latency(self.clock_hz) == 2), 1),
                "a clock that is too fast for a CAS latency of 2",
            )
        self._ready = Signal(name="ready")
        m.d.comb += self._ready.eq(loaded)
        self._rule(m, ~asked[SdramCommand.TERMINATE], "BURST TERMINATE is not modelled")
        slow = 1e9 / self.clock_hz >= chip.ck3
        self._rule(m, Const(int(slow), 1), "a clock that is too fast for the chip")

    def _refresh(self, m: Module) -> None:
        """Check what asks for closed banks; and that no more refreshes are owed than may be postponed."""
        asked, none = self._asked, ~Cat(*self._open).any()
        self._refreshed = self._since(m, asked[SdramCommand.REFRESH], self.chip.rfc, "rfc")
        self._loaded = self._since(m, asked[SdramCommand.LOAD_MODE], self.chip.mrd, "mrd", least=2)
        rested = Signal(name="rested")
        with m.If(asked[SdramCommand.REFRESH]):
            self._rule(m, none, "AUTO REFRESH while a row is open")
            self._rule(m, rested, "AUTO REFRESH earlier than tRP behind PRECHARGE")
        with m.If(asked[SdramCommand.LOAD_MODE]):
            self._rule(m, none, "LOAD MODE REGISTER while a row is open")
            self._rule(m, rested, "LOAD MODE REGISTER earlier than tRP behind PRECHARGE")
        with m.If(self.pins.command != SdramCommand.NOP):
            self._rule(m, self._refreshed, "a command earlier than tRFC behind AUTO REFRESH")
            self._rule(m, self._loaded, "a command earlier than tMRD behind LOAD MODE REGISTER")
        m.d.comb += rested.eq(self._since(m, asked[SdramCommand.PRECHARGE], self.chip.rp, "rp_any"))
        interval = REFRESHED_NS * self.clock_hz // (self.chip.refreshes * 1_000_000_000)
        elapsed, owed = Signal(range(interval), name="elapsed"), Signal(range(POSTPONED + 2), name="owed")
        due = Signal(name="due")
        with m.If(self._ready):
            m.d.comb += due.eq(elapsed == interval - 1)
            m.d.sync += elapsed.eq(Mux(due, 0, elapsed + 1))
            done = asked[SdramCommand.REFRESH] & (owed != 0)
            m.d.sync += owed.eq(owed + due - done)
        self._rule(m, owed <= POSTPONED, "more refreshes are owed than may be postponed")

    def _activate(self, m: Module) -> None:
        asked, pins, chip = self._asked[SdramCommand.ACTIVE], self.pins, self.chip
        apart = self._since(m, asked, chip.rrd, "rrd")
        rows = self.words >> chip.column_bits + 2 - (32 // chip.width - 1)
        most = cycles_of(chip.ras_most, self.clock_hz) - 1
        self._held, self._settled = [], []
        with m.If(asked):
            self._rule(m, self._ready, "ACTIVE before the mode register is loaded")
            self._rule(m, apart, "ACTIVE earlier than tRRD behind another one")
            self._rule(m, pins.address < rows, "a row that is not modelled")
        for number, (chosen, is_open, row) in enumerate(
            zip(self._of_bank, self._open, self._rows, strict=True)
        ):
            here = Signal(name=f"activates{number}")
            m.d.comb += here.eq(asked & chosen)
            cycled = self._since(m, here, chip.rc, f"rc{number}")
            self._held.append(self._since(m, here, chip.ras, f"ras{number}"))
            self._settled.append(self._since(m, here, chip.rcd, f"rcd{number}"))
            age = Signal(range(most + 1), name=f"age{number}")
            with m.If(here):
                m.d.sync += [is_open.eq(1), row.eq(pins.address), age.eq(0)]
                self._rule(m, ~is_open, "ACTIVE of a bank that has a row open")
                self._rule(m, cycled, "ACTIVE earlier than tRC behind the last one of the bank")
            with m.Elif(is_open):
                m.d.sync += age.eq(age + 1)
                self._rule(m, age != most, "a row is open for longer than tRAS allows")

    def _precharge(self, m: Module) -> None:
        asked, pins, chip = self._asked[SdramCommand.PRECHARGE], self.pins, self.chip
        read, write = self._asked[SdramCommand.READ], self._asked[SdramCommand.WRITE]
        # The earliest one that leaves a burst whole is as many cycles behind READ.
        left = Signal(range(5), name="burst_left")
        with m.If(read):
            m.d.sync += left.eq(self._latency + self._pairs - 2)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(asked):
            self._rule(m, left == 0, "PRECHARGE cuts a burst")
        for number, (chosen, is_open) in enumerate(zip(self._of_bank, self._open, strict=True)):
            here = Signal(name=f"precharges{number}")
            m.d.comb += here.eq(asked & (chosen | pins.address[_ALL]))
            rested = self._since(m, here, chip.rp, f"rp{number}")
            written = self._since(m, write & chosen, chip.wr, f"wr{number}")
            with m.If(here & is_open):
                m.d.sync += is_open.eq(0)
                self._rule(m, self._held[number], "PRECHARGE earlier than tRAS behind ACTIVE")
                self._rule(m, written, "PRECHARGE earlier than tWR behind WRITE")
            with m.If(self._asked[SdramCommand.ACTIVE] & chosen):
                self._rule(m, rested, "ACTIVE earlier than tRP behind PRECHARGE")

    def _transfer(self, m: Module) -> None:
        """Move data: a READ's leave `latency` cycles behind it, and may not meet others on their lines."""
        pins, chip = self.pins, self.chip
        read, write = self._asked[SdramCommand.READ], self._asked[SdramCommand.WRITE]
        is_open, settled = Signal(name="is_open"), Signal(name="settled")
        m.d.comb += [
            is_open.eq(Array(self._open)[pins.bank]),
            settled.eq(Array(self._settled)[pins.bank]),
        ]
        with m.If(read | write):
            self._rule(m, is_open, "READ or WRITE of a bank that has no row open")
            self._rule(m, settled, "READ or WRITE earlier than tRCD behind ACTIVE")
            self._rule(
                m, pins.address[chip.column_bits :] == 0, "a column that is not there, or auto precharge"
            )
        with m.If(write):
            self._rule(m, pins.oe | pins.mask.all(), "WRITE without data")
        column = pins.address[: chip.column_bits]
        place = Signal(chip.column_bits + 2 + chip.row_bits, name="place")
        m.d.comb += place.eq(Cat(column, pins.bank, Array(self._rows)[pins.bank]))
        depth = self.words * 32 // chip.width
        m.submodules.memory = memory = Memory(shape=chip.width, depth=depth, init=[])
        port, reads = memory.write_port(granularity=8), memory.read_port()
        follows, second = Signal(name="follows"), Signal.like(place, name="second")
        m.d.sync += [follows.eq(read & self._pairs), second.eq(place ^ 1)]
        m.d.comb += [
            port.addr.eq(place),
            port.data.eq(pins.o),
            port.en.eq(Mux(write, ~pins.mask, 0)),
            reads.addr.eq(Mux(follows & ~read, second, place)),
        ]
        self._give(m, read | follows, reads.data)

    def _give(self, m: Module, reading: Value, data: Value) -> None:
        """Put what is read on the lines: its address is known in this cycle, `data` come a cycle later."""
        pins, chip = self.pins, self.chip
        first, late = Signal(name="first"), Signal(name="late")
        m.d.sync += [first.eq(reading), late.eq(first)]
        early_data, late_data = Signal(chip.width, name="data1"), Signal(chip.width, name="data2")
        m.d.sync += [early_data.eq(data), late_data.eq(early_data)]
        later = Signal(name="later")
        m.d.sync += later.eq(late)
        gives, given = Signal(name="gives"), Signal(chip.width, name="given")
        slow = self._latency == 3
        m.d.comb += [gives.eq(Mux(slow, later, late)), given.eq(Mux(slow, late_data, early_data))]
        # DQM acts two cycles later on what is read.
        masks = [pins.mask]
        for number in range(2):
            masks.append(Signal.like(pins.mask, name=f"mask{number}"))
            m.d.sync += masks[-1].eq(masks[-2])
        for byte in range(chip.width // 8):
            shown = gives & ~masks[-1][byte] & ~self._wrong
            m.d.comb += pins.i.word_select(byte, 8).eq(Mux(shown, given.word_select(byte, 8), _NOTHING))
        gave = Signal(name="gave")
        m.d.sync += gave.eq(gives)
        self._rule(m, ~pins.oe | ~(gives | gave), "both sides drive the data lines")


class SdramBoard(wiring.Component):
    """An SDRAM behind the registers of pads: what a controller sees.

    Parameters are those of `SdramModel`.

    Members
    -------
    chip : In(SdramPins)
    """

    def __init__(self, chip: SdramChip, clock_hz: int, words: int) -> None:
        self.model = SdramModel(chip, clock_hz, words)
        super().__init__({"chip": In(SdramPins(chip))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.pads = pads = PadRegisters(self.model.chip)
        m.submodules.model = model = self.model
        connect(m, flipped(self.chip), pads.inner)
        connect(m, pads.outer, model.pins)
        return m
