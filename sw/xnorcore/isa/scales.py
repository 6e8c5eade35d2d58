"""The results unit: how it makes a code of a sum, and the word that says so for a channel.

Of an accumulator that started from S it makes ``(M * (sum + S) + 32 * b) >> r``, rounded down, and of that
the nearest number that a code can be. M, b and r are one word in the memory of the unit, at the address of
the start value S of the same column.

On a device with `value_depth` it may add that code to a value, less an offset (`added`): codes are then
changes of values, which stay where they are, and what goes on to the next layer are the values' signs. A
column without a channel, whose shift is `NO_CHANNEL`, changes nothing, and what it gives is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .device import DeviceConfig

__all__ = [
    "ADDEND_BITS", "ADDEND_UNIT", "MULTIPLIER_BITS", "NO_CHANNEL", "SHIFT_BITS", "VALUE_BITS", "added",
    "check_adding", "packed_scales", "rescaled", "result_spacing", "unit_cycles", "unit_stages",
    "unit_words", "value_words",
]  # fmt: skip

MULTIPLIER_BITS, ADDEND_BITS, SHIFT_BITS = 16, 11, 5
"""Fields of a word, from the lowest on."""
ADDEND_UNIT = 32
NO_CHANNEL = (1 << SHIFT_BITS) - 1
"""A shift that no channel has."""
VALUE_BITS = 8


def packed_scales(multiplier: Any, addend: Any, shift: Any) -> NDArray[np.uint32]:
    """Return the words of multipliers, addends (in units of `ADDEND_UNIT`) and shifts, within their bits."""
    high = np.asarray(shift, np.int64) << ADDEND_BITS | np.asarray(addend, np.int64)
    return np.asarray(high << MULTIPLIER_BITS | np.asarray(multiplier, np.int64), np.uint32)


def rescaled(acc: NDArray[np.int64], words: NDArray[np.uint32], bits: int) -> NDArray[np.int64]:
    """Return the codes of `bits` bits that the unit makes of accumulators.

    Parameters
    ----------
    acc : array of int64
    words : array of uint32
        Of their channels; of a shape that goes with that of `acc`.
    bits : int
    """
    fields = words.astype(np.int64)
    multiplier = fields & (1 << MULTIPLIER_BITS) - 1
    addend = fields >> MULTIPLIER_BITS & (1 << ADDEND_BITS) - 1
    shift = fields >> MULTIPLIER_BITS + ADDEND_BITS
    return np.clip(acc * multiplier + ADDEND_UNIT * addend >> shift, 0, (1 << bits) - 1)


def added(
    values: NDArray[np.int64], codes: NDArray[np.int64], offset: int, words: NDArray[np.uint32]
) -> NDArray[np.int64]:
    """Return what values become, of 8 bits with a sign: the nearest numbers to the sums.

    Parameters
    ----------
    values, codes : array of int64
    offset : int
        What codes are less.
    words : array of uint32
        As of `rescaled`.
    """
    half = 1 << VALUE_BITS - 1
    changes = np.where(words >> MULTIPLIER_BITS + ADDEND_BITS == NO_CHANNEL, 0, codes - offset)
    return np.clip(values + changes, -half, half - 1)


def unit_stages(config: DeviceConfig) -> int:
    """Return the registers between the accumulators that are captured and the codes."""
    return 6 if config.value_depth else 5


def unit_words(config: DeviceConfig, short: int = 0) -> int:
    """Return the cycles in which a position passes the lanes, `short` of which are left out."""
    return config.geometry.columns // config.result_lanes - short


def unit_cycles(config: DeviceConfig, short: int = 0) -> int:
    """Return by how many cycles a result of the unit is later than a sign would be."""
    return unit_words(config, short) + unit_stages(config)


def value_words(positions: int, tiles: int, config: DeviceConfig, short: int = 0) -> int:
    """Return the words of value memory that so many results take."""
    return positions * tiles * unit_words(config, short)


def result_spacing(parts: int, config: DeviceConfig, short: int = 0) -> int:
    """Return the cycles between two results of the unit, each written in so many `parts`, at the least."""
    return max(parts, unit_words(config, short))


def check_adding(
    what: str, fields: Mapping[str, int], counts: Mapping[str, int], config: DeviceConfig, first: bool
) -> None:
    """Check the fields of a descriptor that adds codes to values.

    Parameters
    ----------
    what : str
        The descriptor, in messages.
    fields : mapping of str to int
    counts : mapping of str to int
        Iterations of its loops.
    config : DeviceConfig
    first : bool
        It is a program's first one.

    Raises
    ------
    CompileError
        If a device cannot run it.
    """
    if not config.value_depth:
        raise CompileError(f"{what} adds to values, which the device has not (value_depth=0)")
    if not fields["rescaled"]:
        raise CompileError(f"{what} adds codes to values, which only the results unit makes; set rescaled")
    if counts["win_x"] * counts["win_y"] > 1:
        raise CompileError(f"{what} adds to values, and pools {counts['win_y']} x {counts['win_x']} of them")
    if fields["value_last"] >= config.code_bits:
        raise CompileError(
            f"{what} adds codes of {fields['value_last'] + 1} bits, but the device has {config.code_bits} "
            "(code_bits)"
        )
    if fields["code_last"] not in (0, VALUE_BITS - 1):
        raise CompileError(f"{what} gives {fields['code_last'] + 1} bits of values, but must give 1 or all 8")
    if first and fields["value_adds"]:
        raise CompileError(f"{what} is the first, and adds to values of another program")
    short, fresh, most = fields["value_short"], fields["value_fresh"], unit_words(config)
    if short + fresh >= most:
        raise CompileError(
            f"{what} leaves out {short} words of values and has {fresh} new ones, but a position has {most}"
        )
    if short and not fields["packed"]:
        raise CompileError(f"{what} leaves out {short} words of values, but writes whole results")
    x, y, tiles = counts["x"], counts["y"], counts["tile"]
    kept = -(-x // 2) * -(-y // 2) if fields["value_halves"] else x * y
    read = value_words(x * y if fields["value_adds"] else 0, tiles, config, short + fresh)
    words = max(value_words(kept, tiles, config, short), read)
    if words > config.value_depth:
        raise CompileError(
            f"{what} has {words} words of values, the device {config.value_depth} (value_depth)"
        )
