"""From what a sign asks back to the sum: one threshold, or a constant, for each channel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...folding.fold import ALWAYS, NEVER
from .graph import Node
from .integers import LOWEST
from .line import Line
from .maps import Linear
from .signal import Stage
from .surd import ZERO, Surd, UndecidedError

Table = tuple[Fraction, Fraction, Fraction]
Toggles = tuple[bool, list[int]]
_SMALL = 1e-100
"""Factors and squares below it, or above its inverse, are left to rationals."""


def occurring(stage: Stage, table: Table) -> Table:
    """Return a sign's values below, at and above 0, where what cannot occur is as at 0.

    Behind a Relu nothing is below 0: ``sign(relu(x))`` is 0 or 1.
    """
    if not stage.form.maps:
        return table
    low, high = stage.form.maps[-1][1].bounds
    below = table[1] if low is not None and low >= 0 else table[0]
    above = table[1] if high is not None and high <= 0 else table[2]
    return table if below == above else (below, table[1], above)


def solve(stage: Stage) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return a stage's weights and thresholds, and the channels whose bits come out complemented.

    Bit 1 is the higher of the two values. Pooling first, the maximum is an OR of bits where what follows it
    rises, and where it falls an AND: an OR of complements.

    Raises
    ------
    ImportFailedError
        Names the node, if some channel is not a threshold of its sum.
    """
    weights = stage.node.attributes["weights"].copy()
    mask = np.zeros(len(weights), np.bool_)
    stage.turned = []
    if stage.stairs is not None:
        return weights, _stairs(stage, weights), mask
    thresholds = np.empty(len(weights), np.int64)
    questions = _questions(stage)
    for channel, row in enumerate(weights):
        answers = []
        for question in questions:
            line, mask[channel] = _back(stage, question, channel)
            sums = _sums(stage, line, channel)
            answers.append(_toggles(line.start, sums, reachable(stage, row)))
        if answers[0] != answers[-1]:
            raise stage.node.fail(_undecided(channel, answers))
        start, places = answers[0]
        if len(places) > 1:
            raise _bent(stage, channel).fail(
                f"channel {channel} changes its sign at sums of {places[0]} and {places[1]}: it is not "
                "monotone, and one threshold cannot stand for it; use a function that rises, as Relu or Clip"
            )
        if len(sums) == 1:  # as it is, also where no sum reaches it
            start, places = line.start, sums
        if not places:
            thresholds[channel] = ALWAYS if start else NEVER
            continue
        first = places[0]
        if start and _negated(stage, row, channel):  # not (s >= T) is -s >= 1 - T
            first = 1 - first
        thresholds[channel] = min(max(first, ALWAYS), NEVER)
    return weights, thresholds, mask


