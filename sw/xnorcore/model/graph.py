"""A network as a graph of values: what each layer reads and gives, by number and by name.

Value 0 is the image, value i + 1 is what layer i gives. Layers stand in an order in which each reads what is
there already; the last one gives the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..errors import NetworkError
from .layers import Layer
from .values import Shape

INPUT = "input"
"""What nodes call the image."""

Coding: TypeAlias = Literal["sign", "unsigned", "sum", "total", "scaled"]
"""What the numbers of a value are.

``sign``: bits that stand for -1 and +1. ``unsigned``: n-bit integers, and the codes of several
thresholds. ``sum``: what a layer without thresholds gives. ``total``: sums over positions. ``scaled``:
numbers whose sign and magnitude count (`InputScale`).
"""


@dataclass(frozen=True)
class Value:
    """What the image holds, or a layer gives.

    Attributes
    ----------
    name : str
        ``input``, the layer's name, or ``layerN`` where it has none of its own.
    shape : tuple of int
    coding : Coding
    bound : int
        Largest magnitude that provably is never exceeded.
    """

    name: str
    shape: Shape
    coding: Coding
    bound: int

    @property
    def bits(self) -> int:
        """Bits of a number: 1 of a sign, else as many as its bound takes, the sign included."""
        if self.coding == "sign":
            return 1
        return self.bound.bit_length() + (self.coding != "unsigned")

    @property
    def result(self) -> Literal["bits", "codes", "sums"]:
        """How engines give it: bits 0 and 1, unsigned codes, or signed sums."""
        return {"sign": "bits", "unsigned": "codes"}.get(self.coding, "sums")  # type: ignore[return-value]


@dataclass(frozen=True)
class Node:
    """A layer, and which values it reads.

    Parameters
    ----------
    layer : Layer
    inputs : sequence of str or int, str or int
        In order: names of layers in front of this one, ``"input"`` for the image, or numbers of values (0,
        the image; n, what layer n - 1 gives). A single one may stand alone.
    """

    layer: Layer
    inputs: tuple[str | int, ...]

    def __init__(self, layer: Layer, inputs: Sequence[str | int] | str | int) -> None:
        object.__setattr__(self, "layer", layer)
        if isinstance(inputs, (str, int)) or not isinstance(inputs, Sequence):
            inputs = (inputs,)
        object.__setattr__(self, "inputs", tuple(inputs))


@dataclass(frozen=True)
class Graph:
    """Layers, and the values that they read and give.

    Attributes
    ----------
    layers : tuple of Layer
    reads : tuple of tuple of int
        For each layer, the values that it reads.
    values : tuple of Value
    """

    layers: tuple[Layer, ...]
    reads: tuple[tuple[int, ...], ...]
    values: tuple[Value, ...]


def reading(layers: Any, reads: Any) -> tuple[Node, ...]:
    """Return layers as nodes, each with what it reads.

    Raises
    ------
    NetworkError
        If there is not exactly one entry for each layer.
    """
    counts = [len(one) if isinstance(one, Sequence) else -1 for one in (layers, reads)]
    if counts[0] != counts[1] or counts[1] < 0:
        found = counts[1] if counts[1] >= 0 else type(reads).__name__
        raise NetworkError(f"reads: found {found}, but there must be one entry for each of the layers")
    if any(isinstance(layer, Node) for layer in layers):
        raise NetworkError(
            "reads: given together with nodes, which say what they read; leave out one of them"
        )
    return tuple(Node(layer, read) for layer, read in zip(layers, reads, strict=True))


def labels(layers: Sequence[Layer]) -> list[str]:
    """Return what the values are called, the image first: no two alike.

    A layer whose name is empty, or that of another value in front of it, is ``layerN``.
    """
    found = [INPUT]
    for index, layer in enumerate(layers):
        label = layer.name or f"layer{index}"
        if label in found:
            label = f"layer{index}"
        while label in found:
            label += "'"
        found.append(label)
    return found


def resolve(items: Sequence[Any]) -> tuple[list[Any], list[tuple[int, ...]]]:
    """Return the layers, and the numbers of what each reads: what its node says, or the value before it.

    Raises
    ------
    NetworkError
        A node reads what is not there, names what is not unique, or nobody reads a value.
    """
    layers = [item.layer if isinstance(item, Node) else item for item in items]
    reads = [
        tuple(_number(f"layer {index}", one, layers, index) for one in item.inputs)
        if isinstance(item, Node)
        else (index,)
        for index, item in enumerate(items)
    ]
    read = {number for numbers in reads for number in numbers}
    for number in range(len(layers)):
        if number not in read:
            what = f"layer {number - 1}" if number else "the input"
            raise NetworkError(
                f"{what}: nothing reads what it gives, and only the last layer's result leaves the network; "
                "remove it, or put it last"
            )
    return layers, reads


def _number(where: str, one: Any, layers: list[Any], index: int) -> int:
    """The number of a value that layer `index` reads."""
    if isinstance(one, int) and not isinstance(one, bool):
        if not 0 <= one <= index:
            raise NetworkError(
                f"{where}: reads value {one if abs(one) < 10**9 else 'far away'}, but may read 0, the input, "
                f"to {index}, what the layer before it gives"
            )
        return one
    if not isinstance(one, str):
        raise NetworkError(
            f"{where}: reads {type(one).__name__}, but values are named by a string or an integer"
        )
    names = [getattr(layer, "name", "") for layer in layers]
    found = [number for number, name in enumerate([INPUT, *names]) if name == one]
    if len(found) > 1:
        raise NetworkError(f"{where}: reads {one[:100]!a}, which {len(found)} values are called; rename them")
    if not found or found[0] > index:
        why = "is given by no layer in front of it" if found else "no layer is called"
        known = ", ".join(ascii(name) for name in [INPUT, *names[:index]] if name)[:200]
        raise NetworkError(f"{where}: reads {one[:100]!a}, which {why}; it may read {known}")
    return found[0]
