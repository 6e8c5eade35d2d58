"""Branches that join, and comparisons of what is quantised already: products with weights of 1 and 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief
from ...model.limits import MOST_JOINED, MOST_STEPS
from .bends import MONOTONE
from .bitsums import added_bits, as_code, is_sum
from .canonical import AFFINE, NORM, POOL
from .graph import Node
from .reading import conv, dense, quantised
from .shapes import Window
from .shortcuts import shortcut
from .signal import Joined, Levels, UnequalSteps
from .stairs import stairs_of
from .steps import STEP
from .tensors import elements
from .walk import Walk
from .weights import CONV, DENSE

__all__ = ["JOINS", "compared", "handed_on"]

QUANTISERS = ("Quant", "IntQuant", "MultiThreshold")


def add(walks: Sequence[Walk], node: Node) -> Walk:
    """Take an Add node of two paths; return the walk behind it.

    It may also add the signs that a product reads to its sums.

    Raises
    ------
    ImportFailedError
        If these are no values of one shape, all of one bit or all of several, in steps that are small
        multiples of one.
    """
    sums = [walk for walk in walks if walk.levels is None and not walk.stage.gathers]
    signs = [walk for walk in walks if walk.levels is not None and walk.levels.bits == 1]
    if sums and signs:
        return shortcut(sums[0], signs[0], node)
    one, two = (_part(walk, node) for walk in walks)
    bits = all(part.bits == 1 or is_sum(part) for part in (one, two))
    one, two = (as_code(part) for part in (one, two)) if bits else (_as_codes(walk, node) for walk in walks)
    for part in () if bits else (one, two):
        if part.bits == 1:
            low, high = (float(part.offset + side * part.scale) for side in (-1, 1))
            raise node.fail(
                f"adds values of one bit, {low:g} and {high:g}, which are all that "
                f"{brief(part.tensor, 60)} gives, to values of several; quantise both branches to several, "
                "behind Relu without sign (signed=0), or both to one"
            )
    if one.shape != two.shape:
        raise node.fail(
            f"adds values of the shapes {one.shape} and {two.shape}; both branches must have one shape, so "
            "give them as many channels, rows and columns"
        )
    if not np.array_equal(one.index, two.index):
        raise node.fail(
            f"adds values of the shape {one.shape} in another order; transpose or reshape both branches "
            "alike, or behind the addition"
        )
    unit, times, excess = _common(one, two, node)
    if bits and excess:
        raise node.fail(str(excess).removeprefix(f"{node.label}: "))
    top = sum(each * part.most for each, part in zip(times, (one, two), strict=True))
    offset, parts = one.offset + two.offset, (one, two)
    if bits:
        parts, times = added_bits(parts, times, node)
    levels = Levels(
        node.outputs[0], unit, offset, top.bit_length(), one.shape, one.index, top=top,
        origin=(unit, offset), places=one.index, giver=Joined(node, parts, times, excess=excess, bits=bits),
    )  # fmt: skip
    return _behind(walks, node, levels)


def concat(walks: Sequence[Walk], node: Node) -> Walk:
    """Take a Concat node of several paths; return the walk behind it.

    Raises
    ------
    ImportFailedError
        If these are no maps of one size, or vectors, of values with one scale and offset.
    """
    parts = [_as_codes(walk, node) for walk in walks]
    first = parts[0]
    for part in parts[1:]:
        if len(part.shape) != len(first.shape) or part.shape[:-1] != first.shape[:-1]:
            raise node.fail(
                f"joins values of the shapes {first.shape} and {part.shape}; put together maps of one height "
                "and width, or vectors"
            )
        if (part.scale, part.offset, part.bits == 1) != (first.scale, first.offset, first.bits == 1):
            steps = [
                f"from {float(one.offset):.9g} in steps of {float(one.scale):.9g}"
                for one in map(as_code, (first, part))
            ]
            raise node.fail(
                f"joins values {steps[0]} and values {steps[1]}, which no product reads together; give all "
                "branches one quantiser"
            )
    sides, axis = _side_by_side(parts), node.integer("axis", 1)
    if not -sides[0].ndim <= axis < sides[0].ndim:
        raise node.fail(f"has axis {axis}, but its inputs have {sides[0].ndim} axes; join channels, axis 1")
    if axis % sides[0].ndim == 0:
        raise node.fail(f"has axis {axis}, which is the batch; join channels, axis 1")
    index = np.concatenate(sides, axis=axis)
    top = max(part.most for part in parts)
    bits = 1 if first.bits == 1 else top.bit_length()
    shape = (*first.shape[:-1], sum(part.shape[-1] for part in parts))
    levels = replace(
        first, tensor=node.outputs[0], bits=bits, shape=shape, index=index, top=0 if bits == 1 else top,
        origin=(first.scale, first.offset), places=index,
        giver=Joined(node, tuple(parts), (1,) * len(parts)),
    )  # fmt: skip
    return _behind(walks, node, levels)


def _side_by_side(parts: Sequence[Levels]) -> list[NDArray[np.int64]]:
    """Return each part's `Levels.index`, as places of all parts' channels together."""
    channels = sum(part.shape[-1] for part in parts)
    found, before = [], 0
    for part in parts:
        pixel, channel = np.divmod(part.index, part.shape[-1])
        found.append(pixel * channels + before + channel)
        before += part.shape[-1]
    return found


def _behind(walks: Sequence[Walk], node: Node, levels: Levels) -> Walk:
    walk = walks[0].fork()
    walk.shared = False
    walk.pending = [name for each in walks for name in each.pending] + [node.name]
    walk.levels, walk.index, walk.scores = levels, levels.index, node.outputs[0]
    return walk


JOINS = {"Add": add, "Concat": concat}
"""What takes a node that joins paths."""


def _common(
    one: Levels, two: Levels, node: Node
) -> tuple[Fraction, tuple[int, int], ImportFailedError | None]:
    """Return the largest step that divides both values' exactly, and how many of it each one's are.

    Also why the sums cannot be read unless they saturate, if they cannot.
    """
    ratio = one.scale / two.scale
    times = ratio.numerator, ratio.denominator
    steps = f"values in steps of {float(one.scale):.9g} to values in steps of {float(two.scale):.9g}"
    if ratio < 0:
        raise node.fail(
            f"adds {steps}, of which one falls where the other rises; multiply both by numbers of one sign"
        )
    levels = times[0] * one.most + times[1] * two.most + 1
    if sum(times) <= MOST_JOINED and levels <= MOST_STEPS + 1:
        return one.scale / times[0], times, None
    if ratio == 1:
        excess = node.fail(
            f"gives {levels} levels, the limit is {MOST_STEPS + 1}: 8 bits; quantise to fewer, or behind it "
            "to 8 bits in the same steps"
        )
        return one.scale, times, excess
    near = ratio.limit_denominator(MOST_JOINED)
    close = near != ratio and abs(near - ratio) < ratio / 10**4
    nearly = f" (nearly {near.numerator} to {near.denominator})" if close else ""
    reason = node.fail(
        f"adds {steps}, exactly {_brief(times[0])} to {_brief(times[1])}{nearly}: in integers it counts "
        f"{_brief(sum(times))} values and has {_brief(levels)} levels, the limits are {MOST_JOINED} and "
        f"{MOST_STEPS + 1}; give both branches one quantiser, or scales of an exact, small ratio"
    )
    excess = UnequalSteps(str(reason), one, two)
    if sum(times) > MOST_JOINED:
        raise excess
    return one.scale / times[0], times, excess


def _brief(number: int) -> str:
    return str(number) if number < 10**6 else f"more than 2^{number.bit_length() - 1}"


def _part(walk: Walk, node: Node) -> Levels:
    levels = quantised(walk, node)
    if levels.sums or levels.pads:
        raise node.fail("joins values that are averaged or padded; join what the quantisers give")
    return levels


def _as_codes(walk: Walk, node: Node) -> Levels:
    """Return what a path gives; sums of bits as codes of a stage of their own."""
    levels = _part(walk, node)
    if not is_sum(levels):
        return levels
    assert isinstance(levels.giver, Joined)
    handed_on(walk, levels.giver.node, selects=True)
    return _part(walk, node)


def compared(walk: Walk, node: Node) -> bool:
    """Begin a stage that hands on each value, where a node asks more of values of several bits than a scale.

    Behind an addition that is all that ends a stage, and pooling; behind a stage, a second quantiser;
    behind an average over a map, all but pooling.
    Return whether the node is taken: a quantiser that gives just what it reads is left out.
    """
    levels = walk.levels
    if levels is None or levels.giver is None:
        return False
    joined = levels.giver if isinstance(levels.giver, Joined) else None
    if joined and joined.node.op == "Concat" and node.op == POOL:
        raise node.fail(f"pools what {joined.node.label} puts together; pool in front of it")
    wide = node.op == AFFINE and max(len(node.attributes[key]) for key in ("scale", "offset")) > 1
    if levels.sums:
        if wide or node.op in (*QUANTISERS, NORM, MONOTONE, STEP):
            handed_on(walk, node)
        return False
    if levels.bits == 1:
        return False
    shift = _shift(levels, node, walk) if node.op in QUANTISERS else None
    if shift is not None:
        count = len(stairs_of(node, walk).steps[0])
        if shift <= 0 and levels.most - shift <= count:
            walk.pending.append(node.name)
            return True
        if joined and joined.node.op == "Add" and joined.most is None and not joined.bits:
            _saturated(walk, node, shift, count)
            return True
    asked = wide or node.op in (*QUANTISERS, STEP, NORM, MONOTONE)
    if asked or (joined and node.op == POOL):
        handed_on(walk, joined.node if joined else node)
    return False


def _saturated(walk: Walk, node: Node, shift: int, count: int) -> None:
    """Take a quantiser of sums whose lowest level is the sum `shift`, and the highest `count` above it."""
    levels = walk.levels
    assert levels is not None and isinstance(levels.giver, Joined)
    first, top = levels.offset + levels.scale * shift, min(levels.most - shift, count)
    joined = replace(levels.giver, offset=shift, most=count, excess=None)
    walk.pending.append(node.name)
    walk.levels = replace(
        levels, tensor=node.outputs[0], offset=first, bits=top.bit_length(), index=walk.index, top=top,
        origin=(levels.scale, first), places=walk.index, giver=joined,
    )  # fmt: skip


def handed_on(walk: Walk, node: Node, **more: Any) -> None:
    """Begin a stage with weights of 1 for a channel itself and 0 for others, named after a node.

    `more` are attributes of its node.
    """
    levels = walk.levels
    assert levels is not None
    if levels.pads:
        raise node.fail("quantises padded values again; pad behind the last quantiser")
    channels = levels.shape[-1]
    elements((channels, channels), node.label)
    attributes: dict[str, Any] = {
        "weights": np.eye(channels, dtype=np.int8), "scale": [Fraction(1)] * channels, "bias": None,
        "source": node.attributes.get("source", node.op), **more,
    }  # fmt: skip
    made = Node(DENSE, node.name, node.inputs, node.outputs, attributes)
    if len(levels.shape) == 1:
        one = walk.index.shape[2:] == (1, 1)
        if one:
            walk.index = walk.index[:, :, 0, 0]
        dense(walk, made)
        if one:
            walk.index = walk.index[:, :, np.newaxis, np.newaxis]
        return
    attributes["weights"] = attributes["weights"].reshape(channels, 1, 1, channels)
    attributes["window"] = Window(Node("Conv", node.name, (), ()), levels.shape[:2], (1, 1))
    conv(walk, replace(made, op=CONV))


def _shift(levels: Levels, node: Node, walk: Walk) -> int | None:
    """Which of the values, counted from their lowest, is the lowest level of a quantiser with their steps.

    It gives each value of its range as it is, and its ends for those beyond. None, if it does something else.
    """
    found = stairs_of(node, walk)
    shift = (found.first - levels.offset) / levels.scale
    if found.unit != levels.scale or shift.denominator != 1:
        return None
    for steps in found.steps:
        for code, (place, behind) in enumerate(steps, 1):
            value = found.first + found.unit * code
            reached = place < value or (place == value and not behind)
            if not reached or not (place > value - found.unit or (place == value - found.unit and behind)):
                return None
    return int(shift)
