"""A store in a serial flash: reads run on from page to page; the link's writes program, or erase."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ...interfaces import bits_for_depth
from .flash_pages import FlashPages
from .flash_pins import FlashPlace, FlashSignature
from .flash_wire import DUMMY, FlashWire
from .port import FlashLinkSignature, StoreSignature

__all__ = ["FlashStore"]

_BLOCK_WORDS = 1 << 14
"""32-bit words that are erased at once, at most."""


class _Step(IntEnum):
    """Commands, and what follows them."""

    WAKE = 0
    POLL = 1
    VOLATILE = 2
    QUAD = 3
    ENABLE = 4
    ERASE = 5
    PROGRAM = 6
    ASK = 7
    READ = 8


class FlashStore(wiring.Component):
    """The chip's commands behind a store's interface.

    Bytes that follow each other in a page are one program. The chip is asked until it is done with what
    changes it before anything else begins. Every address has the region's own upper bits, which are constant:
    no request reaches anything else in the chip.

    Parameters
    ----------
    config : DeviceConfig
    place : FlashPlace

    Members
    -------
    bus : In(StoreSignature)
    link : In(FlashLinkSignature)
    damaged : Out(1)
        A word is taken from a page that is not what its checksum says.
    chip : Out(FlashSignature)
    """

    pages_of: Callable[[DeviceConfig, FlashPlace], Any] = FlashPages
    """What keeps pages: proofs take some that do whatever they like."""

    def __init__(self, config: DeviceConfig, place: FlashPlace) -> None:
        size = 4 * config.store_words
        assert place.first % size == 0, "a region lies at a multiple of itself"
        assert place.first + size <= 1 << 24, "24 bits of address reach all of a region"
        self.config, self._place = config, place
        super().__init__(
            {
                "bus": In(StoreSignature(config)),
                "link": In(FlashLinkSignature()),
                "damaged": Out(1),
                "chip": Out(FlashSignature()),
            }
        )
        self._wire, self._pages = FlashWire(place), self.pages_of(config, place)
        self._step = Signal(_Step, init=_Step.WAKE)
        # Four lines can be used; the chip was told to wake up, and has; a byte of a program is out, and more
        # may follow. A reset may come while the chip wakes up.
        self._quad, self._wakes, self._pause = Signal(), Signal(), Signal(bits_for_depth(place.wake) + 1)
        self._begun, self._open = Signal(), Signal()
        # Boards with four lines have slow FPGAs, with registers where others have time for look-up tables.
        self._slow = place.lanes == 4
        # No more of what is read is wanted; a byte is a word's first one, or a page's; the chip is done with
        # what changes it; it has told what was asked.
        self._over, self._first, self._fresh = Signal(name="over"), Signal(name="first"), Signal(name="fresh")
        self._done, self._asked = Signal(name="done"), Signal(name="asked")
        # The link's byte has been there for a cycle, of a request about the chip; it is taken.
        self._byte, self._chip, self._taken = Signal(name="byte"), Signal(name="about_chip"), Signal()

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.wire = wire = self._wire
        m.submodules.pages = pages = self._pages
        bus, step, write = self.bus, self._step, self.bus.write
        connect(m, wire.chip, flipped(self.chip))
        connect(m, pages.data, flipped(bus.word))
        reads, asks, over = step == _Step.READ, step == _Step.ASK, self._over
        m.d.comb += [
            pages.request.valid.eq(bus.request.valid & (~self._chip | pages.direct)),
            pages.request.p.eq(bus.request.p),
            bus.request.ready.eq(pages.request.ready),
            wire.single.eq(~reads),
            wire.byte.p.eq(write.p.data),
            pages.start.eq(wire.start),
            pages.taken.eq(wire.taken),
            pages.bits.eq(wire.bits),
            pages.octet.eq(wire.octet),
            pages.came.eq(wire.came & (reads | asks)),
            over.eq(self._byte | pages.jumps | self._chip),
            # Without the other commands' ends.
            pages.pulsed.eq(wire.can & pages.more & ~over & reads if self._slow else wire.pulsed & reads),
            self.damaged.eq(pages.damaged),
        ]
        self._head(m)
        self._settle(m)
        self._bytes(m)
        with m.If(~self.link.writes):
            m.d.sync += self._open.eq(0)  # also for a cycle only: what comes then is another request's
        with m.If(self._wakes | ~self._pause[-1]):
            m.d.sync += self._pause.eq(Mux(self._wakes, 0, self._pause + 1))
        with m.FSM(init="BEGIN"):
            with m.State("BEGIN"):
                m.d.comb += wire.start.eq(wire.ready & self._pause[-1])
                with m.If(wire.start):
                    m.d.sync += [self._begun.eq(0), self._open.eq(1)]
                    m.next = "GOES"
            with m.State("GOES"), m.If(wire.rest):
                self._goes(m)
            with m.State("IDLE"):
                self._choose(m)
            with m.State("SHOW"):
                m.d.comb += pages.direct.eq(1)
                with m.If(pages.request.ready):
                    m.next = "IDLE"
        return m

    def _bytes(self, m: Module) -> None:
        """Look at a byte of the link a cycle after it has come: that it is there is known late."""
        write, gone = self.bus.write, Signal(name="gone")
        m.d.sync += [
            self._byte.eq(write.valid & ~(self._taken | write.ready | gone)),
            self._chip.eq(self.link.chip),
            write.ready.eq(self._taken),
            # Whether there is a place for the next one is known later still.
            gone.eq(write.ready),
        ]

    def _head(self, m: Module) -> None:
        """Say how each command begins."""
        wire, write, step = self._wire, self.bus.write.p, self._step
        bits = bits_for_depth(self.config.store_words)
        # Of a page that is read, its first byte's.
        word, lane = self.bus.request.p, Mux(step == _Step.PROGRAM, write.lane, 0)
        word = Cat(Mux(step == _Step.READ, 0, word[:6]), word[6:])
        address = Signal(24)
        m.d.comb += address.eq(Cat(lane, word[:bits], Const(self._place.first >> (bits + 2), 22 - bits)))
        fast = {1: 0x0B, 2: 0x3B, 4: 0x6B}[self._place.lanes]
        erase: Value = Const(0x20, 8)
        if self.config.store_words >= _BLOCK_WORDS:
            erase = Mux(write.data[0], 0xD8, 0x20)
        # Nothing that means something else to another maker's chip.
        asked = Mux(self.bus.request.p[0], 0x05, 0x9F)
        opcode, length = Signal(8), Signal(6)
        with m.Switch(step):
            for which, code, pulses in (
                (_Step.WAKE, 0xAB, 8), (_Step.POLL, 0x05, 8), (_Step.VOLATILE, 0x50, 8),
                (_Step.QUAD, 0x31, 16), (_Step.ENABLE, 0x06, 8), (_Step.ERASE, erase, 32),
                (_Step.PROGRAM, 0x02, 32), (_Step.ASK, asked, 8), (_Step.READ, fast, DUMMY),
            ):  # fmt: skip
                with m.Case(which):
                    m.d.comb += [opcode.eq(code), length.eq(pulses)]
        m.d.comb += [
            wire.head.eq(Cat(address[:16], Mux(step == _Step.QUAD, 0x02, address[16:]), opcode)),
            wire.length.eq(length),
        ]

    def _settle(self, m: Module) -> None:
        """See what the commands' ends depend on; where the FPGA is slow, in registers."""
        wire, write = self._wire, self.bus.write.p
        first = write.lane == 0
        domain = m.d.sync if self._slow else m.d.comb
        domain += [
            # Of a byte, which has been there for a cycle.
            self._first.eq(first),
            self._fresh.eq((write.addr[:6] == 0) & first),
            # Ones only say that nobody answers, or that all is protected: neither is busy.
            self._done.eq(wire.came & (~wire.octet[0] | wire.octet.all())),
            self._asked.eq(self._pages.word_ends),
        ]

    def _then(self, m: Module, step: _Step) -> None:
        m.d.sync += self._step.eq(step)
        m.next = "BEGIN"

    def _goes(self, m: Module) -> None:
        """Go on with a command whose head is out, and end it."""
        wire, pages = self._wire, self._pages
        with m.Switch(self._step):
            with m.Case(_Step.WAKE):
                m.d.comb += [wire.stop.eq(1), self._wakes.eq(1)]
                self._then(m, _Step.POLL)
            with m.Case(_Step.VOLATILE):
                m.d.comb += wire.stop.eq(1)
                self._then(m, _Step.QUAD)
            with m.Case(_Step.QUAD):
                m.d.comb += wire.stop.eq(1)
                m.d.sync += self._quad.eq(1)
                self._then(m, _Step.POLL)
            with m.Case(_Step.ENABLE):
                m.d.comb += wire.stop.eq(1)
                m.d.sync += self._step.eq(Mux(self._chip, _Step.ERASE, _Step.PROGRAM))
                m.next = "BEGIN"
            with m.Case(_Step.ERASE):
                m.d.comb += [wire.stop.eq(1), self._taken.eq(1)]
                self._then(m, _Step.POLL)
            with m.Case(_Step.PROGRAM):
                over = self._begun & self._byte & self._fresh | ~self._open
                m.d.comb += [
                    wire.byte.valid.eq(self._byte & ~over),
                    self._taken.eq(self._byte & wire.byte.ready & ~over),
                    wire.stop.eq(over),
                ]
                with m.If(over):
                    self._then(m, _Step.POLL)
                with m.Elif(self._byte):
                    m.d.sync += self._begun.eq(1)
            with m.Case(_Step.POLL):
                m.d.comb += [wire.more.eq(1), wire.stop.eq(self._done)]
                with m.If(wire.stop):
                    m.next = "IDLE"
                    if self._place.lanes == 4:
                        with m.If(~self._quad):
                            self._then(m, _Step.VOLATILE)
            with m.Case(_Step.ASK):
                m.d.comb += [wire.more.eq(1), wire.stop.eq(self._asked)]
                with m.If(wire.stop):
                    m.next = "SHOW"
            with m.Case(_Step.READ):
                m.d.comb += wire.more.eq(pages.more)
                with m.If(self._over):
                    m.d.comb += wire.stop.eq(1)
                    m.next = "IDLE"

    def _choose(self, m: Module) -> None:
        """See what is asked for."""
        request = self.bus.request
        with m.If(self._byte):
            with m.If(self._chip & ~self._first):
                m.d.comb += self._taken.eq(1)  # the first byte says all
            with m.Else():
                self._then(m, _Step.ENABLE)
        with m.Elif(request.valid):
            # One that is withdrawn is no longer about the chip: what the chip says would wait for ever.
            m.d.sync += self._step.eq(Mux(self.link.chip, _Step.ASK, _Step.READ))
            m.next = "BEGIN"
