"""Quantisers of several bits, which end a stage: values in equal steps, and where each of them begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ...model.limits import MOST_STEPS
from .graph import Node
from .quantisers import check_scale, integer_range, multi_thresholds, one_number, rounding
from .rounds import EXACT
from .signal import Levels, Stage
from .signs import result_shape
from .solve import reachable
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
    elif _halves(stage):
        found = _reached(stage, found)
    walk.name(node)
    stage.stairs = found
    _end(walk, node.outputs[0], found)


def _halves(stage: Stage) -> bool:
    """Whether a stage gives parts of a map of codes, and perhaps new channels of one value."""
    weights, reads = stage.node.attributes["weights"], stage.reads
    if reads.bits == 1 or reads.sums or stage.pool is not None or stage.form.bent is not None:
        return False
    rows = weights.reshape(len(weights), -1)
    plain = bool(((rows == 0) | (rows == 1)).all()) and int(rows.sum(axis=1).max()) == 1
    window = stage.node.attributes.get("window")
    return plain and window is not None and (window.stride != (1, 1) or len(rows) > rows.shape[1])


def _reached(stage: Stage, found: Stairs) -> Stairs:
    """The steps of a quantiser without those that no value of such a stage decides."""
    values = []
    for channel, row in enumerate(stage.node.attributes["weights"]):
        scale, offset = (value.rational for value in stage.form.scores(channel))
        if scale is None or offset is None:
            return found
        values += [offset, offset + scale * stage.reads.most * int(row.any())]
    codes = [
        sum(place < value or (place == value and not behind) for place, behind in found.steps[0])
        for value in (min(values), max(values))
    ]
    low, high = codes[0], max(codes[1], codes[0] + 1)
    return Stairs([found.steps[0][low:high]], found.unit, found.first + low * found.unit)


def every_value(walk: Walk) -> None:
    """End a stage that averages or selects and has no quantiser behind it.

    Its values are as many levels as an average has sums; or those that it selects, and 0.

    Raises
    ------
    ImportFailedError
        If they are more than 8 bits, or do not rise alike in all channels.
    """
    stage = walk.stage
    node = stage.node
    if node.attributes.get("selects") and stage.reads.bits > 1:
        stage.stairs = _selected(stage)
        _end(walk, walk.scores, stage.stairs)
        return
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


def _selected(stage: Stage) -> Stairs:
    """The levels of what a stage selects, which new channels of 0 must be on."""
    reads, rows = stage.reads, stage.node.attributes["weights"].reshape(stage.channels, -1)
    level = -reads.offset / reads.scale
    if not rows.any(axis=1).all() and not (level.denominator == 1 and 0 <= level <= reads.most):
        raise stage.node.fail(
            f"gives new channels of 0, which is none of the {reads.most + 1} levels of its input, "
            f"{float(reads.offset):g} to {float(reads.offset + reads.most * reads.scale):g} in steps of "
            f"{float(abs(reads.scale)):g}; put a quantiser behind it, or quantise so that 0 is a level"
        )
    if reads.scale < 0:
        raise stage.node.fail("selects of values that are negated; select in front of that")
    begins = [(reads.offset + reads.scale * level, False) for level in range(1, reads.most + 1)]
    return Stairs([begins], reads.scale, reads.offset)


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
    scale, zero = (
        Fraction(one_number(node, what, value).item())
        for what, value in zip(("scale", "zero point"), values, strict=False)
    )
    check_scale(node, float(scale), float(zero))
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
        raise node.fail(
            f"data_layout puts the channels on axis {axis}; they must be on axis 1: transpose in front, "
            "or export with NCHW"
        )
    _check_count(node, table.shape[1])
    unit, first = Fraction(node.number("out_scale", 1.0)), Fraction(node.number("out_bias", 0.0))
    if unit == 0:
        raise node.fail("out_scale is 0, with which all values are alike; it must be above 0")
    if unit < 0:
        raise node.fail(f"out_scale is {float(unit):g}, but must be above 0; negate the weights behind it")
    if not np.isfinite(table).all():
        raise node.fail("has thresholds that are not finite")
    return Stairs([[(Fraction(value), False) for value in row] for row in table.tolist()], unit, first)


def _check_count(node: Node, count: int) -> None:
    if not 1 <= count <= MOST_STEPS:
        raise node.fail(
            f"gives {count + 1} levels between layers, the limit is {MOST_STEPS + 1}: 8 bits; quantise to "
            "fewer"
        )
