"""Program memory, whole words at once or in halves."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from ..interfaces import LaneWriteSignature, bits_for_depth

__all__ = ["ProgramMemory"]


class ProgramMemory(wiring.Component):
    """Words of 32 bits, written by bytes.

    With `config.program_halves` the memory is 16 bits wide, half as many block RAMs on small devices, and a
    word takes two cycles.

    Parameters
    ----------
    config : DeviceConfig
    contents : list of int
        All words, at power-up.

    Members
    -------
    addr, following : In
    move : In(1)
        Decided late: the address is `following`, not `addr`. Only if `ready`.
    data : Out(32)
        Word at the address of the cycle before; without `halves` always.
    ready : Out(1)
        `data` is in this cycle the word at the address of the cycle before, and stays it while that stays.
    write : In(LaneWriteSignature)
    """

    def __init__(self, config: DeviceConfig, contents: list[int]) -> None:
        self.config, self.contents = config, contents
        super().__init__(
            {
                "addr": In(bits_for_depth(len(contents))),
                "following": In(bits_for_depth(len(contents))),
                "move": In(1),
                "data": Out(32),
                "ready": Out(1),
                "write": In(LaneWriteSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        write, chosen, addr = self.write, Signal(), Signal.like(self.addr)
        m.d.comb += addr.eq(Mux(self.move, self.following, self.addr))
        m.d.comb += chosen.eq(write.valid & (write.space == Space.PROGRAM))
        if not self.config.program_halves:
            memory = Memory(shape=32, depth=len(self.contents), init=self.contents)
            m.submodules.memory = memory
            read, port = memory.read_port(), memory.write_port(granularity=8)
            m.d.comb += [
                read.addr.eq(addr),
                self.data.eq(read.data),
                self.ready.eq(1),
                port.addr.eq(write.addr),
                port.data.eq(write.data.replicate(4)),
                port.en.eq(chosen.replicate(4) & (1 << write.lane)),
            ]
            return m

        halves = [word >> 16 * half & 0xFFFF for word in self.contents for half in range(2)]
        m.submodules.memory = memory = Memory(shape=16, depth=len(halves), init=halves)
        read, port = memory.read_port(), memory.write_port(granularity=8)
        # The low half is read while `high` is 0; both halves are those of one word if the address stayed.
        high, low_addr = Signal(), Signal.like(addr)
        low, kept = Signal(16, reset_less=True), Signal(16, reset_less=True)
        m.d.sync += high.eq(~high)
        with m.If(high):  # and so not `ready`
            m.d.sync += [low.eq(read.data), self.ready.eq(low_addr == self.addr)]
        with m.Else():
            m.d.sync += [low_addr.eq(addr), kept.eq(read.data), self.ready.eq(0)]
        m.d.comb += [
            read.addr.eq(Cat(high, addr)),
            self.data.eq(Cat(low, Mux(high, kept, read.data))),
            port.addr.eq(Cat(write.lane[1], write.addr)),
            port.data.eq(write.data.replicate(2)),
            port.en.eq(chosen.replicate(2) & (1 << write.lane[0])),
        ]
        return m
