"""Pass: sums that cancel, as the straight-through idiom writes them, become what is left.

``sign(x).detach() - f(x).detach() + f(x)`` lets gradients through f and is sign(x): exactly in real numbers,
up to rounding in floats. Tensors that Add, Sub and Neg make are sums of others; one that is a single other
tensor after cancelling is replaced by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, alive, replaced

MOST_TERMS = 8
"""Longer sums are not followed: an idiom has three terms."""
_LINEAR = {"Add": (1, 1), "Sub": (1, -1), "Neg": (-1,), "Identity": (1,)}

Sum = dict[str, int]


def straight(graph: Graph) -> Graph:
    """Pass: tensors that are one other tensor, once their sums cancel, are replaced by it.

    Where a graph writes a function twice, the two results are one tensor here. `Graph.exact` gets what was
    replaced by what.
    """
    same = _Same(graph)
    sums: dict[str, Sum] = {}
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
        nodes.append(node)
        same.add(node)
        total = _sum(node, graph, sums, same)
        if total is None:
            continue
        sums[node.outputs[0]] = total
        if list(total.values()) == [1] and node.op != "Identity":
            (term,) = total
            names[node.outputs[0]] = term
            if node.outputs[0] in graph.outputs:
                nodes[-1] = Node("Identity", node.name, (term,), node.outputs)
    if not names:
        return graph
    return alive(replaced(graph, nodes=tuple(nodes), exact={**graph.exact, **names}))


def _sum(node: Node, graph: Graph, sums: Mapping[str, Sum], same: _Same) -> Sum | None:
    """What a node's result is a sum of, if that is more than the result itself."""
    factors = _LINEAR.get(node.op)
    if factors is None or len(node.inputs) != len(factors):
        return None
    total: Sum = {}
    for name, factor in zip(node.inputs, factors, strict=True):
        if name in graph.constants or graph.shapes[name] != graph.shapes[node.outputs[0]]:
            return None
        for term, count in sums.get(name, {same.first(name): 1}).items():
            total[term] = total.get(term, 0) + factor * count
    total = {term: count for term, count in total.items() if count}
    return total if len(total) <= MOST_TERMS else None


class _Same:
    """Tensors that the same operation makes of the same tensors."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.firsts: dict[str, str] = {}
        self.known: dict[object, str] = {}

    def first(self, name: str) -> str:
        """Return the first tensor that is the same as this one."""
        return self.firsts.get(name, name)

    def add(self, node: Node) -> None:
        """Take a node's result into account."""
        if len(node.outputs) != 1:
            return
        attributes = []
        for key, value in sorted(node.attributes.items()):
            if isinstance(value, np.ndarray):
                return
            attributes.append((key, repr(value)))
        key = (node.op, tuple(self._key(name) for name in node.inputs), tuple(attributes))
        self.firsts[node.outputs[0]] = self.known.setdefault(key, node.outputs[0])

    def _key(self, name: str) -> object:
        constant = self.graph.constants.get(name)
        if constant is None:
            return self.first(name)
        if name not in self.firsts:
            digest = hashlib.sha256(np.ascontiguousarray(constant).data).hexdigest()
            self.firsts[name] = f"{constant.dtype} {constant.shape} {digest}"
        return ("constant", self.firsts[name])
