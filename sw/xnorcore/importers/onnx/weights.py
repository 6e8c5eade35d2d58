"""Pass: products in one form, their weights as signs and one magnitude per output."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .graph import Graph, Node, replaced
from .rewrite import fractions, made, parameter, rewritten
from .shapes import Window

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
    """Pass: MatMul, Gemm and Conv become `DENSE` and `CONV`, their weights signs and a scale per output.

    Attributes: ``weights`` (int8, (outputs, inputs) or (outputs, kh, kw, inputs)), ``scale`` and ``bias``
    (lists of Fraction; bias may be None); of `CONV` also ``window``.

    Raises
    ------
    ImportFailedError
        If the weights of an output are not all of one magnitude above 0.
    """
    return rewritten(graph, {"MatMul": _dense, "Gemm": _dense, "Conv": _conv})


def signs_and_scale(
    node: Node, weights: NDArray[Any], origin: str = ""
) -> tuple[NDArray[np.int8], list[Fraction]]:
    """Split weights, shape (outputs, ...), into signs and one magnitude per output.

    Parameters
    ----------
    node : Node
    weights : array
    origin : str
        The quantiser that made them, for messages.

    Raises
    ------
    ImportFailedError
        If they are not of one magnitude above 0.
    """
    rows = weights.reshape(len(weights), -1)
    if not rows.size:
        raise node.fail(f"weights have shape {brief(weights.shape)}: they are empty")
    magnitude = np.abs(rows)
    wrong = (magnitude != magnitude[:, :1]) | (magnitude == 0)
    if wrong.any():
        raise node.fail(_many(rows, int(np.argmax(wrong.any(axis=1))), origin))
    return np.where(weights > 0, 1, -1).astype(np.int8), fractions(magnitude[:, 0])


def _many(rows: NDArray[Any], output: int, origin: str) -> str:
    mine, values = (np.unique(part + 0) for part in (rows[output], rows.ravel()[: 1 << 16]))
    shown = ", ".join(f"{value:g}" for value in mine[:4]) + (", ..." if len(mine) > 4 else "")
    kind = "not binarized"
    if 0 in mine and len(values) <= 3 and abs(values[0]) == abs(values[-1]):
        kind = "ternary" if len(values) > 1 else "0"
    return (
        f"weights of output {output} are {shown} and not -a and +a of one magnitude a above 0: they are "
        f"{kind}"
        f"{', by ' + origin if origin else ''}; weights must be one bit"
    )


def _dynamic(node: Node, graph: Graph) -> str:
    if node.inputs[0] in graph.constants:
        raise node.fail("multiplies a constant from the left; write the image first")
    return node.inputs[0]


def _dense(node: Node, graph: Graph) -> Node:
    weights = parameter(node, graph, 1, "weights")
    if node.op == "MatMul" or not node.integer("transB", 0):
        weights = weights.T
    signs, scale = signs_and_scale(node, weights, graph.origins.get(node.inputs[1], ""))
    bias = None
    if node.op == "Gemm":
        alpha, beta = Fraction(node.number("alpha", 1.0)), Fraction(node.number("beta", 1.0))
        scale = [alpha * value for value in scale]
        if len(node.inputs) > 2 and node.inputs[2]:
            values = parameter(node, graph, 2, "bias")
            if values.ndim > 1 and values.shape[0] != 1:
                raise node.fail(f"bias has shape {brief(values.shape)}, but must be one value per output")
            bias = [beta * value for value in fractions(np.broadcast_to(values.ravel(), len(signs)))]
    return made(node, DENSE, _dynamic(node, graph), weights=signs, scale=scale, bias=bias)


def _conv(node: Node, graph: Graph) -> Node:
    weights = parameter(node, graph, 1, "weights")
    signs, scale = signs_and_scale(node, weights, graph.origins.get(node.inputs[1], ""))
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        values = parameter(node, graph, 2, "bias")
        if values.shape != (len(signs),):
            raise node.fail(f"bias has shape {brief(values.shape)}, but must be ({len(signs)},)")
        bias = fractions(values)
    image = _dynamic(node, graph)
    window = Window(node, graph.shapes[image][2:], weights.shape[2:])
    return made(
        node, CONV, image, weights=np.ascontiguousarray(signs.transpose(0, 2, 3, 1)), scale=scale, bias=bias,
        window=window,
    )  # fmt: skip
