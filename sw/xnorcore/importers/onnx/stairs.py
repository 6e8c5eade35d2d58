"""Quantisers of several bits, which end a stage: values in equal steps, and where each of them begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ...model.limits import MOST_STEPS
from .graph import Node
from .line import Line
from .quantisers import integer_range, multi_thresholds, rounding
from .rounds import EXACT, one_value
from .signal import Levels
from .signs import result_shape
from .solve import reachable
from .surd import Surd
from .walk import Walk

_HALF, _EIGHTH = Fraction(1, 2), Fraction(1, 8)
Begin = tuple[Fraction, bool]
"""Where a step begins: at a number, or (True) just behind it."""


@dataclass(frozen=True)
class Stairs:
    """A quantiser: ``first + unit * code``, where the code is how many steps a value has reached.

    Attributes
    ----------
    steps : sequence of sequence of Begin
        Of each channel, or of all: rising.
    unit, first : Fraction
        `unit` is above 0.
    """

    steps: Sequence[Sequence[Begin]]
    unit: Fraction
    first: Fraction

    @property
    def count(self) -> int:
        """Steps: the largest code."""
        return len(self.steps[0])

    def questions(self, channel: int) -> list[Line]:
        """Return, for each step, all values that reach it."""
        steps = self.steps[channel % len(self.steps)]
        return [Line(False, ((Surd.of(place), behind),)) for place, behind in steps]


def stairs(walk: Walk, node: Node) -> None:
    """End a stage with a quantiser of several bits.

    Raises
    ------
    ImportFailedError
        If its levels are more than 8 bits or not the same for all channels, or it quantises what is quantised
        already.
    """
    if walk.levels is not None:
        raise node.fail(
            "quantises values that are quantised already, which is not supported; leave out one of the two"
        )
    stage = walk.stage
    found = stairs_of(node, walk)
    if len(found.steps) > 1:
        walk.channelwise(node)
    walk.name(node)
    stage.stairs = found
    _end(walk, node.outputs[0], found)


def every_sum(walk: Walk) -> None:
    """End a stage that averages and has no quantiser behind it: its values are as many levels as it has sums.

    Raises
    ------
    ImportFailedError
        If they are more than 8 bits, or do not rise alike in all channels.
    """
    stage = walk.stage
    node = stage.node
    low, high, step = reachable(stage, node.attributes["weights"][0].ravel())
    count = (high - low) // step
    if count > MOST_STEPS:
        raise node.fail(
            f"gives {count + 1} different averages without a quantiser behind it, the limit is "
            f"{MOST_STEPS + 1}: 8 bits; quantise behind it"
        )
    maps = {stage.form.scores(channel) for channel in range(stage.channels)}
    slope, offset = (value.rational for value in next(iter(maps)))
    if len(maps) > 1 or slope is None or offset is None or slope <= 0:
        raise node.fail(
            "is followed by a batch norm or scales of channels without a quantiser; quantise behind it"
        )
    begins = [(offset + slope * (low + step * level), False) for level in range(1, count + 1)]
    stage.stairs = Stairs([begins], slope * step, offset + slope * low)
    _end(walk, walk.scores, stage.stairs)


def _end(walk: Walk, tensor: str, found: Stairs) -> None:
    origin = found.unit, found.first
    walk.levels = walk.stage.gives = Levels(
        tensor, *origin, found.count.bit_length(), result_shape(walk), walk.index, origin=origin,
        places=walk.index, top=found.count, giver=walk.stage,
    )  # fmt: skip


def stairs_of(node: Node, walk: Walk) -> Stairs:
    """Return the steps of a Quant, IntQuant or MultiThreshold node."""
    values = [walk.graph.constants.get(name) for name in node.inputs[1:]]
    if node.op == "MultiThreshold":
        return _thresholds(node, values, walk.graph.shapes[node.inputs[0]])
    numbers = [one_value(value) for value in values]
    if len(numbers) != 3 or any(number is None for number in numbers[:2]):
        raise node.fail(
            "must have one constant, finite scale and zero point for all channels: a product reads all "
            "values together"
        )
    scale, zero = numbers[0], numbers[1]
    assert scale is not None and zero is not None
    if scale <= 0:
        raise node.fail(f"scale is {float(scale):g}, but must be above 0")
    low, high = integer_range(node, values[2])
    _check_count(node, high - low)
    rounding(node)
    rounds = EXACT[node.text("rounding_mode", "ROUND").upper()]
    steps: list[Begin] = []
    for level in range(low + 1, high + 1):
        places = (Fraction(level - 1), level - _HALF, Fraction(level))
        place = next(p for p in places if rounds(p - _EIGHTH) < level <= rounds(p + _EIGHTH))
        steps.append(((place - zero) * scale, rounds(place) < level))
    return Stairs([steps], scale, (low - zero) * scale)


def _thresholds(node: Node, values: Sequence[Any], shape: tuple[int, ...]) -> Stairs:
    if len(values) != 1 or values[0] is None:
        raise node.fail("thresholds must be constant")
    table, axis = multi_thresholds(node, values[0], shape)
    if axis != 1:
        raise node.fail(f"data_layout puts the channels on axis {axis}; they must be on axis 1")
    _check_count(node, table.shape[1])
    unit, first = Fraction(node.number("out_scale", 1.0)), Fraction(node.number("out_bias", 0.0))
    if unit <= 0:
        raise node.fail(f"out_scale is {float(unit):g}, but must be above 0; negate the weights behind it")
    if not np.isfinite(table).all():
        raise node.fail("has thresholds that are not finite")
    rows = np.sort(table, axis=1).tolist()
    return Stairs([[(Fraction(value), False) for value in row] for row in rows], unit, first)


def _check_count(node: Node, count: int) -> None:
    if not 1 <= count <= MOST_STEPS:
        raise node.fail(
            f"gives {count + 1} levels between layers, the limit is {MOST_STEPS + 1}: 8 bits; quantise to "
            "fewer"
        )
