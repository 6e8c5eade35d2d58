"""What holds between the steps of compiling, checked each time: a fault of the compiler shows where it is.

========== ==================================================================================================
after      rule
========== ==================================================================================================
planning   every step reads the image or what a step, or all parts of a join, gave before it; each signal is
           given once; a part belongs to one join and nothing else reads it; the last step ends the result
lowering   a step's result has the shape of its value; channels lie in different lanes of a pixel; weights and
           start values are those of all columns and tiles, and of what the loops go over
layout     what a step reads is what was written there last, part by part, and lies inside its region; no step
           writes over its input; regions lie inside the memory, behind the images; two results behind all
cutting    the pieces of a step are all its tiles, in order, each once; no pass exceeds the buffers, no
           tile of a stream the rings
========== ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..errors import InternalError
from ..isa.device import DeviceConfig
from ..isa.stream import most_words
from .layout import Layout
from .nest import Lowered, stored_words
from .plan import IMAGE, Plan, Step
from .split import Piece
from .stream import stream_words

__all__ = ["check_cut", "check_layout", "check_plan", "check_step"]


def _hold(condition: object, message: str) -> None:
    if not condition:
        raise InternalError(f"the compiler contradicts itself: {message}; please report this network")


def check_plan(plan: Plan) -> None:
    """Check steps and joins.

    Raises
    ------
    InternalError
        For the first rule broken, as the others.
    """
    given: set[int] = {IMAGE}
    parts = [part for join in plan.joins.values() for part in join.parts]
    _hold(len(parts) == len(set(parts)), "a signal is part of two joins")
    for step in plan.steps:
        for join in plan.joins.values():
            if given.issuperset(join.parts):
                given.add(join.gives)
        _hold(step.reads in given, f"step {step.name!r} reads signal {step.reads} before it is given")
        _hold(step.reads not in parts, f"step {step.name!r} reads signal {step.reads}, a part of a join")
        _hold(step.gives not in given, f"step {step.name!r} gives signal {step.gives} a second time")
        given.add(step.gives)
    missing = set(parts) - given
    _hold(not missing, f"no step gives signals {sorted(missing)}, parts of joins")
    result, last = len(plan.network.values) - 1, plan.steps[-1].gives
    ends = last == result or (result in plan.joins and last in plan.joins[result].parts)
    _hold(ends, f"the last step gives signal {last}, and not the result {result}")


def check_step(plan: Plan, step: Step, layer: Lowered, config: DeviceConfig) -> None:
    """Check what a step has become, before another one reads its result."""
    g, values, nest = config.geometry, layer.values, layer.nest
    if step.gives < len(plan.network.values):
        shape = plan.network.values[step.gives].shape
        found = (values.height, values.width, values.outputs)[-len(shape) :]
        _hold(found == shape, f"step {step.name!r} gives {found}, but its value is {shape}")
    if not values.slices:
        lanes = layer.source.places
        apart = values.lanes is None or len(set(lanes.tolist())) == values.outputs
        _hold(apart, f"step {step.name!r} puts two channels in one lane")
        inside = lanes.min() >= 0 and lanes.max() < values.pitch * g.width
        _hold(inside, f"step {step.name!r} puts channels beyond a pixel")
    taps = prod(nest.count(name) for name in ("run", "col", "row", "copy")) * layer.descriptor.kinds
    size = (g.columns, layer.tiles * taps, g.width // 8)
    _hold(layer.weights.shape == size, f"step {step.name!r} has weights {layer.weights.shape}, not {size}")
    all_there = layer.starts.shape == (g.columns, layer.tiles, layer.levels)
    _hold(all_there, f"step {step.name!r} has not {layer.tiles} start values for each threshold")
    limit = 1 << (config.acc_width - 1)
    apart = np.diff(layer.starts, axis=-1)
    _hold(apart.max(initial=0) <= 0, f"step {step.name!r} has thresholds that do not rise")
    _hold(apart.min(initial=0) >= -limit, f"step {step.name!r} has thresholds too far apart")
    _hold(np.abs(layer.starts).max() < limit, f"step {step.name!r} starts beyond the accumulator")


def check_layout(plan: Plan, lowered: Sequence[Lowered], layout: Layout, config: DeviceConfig) -> None:
    """Follow the steps through activation memory."""
    regions = layout.regions
    bases, sizes = regions.bases, regions.sizes
    for name, (first, last) in layout.lives.items():
        start, stop = bases[name], bases[name] + regions.words(name)
        apart = name == "results" or not regions.paired or stop <= bases["results"]
        inside = regions.words("image") <= start and stop <= layout.words
        _hold(inside and apart and first <= last, f"region {name!r} lies over images or results")
    parts = {join.gives: join.parts for join in plan.joins.values()}
    # What is there: region, and words of a pixel, of each signal that was written and is still whole.
    there: dict[int, tuple[str, range]] = {}
    for step, layer in zip(plan.steps, lowered, strict=True):
        if step.reads != IMAGE:
            lost = [one for one in parts.get(step.reads, (step.reads,)) if one not in there]
            _hold(not lost, f"step {step.name!r} reads signals {lost}, which are not in the memory any more")
        name, offset = layout.region_of[step.gives], layer.descriptor.target.offset
        _hold(
            name != layout.region_of[step.reads], f"step {step.name!r} writes into the region that it reads"
        )
        pitch, taken = layer.values.pitch, stored_words(layer.values.outputs, config)
        if layer.values.slices:
            # Scores lie one behind the other, not beside each other.
            pitch, taken = layer.words, layer.values.spread
        own = range(offset, offset + taken)
        _hold(
            own.stop <= pitch and layer.words <= sizes[name], f"step {step.name!r} writes beyond its region"
        )
        mine = range(bases[name], bases[name] + sizes[name])
        for signal, (other, words) in list(there.items()):
            theirs = range(bases[other], bases[other] + sizes[other])
            if _overlap(own, words) if other == name else _overlap(mine, theirs):
                del there[signal]
        there[step.gives] = name, own
    result = len(plan.network.values) - 1
    lost = [one for one in parts.get(result, (result,)) if one not in there]
    _hold(not lost, f"signals {lost} of the result were overwritten or never written")


def check_cut(
    passes: Sequence[Sequence[Piece]], lowered: Sequence[Lowered], config: DeviceConfig, stream: bool = False
) -> None:
    """Check the pieces of each pass, whose weights are a `stream` or fit the buffers."""
    tiles = [0] * len(lowered)
    behind = 0
    for pieces in passes:
        weights = starts = 0
        for piece in pieces:
            name = f"step {piece.index}"
            _hold(piece.index >= behind and piece.tiles > 0, f"{name} is cut out of order")
            _hold(
                piece.first == tiles[piece.index],
                f"{name} goes on at tile {piece.first}, not {tiles[piece.index]}",
            )
            behind = piece.index
            tiles[piece.index] += piece.tiles
            weights += piece.weight_words.stop - piece.weight_words.start
            starts += piece.start_words.stop - piece.start_words.start
        fits = weights <= config.weight_depth and starts <= config.threshold_depth
        if stream:
            sizes = [piece.layer.weights.shape[1] // piece.layer.tiles for piece in pieces]
            fits = stream_words(pieces, config) <= config.store_words and max(sizes) <= most_words(config)
        _hold(fits, f"a pass has {weights} words of weights and {starts} start values per column")
    _hold(tiles == [layer.tiles for layer in lowered], "the passes leave tiles out")


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
