"""Pass: what is left must be a chain, each node reading the one before it, or branches that join."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...errors import ImportFailedError
from ...model.check import brief
from .graph import Graph, Node, replaced
from .steps import STEP

ENDS = {"Softmax", "LogSoftmax", "ArgMax", "TopK"}
"""Operators that may only stand at the end."""
BRANCHES = (
    "of branches, only those run that Add joins, behind quantisers of 2 bits or more, or Concat, behind "
    "quantisers of one scale"
)
_PRODUCTS = ("Dense", "Conv2d", STEP, "Quant", "IntQuant", "MultiThreshold")
"""Operators behind which there may be branches: what the image becomes is known there."""


def chain(graph: Graph) -> Graph:
    """Check that the nodes form one chain from the image, and put them in its order.

    Where there are branches behind a quantiser or a product, only additions and concatenations may join them.

    Raises
    ------
    ImportFailedError
        Names the node that branches or joins.
    """
    readers = graph.readers
    fork = next((name for name in _computed(graph) if _read_twice(name, readers.get(name, []))), None)
    if fork is not None:
        known = graph.hosted or any(node.op in _PRODUCTS for node in _before(graph, fork))
        if not known:
            _image_once(graph, fork)
        return _branched(graph)
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


def _read_twice(name: str, following: Sequence[Node]) -> bool:
    """Whether branches begin at a tensor: several nodes read it, or one that joins it with itself."""
    return len(following) > 1 or any(
        node.op == "Concat" and node.inputs.count(name) > 1 for node in following
    )


def _image_once(graph: Graph, fork: str) -> None:
    """Check that no branch that reads the image itself quantises it: a device has one image."""
    following = graph.readers[fork]
    waiting, seen = list(following), set[int]()
    while waiting:
        node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op in _PRODUCTS[:2]:
            continue
        if node.op in _PRODUCTS:
            others = " and ".join(one.label for one in following[:2])
            raise node.fail(
                f"quantises the image, or what is made of it, behind a branch at {brief(fork, 60)} (read by "
                f"{others}): a device reads one image of integers; put one quantiser in front of all branches"
            )
        waiting += (reader for name in node.outputs for reader in graph.readers.get(name, ()))


def _computed(graph: Graph) -> list[str]:
    return [graph.input, *(name for node in graph.nodes for name in node.outputs if name)]


def _before(graph: Graph, tensor: str) -> Sequence[Node]:
    """The nodes up to the one that gives a tensor."""
    place = next((i for i, node in enumerate(graph.nodes) if tensor in node.outputs), -1)
    return graph.nodes[: place + 1]


def _branched(graph: Graph) -> Graph:
    """Check a graph with branches: every node reads one computed tensor, but what joins."""
    readers, computed = graph.readers, set(_computed(graph))
    for node in graph.nodes:
        reads = [name for name in node.inputs if name in computed]
        joins = node.op == "Concat" or (node.op == "Add" and len(set(reads)) == 2)
        if len(reads) > 1 and not (joins and len(reads) == len(node.inputs)):
            shown = " and ".join(brief(one, 60) for one in reads[:2])
            raise node.fail(f"joins two computed tensors, {shown}: {BRANCHES}")
        used = [name for name in node.outputs[1:] if name and (name in readers or name in graph.outputs)]
        if used and (node.op != "TopK" or any(name in readers for name in used)):
            raise node.fail("an output other than the first is used, which is not supported")
        if node.op in ENDS:
            for after in (reader for name in node.outputs for reader in readers.get(name, [])):
                _last(node, after)
    ends = [node for node in graph.nodes if not any(name in readers for name in node.outputs)]
    if len(ends) > 1:
        raise ends[0].fail(f"ends the graph, and so does {ends[1].label}: {BRANCHES}")
    for name in graph.outputs:
        if name not in computed:
            raise ImportFailedError(f"output {brief(name, 60)} does not depend on the image")
    return graph


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
        if node.op in ENDS:
            _last(node, after)


def _last(node: Node, after: Node) -> None:
    if after.op not in ENDS and after.op not in ("Reshape", "Flatten", "Squeeze"):
        raise node.fail(
            f"must be the last node, but {after.label} follows: it is real, and left out only at the end; "
            "use a batch norm and a quantiser between layers"
        )
