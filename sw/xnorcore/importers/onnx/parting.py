"""Pass: a graph's real-valued ends, which the host will compute, are parted from the integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from .chain import ENDS
from .graph import FIXED, QUANT_OPS, Graph, Node, alive, replaced
from .integers import integers_and_scale
from .steps import STEP

PRODUCTS = ("Conv", "Gemm", "MatMul")
QUANTISERS = (STEP, *QUANT_OPS)
MEANS = ("GlobalAveragePool", "ReduceMean")
"""Averages over all of a map, or what is none and is refused as such."""


@dataclass(frozen=True)
class Parted:
    """A graph in three parts.

    Attributes
    ----------
    body : Graph
        The integers: it begins at `head`'s last tensor, and ends where `tail` begins.
    whole : Graph
        What was parted.
    head : tuple of Node
        From the image to its quantiser, and max pooling behind that; empty if the image needs no real layers.
    tail : tuple of Node
        Behind the integers; empty likewise.
    ranks : tuple of Node
        Nodes of `ENDS` behind the tail.
    """

    body: Graph
    whole: Graph
    head: tuple[Node, ...] = ()
    tail: tuple[Node, ...] = ()
    ranks: tuple[Node, ...] = ()

    @property
    def real(self) -> list[Node]:
        """The products that the host computes."""
        return [node for node in (*self.head, *self.tail) if node.op in PRODUCTS]


def parted(graph: Graph) -> Parted:
    """Part a graph: a first product with real weights goes to the host up to its quantiser, a last one too.

    What stands before the first quantiser, or behind the last integers, and has no product with real weights,
    stays where it is.
    """
    head = _head(graph)
    tail = _tail(graph) if not head or head[-1].outputs[0] not in graph.outputs else ()
    if not head and not tail:
        return Parted(graph, graph)
    body = graph
    if head:
        start = head[-1].outputs[0]
        kind = graph.input_type if graph.input_type.kind == "f" else np.dtype(np.float32)
        body = replaced(
            body, input=start, input_shape=graph.shapes[start], input_type=kind, annotation="", hosted=True
        )
    ranks = tuple(node for node in tail if node.op in ENDS)
    if tail:
        body = replaced(body, outputs=(tail[0].inputs[_dynamic(tail[0], graph)],), tailed=True)
    ends = {id(node) for node in (*head, *tail)}
    body = replaced(body, nodes=tuple(node for node in body.nodes if id(node) not in ends))
    return Parted(alive(body), graph, head, tail[: len(tail) - len(ranks)], ranks)


def _head(graph: Graph) -> tuple[Node, ...]:
    """The nodes up to the first quantiser, if a product with real weights is among them.

    Raises
    ------
    ImportFailedError
        If real numbers branch behind such a product.
    """
    found: list[Node] = []
    tensor, real = graph.input, False
    while True:
        readers = graph.readers.get(tensor, [])
        if real and len(readers) > 1:
            names = " and ".join(node.label for node in readers[:2])
            raise graph.producers[tensor].fail(
                f"gives real numbers that {names} read: a shortcut around layers must be quantised, since "
                "values between layers are integers of at most 8 bits; put a quantiser in front of the "
                f"branch, and at the end of each, or let the import do it ({FIXED})"
            )
        if len(readers) != 1 or tensor in graph.outputs or _dynamic(readers[0], graph) < 0:
            return ()
        node = readers[0]
        found.append(node)
        tensor = node.outputs[0]
        if node.op in QUANTISERS:
            return (*found, *_pools(graph, tensor)) if real else ()
        if node.op in PRODUCTS:
            if not real and not has_real_weights(node, graph):
                return ()
            real = True


def _pools(graph: Graph, tensor: str) -> list[Node]:
    """Max pooling behind a quantiser of the image: no integer layer is there to do it."""
    found: list[Node] = []
    while tensor not in graph.outputs:
        readers = graph.readers.get(tensor, [])
        if len(readers) != 1 or readers[0].op != "MaxPool":
            break
        found.append(readers[0])
        tensor = readers[0].outputs[0]
    return found


def _tail(graph: Graph) -> tuple[Node, ...]:
    """The nodes behind the last quantiser or integer product, if one with real weights is among them."""
    if len(graph.outputs) != 1:
        return ()
    found: list[Node] = []
    tensor, real = graph.outputs[0], False
    while tensor in graph.producers:
        node = graph.producers[tensor]
        dynamic = _dynamic(node, graph)
        alone = len(graph.readers.get(tensor, [])) == (1 if found else 0)
        if node.op in QUANTISERS or not alone or dynamic < 0:
            break
        if node.op in PRODUCTS:
            if not has_real_weights(node, graph):
                break
            real = True
        found.append(node)
        tensor = node.inputs[dynamic]
    # A network of real layers alone has nothing for a device.
    if not real or tensor not in graph.producers:
        return ()
    if found[-1].op in MEANS and _adds(tensor, graph):
        found.pop()  # sums of branches end no network, but their sums over all positions do
    return tuple(reversed(found))


def _adds(tensor: str, graph: Graph) -> bool:
    """Whether a tensor is a sum of branches, or that quantised."""
    node = graph.producers[tensor]
    if node.op in QUANTISERS:
        node = graph.producers.get(node.inputs[0], node)
    return node.op == "Add" and _dynamic(node, graph) < 0


def _dynamic(node: Node, graph: Graph) -> int:
    """Which input of a node depends on the image; -1 if not exactly one does."""
    found = [index for index, name in enumerate(node.inputs) if name and name not in graph.constants]
    return found[0] if len(found) == 1 else -1


def has_real_weights(node: Node, graph: Graph) -> bool:
    """Whether a product's weights are real numbers, nearly all different, and not integers times a scale."""
    weights = graph.constants.get(node.inputs[1]) if _dynamic(node, graph) == 0 else None
    if weights is None or weights.dtype.kind != "f" or not weights.size or not np.isfinite(weights).all():
        return False
    magnitudes = np.abs(weights[weights != 0])
    if 2 * len(np.unique(magnitudes)) <= magnitudes.size:
        return False
    try:
        integers_and_scale(node, graph, lambda x: outputs_first(node, x), rounded=False)
    except ImportFailedError:
        return True
    return False


def outputs_first(node: Node, weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a product's weights with the outputs on the first axis."""
    across = node.op == "MatMul" or (node.op == "Gemm" and not node.integer("transB", 0))
    return weights.T if across else weights
