"""Real shortcuts in fixed point: the source with quantisers, so that what it adds are values of 8 bits.

Each sum of a shortcut and what a layer gives becomes a value: an odd number of half steps, -255 to 255, so
that it has the sign of what it was. What is added becomes a change, in whole steps. All have one step. What
is imported is that source, exactly; it is another network than the one that was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, ldexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief
from .graph import QUANT_DOMAINS, Graph, Node
from .parting import PRODUCTS, QUANTISERS, has_real_weights
from .projections import Projection, projection, with_projections

__all__ = ["CHANGE_BITS", "Streams", "macs_of", "quantised_name", "step_for", "streams_of", "with_values"]

VALUE_BITS = 8
CHANGE_BITS = (2, 8)
"""Fewest and most bits of a change."""
_HALF = -0.5
"""Zero point of values."""
_DIGITS = 8
"""Significant bits of the step: floats hold all sums of its halves."""
_TRIED = 25
"""Steps that are tried, each the fourth root of a half of the one before, from one that 8 bits just hold."""
_LARGER = -20
"""And larger ones, with which changes of few bits reach as far."""
_SAMPLED = 1 << 14
"""Numbers of a tensor that decide for one of them."""


@dataclass(frozen=True)
class Streams:
    """Tensors of a source that quantisers go behind.

    Attributes
    ----------
    values, changes : tuple of str
    sums : int
        How many additions these belong to.
    projections : tuple of Projection
        Convolutions with real weights in shortcuts, whose results are among the values.
    """

    values: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    sums: int = 0
    projections: tuple[Projection, ...] = ()


def streams_of(graph: Graph) -> Streams:
    """Find the additions of real numbers in a graph, whose signs and constants are found already.

    Raises
    ------
    ImportFailedError
        If a shortcut has a product with real weights that is no convolution of 1 x 1.
    """
    values: dict[str, None] = {}
    changes: dict[str, None] = {}
    projections: dict[str, Projection] = {}
    sums = 0
    for node in graph.nodes:
        read = _read(node, graph)
        if node.op != "Add" or len(set(read)) != 2 or len({graph.shapes[name] for name in read}) > 1:
            continue
        kinds = [_kind(name, graph, values, projections) for name in read]
        if not all(kind.startswith(("value", "moved", "change")) for kind in kinds):
            continue
        for name, kind in zip(read, kinds, strict=True):
            what, _, start = kind.partition(":")
            if start:
                values[start] = None
            if what == "moved":
                values[name] = None
            elif what == "change":
                changes[name] = None
        values[node.outputs[0]] = None
        sums += 1
    return Streams(tuple(values), tuple(changes), sums, tuple(projections.values()))


def _kind(name: str, graph: Graph, values: dict[str, None], projections: dict[str, Projection]) -> str:
    """What an addition reads: a ``value``, one that is ``moved`` or averaged, a ``change``, or another.

    Behind a colon, the tensor that is to be a value and is none yet. A product with real weights on the way
    joins `projections`.
    """
    moved, tensor = False, name
    real: Node | None = None
    while tensor in graph.producers:
        node = graph.producers[tensor]
        if tensor in values:
            return "moved" if moved else "value"
        if node.op in QUANTISERS:
            if real is not None:
                raise _real(real)
            return "quantised"
        if len(graph.readers[tensor]) > 1:
            return f"{'moved' if moved else 'value'}:{tensor}"
        read = _read(node, graph)
        if len(read) != 1:
            break
        if node.op in PRODUCTS:
            if not has_real_weights(node, graph):
                return "change"
            made = projection(node, graph)
            if real is not None or made is None or made.target != name:
                raise _real(node)
            real, projections[name] = node, made
        moved |= node.op != "Slice"
        tensor = read[0]
    return "other"


def _real(node: Node) -> ImportFailedError:
    return node.fail(
        "has real weights, in a branch that is added to others: those of a convolution of 1 x 1 without "
        "padding can be, of what was added before or an average of it; or use a sign in front of it and "
        "weights of one bit, or a shortcut without weights: every second row and column, new channels of 0"
    )


def macs_of(graph: Graph) -> int:
    """Return the products that a graph's convolutions and dense layers make of an image, before it is cut."""
    found = 0
    for node in graph.nodes:
        weights = graph.constants.get(node.inputs[1]) if node.op in PRODUCTS else None
        if weights is not None:
            found += weights.size * int(np.prod(graph.shapes[node.outputs[0]][2:]))
    return found


