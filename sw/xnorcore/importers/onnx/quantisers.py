"""What quantising operators compute: QONNX's `Quant`, with its rounding modes, and `MultiThreshold`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .graph import Node

Array = NDArray[Any]

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
        raise node.fail(f"bit width is {width}, but must be an integer from 1 to 32")
    signed, narrow = node.integer("signed", 1), node.integer("narrow", 0)
    top = 1 << (int(width) - 1)
    if signed:
        return (-top + 1 if narrow else -top), top - 1
    return 0, 2 * top - 1 - (1 if narrow else 0)


def quantised(node: Node, x: Array, scale: Array, zero: Array, bits: Array) -> Array:
    """Compute a QONNX Quant node; signed with one bit, it gives -1 and +1."""
    low, high = integer_range(node, bits)
    if not (scale > 0).all():
        raise node.fail("scale must be above 0")
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
    if not array.size or (array != array.flat[0]).any():
        raise node.fail(f"{what} must be one constant value")
    return float(array.flat[0])


def multi_thresholds(node: Node, thresholds: Array, shape: tuple[int, ...]) -> tuple[Array, int]:
    """Return a MultiThreshold's thresholds, shape (channels or 1, steps), and its input's channel axis."""
    layout = node.text("data_layout", "")
    axis = layout.index("C") if "C" in layout else 1
    if (layout and len(layout) != len(shape)) or axis >= len(shape):
        raise node.fail(f"data_layout {brief(layout, 20)} does not fit shape {brief(shape)}")
    if thresholds.ndim != 2 or thresholds.shape[0] not in (1, shape[axis]) or not thresholds.shape[1]:
        raise node.fail(
            f"thresholds have shape {brief(thresholds.shape)}, but must be ({shape[axis]} or 1, steps)"
        )
    return thresholds, axis
