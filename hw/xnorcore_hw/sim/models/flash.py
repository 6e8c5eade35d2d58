"""A serial flash as its datasheet (W25Q128JV, sections 6 to 9) describes it: what it forbids ends a run."""

from __future__ import annotations

from enum import IntEnum
from math import ceil

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ...memory.stores.flash_pins import FlashSignature
from .flash_content import FlashContent
from .flash_protection import shielded
from .flash_table import CHANGES, READS, W25Q128JV, FlashTable, Opcode
from .flash_times import FlashTimes

__all__ = ["FlashModel"]

_ASKED = (Opcode.STATUS_1, Opcode.STATUS_2, Opcode.IDENTITY)
_SHORT = (
    Opcode.WRITE_ENABLE, Opcode.VOLATILE_ENABLE, Opcode.WRITE_DISABLE, Opcode.POWER_DOWN, Opcode.RELEASE,
)  # fmt: skip
_BUSY = (Opcode.STATUS_1, Opcode.STATUS_2, Opcode.RELEASE)
"""What may be said to a busy chip."""


class _Phase(IntEnum):
    """What the next clock pulse of a command is for."""

    OPCODE = 0
    ADDRESS = 1
    DUMMY = 2
    DATA = 3
    """The chip sends what is in it,"""
    ANSWER = 4
    """or what it is."""
    BYTES = 5
    OVER = 6
    """The command is complete: another pulse makes it none."""
    REST = 7


