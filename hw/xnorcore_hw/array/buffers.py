"""The memories of a column: its weights, and its start values."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space
from xnorcore.isa.stream import packed_columns

from ..memory.fill import bytes_of_byte, bytes_of_fill

__all__ = ["buffer_of"]

_ALWAYS = Const(1)


def buffer_of(
    m: Module,
    config: DeviceConfig,
    write: stream.Interface,
    space: Space,
    column: int,
    first: int,
    parts: list[tuple[int, Value]],
    depth: int,
    data: Value,
    baked: list[int],
    reads: Value = _ALWAYS,
) -> Value:
    """Add a column's memory of a space, and return the word that it reads, some bits of it at each address.

    Parameters
    ----------
    m : Module
    config : DeviceConfig
    write : stream of WriteLayout, or of FillLayout on a device with a store
    space : Space
        Weights or start values.
    column, first : int
        Number of the column in its group; of the group's first one.
    parts : list of (int, Value)
        Bits of the word, in whole bytes, and the address that they are read at: a memory of its own for each.
    depth : int
        Words.
    data : Value
        What is stored for the write's data.
    baked : list of int
        What it holds at power-up.
    reads : Value
        A word is read; otherwise the last one stays.
    """
    width = sum(size for size, _ in parts)
    stored = config.store_words > 0
    place = write.p if stored else write.p.place
    name, column = f"{space.name.lower()}{column}", column + first
    # Neighbouring columns share a memory of start values, and may share a word of the store.
    bits = (config.threshold_share if space is Space.THRESHOLDS else 1).bit_length() - 1
    shared = packed_columns(config) if stored and space is Space.WEIGHTS else 1
    same = bits or shared.bit_length() - 1
    select = place.bank[same:] == column >> same if same else place.bank == column
    if stored:
        start = column % shared * width // 8
        enables, words = bytes_of_fill(write.valid, write.p, data, space, select, width, start)
    else:
        enables, words = bytes_of_byte(write.valid, write.p, data, space, select, width)
    found, at = [], 0
    for size, addr in parts:
        init = [word >> at & ((1 << size) - 1) for word in baked]
        m.submodules[name] = memory = Memory(shape=size, depth=depth, init=init)
        read, port = memory.read_port(), memory.write_port(granularity=8)
        m.d.comb += [
            read.addr.eq(addr),
            read.en.eq(reads),
            port.addr.eq(Cat(place.bank[:bits], place.addr) if space is Space.THRESHOLDS else place.addr),
            port.data.eq(words[at : at + size]),
            port.en.eq(enables[at // 8 : (at + size) // 8]),
        ]
        found.append(read.data)
        name, at = f"{name}_late", at + size
    return Cat(*found)
