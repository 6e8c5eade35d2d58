"""Pass: products in one form, their weights as integers and one scale per output."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .graph import Graph, Node, replaced
from .integers import integers_and_scale
from .rewrite import fractions, made, parameter, rewritten
from .shapes import Window
from .tensors import elements

DENSE, CONV = "Dense", "Conv2d"
"""Operators of the nodes that this pass makes; each has one input."""
ULPS = 16
"""How many times the float's epsilon weights of one magnitude may differ by rounding."""


def evened(graph: Graph) -> Graph:
    """Pass: weights of one output that differ from -a and +a only by rounding become these.

    ``sign(w) - f(w) + f(w)`` rounds twice, to a few units in the last place of its largest term. The most
    frequent magnitude is taken for a; `Graph.exact` gets the weights.
    """
    constants, exact = dict(graph.constants), dict(graph.exact)
    for node in graph.nodes:
        if node.op not in ("MatMul", "Gemm", "Conv") or node.inputs[1] not in constants:
            continue
        weights = constants[node.inputs[1]]
        across = node.op == "MatMul" or (node.op == "Gemm" and not node.integer("transB", 0))
        if weights.dtype.kind == "f" and weights.size and weights.ndim > 1:
            near = _even(weights.T).T if across else _even(weights)
            if not np.array_equal(near, weights):
                constants[node.inputs[1]] = exact[node.inputs[1]] = near
    return replaced(graph, constants=constants, exact=exact)


def _even(weights: NDArray[Any]) -> NDArray[Any]:
    rows = weights.reshape(len(weights), -1)
    magnitude = np.abs(rows)
    low, high = magnitude.min(axis=1), magnitude.max(axis=1)
    near = (high - low <= ULPS * np.finfo(weights.dtype).eps * high) & (high != low)
    for row in np.flatnonzero(near).tolist():
        values, counts = np.unique(magnitude[row], return_counts=True)
        magnitude[row] = values[counts.argmax()]
    return np.copysign(magnitude, rows).reshape(weights.shape)


def products(graph: Graph) -> Graph:
    """Pass: MatMul, Gemm and Conv become `DENSE` and `CONV`, their weights integers and a scale per output.

    Attributes: ``weights`` (int8, (outputs, inputs) or (outputs, kh, kw, inputs)), ``scale`` and ``bias``
    (lists of Fraction; bias may be None), ``slack`` (as of `Weights`); of `CONV` also ``window`` and
    ``groups``.

    Raises
    ------
    ImportFailedError
        If the weights of an output are no integers of 8 bits times one scale.
    """
    return rewritten(graph, {"MatMul": _dense, "Gemm": _dense, "Conv": _conv})


def _whole(node: Node, rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights of groups as those of all channels: 0 where an output does not read one."""
    groups = node.integer("group", 1)
    if groups == 1:
        return rows
    outputs, channels, *kernel = rows.shape
    elements((outputs, channels * groups, *kernel), node.label)
    whole = np.zeros((groups, outputs // groups, groups, channels, *kernel), np.int8)
    each = np.arange(groups)
    whole[each, :, each] = rows.reshape(groups, -1, channels, *kernel)
    return whole.reshape(outputs, groups * channels, *kernel)


def _dynamic(node: Node, graph: Graph) -> str:
    if node.inputs[0] in graph.constants:
        raise node.fail("multiplies a constant from the left; write the image first")
    return node.inputs[0]


def _dense(node: Node, graph: Graph) -> Node:
    parameter(node, graph, 1, "weights")
    across = node.op == "MatMul" or not node.integer("transB", 0)
    found = integers_and_scale(node, graph, (lambda x: x.T) if across else (lambda x: x))
    rows, scale, bias = found.values, found.scale, None
    if node.op == "Gemm":
        alpha, beta = Fraction(node.number("alpha", 1.0)), Fraction(node.number("beta", 1.0))
        scale = [alpha * value for value in scale]
        if len(node.inputs) > 2 and node.inputs[2]:
            values = parameter(node, graph, 2, "bias")
            if values.ndim > 1 and values.shape[0] != 1:
                raise node.fail(f"bias has shape {brief(values.shape)}, but must be one value per output")
            bias = [beta * value for value in fractions(np.broadcast_to(values.ravel(), len(rows)))]
    given = {"weights": rows, "scale": scale, "bias": bias, "slack": found.slack}
    return made(node, DENSE, _dynamic(node, graph), **given)


def _conv(node: Node, graph: Graph) -> Node:
    parameter(node, graph, 1, "weights")
    found = integers_and_scale(node, graph, lambda x: x)
    rows, scale, bias = _whole(node, found.values), found.scale, None
    if len(node.inputs) > 2 and node.inputs[2]:
        values = parameter(node, graph, 2, "bias")
        if values.shape != (len(rows),):
            raise node.fail(f"bias has shape {brief(values.shape)}, but must be ({len(rows)},)")
        bias = fractions(values)
    image = _dynamic(node, graph)
    window = Window(node, graph.shapes[image][2:], rows.shape[2:])
    return made(
        node, CONV, image, weights=np.ascontiguousarray(rows.transpose(0, 2, 3, 1)), scale=scale, bias=bias,
        window=window, groups=node.integer("group", 1), slack=found.slack,
    )  # fmt: skip
