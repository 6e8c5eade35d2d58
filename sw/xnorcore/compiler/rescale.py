"""Thresholds as a multiplication: where ``(M * (sum + S) + 32 * b) >> r`` gives the code of every sum.

A sum reaches threshold number k, which is t_k, exactly where the result is at least k. That holds for all
sums if, with B = M * S + 32 * b,

    M * t_k + B >= k * 2^r > M * (t_k - 1) + B          for each k,

the left side only for thresholds that sums reach, the right one only for those that some do not. Where
sums are all even, or all odd, as those of weights with a zero, it is t_k - 2. With m = M / 2^r the right side
of one k and the left one of another, i, leave an interval of slopes, (k - i) + m (t_i - t_k + 1) > 0; of the
slopes in all these intervals the middle is tried, with as many bits as M has. Then all is integers.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError, CompileError
from ..isa.codes import MAX_COMPARED_BITS, start_words
from ..isa.descriptor import Nest
from ..isa.device import MAX_ACC_WIDTH, DeviceConfig
from ..isa.scales import (
    ADDEND_BITS,
    ADDEND_UNIT,
    MULTIPLIER_BITS,
    NO_CHANNEL,
    packed_scales,
    result_spacing,
    unit_cycles,
)

__all__ = ["NOTHING", "Scales", "scales_at_once", "scales_for", "scales_of"]

_LARGEST = (1 << MULTIPLIER_BITS) - 1
_SHIFTS = NO_CHANNEL - 1
_ADDENDS = 1 << ADDEND_BITS
_WINDOW, _RESULTS = ("win_x", "win_y"), ("x", "y", "tile")
NOTHING = int(packed_scales(0, 0, NO_CHANNEL))
"""Word of a column without a channel, where codes are added to values."""
_TRIES, _SHIFTS_TRIED = 16, 5
"""Start values that are tried: with one much further off, the addend has too many bits; and shifts."""


@dataclass(frozen=True, eq=False)
class Scales:
    """What the results unit makes codes with.

    Attributes
    ----------
    starts : array of int64, shape (outputs,)
        What accumulators start from.
    words : array of uint32, shape (outputs,)
        `xnorcore.isa.scales`.
    """

    starts: NDArray[np.int64]
    words: NDArray[np.uint32]

    def stored(self, tiles: int, columns: int, empty: int) -> NDArray[np.uint32]:
        """Return the words of all columns and tiles; of the last one's without a channel, an `empty` one."""
        words = np.full(tiles * columns, empty, np.uint32)
        words[: len(self.words)] = self.words
        return words.reshape(tiles, columns).T


def scales_for(
    bounds: NDArray[np.int64],
    sums: tuple[int, int],
    nest: Nest,
    turns: int,
    row_sum: bool,
    config: DeviceConfig,
    name: str,
) -> Scales | None:
    """Return with what the results unit makes a layer's codes, or None where thresholds take no longer.

    Parameters
    ----------
    bounds : array of int64, shape (outputs, levels)
        As of `scales_of`.
    sums : tuple of int
        Largest magnitude of a sum; from one sum to the next.
    nest : Nest
        With all loops.
    turns : int
        Rows whose results are written one after the other.
    row_sum : bool
        Sums of rows are added.
    config : DeviceConfig
        With `result_lanes`.
    name : str
        The layer's.

    Raises
    ------
    CompileError
        If neither can.
    """
    levels = bounds.shape[1]
    bits, most = levels.bit_length(), (1 << config.acc_width - 1) - 1 - sums[0]
    whole = levels == start_words(bits)
    found = scales_of(bounds, sums, most) if whole else None
    if not isinstance(found, Scales):
        if bits <= MAX_COMPARED_BITS:
            return None
        if whole:
            _check_room(bounds, sums, config, name)
        why = f"{levels} thresholds, not {start_words(bits)} as a quantiser that is not narrow"
        if whole:
            why = f"thresholds of channel {found} that no multiplication of {MULTIPLIER_BITS} bits gives"
        raise CompileError(
            f"layer {name!r} gives codes of {bits} bits and has {why}, but only codes of {MAX_COMPARED_BITS} "
            "bits at most are compared with any thresholds; quantise in equal steps, or to fewer bits; "
            "`golden` and `eval` compute it"
        )
    position = prod(nest.count(loop) for loop in ("run", "col", "row", "copy", "plane"))
    position += config.geometry.rows if row_sum else 0
    parts = bits * config.geometry.words_per_tile * turns
    window, results = (prod(nest.count(loop) for loop in names) for names in (_WINDOW, _RESULTS))
    compared = results * max(window * (position + start_words(bits) - 1), parts)
    multiplied = results * window * max(position, result_spacing(parts, config)) + unit_cycles(config)
    return found if bits > MAX_COMPARED_BITS or multiplied < compared else None


