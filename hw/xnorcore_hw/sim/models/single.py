"""A memory of one port that does no more than it must, and the platform of simulations, which has it."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory

from ...memory.single.generic import Access, SingleMemory

__all__ = ["SIMULATED", "HostileSingle", "SimulatedPlatform"]


class HostileSingle(SingleMemory):
    """A memory like SPRAM: at power-up words are no zeros, and behind a cycle that wrote there is no word.

    Lattice, *iCE40 SPRAM Usage Guide* (FPGA-TN-02022): SB_SPRAM256KA has one port, no contents from the
    bitstream, and data of the word that was read.
    """

    def add(self, m: Module, access: Access, depth: int) -> Value:
        """Add the memory."""
        width = len(access.data)
        m.submodules.memory = memory = Memory(shape=width, depth=depth, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=width // len(access.mask))
        last, wrote = Signal.like(access.addr, name="last"), Signal(name="wrote")
        m.d.sync += [last.eq(access.addr), wrote.eq(access.write)]
        m.d.comb += [
            read.addr.eq(access.addr),
            write.addr.eq(access.addr),
            write.data.eq(access.data ^ _noise(access.addr, width)),
            write.en.eq(access.mask),
        ]
        return Mux(wrote, _noise(last, width) ^ 1, read.data ^ _noise(last, width))


def _noise(addr: Value, width: int) -> Value:
    """Return a word that depends on an address, and is 0 at none."""
    bits = Cat(addr, ~addr).replicate(-(-width // (2 * len(addr))))[:width]
    return bits ^ Const(int("10" * width, 2), width)


class SimulatedPlatform:
    """What a design is elaborated for that is simulated."""

    single = HostileSingle()


SIMULATED = SimulatedPlatform()
