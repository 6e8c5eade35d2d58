"""What the rewriting passes share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Node, replaced

Rewrite = Callable[[Node, Graph], Node | None]


def rewritten(graph: Graph, rules: dict[str, Rewrite]) -> Graph:
    """Return the graph with each node replaced by what its operator's rule makes of it; None leaves it."""
    nodes = []
    for node in graph.nodes:
        rule = rules.get(node.op)
        new = None if rule is None else rule(node, graph)
        nodes.append(node if new is None else new)
    return replaced(graph, nodes=tuple(nodes))


def made(node: Node, op: str, input: str, **attributes: Any) -> Node:
    """Return a canonical node in the place of another, with one input and one output."""
    return Node(
        op,
        node.name,
        (input,),
        node.outputs[:1],
        {**attributes, "source": node.attributes.get("source", node.op)},
    )


def fractions(values: NDArray[Any]) -> list[Fraction]:
    """Return numbers as the rationals they are."""
    return [Fraction(value) for value in np.asarray(values).ravel().tolist()]


def parameter(node: Node, graph: Graph, index: int, what: str) -> NDArray[Any]:
    """Return an input of a node that must be constant."""
    name = node.inputs[index] if index < len(node.inputs) else ""
    if name not in graph.constants:
        raise node.fail(f"{what} must be constant")
    return graph.constants[name]
