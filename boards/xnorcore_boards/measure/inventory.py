"""The memories of a configuration without elaborating it, and the depths that use memory blocks whole."""

from __future__ import annotations

from dataclasses import replace

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS
from xnorcore.isa.regions import flash_words
from xnorcore.isa.scales import VALUE_BITS
from xnorcore.isa.scaling import FACTOR_BITS
from xnorcore.isa.stores import QUEUE_WORDS, SDRAMS, StoreKind
from xnorcore_hw.command.identity import IDENTITY_WORDS
from xnorcore_hw.parts.sizes import (
    RECORD_BITS,
    RECORD_WORDS,
    STORE_PLACES,
    bits_for_depth,
    place_bits,
)

from ..families.family import Family
from .memories import Memory, block_ram, blocks, single_blocks, total_blocks

__all__ = ["config_blocks", "config_memories", "config_single_blocks", "deepest", "filled"]


def config_memories(config: DeviceConfig) -> list[Memory]:
    """Return the memories of a board's design; those that `find_memories` finds in its RTLIL."""
    g, share = config.geometry, config.threshold_share
    found = [Memory("weights", config.weight_depth, g.width, 8)] * g.columns
    start = 8 * -(-config.acc_width // 8)
    values = Memory("thresholds", config.threshold_depth * share, start, 8, held=bool(config.convolution))
    found += [values] * (g.columns // share)
    if config.offset_bits:
        found += [Memory("memory", (config.act_depth + 1) // 2, g.width, g.lane)] * (2 * g.rows)
    else:
        single = config.act_ports == 1
        found += [Memory("memory", config.act_depth, g.width, g.lane, single=single)] * g.rows
    words = config.program_depth + IDENTITY_WORDS
    found.append(
        Memory("program", 2 * words, 16, 8) if config.program_halves else Memory("program", words, 32, 8)
    )
    found.append(Memory("buffer", config.fifo_bytes, 8, 8))
    if config.line_bytes:
        found.append(Memory("lines", 1 << bits_for_depth(config.line_bytes), 8, 8))
        found.append(Memory("records", RECORD_WORDS, RECORD_BITS, RECORD_BITS))
    if config.convolution:
        distance = bits_for_depth(config.act_depth) + config.offset_bits
        found.append(Memory("moves", 1 << place_bits(), distance, distance))
    if lanes := config.result_lanes:
        near = (g.columns // lanes - 1).bit_length()
        found += [Memory("words", config.threshold_depth << near, 32, 8)] * lanes
    if config.value_depth:
        found += [Memory("values", config.value_depth, VALUE_BITS * lanes, VALUE_BITS * lanes)] * g.rows
    if config.scale_depth:
        found += [Memory("factors", config.scale_depth, FACTOR_BITS, FACTOR_BITS)] * g.rows
    if config.store_words and config.store_kind == StoreKind.RAM:
        found.append(Memory("memory", config.store_words, 32, 8, single=True))
    if config.store_kind in SDRAMS:
        found.append(Memory("storage", STORE_PLACES, 32, 32, clocked=False))
    if config.store_kind in QUEUE_WORDS:
        found.append(Memory("memory", QUEUE_WORDS[StoreKind(config.store_kind)], 32, 32, single=True))
    if flash_words(config):
        found.append(Memory("memory", 4 * PAGE_WORDS, 32, 8))
    return found


def config_blocks(config: DeviceConfig, family: Family) -> int:
    """Return the memory blocks that a configuration takes, but for those of one port; exact."""
    return total_blocks(config_memories(config), family)


def config_single_blocks(config: DeviceConfig, family: Family) -> int:
    """Return the memory blocks of one port that a configuration takes; exact."""
    return single_blocks(config_memories(config), family)


def deepest(memory: Memory, count: int, family: Family) -> int:
    """Return the most words of `memory`'s kind that so many blocks hold, whatever depth it has itself."""
    depth = 0
    for shape, _, _ in block_ram(memory, family).shapes:
        rows = count
        while rows and _taken(memory, rows * shape, family) > count:
            rows -= 1
        depth = max(depth, rows * shape)
    if folded := block_ram(memory, family).folded:
        depth = max(depth, folded[0] * (count * folded[1] // memory.width))
    return depth


def filled(memory: Memory, family: Family) -> int:
    """Return the words that the fewest blocks hold which hold a memory: at least its depth."""
    count = max(_taken(memory, memory.depth, family), 1)
    while deepest(memory, count, family) < memory.depth:
        count += 1
    return deepest(memory, count, family)


def _taken(memory: Memory, depth: int, family: Family) -> int:
    return blocks(replace(memory, depth=depth), family)
