"""The image's shape and order: which axis of the framework's input holds the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from .canonical import AFFINE, NORM
from .evaluate import MOVES, moved
from .graph import Graph, Node
from .signal import places
from .weights import CONV, DENSE

FEW = 4
"""Most channels of a usual image: the axis that has no more, where another has, is the channels'."""


@dataclass(frozen=True)
class Layout:
    """How the framework's input holds the network's images.

    Attributes
    ----------
    shape : tuple of int
        Of the network's images: (height, width, channels) or (values,).
    index : array of int, shape of the framework's input
        For each place, batch first, the place in network order.
    channels_last : bool
        The framework has the channels last, or has one axis only.
    guessed : bool
        No node tells where the channels are, but only the sizes.
    text : str
        The same in words.
    """

    shape: tuple[int, ...]
    index: NDArray[np.int64]
    channels_last: bool
    guessed: bool
    text: str


def layout_of(graph: Graph) -> Layout:
    """Return the layout: what the first convolution reads, or else what the nodes and sizes say.

    Parameters
    ----------
    graph : Graph
        A chain.
    """
    batch, *source = graph.input_shape
    labels, product = _read(graph)
    if product is not None and product.op == CONV and labels is not None and labels.ndim == 4:
        channels, height, width = labels.shape[1:]
        expected = places((height, width, channels), batch, channels_last=False)
        for shape, last in _candidates(tuple(source), (height, width, channels)):
            index = places(shape, batch, channels_last=last).reshape(graph.input_shape)
            if shape == (height, width, channels) and np.array_equal(index.ravel()[labels], expected):
                return _layout(graph, shape, last)
    shape, last, said = tuple(source), True, True
    if len(source) == 2:
        shape = (*source, 1)
    elif len(source) == 3:
        found = _said(graph)
        said = found is not None
        last = _sizes_say_last(*source) if found is None else found
        shape = tuple(source) if last else (source[1], source[2], source[0])
    return _layout(graph, shape, last, guessed=not said)


def _layout(graph: Graph, shape: tuple[int, ...], last: bool, *, guessed: bool = False) -> Layout:
    index = places(shape, graph.input_shape[0], channels_last=last).reshape(graph.input_shape)
    sizes = " x ".join(map(str, shape))
    if len(shape) == 1:
        return Layout(shape, index, last, guessed, f"images are {sizes} values")
    order = "last" if last else "first"
    text = f"images are {sizes} (height x width x channels), in the framework with the channels {order}"
    return Layout(shape, index, last, guessed, text + (", as their sizes say" if guessed else ""))


def _read(graph: Graph) -> tuple[NDArray[np.int64] | None, Node | None]:
    """Positions of the input as the first product reads them, if only moves change their order."""
    image = np.arange(int(np.prod(graph.input_shape))).reshape(graph.input_shape)
    found: dict[str, NDArray[np.int64] | None] = {graph.input: image}
    for node in graph.nodes:
        labels = next((found[name] for name in node.inputs if name in found), None)
        if node.op in (DENSE, CONV):
            return labels, node
        if node.op in MOVES and labels is not None:
            constants = [graph.constants[name] for name in node.inputs[1:] if name in graph.constants]
            try:
                labels = moved(node, [labels, *constants], graph.opset)
            except (ValueError, TypeError, IndexError, ImportFailedError):
                labels = None  # whoever takes the node says why
        found |= dict.fromkeys(node.outputs, labels)
    return None, None


def _candidates(
    source: tuple[int, ...], read: tuple[int, int, int]
) -> Sequence[tuple[tuple[int, int, int], bool]]:
    """Shapes that an image of the source's shape may have, and whether its channels are last then."""
    if sum(size > 1 for size in source) <= 1:  # a vector, whatever its axes
        return (read, False), (read, True)
    signal = ((read, False),) if read[0] == 1 and source[-1] == read[1] else ()
    if len(source) == 2:
        return ((*source, 1), True), ((1, source[1], source[0]), False), ((1, *source), True)
    a, b, c = source
    return ((b, c, a), False), ((a, b, c), True), *signal


def _said(graph: Graph) -> bool | None:
    """Whether the channels are last, where a dense layer reads a flattened image; None if no node tells."""
    for node in graph.nodes:
        if node.op in (DENSE, CONV) or (node.op in MOVES and node.op != "Transpose"):
            break
        found = _says(node, graph)
        if found is not None:
            return found
    return None


def _sizes_say_last(first: int, second: int, last: int) -> bool:
    return last <= FEW < first or (last == 1 < first == second)


def _says(node: Node, graph: Graph) -> bool | None:
    """Whether a node takes the channels to be last, or first; None if it does not say."""
    if node.op == "Transpose":
        perm = node.integers("perm", (3, 2, 1, 0))
        return perm == [0, 3, 1, 2] if perm in ([0, 3, 1, 2], [0, 2, 3, 1]) else None
    if node.op == NORM or (node.op == AFFINE and max(map(len, _parameters(node))) > 1):
        return False
    layout = node.attributes.get("data_layout")
    if layout in ("NHWC", "NCHW"):
        return layout == "NHWC"
    for name in node.inputs[1:] if node.op in ("Add", "Sub", "Mul", "Div") else ():
        constant = graph.constants.get(name)
        if constant is not None and constant.size > 1 and constant.size == constant.shape[-1]:
            return True
    return None


def _parameters(node: Node) -> tuple[Sequence[object], Sequence[object]]:
    return node.attributes["scale"], node.attributes["offset"]
