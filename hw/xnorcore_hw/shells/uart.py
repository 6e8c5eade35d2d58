"""The UART shell: the default, and all that the driver needs."""

from __future__ import annotations

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program

from ..link import UartReceiver, UartTransmitter
from ..memory.stores.kinds import chip_ports, connect_chips
from .framed import FramedCore

__all__ = ["UartShell"]


class UartShell(wiring.Component):
    """Core, framing and UART.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO.
    divisor : int
        Clock cycles per UART bit, at least `xnorcore.isa.protocol.MIN_DIVISOR`.
    bake : Program or None
        As in `Core`.

    Members
    -------
    rx, tx : In, Out(1)
        UART lines; `rx` is asynchronous.
    rst : In(1)
        Start again as at power-up.
    active : Out(1)
        Something is on the wire.
    error : Out(1)
        A frame is dropped in this cycle.
    chip, flash
        As of `Core`.
    """

    rx: Signal
    tx: Signal
    rst: Signal
    active: Signal
    error: Signal

    def __init__(
        self, config: DeviceConfig, clock_hz: int, divisor: int, bake: Program | None = None
    ) -> None:
        self.config, self.clock_hz, self.divisor, self.bake = config, clock_hz, divisor, bake
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "rst": In(1),
                "active": Out(1),
                "error": Out(1),
                **chip_ports(config),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.framed = framed = FramedCore(self.config, self.clock_hz, self.bake)
        receiver, transmitter = UartReceiver(self.divisor), UartTransmitter(self.divisor)
        m.submodules.uart_rx = ResetInserter(self.rst)(receiver)
        m.submodules.uart_tx = ResetInserter(self.rst)(transmitter)
        connect(m, receiver.o, framed.i)
        connect(m, framed.o, transmitter.i)
        connect_chips(m, self.config, framed, self)
        m.d.comb += [
            framed.rst.eq(self.rst),
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.active.eq(receiver.o.valid | ~transmitter.tx),
            self.error.eq(framed.error),
        ]
        return m
