"""The simulated accelerator, and beside it what a picture of it shows."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..array.array import array_latency
from ..memory.activation import operand_latency
from ..sequence.sequencer import STALLS
from ..shells.sim import SimTop, engine_ports

__all__ = ["WatchedTop", "lags"]


def lags(config: DeviceConfig) -> dict[str, int]:
    """Return by how many cycles control word, operand and result of a beat come after it is issued."""
    control = operand_latency(config) - 1
    return {"control": control, "operand": control + 1, "written": control + array_latency(config)}


class WatchedTop(wiring.Component):
    """`SimTop`, with outputs that show what its core does in a cycle, and that nothing in it depends on.

    Members
    -------
    stalls : Out(len(STALLS))
        One-hot, what the cycle is counted as; none, if it waits for weights of the store.
    beat, first, double, clear : Out(1)
    weight_address : Out
        Of the array's control word (`xnorcore_hw.interfaces.ControlLayout`).
    operand : Out(rows * width)
        Activation words at the array.
    written : Out(1)
    written_address, written_mask, written_clear, written_bits : Out
        Results on their way into activation memory (`xnorcore_hw.memory.ports.ResultLayout`).
    """

    def __init__(self, config: DeviceConfig, clock_hz: int = 0) -> None:
        self.simulated = SimTop(config, clock_hz)
        sequencer, array, writer = self.simulated.accelerator.core.watched
        ctl, result = array.ctl, writer.o
        self._views = {
            "stalls": sequencer.stalls[: len(STALLS)],
            "beat": ctl.valid,
            "first": ctl.first,
            "double": ctl.double,
            "clear": ctl.clear,
            "weight_address": ctl.waddr,
            "operand": array.x,
            "written": result.valid,
            "written_address": result.p.addr,
            "written_mask": result.p.mask,
            "written_clear": result.p.clear,
            "written_bits": result.p.bits.as_value(),
        }
        views = {name: Out(len(value)) for name, value in self._views.items()}
        super().__init__({**engine_ports(), **views})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.simulated = simulated = self.simulated
        for name in ("uart_rx", "divisor", "direct"):
            m.d.comb += getattr(simulated, name).eq(getattr(self, name))
        m.d.comb += self.uart_tx.eq(simulated.uart_tx)
        connect(m, flipped(self.host_to_device), simulated.host_to_device)
        connect(m, simulated.device_to_host, flipped(self.device_to_host))
        m.d.comb += [getattr(self, name).eq(value) for name, value in self._views.items()]
        return m
