"""Gates, registers and memories of a netlist, without hierarchy: what `emit` turns into C++."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Bits", "Block", "BlockPort", "Circuit", "Memory", "ReadPort", "WritePort"]

Bits = tuple[int, ...]
"""Nets, least significant bit first. Net 0 and net 1 are the constants."""


@dataclass(frozen=True)
class ReadPort:
    """A memory port that reads: `enable` is a net if it is clocked, None if it follows the address."""

    address: Bits
    data: Bits
    enable: int | None


@dataclass(frozen=True)
class WritePort:
    """A memory port that writes at the clock, `enable` for each bit."""

    address: Bits
    data: Bits
    enable: Bits


@dataclass(frozen=True)
class Memory:
    """A memory that a cell's model describes, up to 64 bits wide."""

    size: int
    width: int
    init: tuple[int, ...]
    reads: tuple[ReadPort, ...]
    writes: tuple[WritePort, ...]


@dataclass(frozen=True)
class BlockPort:
    """A port of a `Block`.

    Attributes
    ----------
    width : int
        1, 2, 4, 8, 9, 16, 18, 32 or 36 bits.
    address : tuple of int
        14 nets, the lowest for the bit of a byte.
    enable, write : int
        Nets. The port does nothing without `enable`.
    bytes : tuple of int
        Write enable of each byte.
    data, output : tuple of int
        Nets; empty if it does not write, or does not read.
    during_write : str
        What the output shows of a word that this port writes: ``keep`` (what it was), ``old``, ``new``.
    """

    width: int
    address: Bits
    enable: int
    write: int
    bytes: Bits
    data: Bits
    output: Bits
    during_write: str = "keep"


@dataclass(frozen=True)
class Block:
    """A block RAM of 2,048 bytes of 9 bits, read and written at the clock; nets of `idle` have to be 0."""

    init: tuple[int, ...]
    ports: tuple[BlockPort, ...]
    idle: Bits = ()


@dataclass
class Circuit:
    """A netlist of one clock.

    Attributes
    ----------
    inputs, outputs : dict of str to int
        Net of each port, clock excepted.
    gates : dict of int to (str, tuple of int)
        Kind and inputs of the gate that drives a net.
    registers : list of (int, int, int)
        Nets of D and Q, and the value at power-up.
    memories : list of Memory
    blocks : list of Block
    """

    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    gates: dict[int, tuple[str, Bits]] = field(default_factory=dict)
    registers: list[tuple[int, int, int]] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
