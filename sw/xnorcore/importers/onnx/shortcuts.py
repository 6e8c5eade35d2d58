"""Signs that are added to sums around a product: the product reads them already, so that they are a weight.

The sign of F s + C + x, where x has two values, is a comparison of the sum s with one threshold for each of
them. With weights of m more at the tap that is x, one threshold T does: s + m x >= T, where m is half of the
difference of the two. Where that is odd, and sums have either parity, everything counts twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...folding.fold import ALWAYS, NEVER
from .graph import Node
from .maps import Shortcut
from .shapes import Window
from .signal import Stage
from .solve import reachable, solve, unturned
from .walk import Walk

_LOWEST, _HIGHEST = -128, 127
"""Weights have at most 8 bits."""


def shortcut(walk: Walk, other: Walk, node: Node) -> Walk:
    """Take a node that adds the signs of one path to the sums of another; return the walk behind it.

    Raises
    ------
    ImportFailedError
        If the product of these sums does not read these signs, at the same places.
    """
    stage, levels = walk.stage, other.levels
    assert levels is not None and levels.bits == 1
    way = "quantise what both branches give to 2 bits or more, in steps of one scale"
    if stage.reads.giver is not levels.giver or stage.reads.sums or levels.sums or levels.pads:
        raise node.fail(
            f"adds signs to the sums of {stage.node.label}, which reads others: only the signs that a "
            f"product reads itself can be added to its sums; {way}"
        )
    if stage.pool is not None or stage.placed is not None or stage.form.shortcut is not None:
        raise node.fail(
            f"adds signs to the sums of {stage.node.label} behind pooling, values for each place or other "
            f"signs; add them right behind the product or its batch norm, once, or {way}"
        )
    weights = stage.node.attributes["weights"]
    window: Window | None = stage.node.attributes.get("window")
    conv = window is not None
    same = np.array_equal(walk.index, levels.index) if conv else walk.index.shape == levels.index.shape
    if not same or (window is not None and window.stride != (1, 1)):
        raise node.fail(
            f"adds signs to the sums of {stage.node.label} that are no map of the same size and order; use a "
            f"stride of 1, padding that keeps the size, and as many channels, or {way}"
        )
    taps = np.empty(len(weights), np.int64)
    if conv:
        taps[:] = np.ravel_multi_index((stage.padding[0], stage.padding[2], 0), weights.shape[1:])
        taps += np.arange(len(weights))
    else:
        taps[walk.index[0].ravel()] = levels.index[0].ravel()
    values = levels.offset - levels.scale, levels.offset + levels.scale
    stage.form.bend(node, Shortcut(node, values, tuple(taps.tolist())))
    stage.nodes.extend(other.pending)
    walk.name(node, "signs that it reads, added as weights")
    walk.scores = node.outputs[0]
    return walk


def solved(stage: Stage) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return what `solve` does, of a stage with or without a `Shortcut`.

    Raises
    ------
    ImportFailedError
        Also if the weight that it becomes has more than 8 bits, or several steps follow it.
    """
    added = stage.form.shortcut
    if added is None:
        return solve(stage)
    if stage.stairs is not None:
        raise added.node.fail(
            "adds signs to sums in front of a quantiser of several bits; quantise both branches to 2 bits or "
            "more, in steps of one scale"
        )
    if stage.placed is not None:
        raise stage.placed.fail(f"has a value for each place of a map behind {added.node.label}")
    chosen = [replace(stage, form=stage.form.chosen(value)) for value in added.values]
    sides = [solve(one) for one in chosen]
    for one in chosen:
        unturned(one, added.node)
    weights = np.empty_like(sides[0][0])
    thresholds, mask = np.empty(len(weights), np.int64), np.empty(len(weights), np.bool_)
    for channel, tap in enumerate(added.taps):
        limits = [int(found[channel]) for _, found, _ in sides]
        # The side that the sum decides says how the row is turned; one that is constant can be either.
        side = 1 if limits[0] in (ALWAYS, NEVER) else 0
        mask[channel] = sides[side][2][channel]
        if sides[1 - side][2][channel] != mask[channel]:
            limits[1 - side] = ALWAYS if limits[1 - side] == NEVER else NEVER
        row = sides[side][0][channel]
        low, high, step = reachable(stage, row)
        limits = [min(max(limit, low), high + step) for limit in limits]
        if {*limits} <= {low, high + step}:  # no sum matters
            limits, row = [int(limit != low) for limit in limits], np.zeros_like(row)
            low, high, step = 0, 0, 1
        limits = [limit + (low - limit) % step for limit in limits]
        if (limits[0] - limits[1]) % 2 and high + step in limits:  # never is so farther away, too
            limits[limits.index(high + step)] += 1
        elif (limits[0] - limits[1]) % 2 and low in limits:
            limits[limits.index(low)] -= 1
        apart = limits[0] - limits[1]
        twice = apart % 2 + 1
        new = twice * row.astype(np.int64)
        new.reshape(-1)[tap] += apart * twice // 2
        weight = int(new.reshape(-1)[tap])
        if not _LOWEST <= weight <= _HIGHEST:
            raise added.node.fail(
                f"channel {channel}: with what it adds, the sign turns at sums of {limits[1]} and "
                f"{limits[0]}, which makes a weight of {weight}, but weights are {_LOWEST} to {_HIGHEST}; a "
                "larger scale of the batch norm in front, or a smaller one of what is added, helps"
            )
        weights[channel] = new
        thresholds[channel] = sum(limits) * twice // 2
    return weights, thresholds, mask
