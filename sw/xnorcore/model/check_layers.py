"""The numbers of each kind of layer: shapes, windows, bounds; part of `xnorcore.model.spec`."""

from __future__ import annotations

from math import prod
from typing import Any

from ..errors import NetworkError
from .check_weights import check_weights, compared
from .graph import Coding, Value
from .layers import Add, Concat, Conv2d, Dense, GlobalSum, InputScale, MaxPool2d
from .limits import (
    KERNEL,
    MAX_SIZE,
    MAX_SUM,
    MOST_STEPS,
    OFFSETS,
    POOL,
    SATURATION,
    SHIFT,
    STRIDE,
    Site,
    brief,
    is_int,
)


def check_dense(site: Site, layer: Dense) -> tuple[Coding, int]:
    """Check a dense layer; return coding and bound of what it gives, as the others do."""
    where, value = site.where, site.inputs[0]
    check_weights(where, layer, "outputs, inputs", "inputs")
    if layer.inputs != prod(value.shape):
        raise NetworkError(
            f"{where}: takes {layer.inputs} values, but {site.sources[0]} gives {prod(value.shape)}"
        )
    return compared(site, layer)


def check_conv(site: Site, layer: Conv2d) -> tuple[Coding, int]:
    """Check a convolution."""
    where, value = site.where, site.inputs[0]
    check_weights(where, layer, "outputs, kernel height, kernel width, inputs", "taps")
    rows, columns, channels = value.shape
    if layer.inputs != channels:
        raise NetworkError(f"{where}: takes {layer.inputs} channels, but {site.sources[0]} gives {channels}")
    (kh, kw), (low, high) = layer.kernel, KERNEL
    if not (low <= kh <= high and low <= kw <= high):
        raise NetworkError(f"{where}: kernel is {kh}x{kw}, but must be {low}x{low} to {high}x{high}")
    _pair(where, "stride", layer.stride, STRIDE)
    padding = layer.padding
    _padding(where, padding, (kh, kw), "kernel")
    _pad_value(where, layer, value)
    if value.coding == "scaled" and layer.pad_value and any(padding):
        raise NetworkError(
            f"{where}: pad_value is {layer.pad_value:+d}, but only 0 can pad behind an InputScale"
        )
    top, bottom, left, right = padding
    height, width = rows + top + bottom, columns + left + right
    if kh > height or kw > width:
        raise NetworkError(f"{where}: kernel {kh}x{kw} does not fit the padded map of {height}x{width}")
    return compared(site, layer)


def check_pool(site: Site, layer: MaxPool2d) -> tuple[Coding, int]:
    """Check a max pooling."""
    where, value = site.where, site.inputs[0]
    rows, columns, _ = value.shape
    _pair(where, "window", layer.window, POOL)
    _pair(where, "stride", layer.stride, POOL)
    h, w = layer.window
    _padding(where, layer.padding, (h, w), "window")
    top, bottom, left, right = layer.padding
    height, width = rows + top + bottom, columns + left + right
    if h > height or w > width:
        of = f"the {'padded ' if any(layer.padding) else ''}map of {height}x{width}"
        raise NetworkError(f"{where}: window {h}x{w} does not fit {of}")
    return value.coding, value.bound


def check_global_sum(site: Site, layer: GlobalSum) -> tuple[Coding, int]:
    """Check a global sum."""
    value = site.inputs[0]
    return "total", prod(value.shape[:2]) * value.bound


def check_input_scale(site: Site, layer: InputScale) -> tuple[Coding, int]:
    """Check an input scale."""
    where, value = site.where, site.inputs[0]
    for key in ("multiplier", "offset"):
        shape = getattr(layer, key).shape
        if shape != value.shape[-1:]:
            raise NetworkError(f"{where}: {key} has shape {shape}, but must be {value.shape[-1:]}")
    for key in ("shift", "mean_shift"):
        shift = getattr(layer, key)
        if not is_int(shift) or not SHIFT[0] <= shift <= SHIFT[1]:
            raise NetworkError(f"{where}: {key} is {brief(shift)}, but must be {SHIFT[0]} to {SHIFT[1]}")
    pairs = zip(layer.multiplier.tolist(), layer.offset.tolist(), strict=True)
    bound = max(abs(factor) * value.bound + abs(add) for factor, add in pairs)
    if bound > MAX_SUM:
        raise NetworkError(f"{where}: values reach {bound}, the limit is {MAX_SUM}; use smaller multipliers")
    bits, (low, high) = layer.bits, SATURATION
    if not is_int(bits) or (bits and not low <= bits <= high):
        raise NetworkError(f"{where}: bits is {brief(bits)}, but must be 0, or {low} to {high}")
    reached = (bound >> layer.shift) + 1
    return "scaled", min(reached, layer.largest) if bits else reached


