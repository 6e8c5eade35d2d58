"""How much constant nodes may compute: in proportion to what the file stores; known before it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .functions import REDUCTIONS
from .graph import Graph, Node

FREE = 1 << 20
"""Elements that any file may compute."""
FACTOR = 32
"""Elements for each one that is stored: weights pass through some ten nodes on the way to their signs."""

_VIEWS = {"Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "Dropout", "Constant", "Shape"}
_FIRST = {"Reshape", "Flatten", "MultiThreshold", "Cast", "ReduceMean", *REDUCTIONS}


class Budget:
    """What is left for constant nodes.

    Parameters
    ----------
    graph : Graph
        Its constants, and the values of its Constant nodes, are what the file stores.
    """

    def __init__(self, graph: Graph) -> None:
        stored = sum(value.size for value in graph.constants.values())
        for node in graph.nodes:
            stored += sum(value.size for value in node.attributes.values() if isinstance(value, np.ndarray))
        self.most = self.left = FREE + FACTOR * stored

    def take(self, node: Node, arrays: Sequence[NDArray[Any] | None]) -> None:
        """Take a node's result from the budget, before it is computed.

        Raises
        ------
        ImportFailedError
            If there is not so much left.
        """
        try:
            count = result_elements(node, [array for array in arrays if array is not None])
        except (ValueError, IndexError, TypeError, OverflowError):
            return  # inputs that do not fit together: the evaluation says so, and takes no memory
        if count > self.left:
            raise node.fail(
                f"would compute {count} constant elements, {self.most - self.left + count} with those before "
                f"it; the limit is {self.most} in all, by what the file stores: store constants as they are"
            )
        self.left -= max(count, 0)


def result_elements(node: Node, given: Sequence[NDArray[Any]]) -> int:
    """Return how many elements a node computes from arrays; 0 where it only looks at them in another way.

    Parameters
    ----------
    node : Node
    given : sequence of array
        Its inputs, those that are omitted left out.
    """
    op = node.op
    if op in _VIEWS or not given:
        return 0
    x = given[0]
    if op in _FIRST:
        return x.size
    if op == "Concat":
        return sum(array.size for array in given)
    if op == "Gather":
        return x.size // max(x.shape[node.integer("axis", 0)], 1) * given[1].size
    if op == "ConstantOfShape":
        return prod(map(int, x.ravel()))
    if op == "Expand":
        return prod(np.broadcast_shapes(x.shape, tuple(map(int, given[1].ravel()))))
    if op in ("MatMul", "Gemm"):
        return prod(x.shape) * given[1].size // max(min(given[1].shape, default=1), 1)
    if op == "BatchNormalization":
        return x.size if x.ndim > 1 and x.shape[1] == given[1].size else x.size * given[1].size
    return prod(np.broadcast_shapes(*(array.shape for array in given)))
