"""The configurations to choose from: arrays that a board's part may hold, depths that use blocks whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

from xnorcore.errors import GeometryError
from xnorcore.isa.device import MAX_DEPTH, MAX_PROGRAM_DEPTH, DeviceConfig, Geometry
from xnorcore.isa.stores import FLASHES, QUEUE_WORDS, SDRAMS, StoreKind
from xnorcore.model.network import Network

from ..board import Board
from ..families.family import Family
from .estimate import estimate_area
from .fewbits import codes, with_memories
from .inventory import config_memories, config_single_blocks, deepest, filled
from .memories import Memory, total_blocks
from .needs import LEAST_DEPTH, Need, convolves
from .recorded import read_records

__all__ = ["arrays", "cells_limit", "depths", "least_depths", "smallest_arrays"]

_COLUMNS, _WIDTHS = (4, 8, 16, 32, 64, 128), (8, 16, 32, 64, 128)
_SHARES = (1, 2, 4)
_KINDS = (
    {"convolution": 1, "whole_windows": 0, "column_align": 1},
    {"convolution": 1, "whole_windows": 0, "column_align": 4},
    {"convolution": 1, "whole_windows": 1, "column_align": 1},
    {"convolution": 0, "whole_windows": 0, "column_align": 1},
)
"""With convolution or without, and how images lie in memory for it."""
_ROUTED = {
    "iCE40HX8K": 0.983,
    "iCE40UP5K": 0.955,
    "ice40": 0.95,
    "ecp5": 0.525,
    "gowin": 0.733,
    "gatemate": 0.25,
}
"""Shares of a part's, or of a family's, logic cells with which some build has met its clock.