def _read(node: Node, graph: Graph) -> list[str]:
    return [name for name in node.inputs if name and name not in graph.constants]


def step_for(
    values: Sequence[NDArray[Any]], changes: Sequence[NDArray[Any]], bits: int, zero: float = _HALF
) -> float:
    """Return the step with which values, and changes of so many bits, differ least from what they are.

    Parameters
    ----------
    values, changes : sequence of array
        What each tensor is for some images.
    bits : int
    zero : float
        Zero point of values.

    Raises
    ------
    ImportFailedError
        If they are not finite, or all 0.
    """
    rng = np.random.default_rng(5)
    samples = [rng.choice(one.ravel().astype(np.float64), _SAMPLED) for one in (*values, *changes)]
    largest = max(float(np.abs(one).max()) for one in values)
    if not 0 < largest < np.finfo(np.float32).max or not all(np.isfinite(one).all() for one in samples):
        raise ImportFailedError(
            f"values of the shortcuts reach {largest:g} for these images: no step of 8 bits holds them"
        )
    steps = [2 * largest / (1 << VALUE_BITS) * 2 ** (-number / 4) for number in range(_LARGER, _TRIED)]
    errors = []
    for step in steps:
        error = 0.0
        for number, one in enumerate(samples):
            value = number < len(values)
            half, shift = 1 << (VALUE_BITS if value else bits) - 1, zero if value else 0.0
            levels = np.rint(np.clip(one / step + shift, -half, half - 1)) - shift
            error += float(np.abs(levels * step - one).mean())
        errors.append(error)
    mantissa, exponent = frexp(steps[int(np.argmin(errors))])
    return ldexp(round(ldexp(mantissa, _DIGITS)), exponent - _DIGITS)


def quantised_name(tensor: str) -> str:
    """Return what the quantiser behind a tensor gives."""
    return f"{tensor}, in fixed point"


def with_values(model: Any, streams: Streams, step: float, bits: int) -> Any:
    """Return a model with quantisers behind tensors, which everything that read these reads.

    Parameters
    ----------
    model : onnx.ModelProto
    streams : Streams
    step : float
    bits : int
        Of a change.

    Raises
    ------
    ImportFailedError
        If the model has no such tensor, but the importer made it.
    """
    from onnx import helper, numpy_helper

    changed = type(model)()
    changed.CopyFrom(model)
    with_projections(changed, streams.projections, step)
    graph = changed.graph
    behind = dict.fromkeys(streams.values, (VALUE_BITS, _HALF))
    behind |= dict.fromkeys(streams.changes, (bits, 0.0))
    lost = [name for name in behind if not any(name in node.output for node in graph.node)]
    if lost:
        raise ImportFailedError(
            f"tensor {brief(lost[0], 60)} is part of a shortcut and none of the file's: export maps of "
            "(batch, channels, height, width)"
        )
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in behind:
                node.input[place] = quantised_name(name)
    nodes: list[Any] = []
    for node in graph.node:
        nodes.append(node)
        for name in node.output:
            if name not in behind:
                continue
            width, zero = behind[name]
            numbers = {"step": step, "zero point": zero, "bits": width}
            inputs = [f"{quantised_name(name)}, {what}" for what in numbers]
            graph.initializer.extend(
                numpy_helper.from_array(np.array(number, np.float32), given)
                for number, given in zip(numbers.values(), inputs, strict=True)
            )
            nodes.append(
                helper.make_node(
                    "Quant", [name, *inputs], [quantised_name(name)], f"{name}: fixed point",
                    domain=QUANT_DOMAINS[0], signed=1, narrow=0, rounding_mode="ROUND",
                )
            )  # fmt: skip
    copies = [type(nodes[0]).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return changed
