"""Operators on arrays: for what is constant in a graph, and what the host does before the first quantiser."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .functions import FUNCTIONS, REDUCTIONS, applied, reduced
from .graph import Node
from .quantisers import dequantised, multi_thresholds, quantised, uniform
from .tensors import element_type, elements

Array = NDArray[Any]

ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "Identity": lambda x: x,
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: (1 / x).astype(x.dtype),
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sign": np.sign,
    "Not": np.logical_not,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Pow": lambda x, y: np.power(x, y).astype(x.dtype),
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Max": np.maximum,
    "Min": np.minimum,
    "Where": np.where,
}
"""Operators whose inputs are broadcast against each other, and nothing else."""
FLEXIBLE = {"Div", "Clip", "Cast", "BipolarQuant", "Quant", "IntQuant"}
"""Elementwise operators that have attributes or other rules."""
MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"}
"""Operators that move values and change none."""


def evaluate(node: Node, arrays: Sequence[Array | None], opset: int) -> Array:
    """Compute a node's first output.

    Parameters
    ----------
    node : Node
    arrays : sequence of array or None
        One for each of ``node.inputs``; None for an omitted one.
    opset : int

    Raises
    ------
    ImportFailedError
        If the operator is unknown here, its inputs do not fit, or the result is not finite.
    """
    given = [array for array in arrays if array is not None]
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(_evaluate(node, arrays, given, opset))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError) as error:
        raise node.fail(f"cannot be computed ({brief(str(error), 100)})") from None
    finite(node, result)
    return result


def finite(node: Node, values: Array) -> None:
    """Check that a node gives numbers.

    Raises
    ------
    ImportFailedError
        For infinity or NaN.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)].flat[0]
        raise node.fail(f"gives {bad} in {values.dtype.name}; every value must be finite")


def _evaluate(node: Node, arrays: Sequence[Array | None], given: list[Array], opset: int) -> Array:
    op = node.op
    if op in ELEMENTWISE:
        if len(given) != len(arrays):
            raise node.fail("lacks an input")
        elements(np.broadcast_shapes(*(array.shape for array in given)), node.label)
        if op in ("Max", "Min") and len(given) != 2:
            return functools.reduce(ELEMENTWISE[op], given)
        return ELEMENTWISE[op](*given)
    if op in MOVES:
        return moved(node, given, opset)
    if op in FUNCTIONS:
        if len(given) != len(arrays) or (op == "PRelu" and len(given) != 2):
            raise node.fail("lacks an input")
        return applied(node, given)
    if op in REDUCTIONS:
        return reduced(node, given[0], mean_axes(node, arrays, given[0].ndim))
    function = _OTHERS.get(op)
    if function is None:
        raise node.fail("this operator is not supported here")
    return function(node, arrays, opset)


def moved(node: Node, given: Sequence[Array], opset: int) -> Array:
    """Compute an operator of `MOVES` on an array of any dtype."""
    x = given[0]
    if node.op == "Transpose":
        perm = node.integers("perm", reversed(range(x.ndim)))
        return x.transpose(perm)
    if node.op == "Flatten":
        axis = node.integer("axis", 1)
        if not -x.ndim <= axis <= x.ndim:
            raise node.fail(f"axis {axis} is out of range")
        axis = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:axis]), -1)
    if node.op == "Reshape":
        target = [int(size) for size in given[1].ravel()] if len(given) > 1 else node.integers("shape", ())
        if not node.integer("allowzero", 0):
            target = [x.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
        return x.reshape(target)
    axes = given[1].ravel().tolist() if len(given) > 1 else node.attributes.get("axes")
    if node.op == "Unsqueeze":
        return np.expand_dims(x, tuple(axes or ()))
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes))


