"""Which words of activation memory a descriptor reads and writes, as far as it is a legal one."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CompileError
from .descriptor import Nest
from .device import DeviceConfig
from .layout import plane_words, signed
from .places import ADDRESSES

__all__ = ["read_along", "read_of_map", "written"]


def read_along(what: str, fields: Mapping[str, int], nest: Nest, config: DeviceConfig, base: int) -> range:
    """Return the words that a layer without padding reads; a bit offset reaches into one word more."""
    width = config.geometry.width
    reach = [loop.step * (loop.count - 1) for loop in nest.loops.values()]
    first = fields["in_base"] + base
    low = first + sum(min(bits, 0) for bits in reach) // width
    high = first + sum(max(bits, 0) for bits in reach) // width
    return range(low, high + 1)


def read_of_map(what: str, fields: Mapping[str, int], nest: Nest, config: DeviceConfig, base: int) -> range:
    """Return the words of the map that a layer with padding reads, once its steps agree with the map."""
    width, pitch = config.geometry.width, nest.count("run")
    line = fields["map_width"] * pitch
    # A pooling reads each tap twice, along `row`, and counts each row of the map as two.
    twice = 2 if nest.count("row") == 2 and not nest.step("row") else 1
    for name in ("pad_top", "stride_y", "step_y", "map_height"):
        if fields[name] % twice:
            raise CompileError(f"{what} reads taps twice, but {name} is {fields[name]} and not even")
    expected = {
        "col": pitch,
        "row": line if twice == 1 else 0,
        "copy": 0,
        "win_x": fields["stride_x"] * pitch,
        "win_y": fields["stride_y"] // twice * line,
        "x": fields["step_x"] * pitch,
        "y": fields["step_y"] // twice * line,
        "tile": 0,
    }
    if not fields["double"]:
        expected["plane"] = 0
    for name, words in expected.items():
        if nest.count(name) > 1 and nest.step(name) != words * width:
            raise CompileError(
                f"{what} moves {nest.step(name) / width:g} words along {name}, but {words} in its padded map"
            )
    above = fields["pad_top"] // twice
    first = fields["in_base"] + base + (above * fields["map_width"] + fields["pad_left"]) * pitch
    first %= ADDRESSES
    # Planes of codes.
    last = first + nest.step("plane") // width * (nest.count("plane") - 1)
    return range(min(first, last), max(first, last) + fields["map_height"] // twice * line)


def written(fields: Mapping[str, int], counts: Mapping[str, int], config: DeviceConfig, base: int) -> range:
    """Return the words that a layer writes, from the lowest to the highest."""
    g = config.geometry
    slices = fields["slices"] if fields["score"] else 1
    shared = 1 if fields["score"] else g.tiles_per_word
    along = (slices - 1) * g.words_per_tile
    moves = (
        (signed(fields["out_tile_stride"]), (counts["tile"] - 1) // shared),
        (signed(fields["out_delta"]) + along, counts["x"] * counts["y"] - 1),
        (fields["out_strip"], g.rows - 1 if fields["strips"] else 0),
        (along + g.words_per_tile - 1, 1),
        (plane_words(fields), 0 if fields["score"] else fields["code_last"]),
    )
    if fields["packed"]:
        # The first part of a result is for the position behind its own.
        words = 1 + fields["row_pairs"]
        first = fields["out_base"] + base - words
        return range(first, first + counts["x"] * counts["y"] * words)
    low = high = fields["out_base"] + base
    for step, count in moves:
        low, high = low + min(step * count, 0), high + max(step * count, 0)
    return range(low, high + 1)
