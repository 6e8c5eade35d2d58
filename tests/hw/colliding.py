"""A memory that gives no word which is read in the cycle in which it is written, like block RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory

__all__ = ["CollidingMemory"]


class CollidingMemory(Elaboratable):
    """Stands in for `amaranth.lib.memory.Memory` with one read port and one write port.

    Parameters
    ----------
    shape, depth : int
    init : list of int
    """

    def __init__(self, *, shape: int, depth: int, init: list[int]) -> None:
        self._memory = Memory(shape=shape, depth=depth, init=init)
        self._read, self.data = self._memory.read_port(), Signal(shape)

    @property
    def addr(self) -> Signal:
        return self._read.addr

    @property
    def en(self) -> Any:
        return self._read.en

    def read_port(self) -> CollidingMemory:
        """Return what has the members of the read port."""
        return self

    def write_port(self, **options: int) -> Any:
        """Return the write port."""
        self._write = self._memory.write_port(**options)
        return self._write

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = self._memory
        read, write, lost = self._read, self._write, Signal()
        with m.If(read.en):
            m.d.sync += lost.eq(write.en.any() & (write.addr == read.addr))
        m.d.comb += self.data.eq(read.data ^ lost.replicate(len(self.data)))
        return m
