"""The numbers of each kind of layer: shapes, windows, weights, bounds; part of `xnorcore.model.spec`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeGuard

import numpy as np

from ..errors import NetworkError
from .graph import Coding, Value
from .layers import Concat, Conv2d, Dense, GlobalSum, InputScale, Layer, MaxPool2d

MAX_SIZE = 65536
"""Most values in an image, taps of an output, outputs of a `Dense`, channels, outputs of a network."""
MAX_MAP = 1 << 20
"""Most values of a map between two layers."""
KERNEL = (1, 7)
STRIDE = (1, 4)
POOL = (1, 7)
SHIFT = (0, 62)
MAX_SUM = (1 << 62) - 1
"""Largest magnitude of a sum or of K, so that int64 holds it."""
THRESHOLD_RANGE = (-(1 << 31), (1 << 31) - 1)


def brief(value: object, most: int = 80) -> str:
    """Show any value, however large or strange, in a message of one line."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (int, float, str)) or value is None:
        text = ascii(value if not isinstance(value, str) else value[:most])
        return text if len(text) <= most else text[:most] + "..."
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        left, right = "()" if isinstance(value, tuple) else "[]"
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        items = (brief(item, 24) if isinstance(item, (int, str)) else type(item).__name__ for item in value)
        return f"{left}{', '.join(items)}{comma}{right}"
    return type(value).__name__


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is an int, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Site:
    """Where a layer stands in a network.

    Attributes
    ----------
    where : str
        The layer, in messages.
    inputs : tuple of Value
        What it reads.
    sources : tuple of str
        Who gives that, in messages.
    givers : tuple of Layer or None
        The layers that give it; None for the image.
    readers : tuple of Layer
        Those that read its result.
    closing : bool
        The only one of them is the last layer.
    """

    where: str
    inputs: tuple[Value, ...]
    sources: tuple[str, ...]
    givers: tuple[Layer | None, ...]
    readers: tuple[Layer, ...]
    closing: bool


def check_dense(site: Site, layer: Dense) -> tuple[Coding, int]:
    """Check a dense layer; return coding and bound of what it gives, as the others do."""
    where, value = site.where, site.inputs[0]
    _weights(where, layer, "outputs, inputs", "inputs")
    if layer.inputs != prod(value.shape):
        raise NetworkError(
            f"{where}: takes {layer.inputs} values, but {site.sources[0]} gives {prod(value.shape)}"
        )
    return _compared(site, layer)


def check_conv(site: Site, layer: Conv2d) -> tuple[Coding, int]:
    """Check a convolution."""
    where, value = site.where, site.inputs[0]
    _weights(where, layer, "outputs, kernel height, kernel width, inputs", "taps")
    rows, columns, channels = value.shape
    if layer.inputs != channels:
        raise NetworkError(f"{where}: takes {layer.inputs} channels, but {site.sources[0]} gives {channels}")
    (kh, kw), (low, high) = layer.kernel, KERNEL
    if not (low <= kh <= high and low <= kw <= high):
        raise NetworkError(f"{where}: kernel is {kh}x{kw}, but must be {low}x{low} to {high}x{high}")
    _pair(where, "stride", layer.stride, STRIDE)
    padding = layer.padding
    _padding(where, padding, (kh, kw), "kernel")
    if not is_int(layer.pad_value) or layer.pad_value not in (-1, 0, 1):
        raise NetworkError(f"{where}: pad_value is {brief(layer.pad_value)}, but must be 0, -1 or +1")
    if value.coding == "unsigned" and layer.pad_value and any(padding):
        raise NetworkError(
            f"{where}: pad_value is {layer.pad_value:+d}, but the input has {value.bits}-bit values; "
            "only 0 can pad them"
        )
    if value.coding == "scaled" and layer.pad_value and any(padding):
        raise NetworkError(
            f"{where}: pad_value is {layer.pad_value:+d}, but only 0 can pad behind an InputScale"
        )
    top, bottom, left, right = padding
    height, width = rows + top + bottom, columns + left + right
    if kh > height or kw > width:
        raise NetworkError(f"{where}: kernel {kh}x{kw} does not fit the padded map of {height}x{width}")
    return _compared(site, layer)


