"""UART 8N1, its bit time fixed or set at run time."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter"]


def _divisor_port(fixed: int | None) -> dict[str, Any]:
    return {} if fixed else {"divisor": In(16)}


def _timer(uart: UartReceiver | UartTransmitter) -> tuple[Signal, Value]:
    """Return a counter for the cycles of a bit, and how many they are."""
    if uart.fixed:
        return Signal(range(uart.fixed)), Const(uart.fixed)
    return Signal(16), uart.divisor


class UartReceiver(wiring.Component):
    """Receive bytes from an asynchronous line.

    A byte whose stop bit is low is dropped, and the line must go high before the next start bit is
    looked for: a break gives nothing. The receiver waits for the next start bit from the middle of
    the stop bit on, so that a sender may be a little fast without a gap.

    The line cannot be held back: a byte that has not been taken when the next one is complete stays,
    and the next one is lost.

    Parameters
    ----------
    fixed : int, optional
        Clock cycles per bit, at least 4, if they never change; less logic, and no port for them.

    Members
    -------
    rx : In(1)
        The line; asynchronous, high when idle.
    divisor : In(16)
        Clock cycles per bit, at least 4; unless `fixed`.
    o : Out(stream of 8 bits)
        Received bytes.
    """

    rx: Signal
    divisor: Signal
    o: stream.Interface

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed = fixed
        super().__init__({"rx": In(1), **_divisor_port(fixed), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        """Build the receiver."""
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)

        timer, cycles = _timer(self)
        # A one is shifted down from the top: when it falls out, eight data bits are in.
        shift = Signal(9)
        tick = Signal()
        m.d.comb += tick.eq(timer == 0)
        with m.If(tick):
            m.d.sync += timer.eq(cycles - 1)
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                # The falling edge was up to one cycle ago: aim half a cycle short of the bit's middle.
                m.d.sync += timer.eq(((cycles - 1) >> 1) - 1)
                m.d.sync += shift.eq(1 << 8)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"), m.If(tick):
                with m.If(rx):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(tick):
                m.d.sync += shift.eq(Cat(shift[1:], rx))
                with m.If(shift[0]):  # eight bits are in, and this is the stop bit
                    with m.If(~rx):
                        m.next = "RECOVER"
                    with m.Else():
                        m.next = "IDLE"
                        with m.If(~self.o.valid | self.o.ready):
                            m.d.sync += [self.o.payload.eq(shift[1:]), self.o.valid.eq(1)]
            with m.State("RECOVER"), m.If(rx):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Send bytes on an asynchronous line, back to back if they come in time.

    Parameters
    ----------
    fixed : int, optional
        Clock cycles per bit if they never change; less logic, and no port for them.

    Members
    -------
    i : In(stream of 8 bits)
        Bytes to send.
    divisor : In(16)
        Clock cycles per bit, at least 1; unless `fixed`.
    tx : Out(1)
        The line; high when idle.
    """

    i: stream.Interface
    divisor: Signal
    tx: Signal

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed = fixed
        super().__init__({"i": In(stream.Signature(8)), **_divisor_port(fixed), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """Build the transmitter."""
        m = Module()
        timer, cycles = _timer(self)
        bits = Signal(9)
        left = Signal(range(11))
        tick = Signal()
        m.d.comb += [
            tick.eq(timer == 0),
            self.i.ready.eq((left == 0) & tick),
        ]
        with m.If(~tick):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [
                Cat(self.tx, bits).eq(Cat(bits, Const(1, 1))),
                left.eq(left - 1),
                timer.eq(cycles - 1),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += [
                self.tx.eq(0),
                bits.eq(Cat(self.i.payload, Const(1, 1))),
                left.eq(9),
                timer.eq(cycles - 1),
            ]
        return m
