"""Signals of one dimension, (batch, channels, length), as maps with a height of 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluate import mean_axes
from .graph import Node

OPS = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Pad")
"""Operators that are made two-dimensional."""


def flattened_maps(
    node: Node, constants: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]
) -> Sequence[Node]:
    """Return nodes that do on a map of height 1 what a node does on a signal; any other node as it is.

    What they need of constants joins `constants` and `shapes`.
    """
    shape = shapes.get(node.inputs[0] if node.inputs else "", ())
    if node.op not in OPS or len(shape) != 3:
        return (node,)
    inputs, attributes = list(node.inputs), dict(node.attributes)
    rank = 3
    if node.op == "Conv":
        weights = constants.get(inputs[1])
        if weights is None or weights.ndim != 3:
            return (node,)
        inputs[1] = _constant(node, "weights", weights[:, :, np.newaxis], constants, shapes)
    elif node.op == "ReduceMean":
        if mean_axes(node, [None, *(constants.get(name) for name in inputs[1:])], rank) != (2,):
            return (node,)
        attributes, inputs = {"axes": [2, 3], "keepdims": 1}, inputs[:1]
    elif node.op == "Pad":
        attributes, inputs = _pad(node, constants, shapes)
    for key, before in (("kernel_shape", [1]), ("strides", [1]), ("dilations", [1])):
        if isinstance(attributes.get(key), list):
            attributes[key] = before + attributes[key]
    pads = attributes.get("pads")
    if node.op != "Pad" and isinstance(pads, list) and len(pads) == 2:
        attributes["pads"] = [0, pads[0], 0, pads[1]]
    wide, result = f"{node.outputs[0]}: input, height 1", f"{node.outputs[0]}: height 1"
    gone = [2]
    if node.op == "ReduceMean" and not node.integer("keepdims", 1):
        gone = [2, 3]
    return (
        _moved(node, "Unsqueeze", inputs[0], wide, [2], "before"),
        Node(node.op, node.name, (wide, *inputs[1:]), (result, *node.outputs[1:]), attributes),
        _moved(node, "Squeeze", result, node.outputs[0], gone, "behind"),
    )


def _moved(node: Node, op: str, source: str, target: str, axes: list[int], where: str) -> Node:
    attributes = {"axes": axes, "source": node.op, "inserted": where}
    return Node(op, node.name, (source,), (target,), attributes)


def _constant(
    node: Node,
    what: str,
    values: NDArray[Any],
    constants: dict[str, NDArray[Any]],
    shapes: dict[str, tuple[int, ...]],
) -> str:
    name = f"{node.outputs[0]}: {what}, height 1"
    constants[name], shapes[name] = values, values.shape
    return name


def _pad(
    node: Node, constants: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, Any], list[str]]:
    """Attributes and inputs of a Pad node, with no padding of the height."""
    attributes, inputs = dict(node.attributes), list(node.inputs)
    pads = attributes.get("pads")
    if isinstance(pads, list) and len(pads) == 6:
        attributes["pads"] = [*pads[:2], 0, pads[2], *pads[3:5], 0, pads[5]]
    given = constants.get(inputs[1]) if len(inputs) > 1 else None
    if given is not None and given.size == 6:
        values = np.insert(given.ravel(), (2, 5), 0)
        inputs[1] = _constant(node, "pads", values, constants, shapes)
    return attributes, inputs