def check_pool(site: Site, layer: MaxPool2d) -> tuple[Coding, int]:
    """Check a max pooling."""
    where, (rows, columns, _) = site.where, site.inputs[0].shape
    _pair(where, "window", layer.window, POOL)
    _pair(where, "stride", layer.stride, POOL)
    h, w = layer.window
    _padding(where, layer.padding, (h, w), "window")
    top, bottom, left, right = layer.padding
    height, width = rows + top + bottom, columns + left + right
    if h > height or w > width:
        of = f"the {'padded ' if any(layer.padding) else ''}map of {height}x{width}"
        raise NetworkError(f"{where}: window {h}x{w} does not fit {of}")
    return "sign", 1


def check_global_sum(site: Site, layer: GlobalSum) -> tuple[Coding, int]:
    """Check a global sum."""
    height, width, _ = site.inputs[0].shape
    return "total", height * width


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
    return "scaled", (bound >> layer.shift) + 1


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
    return "sign", 1


def _compared(site: Site, layer: Dense | Conv2d) -> tuple[Coding, int]:
    """Check the thresholds of a layer with weights, and follow the largest magnitude through it."""
    where, value, giver = site.where, site.inputs[0], site.givers[0]
    may_give_sums = all(isinstance(reader, InputScale) for reader in site.readers)
    _thresholds(where, layer, last=may_give_sums)
    taps = prod(layer.weights.shape[1:])
    bound = taps * value.bound
    if isinstance(giver, InputScale):
        if bound <= MAX_SUM:
            bound = taps * (bound >> giver.mean_shift)
        if bound > MAX_SUM:
            raise NetworkError(
                f"{where}: K times the sum reaches {bound}, the limit is {MAX_SUM}; use larger "
                "shifts in front"
            )
    return ("sum", bound) if layer.thresholds is None else ("sign", 1)


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


def _weights(where: str, layer: Dense | Conv2d, axes: str, what: str) -> None:
    weights = layer.weights
    if weights.dtype != np.int8 or weights.ndim != axes.count(",") + 1:
        raise NetworkError(f"{where}: weights are {weights.dtype} {weights.shape}, but must be int8 ({axes})")
    taps = prod(weights.shape[1:])
    for size, name in ((layer.outputs, "outputs"), (taps, what)):
        if not 1 <= size <= MAX_SIZE:
            raise NetworkError(f"{where}: {size} {name}, but there must be 1 to {MAX_SIZE}")
    wrong = np.abs(weights) != 1
    if wrong.any():
        place = tuple(int(i[0]) for i in np.nonzero(wrong))
        raise NetworkError(f"{where}: weight {list(place)} is {weights[place]}, but must be -1 or +1")


def _thresholds(where: str, layer: Dense | Conv2d, *, last: bool) -> None:
    thresholds = layer.thresholds
    if thresholds is None:
        if not last:
            raise NetworkError(
                f"{where}: has no thresholds; only the last layer, or one in front of an InputScale, may "
                "give scores"
            )
        return
    if thresholds.dtype != np.int64 or thresholds.shape != (layer.outputs,):
        raise NetworkError(
            f"{where}: thresholds are {thresholds.dtype} {thresholds.shape}, but must be int64 "
            f"({layer.outputs},)"
        )
    low, high = THRESHOLD_RANGE
    far = (thresholds < low) | (thresholds > high)
    if far.any():
        neuron = int(np.argmax(far))
        raise NetworkError(
            f"{where}: threshold {neuron} is {thresholds[neuron]}, but must be {low} to {high}; "
            "any value beyond the reachable sums makes the neuron constant"
        )
