"""The configurations to choose from: arrays that a board's part may hold, depths that use blocks whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, GeometryError
from xnorcore.isa.device import MAX_DEPTH, MAX_PROGRAM_DEPTH, DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.model.layers import Dense
from xnorcore.model.network import Network

from ..board import Board
from ..families.family import Family
from .estimate import estimate_area
from .inventory import config_memories, config_single_blocks, deepest, filled
from .memories import Memory, total_blocks
from .recorded import read_records

__all__ = ["Need", "arrays", "cells_limit", "depths", "least_depths", "needs", "smallest_arrays"]

_COLUMNS, _WIDTHS = (4, 8, 16, 32, 64, 128), (8, 16, 32, 64, 128)
_SHARES = (1, 2, 4)
_KINDS = (
    {"convolution": 1, "whole_windows": 0, "column_align": 1},
    {"convolution": 1, "whole_windows": 0, "column_align": 4},
    {"convolution": 1, "whole_windows": 1, "column_align": 1},
    {"convolution": 0, "whole_windows": 0, "column_align": 1},
)
"""With convolution or without, and how images lie in memory for it."""
_SMALLEST = 8
"""Arrays that do less than this part of what the largest does are left out."""
_LEAST_ACC = 10
_MOST_ACC = 32
_LEAST = {"weight_depth": 64, "threshold_depth": 16, "act_depth": 64, "program_depth": 64}
_LEAST_LINES = 256
_FEW = 12
_MEMORY = {
    "act_depth": ("memory", MAX_DEPTH),
    "threshold_depth": ("thresholds", MAX_DEPTH),
    "program_depth": ("program", MAX_PROGRAM_DEPTH),
}
"""The memory of a depth, and the largest that is legal."""


@dataclass(frozen=True)
class Need:
    """What a network needs of an array, its weights resident or in passes.

    Attributes
    ----------
    acc_width, weight_depth, threshold_depth, act_depth, program_depth, line_bytes : int
        With all weights in the buffers.
    passes_depth : int
        `act_depth` in passes; 0, if there is no use for them, or one tile's weights are too many.
    """

    acc_width: int
    weight_depth: int
    threshold_depth: int
    act_depth: int
    program_depth: int
    line_bytes: int
    passes_depth: int


def cells_limit(board: Board) -> int:
    """Return the logic cells that a configuration may take by the estimate.

    The share of the part that the fullest recorded build of the family takes which met its clock, or what
    the board's own configuration takes: beyond it nothing is known of the routing.
    """
    family = board.part.family.name
    shares = [
        record["logic_cells"] / record["lut4_available"]
        for name, record in read_records().items()
        if record["timing_met"] and _family(name) == family
    ]
    own = estimate_area(family, board.config)
    return min(board.part.lut4, max(int(max(shares, default=0) * board.part.lut4), own))


def _family(name: str) -> str | None:
    from ..board import all_boards

    board = all_boards().get(name)
    return board.part.family.name if board else None


def arrays(board: Board, networks: Iterable[Network]) -> list[DeviceConfig]:
    """Return a board's own configuration with every array that its part may hold, the fullest first.

    Depths are as large as they may be; `convolution`, with a line buffer, is there where a network needs it
    and it may fit, with windows that neighbours share, and with whole ones; start values are shared by 1, 2
    or 4 columns; activation memories have one port where the part has blocks for that, or two.
    """
    family, limit = board.part.family.name, cells_limit(board)
    wanted = any(not isinstance(layer, Dense) for network in networks for layer in network.layers)
    found: dict[DeviceConfig, int] = {}
    for geometry, share, ports in product(_geometries(), _SHARES, _ports(board)):
        fitting = 0
        for kind in _KINDS if wanted else _KINDS[-1:]:
            if fitting and not kind["convolution"]:
                continue
            config = _array(board.config, geometry, share, {**kind, "act_ports": ports})
            if config is not None and (cells := estimate_area(family, config)) <= limit:
                found[config] = cells
                fitting += 1
    least = max((config.geometry.peak for config in found), default=0) / _SMALLEST
    return sorted(
        (config for config in found if config.geometry.peak >= least), key=lambda config: -found[config]
    )


def smallest_arrays(board: Board, network: Network) -> list[DeviceConfig]:
    """Return arrays as `arrays` does, for one network, small ones that need not fit."""
    wanted = any(not isinstance(layer, Dense) for layer in network.layers)
    few = sorted(_geometries(), key=lambda geometry: geometry.peak)[:_FEW]
    kinds = [kind for kind in _KINDS if kind["convolution"] == wanted]
    found = [
        _array(board.config, geometry, 1, {**kind, "act_ports": ports})
        for geometry, kind, ports in product(few, kinds, _ports(board))
    ]
    return [config for config in found if config is not None]


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
            **kind,
        )
    except GeometryError:
        return (
            None  # a share that does not divide the columns; what memories of one port, or a width, do not do
        )


def needs(networks: Mapping[str, Network], array: DeviceConfig) -> dict[str, Need]:
    """Return what those networks need that run on an array with enough of everything."""
    found: dict[str, Need] = {}
    for name, network in networks.items():
        try:
            whole = compile_network(network, replace(array, acc_width=_MOST_ACC))
        except CompileError:
            continue
        header = whole.header
        lines = _lines(header, array) if header.get("interleaved") else 0
        found[name] = Need(
            max(layer.acc_bits for layer in whole.layers),
            **{field: whole.used[field] for field in whole.used},
            line_bytes=lines,
            passes_depth=_passes_depth(network, array, whole),
        )
    return found


def _lines(header: Mapping[str, int], array: DeviceConfig) -> int:
    """Return the bytes of the line buffer that a network fills."""
    padded = array.whole_windows  # the buffer holds the rows' padding as well
    row = (header["row_step"] + header["run_last"]) & 0xFFFF if padded else header["row_values"]
    return (header["kernel_last"] + 1) * row


def _passes_depth(network: Network, array: DeviceConfig, whole: Program) -> int:
    """Return the activation memory that a network takes in passes: it does not depend on their number."""
    weights = min(whole.used["weight_depth"], MAX_DEPTH + 1) - 1
    if weights < _LEAST["weight_depth"]:
        return 0
    config = replace(array, acc_width=_MOST_ACC, weight_depth=weights)
    try:
        return compile_network(network, config).used["act_depth"]
    except CompileError:
        return 0


def depths(board: Board, array: DeviceConfig, needed: Mapping[str, Need]) -> list[DeviceConfig]:
    """Return an array with every choice of depths that uses the blocks of its memories whole.

    Activation memory and start values are as deep as one of the networks needs them; the weight buffers get
    what is left, but no more blocks than the largest network fills.
    """
    config = _with_widths(board, array, needed.values())
    if config is None:  # nothing runs, or its sums are too wide for the part
        return []
    family, g = board.part.family, config.geometry
    fitting = [need for need in needed.values() if need.acc_width <= config.acc_width]
    acts = {depth for need in fitting for depth in (need.act_depth, need.passes_depth) if depth}
    starts = {need.threshold_depth for need in fitting} | {0}
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
            found[replace(trial, weight_depth=depth)] = None
    return list(found)


def _with_widths(board: Board, array: DeviceConfig, needed: Iterable[Need]) -> DeviceConfig | None:
    """Return an array with the widest accumulator that a network needs and the part may hold.

    Or with the board's own, if that is wider and there is room. Its program memory and line buffer are as
    large as the networks with such accumulators need them.
    """
    family, limit = board.part.family, cells_limit(board)
    needed = sorted(needed, key=lambda need: need.acc_width)
    own = board.config.acc_width
    while needed:
        least = max(needed[-1].acc_width, _LEAST_ACC)
        for width in sorted({least, max(least, own)}, reverse=True):
            config = replace(array, acc_width=width)
            if estimate_area(family.name, config) > limit:
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
    config = replace(config, **{field: max(least, _LEAST[field])})
    memory = next(memory for memory in config_memories(config) if memory.name == name)
    words = filled(memory, family)
    # How many of them are for one word of the field.
    if field == "act_depth":
        depth = words * (2 if config.offset_bits else 1)
    elif field == "threshold_depth":
        depth = words // config.threshold_share
    else:
        depth = getattr(config, field) + (words - memory.depth) // (2 if config.program_halves else 1)
    return replace(config, **{field: min(depth, most)})
