"""Core and framing: what every shell with a wire has inside."""

from __future__ import annotations

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program

from ..core import Core
from ..link import FrameReceiver, FrameSender
from ..memory.stores.kinds import chip_ports, connect_chips

__all__ = ["FramedCore"]


class FramedCore(wiring.Component):
    """Core and framing: wire bytes in, wire bytes out.

    A RESET frame resets the core at once, whatever it is at.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO; 0 if unknown.
    bake : Program or None
        As in `Core`.

    Members
    -------
    i, o : In, Out(stream of 8)
        Bytes of docs/protocol.md, as on the wire.
    error : Out(1)
        A frame is dropped in this cycle.
    rst : In(1)
        Start again as at power-up; the core does a cycle later.
    chip, flash
        As of `Core`.

    Attributes
    ----------
    core : Core
    """

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        self.config, self.core = config, Core(config, clock_hz, bake)
        byte = stream.Signature(8)
        ports = {"i": In(byte), "o": Out(byte), "error": Out(1), "rst": In(1)}
        super().__init__({**ports, **chip_ports(config)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        receiver, sender = FrameReceiver(self.config), FrameSender()
        m.submodules.receiver = ResetInserter(self.rst)(receiver)
        m.submodules.sender = ResetInserter(self.rst)(sender)
        # One register resets the whole core: nothing is on the long way from there.
        core, restart, abort = self.core, Signal(init=1), Signal()
        m.d.sync += [restart.eq(self.rst | receiver.reset), abort.eq(receiver.reset)]
        m.submodules.core = ResetInserter(restart)(core)
        connect(m, flipped(self.i), receiver.i)
        connect(m, receiver.o, core.i)
        connect(m, core.o, sender.i)
        connect(m, sender.o, flipped(self.o))
        connect_chips(m, self.config, core, self)
        m.d.comb += [
            core.frames_good.eq(receiver.frames_good),
            core.frames_bad.eq(receiver.frames_bad),
            receiver.clear.eq(core.clear_counters),
            sender.abort.eq(abort),
            self.error.eq(receiver.dropped),
        ]
        return m
