"""What quantising operators compute: QONNX's `Quant`, with its rounding modes, and `MultiThreshold`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .graph import Node

Array = NDArray[Any]

FURTHEST_ZERO = 1 << 24
"""Largest magnitude of a zero point."""

ROUNDING: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
    "ROUND_TO_ZERO": np.trunc,
    "DPU": lambda x: np.where((x < 0) & (x - np.floor(x) == 0.5), np.ceil(x), np.rint(x)),
}
"""QONNX's rounding modes; UP and HALF_UP lead away from zero. The last two are Brevitas's own."""


def integer_range(node: Node, bits: Any) -> tuple[int, int]:
    """Return the smallest and largest integer of a Quant node.

    Raises
    ------
    ImportFailedError
        If its bit width is no integer from 1 to 32.
    """
    width = uniform(node, "bit width", bits)
    if not 1 <= width <= 32 or width != int(width):
        raise node.fail(
            f"bit width is {width:g}, but must be an integer from 1 to 32; values between layers and weights "
            "have 1 to 8"
        )
    signed, narrow = (_flag(node, key, value) for key, value in (("signed", 1), ("narrow", 0)))
    top = 1 << (int(width) - 1)
    if signed:
        return (-top + 1 if narrow else -top), top - 1
    return 0, 2 * top - 1 - (1 if narrow else 0)


def _flag(node: Node, key: str, default: int) -> int:
    value = node.integer(key, default)
    if value not in (0, 1):
        raise node.fail(f"attribute {key} is {value}, but must be 0 or 1")
    return value


def dequantised(node: Node, arrays: Sequence[Any]) -> tuple[NDArray[np.int64], Array]:
    """Return what ``DequantizeLinear`` multiplies: integers less their zero points, and scales of that shape.

    Raises
    ------
    ImportFailedError
        If it has no such inputs, or blocks of values with a scale each.
    """
    x, scale, zero = [*arrays, None, None][:3]
    if x is None or scale is None or x.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise node.fail("must have integers, and a scale")
    if node.integer("block_size", 0) or scale.ndim > 1:
        raise node.fail("has scales of blocks, which is not supported; give it one for each output, or one")
    axis, shape = node.integer("axis", 1), [1] * x.ndim
    if scale.ndim and scale.size > 1:
        if not -x.ndim <= axis < x.ndim or x.shape[axis] != scale.size:
            raise node.fail(f"has {scale.size} scales, which do not fit axis {axis} of {brief(x.shape)}")
        shape[axis] = scale.size
    whole = x.astype(np.int64) - (0 if zero is None else np.asarray(zero, np.int64).reshape(shape))
    return whole, scale.reshape(shape)


def one_number(node: Node, what: str, values: Any) -> Any:
    """Return a scale or zero point of values between layers, as stored.

    Raises
    ------
    ImportFailedError
        If it is no constant, or not one for all channels, with two that differ.
    """
    array = np.asarray([] if values is None else values)
    if not array.size or array.dtype.kind not in "fiu":
        raise node.fail(f"{what} must be a constant number; store it in the file")
    flat = array.ravel()
    other = int(np.argmax(flat != flat[0]))
    if flat[other] != flat[0]:
        raise node.fail(
            f"{what} is {flat[0]:.9g} for one channel and {flat[other]:.9g} for another, but must be one "
            "constant value for all: a product reads all channels together; quantise all with one, and put "
            "the ratio into the batch norm in front or the weights behind"
        )
    return flat[0]


def check_scale(node: Node, scale: Any, zero: Any) -> None:
    """Check the scale and zero point of a Quant node, numbers or arrays.

    Raises
    ------
    ImportFailedError
        Names the first that is out of range.
    """
    low = float(np.min(scale)) if np.size(scale) else 0.0
    if not low > 0:
        raise node.fail(f"scale is {low:g}, but must be above 0; a falling one belongs into the weights")
    zeros = np.ravel(np.asarray(zero, np.float64))
    far = zeros[~(np.abs(zeros) <= FURTHEST_ZERO)]
    if far.size:
        raise node.fail(
            f"zero point is {far[0]:g}, the limit is {FURTHEST_ZERO} in magnitude: beyond it float32 does "
            "not tell levels apart; add the offset in front of the quantiser"
        )


def quantised(node: Node, x: Array, scale: Array, zero: Array, bits: Array) -> Array:
    """Compute a QONNX Quant node; signed with one bit, it gives -1 and +1."""
    low, high = integer_range(node, bits)
    check_scale(node, scale, zero)
    value = x / scale + zero
    if node.integer("signed", 1) and (low, high) in ((-1, 0), (0, 0)):
        value = np.where(value >= 0, 1, -1).astype(value.dtype)
    else:
        value = rounding(node)(np.clip(value, low, high))
    return ((value - zero) * scale).astype(x.dtype)


def rounding(node: Node) -> Callable[[Array], Array]:
    """Return a Quant node's rounding function.

    Raises
    ------
    ImportFailedError
        If its name is unknown.
    """
    mode = node.text("rounding_mode", "ROUND").upper()
    if mode not in ROUNDING:
        raise node.fail(f"rounding_mode is {brief(mode, 40)}; known: {', '.join(ROUNDING)}")
    return ROUNDING[mode]


def uniform(node: Node, what: str, values: Any) -> float:
    """Return the value that all elements have.

    Raises
    ------
    ImportFailedError
        If they differ, or there are none.
    """
    array = np.asarray([] if values is None else values)
    if not array.size:
        raise node.fail(f"{what} must be one constant value, and there is none")
    values = np.unique(array)
    if len(values) > 1:
        raise node.fail(
            f"{what} must be one constant value, but is {values[0]:g} here and {values[1]:g} there"
        )
    return float(array.flat[0])


def multi_thresholds(node: Node, thresholds: Array, shape: tuple[int, ...]) -> tuple[Array, int]:
    """Return a MultiThreshold's thresholds, shape (channels or 1, steps), and its input's channel axis.

    Raises
    ------
    ImportFailedError
        If they do not fit the input, or do not rise.
    """
    layout = node.text("data_layout", "")
    axis = layout.index("C") if "C" in layout else 1
    if (layout and len(layout) != len(shape)) or axis >= len(shape):
        raise node.fail(
            f"data_layout {brief(layout, 20)} does not fit shape {brief(shape)}; name each axis, N, C, H, W, "
            "or leave it out where the channels are on axis 1"
        )
    if thresholds.ndim != 2 or thresholds.shape[0] not in (1, shape[axis]) or not thresholds.shape[1]:
        raise node.fail(
            f"thresholds have shape {brief(thresholds.shape)}, but must be ({shape[axis]} or 1, steps): "
            "a row for each channel, or one for all, of at least one threshold"
        )
    falls = thresholds[:, 1:] < thresholds[:, :-1]
    if falls.any():
        channel, step = (int(place) for place in np.argwhere(falls)[0])
        first, second = thresholds[channel, step : step + 2]
        raise node.fail(
            f"thresholds of channel {channel} are not in rising order: number {step} is {first:.9g}, and the "
            f"next one {second:.9g}; sort those of each channel, which leaves the count as it is"
        )
    return thresholds, axis
