"""Pass: find the sign functions, however a framework writes them.

``Sign``, ``BipolarQuant``, a one-bit ``Quant``, a one-threshold ``MultiThreshold``, a rounding to two values,
a comparison followed by ``Where`` or ``Cast``
and arithmetic: each is a function of the sign of one tensor, and so a table of three values, for below 0, 0
and above 0. Everything elementwise that such a table passes through only changes the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluate import ELEMENTWISE, FLEXIBLE, evaluate, finite
from .functions import FUNCTIONS
from .graph import Graph, Node, replaced
from .quantisers import check_scale, integer_range, multi_thresholds, rounding
from .rounds import bounds, cut_between, one_value

STEP = "Step"
"""Operator of the nodes that this pass makes; attributes ``table`` (array of 3) and ``nodes`` (names)."""

_FLIPPED = {"Greater": "Less", "Less": "Greater", "GreaterOrEqual": "LessOrEqual",
            "LessOrEqual": "GreaterOrEqual", "Equal": "Equal"}  # fmt: skip
_COMPARED = {
    "Greater": (0, 0, 1), "GreaterOrEqual": (0, 1, 1), "Less": (1, 0, 0), "LessOrEqual": (1, 1, 0),
    "Equal": (0, 1, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A tensor that depends only on the sign of ``source - threshold``.

    Attributes
    ----------
    source : str
    threshold : array or None
        None is 0; else it broadcasts against the source.
    table : array, shape (3,)
        Value below, at and above the threshold, of the tensor's own dtype.
    nodes : tuple of str
        Names of the nodes that it stands for.
    op : str
        Operator of the first of them.
    """

    source: str
    threshold: NDArray[Any] | None
    table: NDArray[Any]
    nodes: tuple[str, ...]
    op: str

    def joins(self, other: Step) -> bool:
        """Whether both depend on the same sign."""
        if self.source != other.source or (self.threshold is None) != (other.threshold is None):
            return False
        return self.threshold is None or np.array_equal(self.threshold, other.threshold)  # type: ignore[arg-type]


def find_steps(graph: Graph) -> Graph:
    """Replace sign functions by nodes `STEP`; a threshold other than 0 becomes a ``Sub`` in front.

    Raises
    ------
    ImportFailedError
        If a sign function has parameters that cannot be.
    """
    steps: dict[str, Step] = {}
    nodes: list[Node] = []
    constants, shapes = dict(graph.constants), dict(graph.shapes)
    done: set[str] = set()

    def make(name: str) -> None:
        step = steps[name]
        if name in done:
            return
        done.add(name)
        source = step.source
        if step.threshold is not None:
            source = f"{name} minus threshold"
            constants[f"{name} threshold"] = step.threshold
            shapes[source] = shapes[name]
            inputs = (step.source, f"{name} threshold")
            nodes.append(Node("Sub", step.nodes[0], inputs, (source,), {"source": step.op}))
        attributes = {"table": step.table, "nodes": step.nodes, "source": step.op}
        nodes.append(Node(STEP, step.nodes[0], (source,), (name,), attributes))

    producers = graph.producers
    for node in graph.nodes:
        step = _step(node, steps, graph, producers)
        if step is not None:
            finite(node, step.table)
            finite(node, np.zeros(1) if step.threshold is None else step.threshold)
            steps[node.outputs[0]] = step
            continue
        for name in node.inputs:
            if name in steps:
                make(name)
        nodes.append(node)
    for name in graph.outputs:
        if name in steps:
            make(name)
    return replaced(graph, nodes=tuple(nodes), constants=constants, shapes=shapes)


def _step(node: Node, steps: dict[str, Step], graph: Graph, producers: dict[str, Node]) -> Step | None:
    inner = [steps[name] for name in node.inputs if name in steps]
    if inner:
        return _through(node, inner, steps, graph)
    return _begins(node, graph) or rounding_step(node, graph, producers)


def _through(node: Node, inner: list[Step], steps: dict[str, Step], graph: Graph) -> Step | None:
    """A step function of step functions: the node, computed on their tables."""
    if node.op not in {*ELEMENTWISE, *FLEXIBLE, *FUNCTIONS, "Dropout"}:
        return None
    if any(not inner[0].joins(other) for other in inner[1:]):
        return None
    arrays: list[NDArray[Any] | None] = []
    for name in node.inputs:
        if name in steps:
            arrays.append(steps[name].table)
            continue
        constant = graph.constants.get(name)
        if name and (constant is None or not constant.size or (constant != constant.flat[0]).any()):
            return None
        arrays.append(None if constant is None else constant.ravel()[:1])
    table = evaluate(node, arrays, graph.opset)
    nodes = (*tuple(dict.fromkeys(name for step in inner for name in step.nodes)), node.name)
    return Step(inner[0].source, inner[0].threshold, table, nodes, inner[0].op)


