"""Operators over windows for the independent executor: max pooling, and qonnx's maps with channels last.

They share no code with the importer. The standard pooling is here as well because onnx's own gives another
size with auto_pad=SAME_LOWER.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS_LAST = "qonnx.custom_op.channels_last"
"""Domain of Conv, BatchNormalization and MaxPool on (batch, height, width, channels)."""


def window_operators() -> list[Any]:
    """Return the operators, as classes for ``ReferenceEvaluator``."""
    from onnx.reference.op_run import OpRun

    class MaxPool(OpRun):
        op_domain = ""
        first = 2

        def _run(
            self, x: Any, auto_pad: Any = None, ceil_mode: Any = 0, dilations: Any = None,
            kernel_shape: Any = None, pads: Any = None, storage_order: Any = None, strides: Any = None,
        ) -> Any:  # fmt: skip
            for axis, kernel in enumerate(kernel_shape):
                starts = _starts(
                    x.shape[self.first + axis],
                    kernel,
                    axis,
                    strides,
                    pads,
                    auto_pad or "NOTSET",
                    bool(ceil_mode),
                )
                x = np.stack([_highest(x, self.first + axis, at, kernel) for at in starts], self.first + axis)
            return (x,)

    class MaxPoolLast(MaxPool):
        op_domain = CHANNELS_LAST
        first = 1

    class Conv(OpRun):
        op_domain = CHANNELS_LAST

        def _run(
            self, x: Any, weights: Any, bias: Any = None, auto_pad: Any = None, dilations: Any = None,
            group: Any = None, kernel_shape: Any = None, pads: Any = None, strides: Any = None,
        ) -> Any:  # fmt: skip
            rows, columns = (
                _starts(
                    x.shape[1 + axis],
                    weights.shape[1 + axis],
                    axis,
                    strides,
                    pads,
                    auto_pad or "NOTSET",
                    False,
                )
                for axis in (0, 1)
            )
            result = np.zeros((len(x), len(rows), len(columns), len(weights)), x.dtype)
            for (i, y), (j, left) in itertools.product(enumerate(rows), enumerate(columns)):
                for ky, kx in np.ndindex(*weights.shape[1:3]):
                    if 0 <= y + ky < x.shape[1] and 0 <= left + kx < x.shape[2]:
                        result[:, i, j] += x[:, y + ky, left + kx] @ weights[:, ky, kx].T
            return (result if bias is None else result + bias,)

    class BatchNormalization(OpRun):
        op_domain = CHANNELS_LAST

        def _run(
            self, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: Any = 1e-5,
            momentum: Any = 0.9, training_mode: Any = 0,
        ) -> Any:  # fmt: skip
            deviation = np.sqrt(variance + variance.dtype.type(1e-5 if epsilon is None else epsilon))
            return (((x - mean) / deviation * gamma + beta).astype(x.dtype),)

    MaxPoolLast.__name__ = "MaxPool"
    return [MaxPool, MaxPoolLast, Conv, BatchNormalization]


def _highest(x: NDArray[Any], axis: int, start: int, kernel: int) -> NDArray[Any]:
    """The maximum of a window; places outside never win."""
    places = [place for place in range(start, start + kernel) if 0 <= place < x.shape[axis]]
    return x.take(places, axis).max(axis)


def _starts(
    size: int, kernel: int, axis: int, strides: Any, pads: Any, auto_pad: str, ceil: bool
) -> list[int]:
    """Where the windows along an axis begin; below 0 in the padding."""
    stride = strides[axis] if strides else 1
    if auto_pad.startswith("SAME"):
        count = (size + stride - 1) // stride
        both = max(0, (count - 1) * stride + kernel - size)
        before = both // 2 if auto_pad == "SAME_UPPER" else both - both // 2
    else:
        before, behind = (
            (pads[axis], pads[axis + len(pads) // 2]) if pads and auto_pad == "NOTSET" else (0, 0)
        )
        span = size + before + behind - kernel
        count = span // stride + 1
        if ceil and span % stride and count * stride < size + before:
            count += 1
    return [number * stride - before for number in range(count)]
