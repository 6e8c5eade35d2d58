"""Where the beats of a layer read: one descriptor's loops as arrays of addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..device import DeviceConfig
from ..layout import LOOPS, signed

__all__ = ["Walk"]

_INNER = ("row", "col", "run")
_POSITIONS = ("y", "x", "win_y", "win_x")


@dataclass(frozen=True, eq=False)
class Walk:
    """The beats of one tile, all tiles being alike but for a distance.

    Attributes
    ----------
    counts : dict
        Iterations of every loop.
    positions : int
        Positions that are computed, pooling windows included, in the order (y, x, win_y, win_x).
    taps : int
        Beats of one copy in a plane of a position.
    addresses : array of int64, shape (positions, planes, copies, taps)
        Bit address of each beat's operand, from the layer's first word on.
    tile_step : int
        Bits that a further tile adds.
    inside : array of bool, shape (positions, taps)
        The tap is on the map; True for layers without padding.
    ends : array of bool, shape (taps,)
        Last word of a run, where lanes may be masked.
    kinds : tuple of array of int64
        Positions that share weights: those at the left edge, between the edges, at the right one.
    """

    counts: dict[str, int]
    positions: int
    taps: int
    addresses: NDArray[np.int64]
    tile_step: int
    inside: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    kinds: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, fields: Mapping[str, int], config: DeviceConfig) -> Walk:
        """Follow the loops of a descriptor's `fields`.

        As docs/architecture.md says: an address grows by a word along ``run`` and ``col``; when an outer loop
        advances, its delta is added to the address of the last beat.
        """
        counts = {loop: fields[f"{loop}_last"] + 1 for loop in LOOPS}
        word, align = 1 << config.offset_bits, config.column_align
        steps: dict[str, int] = {}
        behind = 0
        for loop in LOOPS:
            delta = word
            if loop not in ("run", "col"):
                delta = signed(fields[f"delta_{loop}"]) * word
                delta += fields.get(f"bits_{loop}", 0) // align & (word - 1)
            # From the last beat of the inner loops: their way back is part of the delta.
            steps[loop] = delta + behind
            behind += steps[loop] * (counts[loop] - 1)
        inner = _sum(counts, steps, _INNER)
        planes = _sum(counts, steps, ("plane", "copy")).reshape(counts["plane"], counts["copy"])
        outer = _sum(counts, steps, _POSITIONS)
        addresses = outer[:, np.newaxis, np.newaxis, np.newaxis] + planes[:, :, np.newaxis] + inner
        ends = np.zeros((counts["row"] * counts["col"], counts["run"]), np.bool_)
        ends[:, -1] = True
        taps = len(inner)
        inside = np.ones((len(outer), taps), np.bool_)
        if fields["padded"]:
            inside = _inside(fields, counts)
        kinds = _kinds(fields, counts, len(outer))
        return cls(counts, len(outer), taps, addresses, steps["tile"], inside, ends.reshape(-1), kinds)


def _sum(counts: Mapping[str, int], steps: Mapping[str, int], loops: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the sums of all loops' distances, the last of `loops` fastest."""
    total = np.zeros(1, np.int64)
    for loop in loops:
        total = (total[:, np.newaxis] + np.arange(counts[loop], dtype=np.int64) * steps[loop]).reshape(-1)
    return total


def _inside(fields: Mapping[str, int], counts: Mapping[str, int]) -> NDArray[np.bool_]:
    """Say which taps of which positions lie on the map, shape (positions, taps)."""
    zeros = dict.fromkeys(LOOPS, 0)
    coordinates = []
    for axis, tap in (("x", "col"), ("y", "row")):
        steps = {**zeros, axis: fields[f"step_{axis}"], f"win_{axis}": fields[f"stride_{axis}"]}
        start = _sum(counts, steps, _POSITIONS) - fields["pad_left" if axis == "x" else "pad_top"]
        coordinates.append(start[:, np.newaxis] + _sum(counts, {**zeros, tap: 1}, _INNER))
    x, y = coordinates
    return (x >= 0) & (x < fields["map_width"]) & (y >= 0) & (y < fields["map_height"])


def _kinds(
    fields: Mapping[str, int], counts: Mapping[str, int], positions: int
) -> tuple[NDArray[np.int64], ...]:
    """Return the positions of each kind."""
    across, left, right = counts["x"], fields["edge_left"], fields["edge_right"]
    x = np.arange(positions) // (counts["win_x"] * counts["win_y"]) % across
    found = [x == 0] * left + [(x >= left) & (x < across - right)] + [x == across - 1] * right
    return tuple(np.flatnonzero(kind) for kind in found)
