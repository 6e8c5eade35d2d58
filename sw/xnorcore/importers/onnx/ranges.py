"""Pass: no value of the source may leave its float format, for any image.

Thresholds are exact in rationals, whatever the scale. The source is not: where it computes infinity, NaN or 0
from numbers that are none of these, another network would come out. Intervals of every channel are followed
along the graph, in float64, from the signs and integers that a product reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bends import MONOTONE, Jump
from .functions import applied
from .graph import Graph, Node
from .maps import Clip, Vee
from .quantisers import integer_range

Interval = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lowest and highest value of each channel, or of all channels."""
QUANTISED = ("Quant", "IntQuant", "MultiThreshold")
_KEEP = {"Pool", "Mean", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Pad"}


def in_range(graph: Graph) -> Graph:
    """Check every node whose values are known; return the graph as it is.

    Raises
    ------
    ImportFailedError
        Names the node whose values may leave the range of the source's float format.
    """
    limits = np.finfo(_format(graph))
    given: dict[str, Interval] = {}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            reads = [given[name] for name in node.inputs if name in given]
            known = reads[0] if reads else None
            steps = [_joined(node, reads)] if len(reads) > 1 else _steps(node, known, limits.dtype, graph)
            for low, high in steps:
                _check(node, low, high, limits)
            found = steps[-1] if steps else known if node.op in _KEEP else None
            if found is not None:
                given[node.outputs[0]] = found
    return graph


def _format(graph: Graph) -> Any:
    """The widest float format in the source: what it does not leave is safe in any case."""
    kinds = [value.dtype for value in graph.constants.values() if value.dtype.kind == "f"]
    if graph.input_type.kind == "f":
        kinds.append(graph.input_type)
    return max(kinds or [np.dtype(np.float32)], key=lambda kind: kind.itemsize)


def _check(node: Node, low: NDArray[np.float64], high: NDArray[np.float64], limits: Any) -> None:
    top = np.maximum(np.abs(low), np.abs(high))
    wrong = ~(top <= float(limits.max))
    if wrong.any():
        raise node.fail(
            f"may reach {float(top[wrong].flat[0]):.3g}, beyond {limits.dtype.name} "
            f"({float(limits.max):.3g}): the source gives infinity or NaN there; scale its constants down"
        )
    tiny = (top > 0) & (top < float(limits.smallest_subnormal))
    if tiny.any():
        raise node.fail(
            f"gives at most {float(top[tiny].flat[0]):.3g}, which {limits.dtype.name} rounds to 0 (below "
            f"{float(limits.smallest_subnormal):.3g}); scale its constants up"
        )


def _steps(node: Node, known: Interval | None, kind: Any, graph: Graph) -> list[Interval]:
    """Intervals of a node's own intermediate results, the last of which it gives."""
    values = node.attributes
    if node.op == "Step":
        table = np.asarray(values["table"], np.float64)
        return [(table.min(keepdims=True), table.max(keepdims=True))]
    if node.op in ("Dense", "Conv2d"):
        return _product(node, known)
    if node.op in QUANTISED:
        return [_quantised(node, graph)]
    if known is None:
        return []
    if node.op == "Affine":
        product = _times(known, _floats(values["scale"]))
        return [product, _plus(product, _floats(values["offset"]))]
    if node.op == "Norm":
        centred = _plus(known, -_floats(values["mean"]))
        slope = _floats(values["gamma"]) / np.sqrt(_floats(values["variance"]))
        product = _times(centred, slope)
        return [centred, product, _plus(product, _floats(values["beta"]))]
    if node.op == MONOTONE:
        return [_bent(node, known, kind)]
    return []


def _quantised(node: Node, graph: Graph) -> Interval:
    """The interval of a quantiser of several bits, whose constants are checked where it is taken."""
    values = [graph.constants.get(name) for name in node.inputs[1:]]
    if any(value is None or not value.size for value in values):
        return np.zeros(1), np.zeros(1)
    if node.op == "MultiThreshold":
        first, unit = node.number("out_bias", 0.0), node.number("out_scale", 1.0)
        ends = [first, first + unit * np.asarray(values[0]).shape[-1]]
    else:
        scale, zero = (float(np.asarray(value).max()) for value in values[:2])
        ends = [(level - zero) * scale for level in integer_range(node, values[2])]
    return np.array([min(ends)]), np.array([max(ends)])


def _bent(node: Node, known: Interval, kind: Any) -> Interval:
    """The interval behind a function of each value, or a wider one."""
    function, original = node.attributes["function"], node.attributes["original"]
    if isinstance(function, Clip):
        for operation, limit in ((np.maximum, function.low), (np.minimum, function.high)):
            if limit is not None:
                values = _floats(limit)
                low, high = _fitted(known, values)
                known = operation(low, values), operation(high, values)
        return known
    if isinstance(function, Jump):
        return np.minimum(known[0], 0), np.maximum(known[1], 0)
    if isinstance(function, Vee):
        left = _floats(function.left)
        known = _fitted(known, left)
        low, high = (np.where(end < 0, end * left, end * float(function.right)) for end in known)
        zero = np.where((known[0] <= 0) & (known[1] >= 0), 0.0, low)
        return np.minimum(np.minimum(low, high), zero), np.maximum(np.maximum(low, high), zero)
    # Rounded as the source's: where a curve saturates, 0 is what it should give.
    low, high = (applied(original, [end]).astype(kind).astype(np.float64) for end in known)
    return low, high


def _product(node: Node, known: Interval | None) -> list[Interval]:
    weights = node.attributes["weights"].reshape(len(node.attributes["weights"]), -1)
    low, high = (-1.0, 1.0) if known is None else (float(known[0].min()), float(known[1].max()))
    plus = np.where(weights > 0, weights, 0).sum(axis=1, dtype=np.int64)
    minus = plus - weights.sum(axis=1, dtype=np.int64)
    scale = _floats(node.attributes["scale"])
    result = _times((plus * low - minus * high, plus * high - minus * low), scale)
    # Zero padding leaves taps out.
    steps = [(np.minimum(result[0], 0.0), np.maximum(result[1], 0.0))]
    if node.attributes["bias"] is not None:
        steps.append(_plus(steps[0], _floats(node.attributes["bias"])))
    return steps


def _floats(values: Any) -> NDArray[np.float64]:
    """Exact rationals as floats; what float64 cannot hold is infinite."""
    result = np.empty(len(values))
    for index, value in enumerate(values):
        try:
            result[index] = float(value)
        except OverflowError:
            result[index] = np.inf if value > 0 else -np.inf
    return result


def _times(known: Interval, factor: NDArray[np.float64]) -> Interval:
    low, high = _fitted(known, factor)
    return np.minimum(low * factor, high * factor), np.maximum(low * factor, high * factor)


def _plus(known: Interval, term: NDArray[np.float64]) -> Interval:
    low, high = _fitted(known, term)
    return low + term, high + term


def _joined(node: Node, reads: list[Interval]) -> Interval:
    """The interval behind branches that join, whose values are quantised: for all channels alike."""
    lows, highs = zip(*map(_all, reads), strict=True)
    if node.op == "Add":
        return np.array([sum(lows)]), np.array([sum(highs)])
    return np.array([min(lows)]), np.array([max(highs)])


def _all(known: Interval) -> tuple[np.float64, np.float64]:
    return known[0].min(), known[1].max()


def _fitted(known: Interval, other: NDArray[np.float64]) -> Interval:
    """One interval for all channels, where their number has changed: behind a flattened map."""
    low, high = known
    if len(low) in (1, len(other)) or len(other) == 1:
        return known
    return low.min(keepdims=True), high.max(keepdims=True)
