"""Real layers of what stands at a graph's ends: each node becomes one layer of float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import NetworkError
from ...host.layers import (
    Real,
    RealAffine,
    RealAveragePool2d,
    RealClip,
    RealConv2d,
    RealDense,
    RealMaxPool2d,
)
from .bends import MONOTONE, monotones
from .canonical import AFFINE, NORM, affines
from .evaluate import MOVES, mean_axes, moved
from .graph import Graph, Node, replaced
from .maps import Clip, Vee
from .parting import outputs_first
from .rewrite import parameter
from .shapes import Window, pad_widths
from .signal import places


class RealWalk:
    """Follows nodes of a graph, and makes a layer of each.

    Parameters
    ----------
    graph : Graph
    shape : tuple of int
        Of what the first node reads, in network order.
    index : array of int
        For each place of that tensor, batch first, the place in network order.

    Attributes
    ----------
    layers : list of Real
    shape, index
        Of what the last node gives.
    """

    def __init__(self, graph: Graph, shape: tuple[int, ...], index: NDArray[np.int64]) -> None:
        self.graph, self.shape, self.index = graph, shape, index
        self.layers: list[Real] = []
        self._pads = (0, 0, 0, 0)

    def take(self, nodes: Sequence[Node]) -> None:
        """Follow nodes, each of which reads the one before it.

        Raises
        ------
        ImportFailedError
            Names the node that is no real layer, and why.
        """
        part = monotones(affines(replaced(self.graph, nodes=tuple(nodes))))
        for node in part.nodes:
            if any(self._pads) and node.op != "Conv":
                raise node.fail("reads padded values, which only a convolution may on the host")
            if node.op in MOVES:
                constants = [self.graph.constants[name] for name in node.inputs[1:] if name]
                self.index = moved(node, [self.index, *constants], self.graph.opset)
            elif node.op in _LAYERS:
                try:
                    _LAYERS[node.op](self, node)
                except NetworkError as error:
                    raise node.fail(str(error)) from None
            else:
                raise node.fail(
                    "stands beside real weights, and is nothing that the host computes there: that is Conv, "
                    "Gemm, MatMul, BatchNormalization, arithmetic with constants, Relu, Clip and pooling"
                )

    def add(self, layer: Real) -> None:
        """Add a layer."""
        self.layers.append(layer)

    def _map(self, node: Node) -> None:
        """Check that the source has (batch, channels, height, width) of a map in network order."""
        if len(self.shape) != 3 or not np.array_equal(
            self.index, places(self.shape, len(self.index), channels_last=False)
        ):
            raise node.fail("must read (batch, channels, height, width), in the order of a map")

    def _gives(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.index = places(shape, len(self.index), channels_last=len(shape) == 1)

    def pad(self, node: Node) -> None:
        """Keep a Pad node's zeros for the convolution behind it."""
        self._map(node)
        widths = pad_widths(node, self.index.shape, self.graph.constants)
        value = self.graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        if any(map(any, widths[:2])) or node.number("value", 0.0) or (value is not None and value.any()):
            raise node.fail("must pad height and width with 0")
        self._pads = (*widths[2], *widths[3])  # type: ignore[assignment]

    def conv(self, node: Node) -> None:
        """Take a Conv node."""
        self._map(node)
        weights = parameter(node, self.graph, 1, "weights")
        window = Window(node, self.graph.shapes[node.inputs[0]][2:], weights.shape[2:])
        bias = parameter(node, self.graph, 2, "bias") if len(node.inputs) > 2 and node.inputs[2] else None
        top, bottom, left, right = (a + b for a, b in zip(window.padding, self._pads, strict=True))
        self._pads = (0, 0, 0, 0)
        self.add(
            RealConv2d(
                weights.transpose(0, 2, 3, 1), bias, stride=window.stride, padding=(top, bottom, left, right),
                groups=node.integer("group", 1),
            )
        )  # fmt: skip
        self._gives((*window.size, len(weights)))

    def dense(self, node: Node) -> None:
        """Take a Gemm or MatMul node; its weights are put in network order."""
        if self.index.ndim != 2:
            raise node.fail(f"reads a tensor of {self.index.ndim} axes, but must read (batch, values)")
        rows = outputs_first(node, parameter(node, self.graph, 1, "weights"))
        weights, bias = np.empty_like(rows), None
        weights[:, self.index[0]] = rows
        if node.op == "Gemm":
            weights = weights * weights.dtype.type(node.number("alpha", 1.0))
            if len(node.inputs) > 2 and node.inputs[2]:
                values = parameter(node, self.graph, 2, "bias").ravel()
                bias = np.broadcast_to(values, len(rows)) * values.dtype.type(node.number("beta", 1.0))
        self.add(RealDense(weights, bias))
        self._gives((len(rows),))

    def affine(self, node: Node) -> None:
        """Take an `AFFINE` node."""
        scale, offset = (floats(node.attributes[key]) for key in ("scale", "offset"))
        self.check_channels(node, max(len(scale), len(offset)))
        self.add(RealAffine(*np.broadcast_arrays(scale, offset)))

    def norm(self, node: Node) -> None:
        """Take a `NORM` node: a scale and an offset for each channel."""
        gamma, beta, mean, variance = (
            floats(node.attributes[key]) for key in ("gamma", "beta", "mean", "variance")
        )
        scale = gamma / np.sqrt(variance)
        self.check_channels(node, len(scale))
        self.add(RealAffine(scale, beta - mean * scale))

    def check_channels(self, node: Node, count: int) -> None:
        """Check that as many constants are one for all, or one for each channel."""
        if count == 1:
            return
        if len(self.shape) == 3:
            self._map(node)
        elif not np.array_equal(self.index, places(self.shape, len(self.index), channels_last=True)):
            raise node.fail("is not per channel of what it reads")
        if count != self.shape[-1]:
            raise node.fail(f"has {count} constants, but reads {self.shape[-1]} channels")

    def clip(self, node: Node) -> None:
        """Take a `MONOTONE` node: Relu, Clip, and what clips."""
        function = node.attributes["function"]
        if isinstance(function, Vee) and not any(function.left) and function.right == 1:
            self.add(RealClip(0.0))
        elif isinstance(function, Clip) and not function.wide and (function.low or function.high):
            self.add(
                RealClip(*(None if end is None else float(end[0]) for end in (function.low, function.high)))
            )
        else:
            raise node.fail("is no function that the host computes: Relu and Clip with one limit for all are")

    def pool(self, node: Node) -> None:
        """Take a MaxPool or AveragePool node."""
        self._map(node)
        ceil = bool(node.integer("ceil_mode", 0))
        window = Window(node, self.graph.shapes[node.inputs[0]][2:], (1, 1), ceil=ceil)
        kind: Any = RealMaxPool2d
        if node.op == "AveragePool":
            kind = RealAveragePool2d
            if any(window.padding) and (ceil or not node.integer("count_include_pad", 0)):
                raise node.fail(
                    "averages over fewer values where its window leaves the map; only padding that counts as "
                    "0 (count_include_pad=1, without ceil_mode) is supported"
                )
        self.add(kind(window.kernel, window.stride, window.padding))
        self._gives((*window.size, self.shape[2]))

    def mean(self, node: Node) -> None:
        """Take a GlobalAveragePool or ReduceMean node over height and width."""
        self._map(node)
        keep = True
        if node.op == "ReduceMean":
            constants = [None, *(self.graph.constants.get(name) for name in node.inputs[1:])]
            if mean_axes(node, constants, self.index.ndim) != (2, 3):
                raise node.fail("must average height and width of (batch, channels, height, width)")
            keep = bool(node.integer("keepdims", 1))
        self.add(RealAveragePool2d((self.shape[0], self.shape[1])))
        self._gives((1, 1, self.shape[2]))
        self.index = self.index if keep else self.index[:, :, 0, 0]


_LAYERS: dict[str, Callable[[RealWalk, Node], None]] = {
    "Conv": RealWalk.conv, "Gemm": RealWalk.dense, "MatMul": RealWalk.dense, "Pad": RealWalk.pad,
    AFFINE: RealWalk.affine, NORM: RealWalk.norm, MONOTONE: RealWalk.clip, "MaxPool": RealWalk.pool,
    "AveragePool": RealWalk.pool, "GlobalAveragePool": RealWalk.mean, "ReduceMean": RealWalk.mean,
}  # fmt: skip


def floats(values: Sequence[Fraction]) -> NDArray[np.float64]:
    """Return rationals as float64; what is beyond it is infinite, which no layer takes."""
    found = np.full(len(values), np.inf)
    for index, value in enumerate(values):
        with suppress(OverflowError):
            found[index] = float(value)
    return found
