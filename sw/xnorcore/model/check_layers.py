"""What makes each kind of layer legal at its place in the chain; part of `xnorcore.model.check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeGuard

import numpy as np

from ..errors import NetworkError
from .layers import Conv2d, Dense, InputScale, Layer, MaxPool2d
from .values import Shape

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


@dataclass
class Chain:
    """What the layers so far give to the next one.

    Attributes
    ----------
    shape : tuple of int
    bits : int
        Of the values: 1 for signs, more for an n-bit image.
    source : str
        Who gives it, in messages.
    layer : Layer or None
        The layer that gives it.
    bound : int
        Largest magnitude of a value; kept for the layers around an `InputScale`.
    """

    shape: Shape
    bits: int
    source: str = "the input"
    layer: Layer | None = None
    bound: int = 1

    def add(self, where: str, layer: Layer, after: Sequence[Layer]) -> None:
        """Check `layer`, which `after` follow, and put it at the end of the chain.

        Raises
        ------
        NetworkError
            For the first rule broken.
        """
        if isinstance(layer, Dense):
            self._dense(where, layer)
        elif isinstance(layer, Conv2d):
            self._conv(where, layer)
        elif isinstance(layer, MaxPool2d):
            self._pool(where, layer)
        elif isinstance(layer, InputScale):
            self._input_scale(where, layer, after)
        else:
            self._global_sum(where, after)
        if isinstance(layer, (Dense, Conv2d)):
            _thresholds(where, layer, last=not after or isinstance(after[0], InputScale))
            self._sums(where, layer)
        shape = layer.output_shape(self.shape)
        if prod(shape) > MAX_MAP:
            raise NetworkError(
                f"{where}: gives {_sizes(shape)} = {prod(shape)} values, the limit is {MAX_MAP}"
            )
        self.shape, self.bits, self.source, self.layer = shape, 1, where, layer

    def _dense(self, where: str, layer: Dense) -> None:
        _weights(where, layer, "outputs, inputs")
        if layer.inputs != prod(self.shape):
            raise NetworkError(
                f"{where}: takes {layer.inputs} values, but {self.source} gives {prod(self.shape)}"
            )

    def _conv(self, where: str, layer: Conv2d) -> None:
        _weights(where, layer, "outputs, kernel height, kernel width, inputs")
        self._map(where, layer)
        if layer.inputs != self.shape[2]:
            raise NetworkError(
                f"{where}: takes {layer.inputs} channels, but {self.source} gives {self.shape[2]}"
            )
        (kh, kw), (low, high) = layer.kernel, KERNEL
        if not (low <= kh <= high and low <= kw <= high):
            raise NetworkError(f"{where}: kernel is {kh}x{kw}, but must be {low}x{low} to {high}x{high}")
        _pair(where, "stride", layer.stride, STRIDE)
        padding = layer.padding
        _padding(where, padding, (kh, kw), "kernel")
        if not is_int(layer.pad_value) or layer.pad_value not in (-1, 0, 1):
            raise NetworkError(f"{where}: pad_value is {brief(layer.pad_value)}, but must be 0, -1 or +1")
        if self.bits > 1 and layer.pad_value and any(padding):
            raise NetworkError(
                f"{where}: pad_value is {layer.pad_value:+d}, but the input has {self.bits}-bit values; "
                "only 0 can pad them"
            )
        top, bottom, left, right = padding
        height, width = self.shape[0] + top + bottom, self.shape[1] + left + right
        if kh > height or kw > width:
            raise NetworkError(f"{where}: kernel {kh}x{kw} does not fit the padded map of {height}x{width}")

    def _pool(self, where: str, layer: MaxPool2d) -> None:
        if not isinstance(self.layer, Conv2d):
            raise NetworkError(
                f"{where}: MaxPool2d must directly follow a Conv2d with thresholds, but follows "
                f"{self._giver()}"
            )
        _pair(where, "window", layer.window, POOL)
        _pair(where, "stride", layer.stride, POOL)
        h, w = layer.window
        _padding(where, layer.padding, (h, w), "window")
        top, bottom, left, right = layer.padding
        height, width = self.shape[0] + top + bottom, self.shape[1] + left + right
        if h > height or w > width:
            of = f"the {'padded ' if any(layer.padding) else ''}map of {height}x{width}"
            raise NetworkError(f"{where}: window {h}x{w} does not fit {of}")

    def _global_sum(self, where: str, after: Sequence[Layer]) -> None:
        if not isinstance(self.layer, (Conv2d, MaxPool2d)):
            raise NetworkError(
                f"{where}: GlobalSum must follow a Conv2d with thresholds or a MaxPool2d, but follows "
                f"{self._giver()}"
            )
        if len(after) != 1 or not isinstance(after[0], Dense):
            found = "nothing" if not after else type(after[0]).__name__
            rest = " and more" if len(after) > 1 else ""
            raise NetworkError(
                f"{where}: GlobalSum must be followed by the last layer, a Dense, but {found}{rest} follows"
            )

    def _input_scale(self, where: str, layer: InputScale, after: Sequence[Layer]) -> None:
        if not isinstance(self.layer, (Dense, Conv2d)) or self.layer.thresholds is not None:
            raise NetworkError(
                f"{where}: InputScale must follow a Dense or Conv2d without thresholds, but follows "
                f"{self._giver()}"
            )
        if not after or not isinstance(after[0], (Dense, Conv2d)):
            found = type(after[0]).__name__ if after else "nothing"
            raise NetworkError(
                f"{where}: InputScale must be followed by a Dense or Conv2d, but {found} follows"
            )
        for key in ("multiplier", "offset"):
            shape = getattr(layer, key).shape
            if shape != self.shape[-1:]:
                raise NetworkError(f"{where}: {key} has shape {shape}, but must be {self.shape[-1:]}")
        for key in ("shift", "mean_shift"):
            value = getattr(layer, key)
            if not is_int(value) or not SHIFT[0] <= value <= SHIFT[1]:
                raise NetworkError(f"{where}: {key} is {brief(value)}, but must be {SHIFT[0]} to {SHIFT[1]}")
        pairs = zip(layer.multiplier.tolist(), layer.offset.tolist(), strict=True)
        self.bound = max(abs(factor) * self.bound + abs(add) for factor, add in pairs)
        if self.bound > MAX_SUM:
            raise NetworkError(
                f"{where}: values reach {self.bound}, the limit is {MAX_SUM}; use smaller multipliers"
            )
        self.bound = (self.bound >> layer.shift) + 1

    def _sums(self, where: str, layer: Dense | Conv2d) -> None:
        """Follow the largest magnitude through a layer with weights."""
        taps = prod(layer.weights.shape[1:])
        bound = taps * (self.bound if self.bits == 1 else (1 << self.bits) - 1)
        if isinstance(self.layer, InputScale):
            if isinstance(layer, Conv2d) and any(layer.padding) and layer.pad_value:
                raise NetworkError(
                    f"{where}: pad_value is {layer.pad_value:+d}, but only 0 can pad behind an InputScale"
                )
            if bound <= MAX_SUM:
                bound = taps * (bound >> self.layer.mean_shift)
            if bound > MAX_SUM:
                raise NetworkError(
                    f"{where}: K times the sum reaches {bound}, the limit is {MAX_SUM}; use larger "
                    "shifts in front"
                )
        self.bound = bound if layer.thresholds is None else 1

    def _map(self, where: str, layer: Layer) -> None:
        if len(self.shape) != 3:
            raise NetworkError(
                f"{where}: {type(layer).__name__} takes (height, width, channels), but {self.source} gives "
                f"{self.shape}"
            )

    def _giver(self) -> str:
        return self.source if self.layer is None else f"{self.source}, a {type(self.layer).__name__}"


def _sizes(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


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


def _weights(where: str, layer: Dense | Conv2d, axes: str) -> None:
    weights = layer.weights
    if weights.dtype != np.int8 or weights.ndim != axes.count(",") + 1:
        raise NetworkError(f"{where}: weights are {weights.dtype} {weights.shape}, but must be int8 ({axes})")
    taps = prod(weights.shape[1:])
    what = "inputs" if isinstance(layer, Dense) else "taps"
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