def check_concat(site: Site, layer: Concat) -> tuple[Coding, int]:
    """Check a concatenation."""
    first, source = site.inputs[0].shape, site.sources[0]
    for value, other in zip(site.inputs, site.sources, strict=True):
        if len(value.shape) != len(first) or value.shape[:-1] != first[:-1]:
            raise NetworkError(
                f"{site.where}: Concat takes maps of one height and width, or vectors, but {source} gives "
                f"{first} and {other} {value.shape}"
            )
    channels = sum(value.shape[-1] for value in site.inputs)
    if channels > MAX_SIZE:
        raise NetworkError(f"{site.where}: Concat gives {channels} channels, the limit is {MAX_SIZE}")
    for value, other in zip(site.inputs, site.sources, strict=True):
        if value.coding != site.inputs[0].coding:
            raise NetworkError(
                f"{site.where}: Concat takes bits alone or n-bit values alone, but {source} gives "
                f"{site.inputs[0].result} and {other} {value.result}; compare one of them otherwise"
            )
    return site.inputs[0].coding, max(value.bound for value in site.inputs)


def check_add(site: Site, layer: Add) -> tuple[Coding, int]:
    """Check an addition."""
    first, source = site.inputs[0], site.sources[0]
    for value, other in zip(site.inputs, site.sources, strict=True):
        if value.shape != first.shape:
            raise NetworkError(
                f"{site.where}: Add takes values of one shape, but {source} gives {first.shape} and {other} "
                f"{value.shape}"
            )
    return "unsigned", _bound(site.where, layer, sum(value.bound for value in site.inputs))


def _bound(where: str, layer: Add, bound: int) -> int:
    """The largest number that an addition gives whose sums are at most `bound`."""
    offset, most = layer.offset, layer.most
    if not is_int(offset) or not OFFSETS[0] <= offset <= OFFSETS[1]:
        raise NetworkError(f"{where}: offset is {brief(offset)}, but must be {OFFSETS[0]} to {OFFSETS[1]}")
    if most is None:
        if offset:
            raise NetworkError(f"{where}: offset is {offset}, but must be 0 where sums do not saturate")
        if bound > MOST_STEPS:
            raise NetworkError(
                f"{where}: Add gives up to {bound}, the limit is {MOST_STEPS}; add fewer values, values "
                f"of fewer bits, or let the sums saturate (most={MOST_STEPS})"
            )
        return bound
    if not is_int(most) or not 1 <= most <= MOST_STEPS:
        raise NetworkError(f"{where}: most is {brief(most)}, but must be 1 to {MOST_STEPS}")
    if offset >= bound:
        raise NetworkError(
            f"{where}: offset is {offset}, and sums are at most {bound}: it gives 0 alone; lower it"
        )
    return min(bound - offset, most)


def _pad_value(where: str, layer: Conv2d, value: Value) -> None:
    """Check what padding stands for: 0, -1 or +1 beside bits, one of the values beside n-bit values."""
    pad, codes = layer.pad_value, value.coding == "unsigned"
    if not is_int(pad) or (pad not in (-1, 0, 1) and not codes):
        raise NetworkError(f"{where}: pad_value is {brief(pad)}, but must be 0, -1 or +1")
    if codes and any(layer.padding) and not 0 <= pad <= value.bound:
        raise NetworkError(
            f"{where}: pad_value is {brief(pad)}, but the input has {value.bits}-bit values; "
            f"0 to {value.bound} can pad them"
        )


def _pair(where: str, what: str, value: Any, limits: tuple[int, int]) -> None:
    low, high = limits
    legal = isinstance(value, tuple) and len(value) == 2 and all(map(is_int, value))
    if not legal or not all(low <= item <= high for item in value):
        raise NetworkError(
            f"{where}: {what} is {brief(value)}, but must be 2 integers (vertical, horizontal), "
            f"each {low} to {high}"
        )


def _padding(where: str, padding: Any, sides: tuple[int, int], what: str) -> None:
    most = (sides[0] - 1, sides[0] - 1, sides[1] - 1, sides[1] - 1)
    legal = isinstance(padding, tuple) and len(padding) == 4 and all(map(is_int, padding))
    if not legal or not all(0 <= pad <= limit for pad, limit in zip(padding, most, strict=True)):
        raise NetworkError(
            f"{where}: padding is {brief(padding)}, but must be 4 integers (top, bottom, left, right), "
            f"each less than the {what}: 0 to {most[0]} vertically, 0 to {most[2]} horizontally"
        )
