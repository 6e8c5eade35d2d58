"""Shortcuts with real weights in fixed point: an average and a 1 x 1 convolution as one of integers.

What such a convolution gives, batch norm included, becomes ``scale * sum + bias`` with weights of few bits:
an average in front is part of the weights, so that nothing is rounded in between. Scales have 8 significant
bits and the bias leaves no sum half way between two values, so that a multiplication makes these values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, frexp, ldexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import QUANT_DOMAINS, Graph, Node

__all__ = ["WEIGHT_BITS", "Projection", "projection", "with_projections"]

WEIGHT_BITS = 5
"""Of a weight: the most of which every device with codes adds up the signs."""
_TOP = (1 << WEIGHT_BITS - 1) - 1
_DIGITS = 8
"""Significant bits of a scale."""


@dataclass(frozen=True)
class Projection:
    """A convolution of a shortcut.

    Attributes
    ----------
    node : Node
        The convolution.
    source : str
        What it reads, or the average in front of it.
    target : str
        What it gives, or the batch norm behind it.
    window, stride : tuple of int
    weights : array of float64, shape (outputs, channels / groups, kernel height, kernel width)
        Batch norm and average included.
    bias : array of float64, shape (outputs,)
    """

    node: Node
    source: str
    target: str
    window: tuple[int, int]
    stride: tuple[int, int]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


def projection(node: Node, graph: Graph) -> Projection | None:
    """Return what a convolution with real weights is in a shortcut; None if it is not 1 x 1, or padded."""
    weights = graph.constants.get(node.inputs[1])
    if node.op != "Conv" or weights is None or weights.shape[2:] != (1, 1) or any(node.integers("pads", ())):
        return None
    if node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    given = [graph.constants[name] for name in node.inputs[2:] if name]
    bias = given[0] if given else np.zeros(len(weights))
    weights, bias = weights.astype(np.float64), bias.astype(np.float64)
    window, strides = (1, 1), node.integers("strides", [1, 1])
    source, target = node.inputs[0], node.outputs[0]
    before = graph.producers.get(source)
    if before is not None and before.op == "AveragePool":
        padded = any(before.integers("pads", ())) or before.text("auto_pad", "NOTSET") != "NOTSET"
        if padded or before.integer("ceil_mode", 0) or strides != [1, 1]:
            return None
        sides, strides = before.integers("kernel_shape", [1, 1]), before.integers("strides", [1, 1])
        window, source = (sides[0], sides[1]), before.inputs[0]
        weights = np.tile(weights / (sides[0] * sides[1]), (1, 1, *window))
    behind = graph.readers.get(target, [])
    if len(behind) == 1 and behind[0].op == "BatchNormalization":
        gamma, beta, mean, variance = (
            graph.constants[name].astype(np.float64) for name in behind[0].inputs[1:5]
        )
        slope = gamma / np.sqrt(variance + behind[0].number("epsilon", 1e-5))
        weights, bias = weights * slope[:, None, None, None], (bias - mean) * slope + beta
        target = behind[0].outputs[0]
    return Projection(node, source, target, window, (strides[0], strides[-1]), weights, bias)


def with_projections(model: Any, projections: tuple[Projection, ...], step: float) -> None:
    """Replace these convolutions in a model, which is changed, with what they give in steps of values.

    What stood in front and behind them is left where nothing reads it any more.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    for one in projections:
        integers, scale, bias = _integers(one.weights, one.bias, step)
        target = next(node for node in graph.node if one.target in node.output)
        target.output[0] = f"{one.target}, real"
        names = {
            key: f"{one.target}, {key} in fixed point" for key in ("weights", "scale", "zero", "bits", "bias")
        }
        shape = (len(scale), 1, 1, 1)
        arrays = (
            integers * scale.reshape(shape),
            scale.reshape(shape),
            np.zeros(()),
            np.array(WEIGHT_BITS),
            bias,
        )
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array, np.float32), name)
            for array, name in zip(arrays, names.values(), strict=True)
        )
        quantised = f"{one.target}, quantised weights"
        made = [
            helper.make_node(
                "Quant", list(names.values())[:4], [quantised], f"{one.node.name}: fixed point weights",
                domain=QUANT_DOMAINS[0], signed=1, narrow=1, rounding_mode="ROUND",
            ),
            helper.make_node(
                "Conv", [one.source, quantised, names["bias"]], [one.target], f"{one.node.name}: fixed point",
                kernel_shape=list(one.window), strides=list(one.stride), group=one.node.integer("group", 1),
            ),
        ]  # fmt: skip
        place = list(graph.node).index(target) + 1
        nodes = [*graph.node[:place], *made, *graph.node[place:]]
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _integers(
    weights: NDArray[np.float64], bias: NDArray[np.float64], step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return weights as integers, one scale for each output, and the bias, with which no sum is half way."""
    scales, offsets = [], []
    for row, offset in zip(weights, bias, strict=True):
        largest = float(np.abs(row).max()) or 1.0
        mantissa, exponent = frexp(largest / _TOP)
        scales.append(ldexp(np.ceil(ldexp(mantissa, _DIGITS)), exponent - _DIGITS))
        # Values are odd halves of a step: sums go in halves of the scale's last digit.
        unit = ldexp(step, exponent - _DIGITS - 1)
        offsets.append((floor(offset / unit) + 0.5) * unit)
    scale = np.array(scales)
    return np.rint(weights / scale.reshape(-1, 1, 1, 1)), scale, np.array(offsets)
