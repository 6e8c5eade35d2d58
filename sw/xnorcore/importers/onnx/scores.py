"""Behind the last sums: scale and offset of each class, as float64 that keep equal scores equal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import frexp, lcm, prod

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.layers import Layer, has_weights
from .signal import Levels, Stage
from .surd import Surd

EXACT = 1 << 53
"""Integers up to here are float64."""
STEPS = 1 << 24
"""How many of its units a scale has, so that products with integers are exact: float32's precision."""


def scores_affine(
    stage: Stage, levels: Levels | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Scale and offset of the scores, each rounded once to float64.

    Parameters
    ----------
    stage : Stage
        The last one.
    levels : Levels or None
        What the graph ends with, if it is quantised.
    """
    if levels is not None:
        if levels.bits == 1:
            return None, None
        count = prod(levels.shape)
        return np.full(count, float(levels.scale)), np.full(count, float(levels.offset))
    maps = [stage.form.scores(channel) for channel in range(stage.channels)]
    scale, offset = ([_float(pair[i]) for pair in maps] for i in (0, 1))
    scale, offset = _tied(maps, scale, offset)
    if all(value == 1 for value in scale) and not any(offset):
        return None, None
    positions = 1 if stage.node.op == "Dense" or stage.placed else prod(stage.node.attributes["window"].size)
    return np.tile(scale, positions), np.tile(offset, positions)


def two_classes(
    last: Layer, scale: NDArray[np.float64] | None, offset: NDArray[np.float64] | None
) -> tuple[Layer, NDArray[np.float64], NDArray[np.float64]]:
    """The last layer twice, with scores 0 and what it gave: class 1 is where that is above 0."""
    slope = np.array([0.0, 1.0 if scale is None else float(scale[0])])
    shift = np.array([0.0, 0.0 if offset is None else float(offset[0])])
    assert has_weights(last)
    return last.with_arrays(np.repeat(last.weights, 2, axis=0), bare=True), slope, shift


def _float(value: Surd) -> float:
    try:
        return value.nearest()
    except OverflowError:
        raise ImportFailedError("the scores' scale or offset is beyond the range of float64") from None


def _tied(
    maps: Sequence[tuple[Surd, Surd]], scale: list[float], offset: list[float]
) -> tuple[list[float], list[float]]:
    """Scales and offsets of classes that differ by rational multiples of one scale, so that ties stay ties.

    The offsets are ``scale * k + b`` with a rational k of each class. Rounded one by one, classes with equal
    scores in real numbers would not be equal. All are taken as multiples of one unit, whose products with
    integers are exact; the scale keeps float32's precision.
    """
    slope, first = maps[0]
    if any(one.terms != slope.terms for one, _ in maps) or slope.sign() == 0 or len(set(offset)) < 2:
        return scale, offset
    multiples = [(other - first).over(slope) for _, other in maps]
    if any(k is None for k in multiples):
        return scale, offset
    below = lcm(*(k.denominator for k in multiples if k is not None))
    if below >= EXACT:
        return scale, offset
    steps = [int(k * below) for k in multiples if k is not None]
    # The scale is `below` whole units, times a number of 24 bits.
    unit = Fraction(2) ** (frexp(scale[0] / below)[1] - STEPS.bit_length() + 1)
    factor, start = round(Fraction(scale[0]) / below / unit), round(Fraction(offset[0]) / unit)
    tied = [factor * step + start for step in steps]
    if not factor or factor * below >= EXACT or max(map(abs, tied)) >= EXACT:
        return scale, offset
    try:
        return [float(factor * below * unit)] * len(maps), [float(value * unit) for value in tied]
    except OverflowError:
        return scale, offset
