"""Rounding to two values: one-bit quantisers without sign, and Round, Floor and Ceil of what is clipped."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluate import clip_limits
from .graph import Graph, Node

MOST_NODES = 64
"""How many nodes in front of a rounding are looked through for its range."""
Bounds = tuple[Fraction | None, Fraction | None]
NO_BOUNDS: Bounds = (None, None)
_HALF = Fraction(1, 2)
_RANGES: dict[str, Bounds] = {
    "Sigmoid": (Fraction(0), Fraction(1)), "HardSigmoid": (Fraction(0), Fraction(1)),
    "Tanh": (Fraction(-1), Fraction(1)), "Softsign": (Fraction(-1), Fraction(1)), "Relu": (Fraction(0), None),
    "Abs": (Fraction(0), None), "Softplus": (Fraction(0), None),
}  # fmt: skip


def _half_even(x: Fraction) -> int:
    return round(x)


def _toward(x: Fraction) -> int:
    return floor(x) if x >= 0 else ceil(x)


def _away(x: Fraction) -> int:
    return ceil(x) if x >= 0 else floor(x)


def _half_up(x: Fraction) -> int:
    return floor(x + _HALF) if x >= 0 else ceil(x - _HALF)


def _half_down(x: Fraction) -> int:
    return ceil(x - _HALF) if x >= 0 else floor(x + _HALF)


def _dpu(x: Fraction) -> int:
    return _half_even(x) if x >= 0 else _half_down(x)


EXACT: dict[str, Callable[[Fraction], int]] = {
    "ROUND": _half_even, "HALF_EVEN": _half_even, "CEIL": ceil, "FLOOR": floor, "UP": _away, "DOWN": _toward,
    "HALF_UP": _half_up, "HALF_DOWN": _half_down, "ROUND_TO_ZERO": _toward, "DPU": _dpu,
}  # fmt: skip
"""`quantisers.ROUNDING` of rationals."""


def cut_between(low: Fraction | None, high: Fraction | None, mode: str) -> tuple[Fraction, int, int] | None:
    """Return where rounding of a range to two integers changes, what it gives there, and the smaller one.

    None, if it gives one integer or more than two.
    """
    if low is None or high is None:
        return None
    rounds = EXACT[mode]
    first, last = rounds(low), rounds(high)
    if last - first != 1:
        return None
    # Each mode changes at one of these: what lies between them is rounded as their middles are.
    for place in (Fraction(first), first + _HALF, Fraction(last)):
        before, behind = rounds(place - Fraction(1, 8)), rounds(place + Fraction(1, 8))
        if before <= first and behind >= last:
            return place, rounds(place), first
    return None


def bounds(name: str, graph: Graph, producers: dict[str, Node]) -> Bounds:
    """Return limits of a tensor's values, from the functions and scalar constants that it comes through."""
    maps: list[tuple[Fraction, Fraction]] = []
    found = NO_BOUNDS
    for _ in range(MOST_NODES):
        node = producers.get(name)
        if node is None:
            break
        if node.op in _RANGES:
            found = _RANGES[node.op]
            break
        if node.op == "Clip":
            found = _clip(node, graph)
            break
        step = _affine(node, graph)
        if step is None:
            break
        name, scale, offset = step
        maps.append((scale, offset))
    for scale, offset in reversed(maps):
        ends = [None if end is None else end * scale + offset for end in found]
        found = (ends[0], ends[1]) if scale > 0 else (ends[1], ends[0])
    return found


def _clip(node: Node, graph: Graph) -> Bounds:
    values = [graph.constants.get(name) for name in node.inputs[1:]]
    if any(name and value is None for name, value in zip(node.inputs[1:], values, strict=True)):
        return NO_BOUNDS
    low, high = clip_limits(node, values)
    return Fraction(low), Fraction(high)


def _affine(node: Node, graph: Graph) -> tuple[str, Fraction, Fraction] | None:
    """The one computed input of a node, and the scalar scale and offset applied to it."""
    zero, one = Fraction(0), Fraction(1)
    if node.op in ("Identity", "Dropout", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"):
        return node.inputs[0], one, zero
    if node.op == "Neg":
        return node.inputs[0], -one, zero
    if node.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    constants = [graph.constants.get(name) for name in node.inputs]
    if sum(value is None for value in constants) != 1:
        return None
    left = constants[0] is None
    value = one_value(constants[1] if left else constants[0])
    if value is None or (node.op == "Div" and not left) or (not value and node.op in ("Mul", "Div")):
        return None
    name = node.inputs[0 if left else 1]
    if node.op in ("Mul", "Div"):
        return name, value if node.op == "Mul" else 1 / value, zero
    if node.op == "Add":
        return name, one, value
    return (name, one, -value) if left else (name, -one, value)


def one_value(values: NDArray[Any] | None) -> Fraction | None:
    """Return the value of a constant that is the same everywhere, and finite."""
    if (
        values is None
        or not values.size
        or values.dtype.kind not in "fiu"
        or not np.isfinite(values.flat[0])
        or (values != values.flat[0]).any()
    ):
        return None
    return Fraction(values.flat[0].item())
