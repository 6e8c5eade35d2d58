"""Commands of a serial flash, bit by bit."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...parts.counting import down_or_load
from .flash_pins import FlashPlace, FlashSignature

__all__ = ["DUMMY", "FlashWire"]

DUMMY = 40
"""Pulses of the head of a command that reads: opcode, address, and eight more."""

_GAP = 8
"""Cycles between commands, and the lag."""


class FlashWire(wiring.Component):
    """Shift registers for what goes out and for what comes in, and the clock of the chip.

    A command begins with its head on one line. Then bytes follow, or come.

    Parameters
    ----------
    place : FlashPlace

    Members
    -------
    ready : Out(1)
        A command may begin.
    start : In(1)
        It does, with the first
    length : In(6)
        pulses
    head : In(32)
        of these bits, the highest one first, and zeros behind them.
    single : In(1)
        Data come on one line, whatever is wired. Stays as long as a command.
    rest : Out(1)
        The head is out, and so is what followed.
    byte : In(stream of 8)
    more : In(1)
        A pulse is wanted for what the chip sends.
    can, pulsed : Out(1)
        There could be one; there is one.
    taken : Out(1), bits : Out(4)
        Bits have come, the highest one first, on the first lines; of a single line, on the second one.
    came : Out(1), octet : Out(8)
        A cycle behind the last ones of each byte.
    stop : In(1)
        The command ends, while at `rest`. Bytes on their way still come.
    chip : Out(FlashSignature)
    """

    def __init__(self, place: FlashPlace) -> None:
        self._place = place
        flags_in, flags_out = (
            ("start", "single", "more", "stop"),
            ("ready", "rest", "can", "pulsed", "taken", "came"),
        )
        super().__init__(
            {
                **dict.fromkeys(flags_in, In(1)),
                **dict.fromkeys(flags_out, Out(1)),
                "length": In(6),
                "head": In(32),
                "byte": In(stream.Signature(8)),
                "bits": Out(4),
                "octet": Out(8),
                "chip": Out(FlashSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        place, chip, shift = self._place, self.chip, Signal(32, name="shift", reset_less=True)
        lanes, apart_for = place.lanes, _GAP + place.lag
        # Pulses that are left; between commands, cycles.
        left, down = Signal(6, name="left", init=apart_for), Signal(name="down")
        begins, follows = Signal(name="begins"), Signal(name="follows")
        got, tick = Signal(3, name="got"), Signal(name="tick")
        due = Signal(name="due")
        m.d.sync += tick.eq(~tick)
        turn = tick if place.every > 1 else Const(1)
        free = Signal(name="free")  # lines that the chip drives
        driven = {1: 0b1101, 2: 0b1100, 4: 0b0000}[lanes]
        m.d.comb += [
            chip.o.eq(Cat(shift[31], Const(0b110, 3))),
            chip.drive.eq(Mux(free & ~self.single, driven, 0b1101)),
            chip.clock.eq(self.pulsed | due),
        ]
        with m.FSM() as states:
            with m.State("APART"):
                m.d.comb += [self.ready.eq(left == 0), down.eq(left != 0), begins.eq(self.start & self.ready)]
                with m.If(begins):
                    m.d.sync += [chip.select.eq(1), got.eq(0)]
                    m.next = "OUT"
            with m.State("OUT"):
                m.d.comb += [due.eq(turn), down.eq(due), free.eq(~left[3:].any())]
                with m.If(due & (left == 1)):
                    m.next = "REST"
            with m.State("REST"):
                m.d.comb += [
                    self.rest.eq(1),
                    free.eq(1),
                    self.byte.ready.eq(~self.stop),
                    self.can.eq(turn),
                    self.pulsed.eq(self.more & turn & ~self.stop),
                ]
                m.d.comb += follows.eq(self.byte.valid & ~self.stop)
                with m.If(self.stop):
                    m.d.sync += chip.select.eq(0)
                    m.next = "APART"
                with m.Elif(self.byte.valid):
                    m.next = "OUT"
        apart, rests = states.ongoing("APART"), states.ongoing("REST")
        with m.If(begins | due | follows):
            # Behind a byte, nothing of what is below it goes out.
            low, opcode = Cat(0, shift[:23]), Mux(apart, self.head[24:], shift[23:31])
            m.d.sync += shift.eq(Cat(Mux(apart, self.head[:24], low), Mux(rests, self.byte.p, opcode)))
        with m.If(down | begins | follows | rests & self.stop):
            load = Mux(apart, self.length, Mux(self.stop, apart_for, 8))
            m.d.sync += left.eq(down_or_load(down, left, load))
        self._take(m, got)
        return m

    def _take(self, m: Module, got: Signal) -> None:
        """Take bits some cycles behind their pulses."""
        lanes, taken = self._place.lanes, self.pulsed
        for number in range(self._place.lag):
            early, taken = taken, Signal(name=f"taken_d{number}")
            m.d.sync += taken.eq(early)
        narrow = self.single if lanes > 1 else Const(1)
        m.d.comb += [self.taken.eq(taken), self.bits.eq(self.chip.i)]
        m.d.sync += self.came.eq(0)
        with m.If(taken):
            step = Mux(narrow, 1, lanes)
            m.d.sync += [
                got.eq(got + step),
                self.came.eq((got + step)[:3] == 0),
                self.octet.eq(Mux(narrow, Cat(self.bits[1], self.octet), Cat(self.bits[:lanes], self.octet))),
            ]
