"""Additions of branches, and comparisons of what is quantised already: products with weights of 1 and 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from ...model.limits import MOST_STEPS
from .bends import MONOTONE
from .canonical import AFFINE, NORM, POOL
from .graph import Node
from .reading import conv, dense, quantised
from .shapes import Window
from .signal import Joined, Levels
from .stairs import stairs_of
from .steps import STEP
from .tensors import elements
from .walk import Walk
from .weights import CONV, DENSE

__all__ = ["add", "compared"]

QUANTISERS = ("Quant", "IntQuant", "MultiThreshold")


def add(walks: Sequence[Walk], node: Node) -> Walk:
    """Take an Add node of two paths; return the walk behind it.

    Raises
    ------
    ImportFailedError
        If these are no values of several bits, of one shape, in steps of one size.
    """
    one, two = (_part(walk, node) for walk in walks)
    if one.shape != two.shape or not np.array_equal(one.index, two.index):
        raise node.fail(
            f"adds values of the shapes {one.shape} and {two.shape}, or in another order; both branches must "
            "have one shape"
        )
    if one.scale != two.scale:
        raise node.fail(
            f"adds values in steps of {float(one.scale):.9g} to values in steps of {float(two.scale):.9g}, "
            "which have no exact sum in integers; give both branches one quantiser"
        )
    top, offset = one.most + two.most, one.offset + two.offset
    if top > MOST_STEPS:
        raise node.fail(f"gives {top + 1} levels, the limit is {MOST_STEPS + 1}: 8 bits; quantise to fewer")
    walk = walks[0].fork()
    walk.shared = False
    walk.pending = [name for each in walks for name in each.pending] + [node.name]
    walk.levels = Levels(
        node.outputs[0], one.scale, offset, top.bit_length(), one.shape, one.index, top=top,
        origin=(one.scale, offset), places=one.index, giver=Joined(node, (one, two)),
    )  # fmt: skip
    walk.scores = node.outputs[0]
    return walk


def _part(walk: Walk, node: Node) -> Levels:
    levels = quantised(walk, node)
    if levels.bits == 1:
        raise node.fail(
            "adds values of one bit, but sums of branches are of 2 bits and more: quantise them so"
        )
    if levels.sums or levels.pads:
        raise node.fail("adds values that are averaged or padded; add what the quantisers give")
    return levels


def compared(walk: Walk, node: Node) -> bool:
    """Begin a stage that hands on each value, where a node asks more of values of several bits than a scale.

    Behind an addition that is all that ends a stage, and pooling; behind a stage, a second quantiser.
    Return whether the node is taken: a quantiser that gives just what it reads is left out.
    """
    levels = walk.levels
    if levels is None or levels.bits == 1 or levels.sums or levels.giver is None:
        return False
    if node.op in QUANTISERS and _same(levels, node, walk):
        walk.pending.append(node.name)
        return True
    joined = levels.giver if isinstance(levels.giver, Joined) else None
    wide = node.op == AFFINE and max(len(node.attributes[key]) for key in ("scale", "offset")) > 1
    if node.op in QUANTISERS or (joined and (wide or node.op in (NORM, MONOTONE, STEP, POOL))):
        _handed_on(walk, joined.node if joined else node)
    return False


def _handed_on(walk: Walk, node: Node) -> None:
    """Begin a stage with weights of 1 for a channel itself and 0 for others, named after a node."""
    levels = walk.levels
    assert levels is not None
    if levels.pads:
        raise node.fail("quantises padded values again; pad behind the last quantiser")
    channels = levels.shape[-1]
    elements((channels, channels), node.label)
    attributes: dict[str, Any] = {
        "weights": np.eye(channels, dtype=np.int8), "scale": [Fraction(1)] * channels, "bias": None,
        "source": node.attributes.get("source", node.op),
    }  # fmt: skip
    made = Node(DENSE, node.name, node.inputs, node.outputs, attributes)
    if len(levels.shape) == 1:
        dense(walk, made)
        return
    attributes["weights"] = attributes["weights"].reshape(channels, 1, 1, channels)
    attributes["window"] = Window(Node("Conv", node.name, (), ()), levels.shape[:2], (1, 1))
    conv(walk, replace(made, op=CONV))


def _same(levels: Levels, node: Node, walk: Walk) -> bool:
    """Whether a quantiser gives just the values that it reads, and has no other levels."""
    found = stairs_of(node, walk)
    if (found.unit, found.first, found.count) != (levels.scale, levels.offset, levels.most):
        return False
    for code in range(levels.most + 1):
        value = levels.offset + levels.scale * code
        for steps in found.steps:
            reached = sum(place < value or (place == value and not behind) for place, behind in steps)
            if reached != code:
                return False
    return True
