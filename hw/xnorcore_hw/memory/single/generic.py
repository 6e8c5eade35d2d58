"""Memories of one port: what is asked of a family of FPGAs, and any memory for those that have none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from amaranth import Module, Value
from amaranth.lib.memory import Memory

__all__ = ["Access", "GenericSingle", "SingleMemory", "single_of"]


@dataclass(frozen=True)
class Access:
    """What a memory does in a cycle: it writes, or else it reads.

    Attributes
    ----------
    addr : Value
    write : Value
        One bit.
    mask : Value
        Lanes that are written then; 0 if nothing is.
    data : Value
        A word.
    """

    addr: Value
    write: Value
    mask: Value
    data: Value


class SingleMemory(ABC):
    """How a family of FPGAs makes memories of one port."""

    @abstractmethod
    def add(self, m: Module, access: Access, depth: int) -> Value:
        """Add a memory of `depth` words to `m`, and return the word at the address of the cycle before.

        Behind a cycle that wrote, it may be anything. So may all words at power-up.
        """


class GenericSingle(SingleMemory):
    """Any memory, for simulation and for families without one of one port: block RAM, both ports alike."""

    def add(self, m: Module, access: Access, depth: int) -> Value:
        """Add the memory."""
        width = len(access.data)
        m.submodules.memory = memory = Memory(shape=width, depth=depth, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=width // len(access.mask))
        m.d.comb += [
            read.addr.eq(access.addr),
            write.addr.eq(access.addr),
            write.data.eq(access.data),
            write.en.eq(access.mask),
        ]
        return read.data


def single_of(platform: object) -> SingleMemory:
    """Return the memories of a platform: its attribute `single`, which a board sets; else any memory."""
    return getattr(platform, "single", None) or GenericSingle()