By the estimate: of arrays that were boards' own ones before.
"""
_SMALLEST = 16
"""Arrays that do less than this part of what the largest does are left out."""
_LEAST_ACC = 10
_LEAST = {"weight_depth": LEAST_DEPTH, "threshold_depth": 16, "act_depth": 64, "program_depth": 64}
_LEAST_LINES = 256
_FEW = 12
_MEMORY = {
    "act_depth": ("memory", MAX_DEPTH),
    "threshold_depth": ("thresholds", MAX_DEPTH),
    "program_depth": ("program", MAX_PROGRAM_DEPTH),
}
"""The memory of a depth, and the largest that is legal."""


def cells_limit(board: Board) -> int:
    """Return the logic cells that a configuration may take by the estimate.

    The share of the part that the fullest build of the family takes which met its clock, or what the board's
    own configuration takes: beyond it nothing is known of the routing.
    """
    part = board.part
    shares = [
        record["logic_cells"] / record["lut4_available"]
        for name, record in read_records().items()
        if record["timing_met"] and _family(name) == part.family.name
    ]
    known = _ROUTED.get(part.name, _ROUTED[part.family.name])
    own = estimate_area(part.family.name, board.config)
    return min(part.lut4, max(int(max([known, *shares]) * part.lut4), own))


def _family(name: str) -> str | None:
    from ..board import all_boards

    board = all_boards().get(name)
    return board.part.family.name if board else None


def arrays(board: Board, networks: Iterable[Network], geometry: Geometry | None = None) -> list[DeviceConfig]:
    """Return a board's own configuration with every array that its part may hold, the fullest first.

    Weights are resident, or come in passes, or from what of the board can be a store. Depths are as large as
    they may be; `convolution`, with a line buffer, is there where a network needs it and it may fit, with
    windows that neighbours share, and with whole ones; start values are shared by 1, 2 or 4 columns;
    activation memories have one port where the part has blocks for that, or two. With a `geometry` they are
    those of it; else small ones are left out. Where a network has values or weights of several bits, all have
    codes of as many, and what `codes` says besides.
    """
    family, limit = board.part.family.name, cells_limit(board)
    networks = list(networks)
    wanted = any(map(convolves, networks))
    found: dict[DeviceConfig, int] = {}
    shapes = [geometry] if geometry else _geometries()
    choices = product(shapes, _SHARES, _ports(board), codes(networks), _stores(board, networks))
    for shape, share, ports, bits, store in choices:
        fitting = 0
        for kind in _KINDS if wanted else _KINDS[-1:]:
            if fitting and not kind["convolution"]:
                continue
            config = _array(board.config, shape, share, {**kind, **bits, **store, "act_ports": ports})
            if config is None:
                continue
            config = with_memories(config, networks)
            cells = _least_cells(family, config)
            if cells <= limit:
                found[config] = cells
                fitting += 1
    least = max((config.geometry.peak for config in found), default=0) / _SMALLEST
    return sorted(
        (config for config in found if config.geometry.peak >= least), key=lambda config: -found[config]
    )


def _least_cells(family: str, config: DeviceConfig) -> int:
    """Return the logic cells of an array whose depths come later, and with them what chooses among blocks."""
    return estimate_area(family, replace(config, weight_depth=LEAST_DEPTH, act_depth=_LEAST["act_depth"]))


def smallest_arrays(board: Board, network: Network) -> list[DeviceConfig]:
    """Return arrays as `arrays` does, for one network, small ones that need not fit."""
    few = sorted(_geometries(), key=lambda geometry: geometry.peak)[:_FEW]
    kinds = [kind for kind in _KINDS if kind["convolution"] == convolves(network)]
    found = [
        _array(board.config, geometry, 1, {**kind, **bits, "act_ports": ports})
        for geometry, kind, ports, bits in product(few, kinds, _ports(board), codes([network]))
    ]
    return [with_memories(config, [network]) for config in found if config is not None]


def least_depths(array: DeviceConfig, need: Need) -> DeviceConfig:
    """Return an array with the least memory with which a network may run, in passes if that helps."""
    lines = max(1 << (need.line_bytes - 1).bit_length(), _LEAST_LINES) if need.line_bytes else 0
    return replace(
        _with_lines(array, lines),
        acc_width=max(need.acc_width, _LEAST_ACC),
        act_depth=max(need.passes_depth or need.act_depth, _LEAST["act_depth"]),
        weight_depth=_LEAST["weight_depth"],
        threshold_depth=_LEAST["threshold_depth"],
        program_depth=max(need.program_depth, _LEAST["program_depth"]),
    )


def _geometries() -> Iterator[Geometry]:
    for rows in range(1, 9):
        for columns in _COLUMNS:
            for width in _WIDTHS:
                yield Geometry(rows, columns, width)


def _ports(board: Board) -> tuple[int, ...]:
    """Return the ports that activation memories may have: one, where the part has blocks of one port."""
    return (2, 1) if board.part.spram else (2,)


def _stores(board: Board, networks: Iterable[Network]) -> Iterator[dict[str, int]]:
    """Yield no store, and those that the board's part or a chip beside it may be, of the size of its own.

    None if half of the part's memory holds the weights of every network; no flash beside an SDRAM.
    """
    yield {}
    own, part = board.config, board.part
    block = max(depth * width for depth, width, _ in part.family.block_ram.shapes)
    if 2 * max((network.weight_bits for network in networks), default=0) <= part.bram * block:
        return
    slower = FLASHES if any(chip.kind in SDRAMS for chip in board.chips) else ()
    for kind in sorted(set(StoreKind) - set(slower)):
        chip = next((chip for chip in board.chips if chip.kind == kind.outside), None)
        inside = kind is StoreKind.RAM or kind in QUEUE_WORDS
        if (inside and not board.part.spram) or (chip is None and kind is not StoreKind.RAM):
            continue
        # On the chip, as many as a queue has: two blocks of SPRAM, beside those of maps.
        words = chip.words if chip else QUEUE_WORDS[StoreKind.QUEUED]
        same = own.store_kind == kind and own.store_words
        yield {"store_words": own.store_words if same else words, "store_kind": int(kind)}


def _array(own: DeviceConfig, geometry: Geometry, share: int, kind: Mapping[str, int]) -> DeviceConfig | None:
    try:
        return replace(
            own,
            geometry=geometry,
            acc_width=_LEAST_ACC,
            weight_depth=MAX_DEPTH,
            threshold_depth=MAX_DEPTH,
            act_depth=MAX_DEPTH,
            program_depth=MAX_PROGRAM_DEPTH,
            line_bytes=MAX_DEPTH if kind["convolution"] else 0,
            threshold_share=share,
            **{"store_words": 0, "store_kind": 0, **kind},
        )
    except GeometryError:
        return (
            None  # a share that does not divide the columns; what memories of one port, or a width, do not do
        )


def depths(
    board: Board, array: DeviceConfig, needed: Mapping[str, Need], *, spare: bool = True
) -> list[DeviceConfig]:
    """Return an array with every choice of depths that uses the blocks of its memories whole.

    Activation memory and start values are as deep as one of the networks needs them; the weight buffers get
    what is left, but no more blocks than the largest network fills. Accumulators are as wide as the board's
    own if there is room, or with `spare` false as the networks need them.
    """
    config = _with_widths(board, array, needed.values(), board.config.acc_width if spare else 0)
    if config is None:  # nothing runs, or its sums are too wide for the part
        return []
    family, g = board.part.family, config.geometry
    fitting = [need for need in needed.values() if need.acc_width <= config.acc_width]
    acts = {depth for need in fitting for depth in (need.act_depth, need.passes_depth) if depth}
    starts = {0} if config.store_words else {need.threshold_depth for need in fitting} | {0}
    weights = Memory("weights", max(need.weight_depth for need in fitting), g.width, 8)
    enough = filled(weights, family)
    found: dict[DeviceConfig, None] = {}
    for act, start in product(sorted(acts), sorted(starts)):
        trial = _deep(_deep(config, "act_depth", act, family), "threshold_depth", start, family)
        if config_single_blocks(trial, family) > board.part.spram:
            continue
        others = [memory for memory in config_memories(trial) if memory.name != "weights"]
        left = (board.part.bram - total_blocks(others, family)) // g.columns
        depth = min(deepest(weights, left, family), enough, MAX_DEPTH) if left > 0 else 0
        if depth >= _LEAST["weight_depth"]:
            found[replace(trial, weight_depth=_ring(trial, depth))] = None
    limit = cells_limit(board)
    return [config for config in found if estimate_area(family.name, config) <= limit]


def _ring(config: DeviceConfig, depth: int) -> int:
    """Return the depth of a buffer, or the power of two below where it is a ring."""
    return 1 << depth.bit_length() - 1 if config.store_words else depth


def _with_widths(
    board: Board, array: DeviceConfig, needed: Iterable[Need], wanted: int
) -> DeviceConfig | None:
    """Return an array with the widest accumulator that a network needs and the part may hold.

    Or with the wanted one, if that is wider and there is room. Its program memory and line buffer are as
    large as the networks with such accumulators need them.
    """
    family, limit = board.part.family, cells_limit(board)
    needed = sorted(needed, key=lambda need: need.acc_width)
    while needed:
        least = max(needed[-1].acc_width, _LEAST_ACC)
        for width in sorted({least, max(least, wanted)}, reverse=True):
            config = replace(array, acc_width=width)
            if _least_cells(family.name, config) > limit:
                continue
            lines = max(need.line_bytes for need in needed)
            if lines:
                whole = filled(Memory("lines", 1 << (lines - 1).bit_length(), 8, 8), family)
                lines = 1 << (min(whole, MAX_DEPTH).bit_length() - 1)
            program = max(need.program_depth for need in needed)
            return _deep(_with_lines(config, lines), "program_depth", program, family)
        needed.pop()
    return None


def _with_lines(config: DeviceConfig, lines: int) -> DeviceConfig:
    """Return a configuration with a line buffer, or without and with nothing that needs one."""
    if lines:
        return replace(config, line_bytes=lines)
    return replace(config, line_bytes=0, whole_windows=0, column_align=1)


def _deep(config: DeviceConfig, field: str, least: int, family: Family) -> DeviceConfig:
    """Return a configuration with a depth of `least` or more which uses the blocks of its memory whole."""
    name, most = _MEMORY[field]
    least = max(least, _LEAST[field])
    ring = config.store_words and field == "threshold_depth"
    config = replace(config, **{field: 1 << (least - 1).bit_length() if ring else least})
    memory = next(memory for memory in config_memories(config) if memory.name == name)
    words = filled(memory, family)
    # How many of them are for one word of the field.
    if field == "act_depth":
        depth = words * (2 if config.offset_bits else 1)
    elif field == "threshold_depth":
        depth = _ring(config, words // config.threshold_share)
    else:
        depth = getattr(config, field) + (words - memory.depth) // (2 if config.program_halves else 1)
    return replace(config, **{field: min(depth, most)})
