"""Program memory, whole words at once or in halves."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from ..memory.ports import ProgramReadSignature, writes
from ..parts.sizes import bits_for_depth

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
    read : In(ProgramReadSignature)
    instead : In(1)
    instead_addr : In
        Read this address, not that of `read`. Whether it is so is known late. It stays while it is read: a
        cycle without `instead` comes before another one.
    write : In(stream of WriteLayout)
        Always taken; others than those of `Space.PROGRAM` do not count.
    """

    def __init__(self, config: DeviceConfig, contents: list[int]) -> None:
        self.config, self.contents = config, contents
        super().__init__(
            {
                "read": In(ProgramReadSignature(len(contents))),
                "instead": In(1),
                "instead_addr": In(bits_for_depth(len(contents))),
                "write": In(writes(taken=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        out, write, chosen, addr = self.read, self.write.p, Signal(), Signal.like(self.read.addr)
        m.d.comb += addr.eq(Mux(out.move, out.following, Mux(self.instead, self.instead_addr, out.addr)))
        m.d.comb += chosen.eq(self.write.valid & (write.space == Space.PROGRAM))
        if not self.config.program_halves:
            memory = Memory(shape=32, depth=len(self.contents), init=self.contents)
            m.submodules.memory = memory
            read, port = memory.read_port(), memory.write_port(granularity=8)
            m.d.comb += [
                read.addr.eq(addr),
                out.data.eq(read.data),
                out.ready.eq(1),
                port.addr.eq(write.place.addr),
                port.data.eq(write.data.replicate(4)),
                port.en.eq(chosen.replicate(4) & (1 << write.lane)),
            ]
            return m

        halves = [word >> 16 * half & 0xFFFF for word in self.contents for half in range(2)]
        m.submodules.memory = memory = Memory(shape=16, depth=len(halves), init=halves)
        read, port = memory.read_port(), memory.write_port(granularity=8)
        # A new word begins with its low half; from the next cycle on, the high one is read again and again.
        begins, fresh, other = Signal(), Signal(), Signal(name="other")
        changed, low = Signal(init=1), Signal(16, reset_less=True)
        m.d.comb += begins.eq(out.move | changed | (self.instead ^ other))
        m.d.sync += [
            changed.eq(chosen | out.jump | out.move & self.instead),
            other.eq(self.instead),
            fresh.eq(begins),
            out.ready.eq(~begins),
        ]
        with m.If(fresh):
            m.d.sync += low.eq(read.data)
        m.d.comb += [
            read.addr.eq(Cat(~begins, addr)),
            out.data.eq(Cat(low, read.data)),
            port.addr.eq(Cat(write.lane[1], write.place.addr)),
            port.data.eq(write.data.replicate(2)),
            port.en.eq(chosen.replicate(2) & (1 << write.lane[0])),
        ]
        return m
