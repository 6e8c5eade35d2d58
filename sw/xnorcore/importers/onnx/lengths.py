"""Passes: names that stand for the same tensor become one; graphs of too many nodes are refused."""

from __future__ import annotations

from .graph import Graph, Node, replaced

MAX_DYNAMIC = 4096
"""Most nodes that depend on the image; networks have at most 256 layers."""
MAX_ARITHMETIC = 128
"""Most nodes between two layers, signs or pools: exact products of their constants grow with each of them."""
_ANCHORS = {"Dense", "Conv2d", "Step", "Pool", "Mean", "Quant", "IntQuant", "MultiThreshold"}


def aliases(graph: Graph) -> Graph:
    """Pass: Identity disappears, and a Cast behind one to the same type.

    The graph's outputs keep their names: a node that gives one of them stays.
    """
    names: dict[str, str] = {}
    casts: dict[str, object] = {}
    ends = set(graph.outputs)
    nodes: list[Node] = []
    for node in graph.nodes:
        if any(name in names for name in node.inputs):
            inputs = tuple(names.get(name, name) for name in node.inputs)
            node = Node(node.op, node.name, inputs, node.outputs, node.attributes)
        source, target = (*node.inputs, "")[0], node.outputs[0]
        again = node.op == "Cast" and "to" in node.attributes and casts.get(source) == node.attributes["to"]
        if (node.op == "Identity" or again) and source and target not in ends:
            names[target] = source
            continue
        if node.op == "Cast" and "to" in node.attributes:
            casts[target] = node.attributes["to"]
        nodes.append(node)
    return replaced(graph, nodes=tuple(nodes))


def bounded(graph: Graph) -> Graph:
    """Pass: refuse a graph of which too many nodes depend on the image.

    Raises
    ------
    ImportFailedError
        If they are more than `MAX_DYNAMIC`.
    """
    if len(graph.nodes) > MAX_DYNAMIC:
        raise graph.nodes[MAX_DYNAMIC].fail(
            f"is one of {len(graph.nodes)} nodes that depend on the image; the limit is {MAX_DYNAMIC}: merge "
            "those that do one thing together"
        )
    return graph


def arithmetic(graph: Graph) -> Graph:
    """Pass: refuse long runs of arithmetic in a chain.

    Raises
    ------
    ImportFailedError
        If more than `MAX_ARITHMETIC` nodes follow each other without a layer, sign or pool.
    """
    run = 0
    for node in graph.nodes:
        run = 0 if node.op in _ANCHORS else run + 1
        if run > MAX_ARITHMETIC:
            raise node.fail(
                f"is the {run}th node in a row between two layers; the limit is {MAX_ARITHMETIC}: multiply "
                "their constants together"
            )
    return graph
