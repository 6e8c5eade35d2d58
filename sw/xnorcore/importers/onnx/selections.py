"""Pass: halved maps and new channels of 0, as shortcuts without weights have them, as products of 1 and 0."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .graph import Graph, Node, replaced
from .shapes import Window, pad_widths
from .tensors import elements
from .weights import CONV

__all__ = ["selections"]


@dataclass(frozen=True)
class _Selection:
    """What nodes make of a map: every so many columns and rows, and channels around its own.

    Attributes
    ----------
    source : str
    names : tuple of str
        Of the nodes.
    stride : tuple of int
    around : tuple of int
        Channels of 0 before and behind those that are there.
    """

    source: str
    names: tuple[str, ...]
    stride: tuple[int, int] = (1, 1)
    around: tuple[int, int] = (0, 0)

    def node(self, last: Node, graph: Graph) -> Node:
        """Return the product in the place of the last of the nodes."""
        _, channels, *size = graph.shapes[self.source]
        before, behind = self.around
        outputs = before + channels + behind
        elements((outputs, channels), last.label)
        weights = np.eye(outputs, channels, -before, np.int8).reshape(outputs, 1, 1, channels)
        strided = Node("Conv", last.name, (), (), {"strides": list(self.stride)})
        attributes: dict[str, Any] = {
            "weights": weights, "scale": [Fraction(1)] * outputs, "bias": None, "groups": 1,
            "window": Window(strided, (size[0], size[1]), (1, 1)), "selects": True,
            "nodes": self.names, "source": last.attributes.get("source", last.op),
        }  # fmt: skip
        return Node(CONV, last.name, (self.source,), last.outputs[:1], attributes)


def selections(graph: Graph) -> Graph:
    """Pass: Slice with steps, AveragePool of 1 x 1 and Pad of channels become `CONV`, several as one.

    Attributes as of any `CONV`; also ``selects``, and ``nodes``, the names of those that it stands for. What
    does something else is left as it is.
    """
    known: dict[str, _Selection] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        found = _selection(node, graph)
        if found is not None:
            before = known.get(found.source)
            alone = len(graph.readers[found.source]) == 1 and found.source not in graph.outputs
            found = _both(before, found) if before is not None and alone else found
            known[node.outputs[0]] = found
            node = found.node(node, graph)
        nodes.append(node)
    used = {name for node in nodes for name in node.inputs} | set(graph.outputs)
    kept = [node for node in nodes if node.outputs[0] in used or node.outputs[0] not in known]
    return replaced(graph, nodes=tuple(kept))


def _both(one: _Selection, two: _Selection) -> _Selection:
    stride = one.stride[0] * two.stride[0], one.stride[1] * two.stride[1]
    around = one.around[0] + two.around[0], one.around[1] + two.around[1]
    return _Selection(one.source, one.names + two.names, stride, around)


def _selection(node: Node, graph: Graph) -> _Selection | None:
    """What a node selects of a map, if that is all that it does."""
    source = node.inputs[0] if node.inputs else ""
    shape = graph.shapes.get(source, ())
    if source in graph.constants or len(shape) != 4:
        return None
    if node.op == "Slice":
        stride = _sliced(node, graph, shape)
        return None if stride is None else _Selection(source, (node.name,), stride)
    if node.op == CONV and node.attributes.get("average") and node.attributes["window"].kernel == (1, 1):
        return _Selection(source, (node.name,), node.attributes["window"].stride)
    if node.op != "Pad":
        return None
    batch, channels, *sides = pad_widths(node, shape, graph.constants)
    value = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    zero = not node.number("value", 0.0) if value is None else value.size == 1 and not value.any()
    if any(batch) or any(map(any, sides)) or not any(channels) or not zero:
        return None
    return _Selection(source, (node.name,), around=channels)


def _sliced(node: Node, graph: Graph, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The steps of a Slice that takes every so many rows and columns, from the first to the end."""
    if len(node.inputs) < 3 or any(name and name not in graph.constants for name in node.inputs[1:]):
        return None
    starts, ends = (graph.constants[name].ravel().tolist() for name in node.inputs[1:3])
    more = [graph.constants[name].ravel().tolist() if name else None for name in node.inputs[3:]] + [None] * 2
    axes = more[0] or list(range(len(starts)))
    steps = more[1] or [1] * len(starts)
    stride = [1, 1, 1, 1]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if start or end < shape[axis] or not 1 <= step <= 1 << 16:
            return None
        stride[axis] = step
    return None if stride[:2] != [1, 1] else (stride[2], stride[3])
