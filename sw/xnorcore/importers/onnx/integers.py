"""Weights as integers times one scale for each output, exactly: what a quantiser made, or what floats are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from .evaluate import MOVES, moved
from .graph import Graph, Node
from .grids import step_of
from .quantisers import dequantised, integer_range, rounding
from .rewrite import fractions

LOWEST, HIGHEST = -128, 127
"""Weights of 8 bits."""


@dataclass(frozen=True)
class Integers:
    """What a constant quantiser gives: ``values * scale`` in real numbers, rounded in the source's format.

    Attributes
    ----------
    values : array of int64
    scale : array of float, of the same shape
    """

    values: NDArray[np.int64]
    scale: NDArray[Any]

    def same(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Integers:
        """Return the same in another order."""
        return Integers(change(self.values), change(self.scale))


@dataclass(frozen=True)
class Weights:
    """A product's weights: ``values * scale`` for each output, but for a share of `slack`.

    Attributes
    ----------
    values : array of int8, shape (outputs, ...)
    scale : list of Fraction
        Above 0.
    slack : list of Fraction
        By which share of itself a weight as it is stored differs at most; 0, it is just that.
    """

    values: NDArray[np.int8]
    scale: list[Fraction]
    slack: list[Fraction]


def integers_of(
    node: Node, arrays: Sequence[NDArray[Any] | None], known: Mapping[str, Integers], opset: int
) -> Integers | None:
    """Return the integers that a constant node gives, if it is a quantiser of several bits, or moves such."""
    first = known.get(node.inputs[0]) if node.inputs else None
    if first is not None and (node.op in MOVES or node.op == "Identity"):
        rest = [array for array in arrays[1:] if array is not None]
        return first if node.op == "Identity" else first.same(lambda x: moved(node, [x, *rest], opset))
    if node.op == "DequantizeLinear":
        whole, scale = dequantised(node, arrays)
        return Integers(whole, np.broadcast_to(scale, whole.shape))
    if node.op not in ("Quant", "IntQuant") or len(arrays) != 4:
        return None
    x, scale, zero, bits = (np.asarray(array) for array in arrays)
    low, high = integer_range(node, bits)
    if (low, high) in ((-1, 0), (0, 0)) or (zero != np.rint(zero)).any():
        return None
    # As the source computes it: where it rounds to is what it multiplies by.
    values = rounding(node)(np.clip(x / scale + zero, low, high)) - zero
    if not (np.abs(values) < 1 << 53).all():
        return None
    return Integers(values.astype(np.int64), np.broadcast_to(scale, values.shape))


def integers_and_scale(
    node: Node, graph: Graph, change: Callable[[NDArray[Any]], NDArray[Any]], *, rounded: bool = True
) -> Weights:
    """Return a product's weights as integers, and one scale above 0 for each output.

    Parameters
    ----------
    node : Node
        Its second input is constant.
    graph : Graph
    change : callable
        Puts the outputs in front.
    rounded : bool
        They may differ from integers times a scale by rounding.

    Raises
    ------
    ImportFailedError
        If they are no integers of 8 bits times one scale.
    """
    name = node.inputs[1]
    weights = change(graph.constants[name])
    if not weights.size:
        raise node.fail(f"weights have shape {brief(weights.shape)}: they are empty")
    known = None if name in graph.exact else graph.integers.get(name)
    slack = [Fraction(0)] * len(weights)
    if known is None:
        flat = weights.reshape(len(weights), -1)
        rows, scale = _from_floats(node, flat, graph.origins.get(name, ""), slack if rounded else None)
    else:
        rows, scale = _from_quantiser(node, known.same(change), graph.origins.get(name, ""))
    for output, row in enumerate(rows):
        factor = gcd(*row.tolist()) or 1
        row //= factor
        scale[output] *= factor
        if row.min() < LOWEST or row.max() > HIGHEST:
            raise node.fail(
                f"weights of output {output} reach {int(row[np.abs(row).argmax()])} times their scale; the "
                f"limit is {LOWEST} to {HIGHEST}, 8 bits"
            )
    return Weights(rows.astype(np.int8).reshape(weights.shape), scale, slack)


def _from_quantiser(node: Node, known: Integers, origin: str) -> tuple[NDArray[np.int64], list[Fraction]]:
    rows, scale = (part.reshape(len(part), -1) for part in (known.values.copy(), known.scale))
    wrong = (scale != scale[:, :1]).any(axis=1)
    if wrong.any():
        output = int(np.argmax(wrong))
        raise node.fail(
            f"weights of output {output} have several scales, by {origin}; they must have one for each output"
        )
    return rows, fractions(scale[:, 0])


def _from_floats(
    node: Node, rows: NDArray[Any], origin: str, slack: list[Fraction] | None
) -> tuple[NDArray[np.int64], list[Fraction]]:
    """Integers and scales of weights as they are stored: rationals with a common divisor, or nearly."""
    result, scale = np.zeros(rows.shape, np.int64), []
    for output, row in enumerate(rows):
        magnitudes = np.unique(np.abs(row))
        magnitudes = magnitudes[magnitudes > 0]
        if len(magnitudes) > HIGHEST + 1:
            raise node.fail(_many(row, output, origin))
        unit = _divisor(fractions(magnitudes)) if len(magnitudes) else Fraction(1)
        if len(magnitudes) and Fraction(magnitudes[-1].item()) / unit > -LOWEST:
            near = None if slack is None else step_of(magnitudes)
            if near is None or slack is None:
                raise node.fail(_many(row, output, origin))
            unit, levels, slack[output] = near
        else:
            levels = np.array([int(value / unit) for value in fractions(magnitudes)], np.int64)
        if len(levels):
            place = np.searchsorted(magnitudes, np.abs(row)).clip(0, len(levels) - 1)
            result[output] = np.where(row == 0, 0, np.sign(row).astype(np.int64) * levels[place])
        scale.append(unit)
    return result, scale


def _divisor(values: Sequence[Fraction]) -> Fraction:
    """The largest rational of which all are multiples."""
    below = lcm(*(value.denominator for value in values))
    return Fraction(gcd(*(value.numerator * (below // value.denominator) for value in values)), below)


def _many(row: NDArray[Any], output: int, origin: str) -> str:
    values = np.unique(row + 0)
    shown = ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
    return (
        f"weights of output {output} are {shown} and not integers of 8 bits times one scale: they are not "
        f"quantised{', or rounded, by ' + origin if origin else ''}; -a and +a of one magnitude a, or what a "
        "Quant node gives, can be weights"
    )
