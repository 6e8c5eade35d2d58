"""Pass: compute what does not depend on the image, weight quantisers included, and the shape of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .budget import Budget
from .evaluate import evaluate
from .graph import QUANT_OPS, Graph, Node, replaced
from .integers import Integers, integers_of
from .lines import flattened_maps
from .shapes import result_shape


def fold_constants(graph: Graph) -> Graph:
    """Replace nodes that read only constants by their results; find all shapes.

    The arithmetic is the stored one, float32 mostly, as in the framework: a scale that the graph computes
    is what the framework computes. ``Shape`` of any tensor is constant.

    Raises
    ------
    ImportFailedError
        For an unsupported operator, inputs that do not fit, a result that is not finite, or more constants
        than such a file needs.
    """
    constants = dict(graph.constants)
    shapes = {name: value.shape for name, value in constants.items()}
    shapes[graph.input] = graph.input_shape
    origins: dict[str, str] = {}
    integers: dict[str, Integers] = {}
    nodes: list[Node] = []
    budget = Budget(graph)
    # How many nodes still need a constant; those that wait for the image keep it.
    waiting = {name: len(nodes) for name, nodes in graph.readers.items()}
    waiting.update(dict.fromkeys(graph.outputs, len(graph.nodes) + 1))
    for node in (part for whole in graph.nodes for part in flattened_maps(whole, constants, shapes)):
        result = _constant(node, constants, shapes, graph.opset, budget)
        if result is None:
            shape = result_shape(node, shapes, constants, graph.opset)
            shapes.update((name, shape) for name in node.outputs if name)
            nodes.append(node)
            continue
        if len([name for name in node.outputs if name]) != 1:
            raise node.fail(f"has {len(node.outputs)} outputs; of a constant node, one can be used")
        if result.dtype.kind not in "biuf":
            raise node.fail(f"gives {result.dtype}, which is no number")
        whole = integers_of(node, [constants.get(name) for name in node.inputs], integers, graph.opset)
        if whole is not None:
            integers[node.outputs[0]] = whole
        constants[node.outputs[0]] = result
        origin = next((origins[name] for name in node.inputs if name in origins), None)
        if node.op in QUANT_OPS or origin:
            origins[node.outputs[0]] = node.label if node.op in QUANT_OPS else str(origin)
        shapes[node.outputs[0]] = result.shape
        for name in dict.fromkeys(node.inputs):
            waiting[name] = waiting.get(name, 1) - 1  # those of parts have one reader
            if not waiting[name]:
                constants.pop(name, None)
                integers.pop(name, None)
    return replaced(
        graph, nodes=tuple(nodes), constants=constants, shapes=shapes, origins=origins, integers=integers
    )


def _constant(
    node: Node, constants: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]], opset: int,
    budget: Budget,
) -> NDArray[Any] | None:  # fmt: skip
    if node.op == "Constant":
        return _value(node)
    if node.op == "Shape":
        if len(node.inputs) != 1:
            raise node.fail("must have one input")
        sizes = shapes[node.inputs[0]]
        start, end = node.integer("start", 0), node.integer("end", len(sizes))
        return np.array(sizes[start:end], np.int64)
    if all(name in constants or not name for name in node.inputs):
        arrays = [constants.get(name) for name in node.inputs]
        budget.take(node, arrays)
        return evaluate(node, arrays, opset)
    return None


def _value(node: Node) -> NDArray[Any]:
    for key, dtype in (
        ("value", None),
        ("value_float", "f4"),
        ("value_int", "i8"),
        ("value_floats", "f4"),
        ("value_ints", "i8"),
    ):
        if key in node.attributes:
            return np.asarray(node.attributes[key], dtype)
    raise node.fail("has no numeric value")