def _div(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    a, b = arrays
    elements(np.broadcast_shapes(a.shape, b.shape), node.label)
    if a.dtype.kind == "f":
        return np.divide(a, b)
    if (b == 0).any():
        raise node.fail("divides by 0")
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _clip(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    low, high = clip_limits(node, arrays[1:])
    x = arrays[0]
    return np.clip(x, np.asarray(low).astype(x.dtype), np.asarray(high).astype(x.dtype))


def clip_limits(node: Node, given: Sequence[Any]) -> tuple[float, float]:
    """Return the limits of a Clip node, from inputs or, before opset 11, attributes."""
    low, high = [*given, None, None][:2]
    low = node.number("min", -3.4e38) if low is None else uniform(node, "min", low)
    high = node.number("max", 3.4e38) if high is None else uniform(node, "max", high)
    return low, high


def _cast(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    return arrays[0].astype(element_type(node.integer("to", 1), node.label).newbyteorder("="))


def _bipolar(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    x, scale = arrays
    elements(np.broadcast_shapes(x.shape, scale.shape), node.label)
    return (np.where(x >= 0, 1, -1) * scale).astype(x.dtype)


def _quant(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    if len(arrays) != 4 or any(array is None for array in arrays):
        raise node.fail("must have 4 inputs: value, scale, zero point, bit width")
    elements(np.broadcast_shapes(*(array.shape for array in arrays)), node.label)
    return quantised(node, *arrays)


def _dequantised(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    whole, scale = dequantised(node, arrays)
    return whole.astype(scale.dtype) * scale


def _gather(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    data, indices = arrays
    return np.take(data, indices.astype(np.int64), axis=node.integer("axis", 0))


def _slice(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    x = arrays[0]
    if len(arrays) == 1:
        parts = [
            node.attributes.get("starts"),
            node.attributes.get("ends"),
            node.attributes.get("axes"),
            None,
        ]
    else:
        parts = [None if array is None else array.ravel().tolist() for array in (*arrays[1:], None, None)][:4]
    starts, ends, axes, steps = parts
    if starts is None or ends is None:
        raise node.fail("has no starts or ends")
    index = [slice(None)] * x.ndim
    axes = range(len(starts)) if axes is None else axes
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _concat(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    elements((sum(array.size for array in arrays),), node.label)
    return np.concatenate(arrays, axis=node.integer("axis", 0))


def _fill(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    shape = tuple(int(size) for size in arrays[0].ravel())
    elements(shape, node.label)
    value = node.attributes.get("value")
    return np.full(shape, np.float32(0) if value is None else np.asarray(value).ravel()[0])


def _expand(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(int(size) for size in arrays[1].ravel()))
    elements(shape, node.label)
    return np.broadcast_to(arrays[0], shape).copy()


def mean_axes(node: Node, given: Sequence[Any], rank: int) -> tuple[int, ...]:
    """Return the axes of a ReduceMean, none negative."""
    if len(given) > 1 and given[1] is not None:
        axes = [int(axis) for axis in given[1].ravel()]
    else:
        axes = node.integers("axes", () if node.integer("noop_with_empty_axes", 0) else range(rank))
    if not all(-rank <= axis < rank for axis in axes):
        raise node.fail(f"axes are {brief(axes)}, out of range")
    return tuple(sorted({axis % rank for axis in axes}))


def _mean(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    axes = mean_axes(node, arrays, arrays[0].ndim)
    if not arrays[0].size:
        raise node.fail("averages no values")
    return (
        arrays[0]
        .mean(axis=axes, keepdims=bool(node.integer("keepdims", 1)), dtype=np.float64)
        .astype(arrays[0].dtype)
    )


def _multi(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    x, thresholds = arrays
    table, axis = multi_thresholds(node, thresholds, x.shape)
    moved_x = np.moveaxis(x, axis, -1)
    count = np.zeros(moved_x.shape, x.dtype)
    for column in table.T:
        count += moved_x >= column
    result = count * x.dtype.type(node.number("out_scale", 1.0)) + x.dtype.type(node.number("out_bias", 0.0))
    return np.moveaxis(result, -1, axis)


def _norm(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    x, gamma, beta, mean, variance = (
        array if index == 0 else array.reshape(-1, *(1,) * (arrays[0].ndim - 2))
        for index, array in enumerate(arrays[:5])
    )
    root = np.sqrt(variance + variance.dtype.type(node.number("epsilon", 1e-5)))
    return ((x - mean) / root * gamma + beta).astype(x.dtype)


def _product(node: Node, arrays: Sequence[Any], opset: int) -> Array:
    a, b = arrays[:2]
    if a.ndim != 2 or b.ndim != 2:
        raise node.fail(f"multiplies constants of shapes {brief(a.shape)} and {brief(b.shape)}, no matrices")
    a, b = a.T if node.integer("transA", 0) else a, b.T if node.integer("transB", 0) else b
    if a.shape[0] * b.shape[0] * b.shape[1] > 1 << 30:
        raise node.fail("multiplies constants that are too large")
    result = (a.astype(np.float64) @ b.astype(np.float64)) * node.number("alpha", 1.0)
    if len(arrays) > 2 and arrays[2] is not None:
        result = result + arrays[2] * node.number("beta", 1.0)
    return result.astype(a.dtype)


_OTHERS: dict[str, Callable[[Node, Sequence[Any], int], Array]] = {
    "Div": _div, "Clip": _clip, "Cast": _cast, "BipolarQuant": _bipolar, "Quant": _quant, "IntQuant": _quant,
    "Gather": _gather, "Slice": _slice, "Concat": _concat, "ConstantOfShape": _fill, "Expand": _expand,
    "BatchNormalization": _norm, "ReduceMean": _mean, "MultiThreshold": _multi,
    "DequantizeLinear": _dequantised,
    "Dropout": lambda node, arrays, opset: arrays[0], "MatMul": _product, "Gemm": _product,
}  # fmt: skip