def _begins(node: Node, graph: Graph) -> Step | None:
    values = [graph.constants.get(name) for name in node.inputs]
    dynamic = [index for index, value in enumerate(values) if value is None]
    if node.op == "Sign":
        return Step(node.inputs[0], None, np.array([-1, 0, 1], np.float32), (node.name,), node.op)
    if not dynamic or dynamic[0] > 1 or len(dynamic) > 1:
        return None
    z = node.inputs[dynamic[0]]
    if node.op in _COMPARED and len(values) == 2:
        op = node.op if dynamic[0] == 0 else _FLIPPED[node.op]
        threshold = values[1 - dynamic[0]]
        return Step(z, _threshold(threshold), np.array(_COMPARED[op], np.bool_), (node.name,), node.op)
    if dynamic[0]:
        return None
    if node.op == "BipolarQuant":
        scale = _one(node, "scale", values[1:2])
        return Step(z, None, np.array([-scale, scale, scale]), (node.name,), node.op)
    if node.op == "MultiThreshold" and len(values) == 2 and values[1] is not None:
        shape = graph.shapes[z]
        thresholds, axis = multi_thresholds(node, values[1], shape)
        if thresholds.shape[1] != 1:
            return None
        column = thresholds.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        scale, bias = np.float32(node.number("out_scale", 1.0)), np.float32(node.number("out_bias", 0.0))
        return Step(
            z, _threshold(column), np.array([bias, scale + bias, scale + bias]), (node.name,), node.op
        )
    return None


def rounding_step(node: Node, graph: Graph, producers: dict[str, Node]) -> Step | None:
    """Return the sign that a rounding to two values is."""
    values = [graph.constants.get(name) for name in node.inputs]
    if node.op in ("Quant", "IntQuant") and len(values) == 4 and values[0] is None:
        return _quant(node, values, graph, producers)
    mode = {"Round": "ROUND", "Floor": "FLOOR", "Ceil": "CEIL"}.get(node.op)
    if mode is None or values[0] is not None:
        return None
    cut = cut_between(*bounds(node.inputs[0], graph, producers), mode)
    if cut is None:
        return None
    place, at, first = cut
    table = np.array([first, at, first + 1], np.float32)
    return Step(node.inputs[0], _exact(place), table, (node.name,), node.op)


def _quant(node: Node, values: list[Any], graph: Graph, producers: dict[str, Node]) -> Step | None:
    low, high = integer_range(node, values[3])
    bipolar = bool(node.integer("signed", 1)) and (low, high) in ((-1, 0), (0, 0))
    if not bipolar and low == high:
        raise node.fail("has one level alone, 0; without sign, one bit must not be narrow")
    if bipolar or high == low + 1:
        scale, zero = _one(node, "scale", values[1:2]), _one(node, "zero point", values[2:3])
    elif one_value(values[1]) is None or one_value(values[2]) is None:
        return None
    else:
        scale, zero = values[1].flat[0], values[2].flat[0]
    check_scale(node, scale, zero)
    rounding(node)
    unit, shift, one = Fraction(float(scale)), Fraction(float(zero)), type(scale)(1)
    if bipolar:
        table = np.array([(-one - zero) * scale, (one - zero) * scale, (one - zero) * scale])
        return Step(node.inputs[0], _exact(-shift * unit), table, (node.name,), node.op)
    limits = bounds(node.inputs[0], graph, producers) if high > low + 1 else (None, None)
    ends = [
        limit if end is None else min(max(end / unit + shift, Fraction(low)), Fraction(high))
        for end, limit in zip(limits, (Fraction(low), Fraction(high)), strict=True)
    ]
    cut = cut_between(ends[0], ends[1], node.text("rounding_mode", "ROUND").upper())
    if cut is None:
        return None
    place, at, first = cut
    table = np.array([(one * integer - zero) * scale for integer in (first, at, first + 1)])
    return Step(node.inputs[0], _exact((place - shift) * unit), table, (node.name,), node.op)


def _exact(value: Fraction) -> NDArray[Any] | None:
    """A threshold as the rational that it is."""
    return np.array(value, object) if value else None


def _threshold(values: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if values is None or not np.any(values) else values


def _one(node: Node, what: str, values: list[NDArray[Any] | None]) -> Any:
    array = values[0] if values else None
    if array is None or not array.size:
        raise node.fail(f"{what} must be a constant")
    if array.dtype.kind != "f":
        raise node.fail(f"{what} is {array.dtype}, but must be a float")
    first = array.flat[0]
    if (array != first).any():
        raise node.fail(
            f"{what} differs from channel to channel; one-bit activations can only have one value for all"
        )
    return first
