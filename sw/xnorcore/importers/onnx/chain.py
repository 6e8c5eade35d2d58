"""Pass: what is left must be a chain, each node reading the one before it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...errors import ImportFailedError
from ...model.check import brief
from .graph import Graph, Node, replaced

ENDS = {"Softmax", "LogSoftmax", "ArgMax", "TopK"}
"""Operators that may only stand at the end."""
BRANCHES = "branches and residual connections are not supported"


def chain(graph: Graph) -> Graph:
    """Check that the nodes form one chain from the image, and put them in its order.

    Raises
    ------
    ImportFailedError
        Names the node that branches or joins.
    """
    readers = graph.readers
    nodes: list[Node] = []
    tensors = [graph.input]
    while True:
        following = readers.get(tensors[-1], [])
        if not following:
            break
        if len(following) > 1:
            raise _branch(graph, tensors[-1], following)
        node = following[0]
        others = [
            name for name in node.inputs if name and name != tensors[-1] and name not in graph.constants
        ]
        if others or list(node.inputs).count(tensors[-1]) != 1:
            raise node.fail(
                f"reads more than one computed tensor ({brief((others or tensors)[-1], 60)}): {BRANCHES}"
            )
        nodes.append(node)
        outputs = [name for name in node.outputs if name and (name in readers or name in graph.outputs)]
        if node.op == "TopK":
            if any(name in readers for name in outputs):
                raise node.fail("must be the last node")
            tensors.extend(outputs)
            break
        if outputs != [name for name in node.outputs[:1] if name]:
            raise node.fail("an output other than the first is used, which is not supported")
        tensors.append(outputs[0])
    if len(nodes) < len(graph.nodes):
        known = {id(node) for node in nodes}
        lost = next(node for node in graph.nodes if id(node) not in known)
        raise lost.fail("does not lie on the way from the image to the output")
    for name in graph.outputs:
        if name not in tensors:
            raise ImportFailedError(f"output {brief(name, 60)} does not depend on the image")
    _ends(nodes)
    return replaced(graph, nodes=tuple(nodes))


def _branch(graph: Graph, tensor: str, following: Sequence[Node]) -> ImportFailedError:
    """Why several nodes read one tensor: the node that joins them again, if there is one."""
    computed = {tensor}
    for node in graph.nodes:
        names = [name for name in dict.fromkeys(node.inputs) if name in computed]
        if len(names) > 1:
            shown = " and ".join(brief(name, 60) for name in names[:2])
            return node.fail(f"joins two computed tensors, {shown}: {BRANCHES}")
        if names:
            computed.update(name for name in node.outputs if name)
    readers = ", ".join(node.label for node in following[:3])
    return ImportFailedError(
        f"tensor {brief(tensor, 60)} is read by {len(following)} nodes ({readers}): {BRANCHES}"
    )


def _ends(nodes: Sequence[Node]) -> None:
    for node, after in itertools.pairwise(nodes):
        if node.op in ENDS and after.op not in ENDS and after.op not in ("Reshape", "Flatten", "Squeeze"):
            raise node.fail(f"must be the last node, but {after.label} follows")
