"""Activation memory of one row: array reads, result writes, and bytes from the link between them."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.protocol import Space

from .interfaces import LaneWriteSignature, bits_for_depth

__all__ = ["ActivationMemory"]


class ActivationMemory(wiring.Component):
    """One read and one write port; results go before bytes from the link.

    Parameters
    ----------
    config : DeviceConfig
    row : int
        Bank that this memory answers to.

    Members
    -------
    raddr : In
    rdata : Out(width)
        The word at `raddr`, one cycle later.
    waddr : In
    wdata : In(width)
    wmask : In(width // lane)
        Lanes of `geometry.lane` bits to write; any set lane makes the link wait.
    write : In(LaneWriteSignature)
        `ready` is 1 if this row can take the byte.
    """

    def __init__(self, config: DeviceConfig, row: int) -> None:
        g = config.geometry
        addr = bits_for_depth(config.act_depth)
        self.config, self.row = config, row
        super().__init__(
            {
                "raddr": In(addr),
                "rdata": Out(g.width),
                "waddr": In(addr),
                "wdata": In(g.width),
                "wmask": In(g.width // g.lane),
                "write": In(LaneWriteSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g, write = self.config.geometry, self.write
        m.submodules.memory = memory = Memory(shape=g.width, depth=self.config.act_depth, init=[])
        read, port = memory.read_port(), memory.write_port(granularity=g.lane)
        lanes = 8 // g.lane
        mine = Signal()
        m.d.comb += [
            mine.eq(write.valid & (write.space == Space.ACTIVATIONS) & (write.bank == self.row)),
            read.addr.eq(self.raddr),
            self.rdata.eq(read.data),
        ]
        with m.If(self.wmask.any()):
            m.d.comb += [port.addr.eq(self.waddr), port.data.eq(self.wdata), port.en.eq(self.wmask)]
        with m.Else():
            m.d.comb += [
                write.ready.eq(mine),
                port.addr.eq(write.addr),
                port.data.eq(write.data.replicate(g.width // 8)),
                port.en.eq(mine.replicate(g.width // g.lane) & (((1 << lanes) - 1) << (write.lane * lanes))),
            ]
        return m