def scales_at_once(
    bounds: NDArray[np.int64], sums: tuple[int, int], config: DeviceConfig, name: str, why: str
) -> Scales:
    """Return with what the unit makes codes at any cost, which `why` says; else as `scales_for`.

    Raises
    ------
    CompileError
        If no multiplication gives the codes of a channel.
    """
    found = scales_of(bounds, sums, (1 << config.acc_width - 1) - 1 - sums[0])
    if not isinstance(found, Scales):
        _check_room(bounds, sums, config, name)
        raise CompileError(
            f"layer {name!r} has thresholds of channel {found} that no multiplication of {MULTIPLIER_BITS} "
            f"bits gives, and so cannot {why}; `golden` and `eval` compute it"
        )
    return found


def _check_room(bounds: NDArray[np.int64], sums: tuple[int, int], config: DeviceConfig, name: str) -> None:
    """Refuse a layer for its accumulator if a wider one is all that a multiplication lacks."""

    def suffices(width: int) -> bool:
        return isinstance(scales_of(bounds, sums, (1 << width - 1) - 1 - sums[0]), Scales)

    if config.acc_width < MAX_ACC_WIDTH and suffices(MAX_ACC_WIDTH):
        widths = range(config.acc_width + 1, MAX_ACC_WIDTH + 1)
        width = widths[bisect_left(widths, True, key=suffices)]
        raise CapacityError(
            f"layer {name!r} needs an accumulator of {width} bits for the start values of the results unit, "
            f"the device has {config.acc_width}; set acc_width={width}"
        )


def scales_of(bounds: NDArray[np.int64], sums: tuple[int, int], most: int) -> Scales | int:
    """Return what gives the same codes as thresholds.

    Parameters
    ----------
    bounds : array of int64, shape (outputs, levels)
        In rising order, in units of the accumulator, from the lowest sum to one above the highest.
    sums : tuple of int
        Largest magnitude of a sum; from one sum to the next.
    most : int
        Largest magnitude of a start value.

    Returns
    -------
    Scales or int
        Or the first output whose codes no multiplication gives.
    """
    return _remembered(bounds.astype(np.int64).tobytes(), bounds.shape[1], sums, most)


@lru_cache(maxsize=256)  # whoever looks for a device compiles a network many times
def _remembered(bounds: bytes, levels: int, sums: tuple[int, int], most: int) -> Scales | int:
    found = []
    for output, row in enumerate(np.frombuffer(bounds, np.int64).reshape(-1, levels)):
        one = _scale(row, *sums, most)
        if one is None:
            return output
        found.append(one)
    starts, *fields = np.array(found, np.int64).reshape(-1, 4).T
    return Scales(starts, packed_scales(*fields))


def _scale(bounds: NDArray[np.int64], reach: int, step: int, most: int) -> tuple[int, int, int, int] | None:
    """Return start value, multiplier, addend and shift of an output."""
    number = np.arange(1, len(bounds) + 1, dtype=np.int64)
    # Of equal thresholds the last one must be reached, and the first one not before.
    ends = np.append(bounds[1:] != bounds[:-1], True)
    begins = np.append(True, bounds[1:] != bounds[:-1])
    reached, missed = ends & (bounds <= reach), begins & (bounds > -reach)
    below = bounds - np.where(bounds > reach, 1, step)
    low, high = (number[reached], bounds[reached]), (number[missed], below[missed])
    if not ((bounds > -reach) & (bounds <= reach)).any():  # All sums give the same code.
        return 0, 0, int((bounds <= -reach).sum()), ADDEND_UNIT.bit_length() - 1
    slope = _slope(low, high)
    if slope is None:
        return None
    most_bits = min(int(np.floor(np.log2(_LARGEST / slope))), _SHIFTS)
    for shift, more in product(range(most_bits, max(most_bits - _SHIFTS_TRIED, -1), -1), (0, 1, -1)):
        multiplier = round(slope * (1 << shift)) + more
        if 0 < multiplier <= _LARGEST:
            least = int(((low[0] << shift) - multiplier * low[1]).max())
            largest = int(((high[0] << shift) - multiplier * high[1]).min()) - 1
            offset = _offset(least, largest, multiplier, most)
            if offset is not None:
                return offset[0], multiplier, offset[1], shift
    return None


def _slope(
    low: tuple[NDArray[np.int64], NDArray[np.int64]], high: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> float | None:
    """Return a slope that leaves room for an offset, if there is one.

    `low` are numbers and sums at which they are reached, `high` are numbers and sums at which they are not.
    """
    rise = high[0] - low[0][:, np.newaxis]
    run = low[1][:, np.newaxis] - high[1]
    if (rise[run == 0] <= 0).any():
        return None
    least = (-rise[run > 0] / run[run > 0]).max(initial=0.0)
    most = (rise[run < 0] / -run[run < 0]).min(initial=np.inf)
    if most <= least:
        return None
    return (least + most) / 2 if np.isfinite(most) else 2 * least + 1


def _offset(least: int, largest: int, multiplier: int, most: int) -> tuple[int, int] | None:
    """Return start value and addend that make up an offset of a range."""
    first = largest // multiplier
    for start in range(first, first - _TRIES, -1):
        addend = max(-((multiplier * start - least) // ADDEND_UNIT), 0)
        fits = addend < _ADDENDS and multiplier * start + ADDEND_UNIT * addend <= largest
        if fits and abs(start) <= most:
            return start, addend
    return None