class FlashModel(wiring.Component):
    """A chip, of which a region has content that a loss of power leaves as it is.

    A command that changes something counts if `select` ends behind a whole byte. At power-up the status is as
    delivered. The clock begins when the FPGA is configured, `configured_s` behind the power: no change may
    come before `FlashTable.change_s`, nothing at all in `FlashTable.up_s` from the clock's begin.

    Parameters
    ----------
    clock_hz : int
        Of the FPGA.
    first, words : int
        The region: byte of its beginning, and its 32-bit words.
    table : FlashTable
    pace : float
        Erasing and programming takes this part of the time of the table, or a cycle for each word.
    asleep : bool
        In power-down from power-up on, as after the FPGA was configured by itself.
    contents : tuple of int
        First words of the region; what is behind them is erased.
    status : int
        What the first status register says from the beginning: bits 2 to 6 protect a part of the chip, bit 7
        the registers while IO2 is low. Nothing can change them.
    configured_s : float
        Seconds that it has had power when the clock begins.

    Members
    -------
    chip : In(FlashSignature)
    """

    def __init__(
        self,
        clock_hz: int,
        first: int,
        words: int,
        *,
        table: FlashTable = W25Q128JV,
        pace: float = 1.0,
        asleep: bool = True,
        contents: tuple[int, ...] = (),
        status: int = 0,
        configured_s: float = 0.0,
    ) -> None:
        assert status < 1 << 8 and not status & 0b11, "it is not busy, and has no write enable"
        self.clock_hz, self.table, self._status = clock_hz, table, status
        super().__init__({"chip": In(FlashSignature())})
        self._content = FlashContent(clock_hz, first, words, table, pace, contents)
        self._times = FlashTimes(clock_hz, table, pace, configured_s)
        self._phase, self._count = Signal(_Phase), Signal(6)
        self._opcode, self._address, self._data = Signal(8), Signal(24), Signal(8)
        self._place, self._out = Signal(3), Signal(4, init=0b1111)
        self._enabled, self._volatile, self._quad, self._busy = Signal(), Signal(), Signal(), Signal()
        self._asleep, self._wait = Signal(init=asleep), Signal(range(self._cycles(table.release_s) + 1))

    def _cycles(self, seconds: float) -> int:
        return max(ceil(seconds * self.clock_hz), 1)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.content = content = self._content
        m.submodules.times = times = self._times
        chip, phase, wait = self.chip, self._phase, self._wait
        selected, pulse, ended = Signal(), Signal(), Signal()
        m.d.sync += selected.eq(chip.select)
        m.d.comb += self._busy.eq(content.busy | times.busy)
        m.d.comb += [
            pulse.eq(chip.select & chip.clock),
            ended.eq(selected & ~chip.select),
            chip.i.eq(self._out),
            content.last.eq(0),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        _forbid(m, chip.select & ~selected & (wait != 0), "flash: selected too soon")
        _forbid(m, chip.select & ~times.up, "flash: selected before it is up")
        _forbid(m, chip.clock & ~chip.select, "flash: a clock pulse without select")
        _forbid(m, ended & (phase == _Phase.DUMMY), "flash: a command ends before its first data")
        self._speed(m, pulse)
        opcode, address, emits = Signal(8), Signal(24), Signal()
        m.d.comb += [opcode.eq(self._opcode), address.eq(self._address)]
        with m.If(pulse):
            with m.Switch(phase):
                with m.Case(_Phase.OPCODE):
                    self._take_opcode(m, opcode, address, emits)
                with m.Case(_Phase.ADDRESS):
                    self._take_address(m, address, emits)
                with m.Case(_Phase.DUMMY):
                    self._dummy(m, emits)
                with m.Case(_Phase.DATA, _Phase.ANSWER):
                    m.d.comb += emits.eq(1)
                with m.Case(_Phase.BYTES):
                    self._take_bytes(m)
                with m.Default():
                    m.d.sync += phase.eq(_Phase.REST)
        self._emit(m, opcode, address, emits)
        with m.If(ended):
            m.d.sync += [phase.eq(_Phase.OPCODE), self._count.eq(0), self._place.eq(0), self._out.eq(0b1111)]
            m.d.sync += wait.eq(self._cycles(self.table.deselect_s))
            self._end(m)
        return m

    def _speed(self, m: Module, pulse: Value) -> None:
        since = Signal(4, init=15)
        m.d.sync += since.eq(Mux(pulse, 0, Mux(since == 15, 15, since + 1)))
        slow = (self._opcode == Opcode.READ) & (self._phase != _Phase.OPCODE)
        for hz, when in ((self.table.fast_hz, Const(1)), (self.table.read_hz, slow)):
            least = ceil(self.clock_hz / hz) - 1
            _forbid(m, pulse & when & (since < least), f"flash: a clock above {hz / 1e6:g} MHz")

    def _take_opcode(self, m: Module, opcode: Signal, address: Signal, emits: Signal) -> None:
        """Take a bit of the opcode, and see with the last one what follows."""
        count, phase = self._count, self._phase
        m.d.comb += [opcode.eq(Cat(self.chip.o[0], self._opcode[:7])), address.eq(0)]
        m.d.sync += [self._opcode.eq(opcode), count.eq(count + 1)]
        _forbid(m, ~self.chip.drive[0], "flash: nobody drives the line of commands")
        with m.If(count == 7):
            m.d.sync += [count.eq(0), self._address.eq(0)]
            _forbid(m, self._busy & ~opcode.matches(*_BUSY), "flash: a command while it is busy")
            _forbid(m, self._asleep & (opcode != Opcode.RELEASE), "flash: a command in power-down")
            needs = opcode.matches(Opcode.QUAD_OUTPUT, Opcode.QUAD_IO)
            _forbid(m, needs & ~self._quad, "flash: four lines without quad enable")
            _forbid(m, opcode.matches(*CHANGES) & ~self._enabled, "flash: a change without write enable")
            writes = opcode == Opcode.WRITE_STATUS_2
            _forbid(m, writes & ~(self._enabled | self._volatile), "flash: status without write enable")
            early = opcode.matches(*CHANGES, Opcode.WRITE_STATUS_2) & ~self._times.changes
            _forbid(m, early, "flash: a change too soon behind power-up")
            low = bool(self._status >> 7) & self.chip.drive[2] & ~self.chip.o[2]
            _forbid(m, writes & low, "flash: status that is protected")
            with m.Switch(opcode):
                with m.Case(*READS, *CHANGES):
                    m.d.sync += phase.eq(_Phase.ADDRESS)
                with m.Case(*_ASKED):
                    m.d.sync += phase.eq(_Phase.ANSWER)
                    m.d.comb += emits.eq(1)
                with m.Case(*_SHORT):
                    m.d.sync += phase.eq(_Phase.OVER)
                with m.Case(Opcode.WRITE_STATUS_2):
                    m.d.sync += phase.eq(_Phase.BYTES)
                with m.Default():
                    _forbid(m, Const(1), "flash: an unknown command")

    def _take_address(self, m: Module, address: Signal, emits: Signal) -> None:
        count, phase, opcode, o = self._count, self._phase, self._opcode, self.chip.o
        wide = opcode == Opcode.QUAD_IO
        m.d.comb += address.eq(Mux(wide, Cat(o, self._address[:20]), Cat(o[0], self._address[:23])))
        m.d.sync += [self._address.eq(address), count.eq(count + Mux(wide, 4, 1))]
        _forbid(m, Mux(wide, ~self.chip.drive.all(), ~self.chip.drive[0]), "flash: nobody drives an address")
        with m.If(count == Mux(wide, 20, 23)):
            m.d.sync += count.eq(0)
            _forbid(m, address >= self.table.size, "flash: an address behind its end")
            kept = shielded(opcode, address, self._status, self.table.size)
            _forbid(m, kept, "flash: a change of what is protected")
            with m.Switch(opcode):
                with m.Case(Opcode.READ):
                    m.d.sync += phase.eq(_Phase.DATA)
                    m.d.comb += emits.eq(1)
                with m.Case(*READS):
                    m.d.sync += phase.eq(_Phase.DUMMY)
                with m.Case(Opcode.PROGRAM):
                    m.d.sync += phase.eq(_Phase.BYTES)
                    m.d.comb += self._content.forget.eq(1)
                with m.Default():
                    m.d.sync += phase.eq(_Phase.OVER)

    def _dummy(self, m: Module, emits: Signal) -> None:
        drive, o = self.chip.drive, self.chip.o
        # Its first clocks are the bits M7 to M0.
        mode = (self._opcode == Opcode.QUAD_IO) & (self._count < 2)
        _forbid(m, mode & ~drive.all(), "flash: nobody drives the mode bits")
        goes_on = mode & (self._count == 0) & (o[:2] == 0b10)
        _forbid(m, goes_on, "flash: mode bits that start continuous read")
        lasts = Array(Const(READS[Opcode(code)].dummy - 1 if code in READS else 0, 4) for code in range(256))
        m.d.sync += self._count.eq(self._count + 1)
        with m.If(self._count == lasts[self._opcode]):
            both = Mux(self._opcode.matches(Opcode.QUAD_OUTPUT, Opcode.QUAD_IO), drive, drive[1])
            both = Mux(self._opcode == Opcode.DUAL_OUTPUT, drive[:2], both)
            _forbid(m, both.any(), "flash: a line is driven on which data come next")
            m.d.sync += self._phase.eq(_Phase.DATA)
            m.d.comb += emits.eq(1)

    def _take_bytes(self, m: Module) -> None:
        """Take a bit of what is programmed, or of the status."""
        count, data, address, content = self._count, self._data, self._address, self._content
        known = Cat(self.chip.o[0], data[:7])
        _forbid(m, ~self.chip.drive[0], "flash: nobody drives the line of data")
        m.d.sync += [data.eq(known), count.eq(Cat((count + 1)[:3], 1))]  # a whole byte: 8
        m.d.comb += [content.data.eq(known), content.place.eq(address[:8])]
        with m.If(count[:3] == 7):
            m.d.comb += content.put.eq(self._opcode == Opcode.PROGRAM)
            m.d.sync += address[:8].eq(address[:8] + 1)  # round and round in the page

    def _emit(self, m: Module, opcode: Signal, address: Signal, emits: Signal) -> None:
        """Put out the next bits at the end of this pulse."""
        place, content, out, drive = self._place, self._content, self._out, self.chip.drive
        byte, lanes = Signal(8), Signal(3, init=1)
        m.d.comb += [content.address.eq(address), byte.eq(content.byte), lanes.eq(1)]
        with m.Switch(opcode):
            with m.Case(Opcode.DUAL_OUTPUT):
                m.d.comb += lanes.eq(2)
            with m.Case(Opcode.QUAD_OUTPUT, Opcode.QUAD_IO):
                m.d.comb += lanes.eq(4)
            with m.Case(Opcode.STATUS_1):
                m.d.comb += byte.eq(Cat(self._busy, self._enabled, Const(self._status >> 2, 6)))
            with m.Case(Opcode.STATUS_2):
                m.d.comb += byte.eq(self._quad << 1)
            with m.Case(Opcode.IDENTITY):
                m.d.comb += byte.eq(Array([*self.table.identity, 0])[address[:2]])
        highest, high = byte << place, Const(0b11, 2)  # lines that nobody drives are pulled up
        with m.If(emits):
            m.d.sync += place.eq(place + lanes)
            with m.If(place + lanes == 8):
                m.d.sync += self._address.eq(address + 1)
            with m.Switch(lanes):
                for count, bits in ((1, Cat(high[0], highest[7], high)), (2, Cat(highest[6:8], high))):
                    with m.Case(count):
                        m.d.sync += out.eq(bits)
                with m.Case(4):
                    m.d.sync += out.eq(highest[4:8])
        sends = self.chip.select & self._phase.matches(_Phase.DATA, _Phase.ANSWER)
        both = Mux(lanes == 4, drive, Mux(lanes == 2, drive[:2], drive[1]))
        _forbid(m, sends & both.any(), "flash: both ends drive a line")

    def _end(self, m: Module) -> None:
        """Do what a command says whose last byte is whole."""
        content, phase = self._content, self._phase
        with m.If(phase == _Phase.OVER):
            with m.Switch(self._opcode):
                for code, flag, value in (
                    (Opcode.WRITE_ENABLE, self._enabled, 1),
                    (Opcode.WRITE_DISABLE, self._enabled, 0),
                    (Opcode.VOLATILE_ENABLE, self._volatile, 1),
                    (Opcode.POWER_DOWN, self._asleep, 1),
                    (Opcode.RELEASE, self._asleep, 0),
                ):
                    with m.Case(code):
                        m.d.sync += flag.eq(value)
                        if code == Opcode.RELEASE:
                            m.d.sync += self._wait.eq(self._cycles(self.table.release_s))
                with m.Case(Opcode.ERASE_SECTOR, Opcode.ERASE_BLOCK):
                    m.d.comb += [content.erase.eq(1), content.last.eq(self._opcode == Opcode.ERASE_BLOCK)]
                    m.d.sync += self._enabled.eq(0)
        with m.If((phase == _Phase.BYTES) & (self._count == 8)):
            m.d.sync += [self._enabled.eq(0), self._volatile.eq(0)]
            with m.If(self._opcode == Opcode.PROGRAM):
                m.d.comb += content.program.eq(1)
            with m.Else():
                # For good, it takes its time; else it is done with `deselect_s`.
                m.d.comb += self._times.sets.eq(self._enabled & ~self._volatile)
                m.d.sync += self._quad.eq(self._data[1])


def _forbid(m: Module, condition: Value, text: str) -> None:
    with m.If(condition):
        m.d.sync += Assert(0, text)
