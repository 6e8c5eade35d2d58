"""The checked graph that the passes work on: named tensors, constants as arrays, nodes in order of use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief

QUANT_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Domains of the quantiser nodes, newest first; they mean the same."""
QUANT_OPS = ("BipolarQuant", "Quant", "IntQuant", "MultiThreshold")
FIXED = "--fixed-point, in Python fixed_point="
"""What imports additions of real numbers, and says what it changes, in messages."""
OLDEST_OPSET = 7
"""Broadcasting has its present rules since opset 7."""
MAX_ELEMENTS = 1 << 27
"""Most elements of any tensor."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op : str
        Operator; those of `QUANT_DOMAINS` and of ONNX share one name space here.
    name : str
        As in the file, or made from the node's first output.
    inputs, outputs : tuple of str
        Tensors; an omitted optional input is ``""``.
    attributes : dict
        int, float, str, list of int or float, or array.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The source's operator and name, for messages."""
        op = str(self.attributes.get("source", self.op))
        return f"{brief(op, 40)[1:-1]} {brief(self.name, 60)}"

    def fail(self, reason: str) -> ImportFailedError:
        """Return an error that names this node."""
        return ImportFailedError(f"{self.label}: {reason}")

    def number(self, key: str, default: float) -> float:
        """Return a numeric attribute."""
        value = self.attributes.get(key, default)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            raise self.fail(f"attribute {key} is {brief(value)}, but must be a finite number")
        return value

    def integer(self, key: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(key, default)
        if not isinstance(value, int):
            raise self.fail(f"attribute {key} is {brief(value)}, but must be an integer")
        return value

    def integers(self, key: str, default: Iterable[int]) -> list[int]:
        """Return an attribute that is a list of integers."""
        value = self.attributes.get(key)
        if value is None:
            return list(default)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise self.fail(f"attribute {key} is {brief(value)}, but must be a list of integers")
        return value

    def text(self, key: str, default: str) -> str:
        """Return a string attribute."""
        value = self.attributes.get(key, default)
        if not isinstance(value, str):
            raise self.fail(f"attribute {key} is {brief(value)}, but must be a string")
        return value


@dataclass(frozen=True)
class Graph:
    """Nodes and constants between one input and the outputs.

    Attributes
    ----------
    nodes : tuple of Node
        Each behind all that it reads, after `ordered`.
    constants : dict of array
        By tensor.
    input : str
        The one tensor that is given at run time.
    input_shape : tuple of int
        Batch first; an open batch is 1.
    input_type : numpy dtype
    annotation : str
        QONNX data type of the input (``"UINT8"``), or ``""``.
    outputs : tuple of str
    opset : int
        Of the standard operators.
    shapes : dict of tuple
        By tensor, batch first; filled in by the pass `constants`.
    exact : dict of str or array
        By tensor, what it is but for rounding: another tensor, or constant weights.
    origins : dict of str
        By constant tensor, the label of the quantiser that it comes from.
    hosted : bool
        The input is what a quantiser gave: the host computes what stands in front of it.
    tailed : bool
        The host computes what stands behind the output.
    integers : dict of Integers
        By constant tensor, what a quantiser of several bits made it of.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    input: str
    input_shape: tuple[int, ...]
    input_type: np.dtype[Any]
    annotation: str
    outputs: tuple[str, ...]
    opset: int
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    exact: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    hosted: bool = False
    tailed: bool = False
    integers: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def producers(self) -> dict[str, Node]:
        """By tensor, the node that computes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """By tensor, the nodes that read it; made once, and not to be changed."""
        result: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                result.setdefault(name, []).append(node)
        return result


def ordered(graph: Graph) -> Graph:
    """Pass: put every node behind what it reads; check that each tensor has one origin.

    Raises
    ------
    ImportFailedError
        For a cycle, a tensor computed twice, or one that nothing computes.
    """
    known = {graph.input, "", *graph.constants}
    origin: dict[str, Node] = {}
    for node in graph.nodes:
        for name in node.outputs:
            if name and (name in known or name in origin):
                raise node.fail(f"computes tensor {brief(name, 60)}, which has another origin already")
            origin[name] = node
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known and name not in origin:
                raise node.fail(f"reads tensor {brief(name, 60)}, which nothing computes")
    for name in graph.outputs:
        if name not in known and name not in origin:
            raise ImportFailedError(f"output {brief(name, 60)} of the graph is not computed by any node")
    waiting = {id(node): len({name for name in node.inputs if name not in known}) for node in graph.nodes}
    readers = graph.readers
    ready = deque(node for node in graph.nodes if not waiting[id(node)])
    result: list[Node] = []
    while ready:
        node = ready.popleft()
        result.append(node)
        for name in node.outputs:
            for reader in readers.get(name, []) if name else []:
                waiting[id(reader)] -= 1
                if not waiting[id(reader)]:
                    ready.append(reader)
    if len(result) < len(graph.nodes):
        raise _cycle(origin, next(node for node in graph.nodes if waiting[id(node)]), result)
    return replaced(graph, nodes=tuple(result))


def _cycle(origin: dict[str, Node], stuck: Node, done: list[Node]) -> ImportFailedError:
    """Return the error that names a cycle on which a node is, or behind which it is."""
    ready, path = {id(node) for node in done}, [stuck]
    while True:
        names = (name for name in path[-1].inputs if name in origin and id(origin[name]) not in ready)
        before = origin[next(names)]
        known = next((place for place, node in enumerate(path) if node is before), None)
        if known is not None:
            break
        path.append(before)
    cycle = path[known:]
    reads = " and ".join(node.label for node in cycle[1:3]) or "nothing else"
    more = f", {len(cycle)} nodes in all" if len(cycle) > 3 else ""
    way = "itself" if len(cycle) == 1 else f"what comes from it, by {reads}{more}"
    return cycle[0].fail(
        f"lies on a cycle: it reads {way}; a network has no feedback: write each pass through it as nodes of "
        "its own"
    )


def alive(graph: Graph) -> Graph:
    """Pass: drop nodes and constants that no output needs."""
    needed = set(graph.outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(name for name in node.outputs if name):
            nodes.append(node)
            needed.update(node.inputs)
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    return replaced(graph, nodes=tuple(reversed(nodes)), constants=constants)


def replaced(graph: Graph, **changes: Any) -> Graph:
    """Return a copy with other fields."""
    return replace(graph, **changes)