def _stairs(stage: Stage, weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """The thresholds of a stage of several bits; rows of `weights` where values fall are negated."""
    thresholds = np.empty((len(weights), stage.stairs.count), np.int64)
    for channel, row in enumerate(weights):
        reach, found = reachable(stage, row), list[Toggles]()
        begins = stage.stairs.steps[channel % len(stage.stairs.steps)]
        falls, sure = _closely(stage, channel, [place for place, _ in begins])
        for (place, behind), first in zip(begins, sure, strict=True):
            if first is not None:
                found.append((falls, [first]))
                continue
            question = Line(False, ((Surd.of(place), behind),))
            line, flipped = _back(stage, question, channel)
            if flipped:
                raise (stage.pooling or stage.node).fail(
                    f"pools in front of what falls in channel {channel}, to several bits: the maximum "
                    "becomes a minimum; pool behind the quantiser"
                )
            sums = _sums(stage, line, channel)
            # As they are, also where no sum reaches them.
            start, places = (line.start, sums) if len(sums) == 1 else _toggles(line.start, sums, reach)
            found.append((start, places))
        falls = {start for start, places in found if places}
        if len(falls) > 1 or any(len(places) > 1 for _, places in found):
            raise _bent(stage, channel).fail(
                f"channel {channel} rises and falls: it is not monotone, and the thresholds of a code cannot "
                "stand for it; use a function that rises, as Relu or Clip"
            )
        for step, (start, places) in enumerate(found):
            first = (ALWAYS if start else NEVER) if not places else 1 - places[0] if start else places[0]
            thresholds[channel, step] = min(max(first, ALWAYS), NEVER)
        if True in falls and not _negated(stage, row, channel):  # not (s >= T) is -s >= 1 - T
            thresholds[channel] = np.clip(1 - thresholds[channel, ::-1], ALWAYS, NEVER)
    return thresholds


def _closely(stage: Stage, channel: int, places: list[Fraction]) -> tuple[bool, list[int | None]]:
    """Whether a channel falls, and the smallest sum behind each place, where floats are sure of it.

    Where rounding may lead to an integer, or across one, it is None; so it is behind what is not affine.
    """
    unsure: tuple[bool, list[int | None]] = False, [None] * len(places)
    maps = [function for _, function in stage.form.maps]
    if stage.pooled_first:
        return unsure
    falls, unit = False, 4 * float(np.finfo(np.float64).eps)
    slack = float(_slack(stage, channel)) * (1 + unit)
    try:
        x = np.array([float(place) for place in places])
        error = unit * np.abs(x)
        for function in reversed(maps):
            if not isinstance(function, Linear):
                return unsure
            gamma, mean, beta, square = map(float, function.at(channel))
            if not (_SMALL < abs(gamma) < 1 / _SMALL and _SMALL < square < 1 / _SMALL):
                return unsure
            factor = square**0.5 / gamma
            error = (error + unit * (np.abs(x) + abs(beta))) * abs(factor)
            x = (x - beta) * factor
            error += unit * (2 * np.abs(x) + abs(mean))
            x, falls = x + mean, falls != (gamma < 0)
    except OverflowError:
        return unsure
    below = np.floor(x)
    sure = (np.minimum(x - below, below + 1 - x) > 2 * error + slack) & (np.abs(x) < 1 << 50)
    return falls, [int(one) + 1 if good else None for one, good in zip(below, sure, strict=True)]


def _negated(stage: Stage, row: NDArray[np.int8], channel: int) -> bool:
    """Negate a row of weights, if 8 bits hold that; else the channel is turned around behind the layer."""
    if (row == LOWEST).any():
        stage.turned.append(channel)
        return False
    row *= -1
    return True


def unturned(stage: Stage, node: Node) -> None:
    """Refuse channels that another layer would turn around, for what a node does.

    Raises
    ------
    ImportFailedError
    """
    if stage.turned:
        raise node.fail(
            f"follows weights of {LOWEST}, whose negatives 8 bits do not hold, in channel {stage.turned[0]} "
            f"of {stage.node.label}, which falls; use narrow weights"
        )


def reachable(stage: Stage, row: NDArray[np.int8]) -> tuple[int, int, int]:
    """Return the smallest and the largest sum of a row of weights, and the step between sums."""
    reads, taps = stage.reads, row.size
    plus, minus = (int(part.sum(dtype=np.int64)) for part in (row[row > 0], -row[row < 0].astype(np.int64)))
    times = reads.places[0].size // taps if reads.sums else 1
    low, high = reads.least * times, reads.most * times
    odd = reads.bits == 1 and not reads.sums and not (any(stage.padding) and stage.pad_value == 0)
    return plus * low - minus * high, plus * high - minus * low, 2 if odd else 1


def _questions(stage: Stage) -> list[Line]:
    """Where the bit is 1; twice, with 0 and without, if sign(0) is neither value: no sum may tell them."""
    assert stage.table is not None
    low, zero, high = stage.table
    choices = [zero == max(low, high)] if zero in (low, high) else [True, False]
    if high > low:
        return [Line(False, ((ZERO, not inside),)) for inside in choices]
    return [Line(True, ((ZERO, inside),)) for inside in choices]


def _back(stage: Stage, line: Line, channel: int) -> tuple[Line, bool]:
    """The sums of a channel that give bit 1, and whether its bits are complemented to pool them."""
    maps, flipped = stage.form.maps, False
    for position in range(len(maps), -1, -1):
        if stage.pooled_first and position == stage.form.pooled_at:
            if len(line.cuts) > 1:
                raise _bent(stage, channel).fail(
                    f"stands behind a pooling and is not monotone in channel {channel}: one threshold cannot "
                    "stand for it"
                )
            if line.start and line.cuts:
                line, flipped = line.complement(), True
        if position:
            node, function = maps[position - 1]
            try:
                line = function.before(line, channel)
            except UndecidedError as error:
                raise (node or stage.node).fail(f"channel {channel}: {error}") from None
    return line, flipped


def _sums(stage: Stage, line: Line, channel: int) -> list[int]:
    """The smallest integer behind each cut."""
    result, slack = [], _slack(stage, channel)
    for value, behind in line.cuts:
        try:
            floor, whole = replace(value, slack=value.slack + slack).floor()
        except UndecidedError as error:
            if slack:
                raise _close(stage, channel, value) from None
            raise _bent(stage, channel).fail(f"channel {channel}: {error}") from None
        result.append(floor if whole and not behind else floor + 1)
    return result


def _slack(stage: Stage, channel: int) -> Fraction:
    """By how much a channel's sum may differ from that of weights as they are stored."""
    shares = stage.node.attributes.get("slack", [])
    share = shares[channel % len(shares)] if shares else Fraction(0)
    if not share:
        return share
    reads, row = stage.reads, stage.node.attributes["weights"][channel]
    times = reads.places[0].size // row.size if reads.sums else 1
    ends = (reads.scale * value * times + reads.offset for value in (reads.least, reads.most))
    most = max(abs(end) for end in ends) / abs(reads.scale)
    return share * most * int(np.abs(row.astype(np.int64)).sum())


def _close(stage: Stage, channel: int, value: Surd) -> ImportFailedError:
    return stage.node.fail(
        f"weights of output {channel} are integers times a step but for the rounding of floats, and a sum of "
        f"{value.nearest():.6g} steps, where the sign or level changes, is so near to an integer that it may "
        "turn there; let a Quant node or DequantizeLinear give them, which tells the integers"
    )


def _toggles(start: bool, sums: list[int], reach: tuple[int, int, int]) -> Toggles:
    """Whether the smallest sum gives 1, and the reachable sums from which on that changes."""
    low, high, step = reach
    places: list[int] = []
    for first in sums:
        place = max(first, low)
        place += (low - place) % step
        if place == low:
            start = not start
        elif places and places[-1] == place:
            places.pop()
        elif place <= high:
            places.append(place)
    return start, places


def _undecided(channel: int, answers: list[Toggles]) -> str:
    (start, first), (other, second) = answers
    differing = sorted(set(first) ^ set(second))
    if start != other and not differing:
        return f"channel {channel} is always exactly 0 before the sign, and sign(0) is not +-1"
    place = f"{differing[0]}" if start == other else "the smallest value"
    return (
        f"channel {channel}: a sum of {place} gives exactly 0 before the sign, and sign(0) is not +-1; "
        "compare x >= 0 in the framework instead"
    )


def _bent(stage: Stage, channel: int) -> Node:
    """The node that makes a channel rise and fall, or the last that no affine map stands for."""
    bends = [
        (node, function) for node, function in stage.form.maps if node and function.bounds != (None, None)
    ]
    wrong = [node for node, function in stage.form.maps if node and function.falls(channel) is None]
    return wrong[0] if wrong else bends[-1][0] if bends else stage.node
