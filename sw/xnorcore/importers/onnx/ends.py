"""Head and tail of an imported network: what the host computes in front of the integers and behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import NetworkError
from ...host.head import Head
from ...host.layers import RealAffine, RealClip
from ...host.tail import Tail
from ...model.network import Network
from .bends import monotones
from .canonical import affines
from .graph import Node, replaced
from .image import Image, check_unit
from .layout import Layout, layout_of
from .parting import QUANTISERS, Parted
from .real import RealWalk, floats
from .signal import Levels
from .stages import Cut
from .stairs import stairs_of
from .steps import STEP
from .units import Unit, annotated, may_be_pixels, parse
from .walk import Walk
from .weights import CONV, DENSE

ABOVE = float(np.nextafter(np.float32(0), np.float32(1)))
"""The smallest number that is above 0."""


@dataclass(frozen=True)
class Front:
    """The head of an imported network, and where its images come from.

    Attributes
    ----------
    head : Head
    image : Image
        What the integers begin with.
    layout : Layout
        Of the framework's images.
    unit : Unit or None
        What the framework does to pixels.
    notes : list of str
    """

    head: Head
    image: Image
    layout: Layout
    unit: Unit | None
    notes: list[str]


def front_of(parts: Parted, inputs: str | None) -> Front:
    """Return the head of a parted graph.

    Raises
    ------
    ImportFailedError
        Names the node that the host does not compute, and why.
    UsageError
        If `inputs` is unknown, or does not fit the graph.
    """
    graph = parts.whole
    declared = None if inputs is None else parse(inputs)
    layout = layout_of(replaced(graph, nodes=tuple(map(_product, _canonical(parts)))))
    unit, assumed = declared if isinstance(declared, Unit) else None, ""
    if isinstance(declared, Unit):
        check_unit(declared, graph, layout)
    elif declared is None:
        unit = annotated(graph)
        if unit is None and may_be_pixels(graph):
            unit, assumed = Unit("pixels"), "; --inputs says otherwise"
    walk = RealWalk(graph, layout.shape, layout.index)
    place = next(number for number, node in enumerate(parts.head) if node.op in QUANTISERS)
    walk.take(parts.head[:place])
    quantiser = parts.head[place]
    origin, bits, thresholds, notes = (_sign if quantiser.op == STEP else _stairs)(walk, quantiser, parts)
    # The quantiser rises, so that pooling may come first.
    walk.take(parts.head[place + 1 :])
    pixels = None
    if unit is not None:
        table = unit.real(np.tile(np.arange(256)[:, np.newaxis], (1, unit.channels)), _type(graph.input_type))
        pixels = np.ascontiguousarray(table.T)
    try:
        head = Head(layout.shape, walk.layers, thresholds, pixels)
    except NetworkError as error:
        raise quantiser.fail(str(error)) from None
    text = f"images go through real layers on the host up to {quantiser.label}"
    said = "8-bit pixels have no rule; images are floats"
    if unit is not None:
        said = f"the framework reads 8-bit pixels {unit.text}{assumed}"
    inner = Layout(walk.shape, walk.index, len(walk.shape) == 1, False, layout.text)
    levels = Levels(
        parts.body.input, *origin, bits, walk.shape, walk.index, origin=origin, places=walk.index
    )  # fmt: skip
    image = Image(graph, (), levels, "hosted", text, inner, None)
    return Front(head, image, layout, unit, [text, layout.text, said, *notes])


def _type(kind: np.dtype[Any]) -> np.dtype[Any]:
    return kind if kind.kind == "f" else np.dtype(np.float32)


def _canonical(parts: Parted) -> tuple[Node, ...]:
    return monotones(affines(replaced(parts.whole, nodes=parts.head))).nodes


def _product(node: Node) -> Node:
    """A node as `layout_of` looks for it."""
    op = {"Conv": CONV, "Gemm": DENSE, "MatMul": DENSE}.get(node.op, node.op)
    return Node(op, node.name, node.inputs, node.outputs, node.attributes)


_Found = tuple[tuple[Fraction, Fraction], int, NDArray[np.float32], list[str]]
"""Scale and offset of the values, their bits, the thresholds, and notes."""


def _sign(walk: RealWalk, node: Node, parts: Parted) -> _Found:
    first, zero, last = (Fraction(value) for value in node.attributes["table"].tolist())
    low, high = min(first, last), max(first, last)
    if low == high:
        raise node.fail(f"gives {float(low):g} on both sides of its threshold: no sign function")
    notes = []
    if zero not in (low, high):
        if walk.layers and isinstance(walk.layers[-1], RealClip):
            raise node.fail(
                f"sign(0) is neither of two values, {float(low):g} and {float(high):g}, and what is clipped "
                "in front of it may well be 0; use x >= 0"
            )
        notes.append(f"sign(0) of {node.label} is taken for {float(high):g}: real sums are hardly ever 0")
        zero = high
    if first > last:
        walk.add(RealAffine([-1], [0]))
    threshold = 0.0 if zero == high else ABOVE
    return ((high - low) / 2, (high + low) / 2), 1, np.array([[threshold]], np.float32), notes


def _stairs(walk: RealWalk, node: Node, parts: Parted) -> _Found:
    empty = Levels("", Fraction(1), Fraction(0), 1, walk.shape, walk.index)
    found = stairs_of(node, Walk(parts.whole, empty))
    walk.check_channels(node, len(found.steps))
    rows = [[_reached(place, behind) for place, behind in steps] for steps in found.steps]
    unit, first = found.unit, found.first
    origin = (unit / 2, first + unit / 2) if found.count == 1 else (unit, first)
    return origin, found.count.bit_length(), np.array(rows, np.float32), []


def _reached(place: Fraction, behind: bool) -> np.float32:
    """The smallest float32 from a place on, or behind it."""
    value = np.float32(floats([place])[0])
    while np.isfinite(value) and (value < place or (behind and value == place)):
        value = np.nextafter(value, np.float32(np.inf))
    while np.isfinite(value):
        below = np.nextafter(value, np.float32(-np.inf))
        if below < place or (behind and below == place):
            break
        value = below
    return value


def hosted(network: Network, parts: Parted, front: Front | None, cut: Cut) -> tuple[Network, list[str]]:
    """Return an imported network with its head and tail, and notes.

    Parameters
    ----------
    network : Network
        The integers.
    parts : Parted
    front : Front or None
    cut : Cut
        Of the integers.

    Raises
    ------
    ImportFailedError
        Names the node that the host does not compute, and why.
    """
    notes = [f"{node.label} runs on the host: its weights are real" for node in parts.real]
    tail = None
    if parts.tail:
        walk = RealWalk(parts.whole, network.shapes[-1], cut.index)
        gives = cut.stages[-1].gives
        if network.output_kind == "bits" and gives is not None and gives.origin != (1, 0):
            walk.add(RealAffine(*(floats([value]) for value in gives.origin)))
        walk.take(parts.tail)
        last = parts.tail[-1]
        if not np.array_equal(walk.index[0].ravel(), np.arange(walk.index[0].size)):
            raise last.fail("gives scores as a map whose channels are not last; flatten it")
        notes += [_rank(node, walk) for node in parts.ranks]
        try:
            tail = Tail(network.shapes[-1], walk.layers)
        except NetworkError as error:
            raise last.fail(str(error)) from None
    head = None if front is None else front.head
    if head is None and tail is None:
        return network, []
    classes = network.classes if tail is None else None
    try:
        return replace(network, head=head, tail=tail, classes=classes), notes
    except NetworkError as error:
        raise parts.real[0].fail(str(error)) from None


def _rank(node: Node, walk: RealWalk) -> str:
    """What is said of a node that ranks the scores, and is left out."""
    if node.op not in ("Softmax", "LogSoftmax", "ArgMax") or node.integer("select_last_index", 0):
        raise node.fail("stands behind real layers; only Softmax, LogSoftmax and ArgMax of the first may")
    return f"{node.label} is left out: the class is the largest score, ties to the lowest index"
