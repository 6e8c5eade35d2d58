"""Shapes of computed tensors, and the geometry of windows: what a node may legally read and what it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .evaluate import ELEMENTWISE, FLEXIBLE, MOVES, evaluate, mean_axes, moved
from .functions import FUNCTIONS
from .graph import Node
from .tensors import elements

Shape = tuple[int, ...]
MAX_VALUES = 1 << 24
"""Most values of a computed tensor."""

SAME = {"BatchNormalization", "Softmax", "LogSoftmax", "Dropout", "MultiThreshold", *FUNCTIONS}
"""Operators that give the shape of their first input."""


class Window:
    """Kernel, stride and padding of a Conv or pooling node on a map of (height, width).

    Attributes
    ----------
    kernel, stride : tuple of int
        Vertical, horizontal.
    padding : tuple of int
        Top, bottom, left, right; with `ceil`, as far as the last windows reach.
    size : tuple of int
        Height and width of the result.
    """

    def __init__(self, node: Node, size: Shape, kernel: Sequence[int], *, ceil: bool = False) -> None:
        self.kernel = _pair(node, "kernel_shape", node.integers("kernel_shape", kernel))
        self.stride = _pair(node, "strides", node.integers("strides", (1, 1)))
        if _pair(node, "dilations", node.integers("dilations", (1, 1))) != (1, 1):
            raise node.fail("dilations other than 1 are not supported")
        pads = node.integers("pads", (0, 0, 0, 0))
        if len(pads) != 4 or any(not 0 <= pad <= 1 << 16 for pad in pads):
            raise node.fail(f"pads are {brief(pads)}, but must be 4 integers, none negative")
        mode = node.text("auto_pad", "NOTSET")
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            top, bottom = self._same(size[0], 0, mode)
            left, right = self._same(size[1], 1, mode)
            pads = [top, left, bottom, right]
        elif mode == "VALID":
            pads = [0, 0, 0, 0]
        elif mode != "NOTSET":
            raise node.fail(f"auto_pad is {brief(mode, 40)}, which is unknown")
        if ceil:
            pads[2] += self._overhang(size[0], pads[0], pads[2], 0)
            pads[3] += self._overhang(size[1], pads[1], pads[3], 1)
        self.padding = (pads[0], pads[2], pads[1], pads[3])
        padded = (size[0] + pads[0] + pads[2], size[1] + pads[1] + pads[3])
        self.size = (self._result(padded[0], 0), self._result(padded[1], 1))
        if min(self.size) < 1:
            raise node.fail(f"the kernel {brief(self.kernel)} does not fit the padded map {brief(padded)}")

    def _same(self, size: int, axis: int, mode: str) -> tuple[int, int]:
        out = -(-size // self.stride[axis])
        total = max((out - 1) * self.stride[axis] + self.kernel[axis] - size, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if mode == "SAME_UPPER" else (large, small)

    def _overhang(self, size: int, before: int, behind: int, axis: int) -> int:
        """How far ceil_mode's last window leaves the padded map; none begins behind the map."""
        kernel, stride = self.kernel[axis], self.stride[axis]
        padded = size + before + behind
        count = max(-(-(padded - kernel) // stride) + 1, 1)
        if (count - 1) * stride >= size + before:
            count -= 1
        return max((count - 1) * stride + kernel - padded, 0)

    def _result(self, size: int, axis: int) -> int:
        return (size - self.kernel[axis]) // self.stride[axis] + 1


def _pair(node: Node, what: str, values: Sequence[int]) -> tuple[int, int]:
    if len(values) != 2 or not all(1 <= value <= 1 << 16 for value in values):
        raise node.fail(
            f"{what} is {brief(list(values))}, but must be 2 integers above 0: maps have 2 dimensions"
        )
    return values[0], values[1]


def result_shape(
    node: Node, shapes: Mapping[str, Shape], constants: Mapping[str, NDArray[Any]], opset: int
) -> Shape:
    """Return the shape of a node's first output.

    Parameters
    ----------
    node : Node
    shapes : mapping
        Of every tensor that the node reads, constants included.
    constants : mapping
    opset : int

    Raises
    ------
    ImportFailedError
        If the operator is not supported, or its inputs do not fit together.
    """
    try:
        shape = _result_shape(node, shapes, constants, opset)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        found = " and ".join(brief(shapes[name], 60) for name in node.inputs if name in shapes)
        raise node.fail(f"its inputs, of the shapes {found}, do not fit together ({_why(error)})") from None
    if elements(shape, node.label) > MAX_VALUES:
        raise node.fail(f"gives {math.prod(shape)} values, the limit is {MAX_VALUES}")
    return shape


def _why(error: Exception) -> str:
    broadcast = "broadcast" in str(error)
    return "axes must be equal in length, or 1" if broadcast else brief(str(error), 100)


def _result_shape(
    node: Node, shapes: Mapping[str, Shape], constants: Mapping[str, NDArray[Any]], opset: int
) -> Shape:
    op, given = node.op, [shapes[name] for name in node.inputs if name]
    if not given:
        raise node.fail("reads nothing")
    x = given[0]
    if op in ELEMENTWISE or op in FLEXIBLE:
        return np.broadcast_shapes(*given)
    if op in SAME:
        return x
    if op in MOVES:
        others = [constants[name] for name in node.inputs[1:] if name in constants]
        if len(others) < len(given) - 1:
            raise node.fail("the new shape is computed from values of the image")
        return moved(node, [np.broadcast_to(np.int8(0), x), *others], opset).shape
    if op == "MatMul":
        if len(given) != 2 or len(x) != 2 or len(given[1]) != 2 or x[1] != given[1][0]:
            raise node.fail(f"shapes {brief(x)} and {brief(given[-1])} are not (batch, n) and (n, outputs)")
        return x[0], given[1][1]
    if op == "Gemm":
        return _gemm(node, given)
    if op == "Conv":
        return _conv(node, given)
    return _reduced(node, x, given, constants)


def _gemm(node: Node, given: list[Shape]) -> Shape:
    x, w = given[0], given[1]
    if len(x) != 2 or len(w) != 2:
        raise node.fail(f"shapes {brief(x)} and {brief(w)} are not matrices")
    inputs, outputs = reversed(w) if node.integer("transB", 0) else w
    if node.integer("transA", 0) or x[1] != inputs:
        raise node.fail(f"shapes {brief(x)} and {brief(w)} do not fit, or transA is set")
    if len(given) > 2:
        np.broadcast_shapes(given[2], (x[0], outputs))
    return x[0], outputs


def _conv(node: Node, given: list[Shape]) -> Shape:
    x, w = given[0], given[1]
    if len(x) != 4 or len(w) != 4:
        raise node.fail(f"shapes {brief(x)} and {brief(w)}: only convolutions of 2 dimensions are supported")
    groups = node.integer("group", 1)
    if groups < 1 or w[0] % groups:
        raise node.fail(f"group is {groups}, which does not divide its {w[0]} outputs")
    if x[1] != w[1] * groups:
        raise node.fail(f"takes {w[1]} channels in {groups} group{'s'[: groups > 1]}, but reads {x[1]}")
    window = Window(node, x[2:], w[2:])
    if window.kernel != w[2:]:
        raise node.fail(f"kernel_shape is {window.kernel}, but the weights have {brief(w)}")
    return x[0], w[0], *window.size


def _reduced(node: Node, x: Shape, given: list[Shape], constants: Mapping[str, NDArray[Any]]) -> Shape:
    op = node.op
    if op in ("MaxPool", "AveragePool"):
        if len(x) != 4:
            raise node.fail(f"shape {brief(x)}: only pooling of 2 dimensions is supported")
        if "kernel_shape" not in node.attributes:
            raise node.fail("has no kernel_shape")
        window = Window(node, x[2:], (1, 1), ceil=bool(node.integer("ceil_mode", 0)))
        return x[0], x[1], *window.size
    if op == "GlobalAveragePool":
        return x[:2] + (1,) * len(x[2:])
    if op == "Pad":
        pads = pad_widths(node, x, constants)
        return tuple(size + before + after for size, (before, after) in zip(x, pads, strict=True))
    if op == "Slice":
        others = [constants[name] for name in node.inputs[1:] if name in constants]
        if len(others) < len(given) - 1:
            raise node.fail("its places are computed from values of the image")
        arrays = [constants.get(name) for name in node.inputs[1:]]
        return evaluate(node, [np.broadcast_to(np.int8(0), x), *arrays], 0).shape
    if op == "Concat":
        axis = node.integer("axis", 0) % len(x)
        return tuple(sum(shape[i] for shape in given) if i == axis else size for i, size in enumerate(x))
    keep = node.integer("keepdims", 1)
    if op == "ReduceMean":
        axes = mean_axes(node, [x, *(constants.get(name) for name in node.inputs[1:])], len(x))
        return tuple(1 if axis in axes else size for axis, size in enumerate(x) if keep or axis not in axes)
    if op == "ArgMax":
        axis = node.integer("axis", 0) % len(x)
        return tuple(1 if i == axis else size for i, size in enumerate(x) if keep or i != axis)
    if op == "TopK":
        axis, k = node.integer("axis", -1) % len(x), top_k(node, constants)
        return tuple(k if i == axis else size for i, size in enumerate(x))
    raise node.fail("this operator is not supported")


def top_k(node: Node, constants: Mapping[str, NDArray[Any]]) -> int:
    """Return how many values a TopK node keeps."""
    if len(node.inputs) > 1:
        k = constants.get(node.inputs[1])
        if k is None or k.size != 1:
            raise node.fail("k is not one constant")
        return int(k.ravel()[0])
    return node.integer("k", 1)


def pad_widths(node: Node, x: Shape, constants: Mapping[str, NDArray[Any]]) -> list[tuple[int, int]]:
    """Return what a Pad node adds before and after each axis."""
    if len(node.inputs) > 3 and node.inputs[3]:
        raise node.fail("axes are not supported; give pads for all of them")
    if len(node.inputs) > 1:
        if node.inputs[1] not in constants:
            raise node.fail("pads are not constant")
        pads = constants[node.inputs[1]].ravel().tolist()
    else:
        pads = node.integers("pads", ())
    if len(pads) != 2 * len(x) or any(not 0 <= pad <= 1 << 16 for pad in pads):
        raise node.fail(f"pads are {brief(pads)}, but must be {2 * len(x)} integers, none negative")
    if node.text("mode", "constant") != "constant":
        raise node.fail("only mode 'constant' is supported")
    return list(zip(pads[: len(x)], pads[len(x) :], strict=True))
