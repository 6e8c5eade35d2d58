"""Nodes of qonnx's domain for maps with channels last, as standard nodes between two transpositions."""

from __future__ import annotations

from .graph import Node
from .windows import CHANNELS_LAST

LAST_OPS = {"Conv": 2, "BatchNormalization": 1, "MaxPool": 1}
"""Operators of `CHANNELS_LAST`, and how many of their inputs have channels last."""

__all__ = ["CHANNELS_LAST", "LAST_OPS", "channels_first"]


def channels_first(node: Node) -> tuple[Node, ...]:
    """Return standard nodes for a node of `CHANNELS_LAST`.

    Its map is (batch, height, width, channels); a convolution's weights are (outputs, height, width, inputs).
    """
    moved: list[Node] = []
    inputs = list(node.inputs)
    for index in range(LAST_OPS[node.op]):
        name = f"{node.outputs[0]}: input {index}, channels first"
        moved.append(_moved(node, inputs[index], name, [0, 3, 1, 2], "before"))
        inputs[index] = name
    result = f"{node.outputs[0]}: channels first"
    made = Node(node.op, node.name, tuple(inputs), (result, *node.outputs[1:]), node.attributes)
    return (*moved, made, _moved(node, result, node.outputs[0], [0, 2, 3, 1], "behind"))


def _moved(node: Node, source: str, target: str, perm: list[int], where: str) -> Node:
    attributes = {"perm": perm, "source": node.op, "inserted": where}
    return Node("Transpose", node.name, (source,), (target,), attributes)
