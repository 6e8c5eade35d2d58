"""Block RAM that a design takes, from its memories alone: known before synthesis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..families.family import BlockRam, Family

__all__ = ["Memory", "block_ram", "blocks", "find_memories", "single_blocks", "total_blocks"]

_MEMORY = re.compile(r"^\s*memory width (\d+) size (\d+) \\(\S+)")
_PORT = re.compile(r"^\s*cell \$mem(rd|wr)_v2")
_CELL = re.compile(r"^\s*cell \\(\S+) ")
_MEMID = re.compile(r'^\s*parameter \\MEMID "\\+(\S+)"')
_CLOCKED = re.compile(r"^\s*parameter \\CLK_ENABLE (\d)")
_ENABLE = re.compile(r"^\s*connect \\EN (.*)")
_SLICE = re.compile(r"(\S+) \[(\d+)(?::(\d+))?\]")


LUT_MEMORY_COST = 4
"""Of a distributed memory cell of 16 x 4 bits, in the units of `BlockRam.cost`."""
HELD_COST = 2
"""And of each bit of a word that such a memory has to keep where it is not read."""


@dataclass(frozen=True)
class Memory:
    """One memory.

    Attributes
    ----------
    name : str
    depth, width : int
    granularity : int
        Bits that are written together.
    clocked : bool
        Whether it is read through a register, as block RAM is.
    single : bool
        Whether it has one port: where a family has blocks for that, it takes those.
    held : bool
        Whether the word that was read stays while no other is.
    """

    name: str
    depth: int
    width: int
    granularity: int
    clocked: bool = True
    single: bool = False
    held: bool = False


def find_memories(rtlil: str, family: Family | None = None) -> list[Memory]:
    """Return the memories of a design in RTLIL, among them each block of one port of the family."""
    single = family.single_ram if family else None
    found: list[Memory] = []
    inside: dict[str, dict[str, Any]] = {}
    port: dict[str, str] = {}
    for line in [*rtlil.splitlines(), "module"]:
        if line.startswith("module"):
            found += [Memory(**fields) for fields in inside.values()]
            inside, port = {}, {}
        elif match := _MEMORY.match(line):
            width, depth, name = int(match[1]), int(match[2]), match[3]
            inside[name] = {"name": name, "depth": depth, "width": width, "granularity": width}
        elif single and (match := _CELL.match(line)) and match[1] in single.cells:
            found.append(Memory(match[1], *single.shapes[0], single=True))
        elif match := _PORT.match(line):
            port = {"kind": match[1]}
        elif port and (match := _MEMID.match(line)):
            port["name"] = match[1]
        elif port.get("kind") == "rd" and (match := _CLOCKED.match(line)):
            inside[port["name"]]["clocked"] = match[1] == "1"
        elif port.get("kind") == "rd" and (match := _ENABLE.match(line)):
            inside[port["name"]]["held"] = match[1] != "1'1"
        elif port.get("kind") == "wr" and (match := _ENABLE.match(line)):
            memory = inside[port["name"]]
            memory["granularity"] = _granularity(match[1], memory["width"])
        elif line.strip() == "end":
            port = {}
    return found


def _granularity(enable: str, width: int) -> int:
    bits: Counter[str] = Counter()
    for name, high, low in _SLICE.findall(enable):
        bits.update(f"{name}[{bit}]" for bit in range(int(low or high), int(high) + 1))
    return min(bits.values()) if bits else width


def blocks(memory: Memory, family: Family) -> int:
    """Return the memory blocks that one memory takes; 0 if Yosys makes it of look-up tables or registers.

    Of the family's blocks of one port, if the memory has one and there are such.

    Parameters
    ----------
    memory : Memory
    family : Family
    """
    if not memory.clocked:
        return 0
    counts, ram = [], block_ram(memory, family)
    granules = -(-memory.width // memory.granularity)
    for depth, width, enable in ram.shapes:
        if granules == 1:
            across = -(-memory.width // width)
        else:
            # A granule takes whole lanes of its own, since a lane has one write enable.
            lanes = granules * -(-memory.granularity // enable)
            across = -(-lanes // (width // enable))
        counts.append(-(-memory.depth // depth) * across)
    if ram.folded:
        depth, width = ram.folded
        counts.append(-(-(-(-memory.depth // depth) * memory.width) // width))
    least = min(counts)
    if memory.depth * memory.width < ram.cost * least:
        return 0
    if family.lut_memory:
        cells = -(-memory.depth // 16) * granules * -(-memory.granularity // 4)
        if LUT_MEMORY_COST * cells + HELD_COST * memory.held * memory.width < ram.cost * least:
            return 0
    return least


def block_ram(memory: Memory, family: Family) -> BlockRam:
    """Return the kind of block that a memory takes."""
    return family.single_ram if memory.single and family.single_ram else family.block_ram


def total_blocks(memories: Iterable[Memory], family: Family) -> int:
    """Return the memory blocks of a design, without those of one port that the family has besides."""
    shared = (memory for memory in memories if block_ram(memory, family) is family.block_ram)
    return sum(blocks(memory, family) for memory in shared)


def single_blocks(memories: Iterable[Memory], family: Family) -> int:
    """Return the blocks of one port of a design."""
    own = (memory for memory in memories if block_ram(memory, family) is family.single_ram)
    return sum(blocks(memory, family) for memory in own)
