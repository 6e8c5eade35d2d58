"""The accelerator with a UART or with plain byte streams, as simulations drive it."""

from __future__ import annotations

from typing import Any

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Member, Out, connect

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program

from ..link import UartReceiver, UartTransmitter
from ..memory.stores.kinds import chip_ports
from ..sim.models.kinds import chip_of, flash_of
from .framed import FramedCore

__all__ = ["SimTop", "engine_ports"]


def engine_ports() -> dict[str, Member]:
    """Return the ports that simulation engines drive, as `SimTop` explains them."""
    return {
        "uart_rx": In(1, init=1),
        "uart_tx": Out(1, init=1),
        "divisor": In(16),
        "direct": In(1),
        "host_to_device": In(stream.Signature(8)),
        "device_to_host": Out(stream.Signature(8)),
    }


class SimTop(wiring.Component):
    """The accelerator as the simulation engines drive it, with the chips beside it.

    Parameters are those of `FramedCore`.

    Members
    -------
    uart_rx, uart_tx : In, Out(1)
    divisor : In(16)
        Clock cycles per UART bit, at least `xnorcore.isa.protocol.MIN_DIVISOR`.
    direct : In(1)
        Use the byte streams in place of the UART.
    host_to_device, device_to_host : In, Out(stream of 8)

    Attributes
    ----------
    accelerator : FramedCore
    """

    apart = 16
    """Cycles from a byte to the next, without bits into memories of one port; a UART takes 40 or more."""

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        self.config, self.clock_hz = config, clock_hz
        self.accelerator = FramedCore(config, clock_hz, bake)
        super().__init__(engine_ports())

    def chip(self) -> Any:
        """Return the chip that the store is in."""
        return chip_of(self.config, self.clock_hz)

    def flash(self) -> Any:
        """Return the flash beside it."""
        return flash_of(self.config, self.clock_hz)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        m.submodules.uart_rx = receiver = UartReceiver()
        m.submodules.uart_tx = transmitter = UartTransmitter()
        m.d.comb += [
            receiver.rx.eq(self.uart_rx),
            receiver.divisor.eq(self.divisor),
            transmitter.divisor.eq(self.divisor),
            self.uart_tx.eq(transmitter.tx),
        ]
        for name in chip_ports(self.config):
            m.submodules[name] = beside = self.chip() if name == "chip" else self.flash()
            connect(m, getattr(accelerator, name), beside.chip)
        i, o = accelerator.i, accelerator.o
        free = self._free(m)
        with m.If(self.direct):
            m.d.comb += [
                i.valid.eq(self.host_to_device.valid & free),
                i.payload.eq(self.host_to_device.payload),
                self.host_to_device.ready.eq(i.ready & free),
                self.device_to_host.valid.eq(o.valid),
                self.device_to_host.payload.eq(o.payload),
                o.ready.eq(self.device_to_host.ready),
            ]
        with m.Else():
            m.d.comb += [
                i.valid.eq(receiver.o.valid),
                i.payload.eq(receiver.o.payload),
                receiver.o.ready.eq(i.ready),
                transmitter.i.valid.eq(o.valid),
                transmitter.i.payload.eq(o.payload),
                o.ready.eq(transmitter.i.ready),
            ]
        return m

    def _free(self, m: Module) -> Value:
        """Return whether a byte may come; those for memories of one port come apart, as on a wire."""
        if self.config.act_ports > 1 or self.apart == 1:
            return Const(1)
        left = Signal(range(self.apart), name="left")
        m.d.sync += left.eq(Mux(left == 0, 0, left - 1))
        with m.If(self.host_to_device.valid & self.host_to_device.ready):
            m.d.sync += left.eq(self.apart - 1)
        return left == 0
