"""Behind which layers a device may stop, and what can then be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..isa.device import DeviceConfig
from ..isa.program import Stop, SumsPlan, Values
from ..model.layers import has_weights
from .finish import pooled
from .layout import Layout
from .nest import Lowered
from .plan import Plan
from .scaled import Scaled

__all__ = ["stops_of"]


def stops_of(
    plan: Plan,
    lowered: Sequence[Lowered],
    layout: Layout,
    maps: Mapping[int, Values],
    config: DeviceConfig,
) -> tuple[Stop, ...]:
    """Say behind which layers a device may stop, in the order in which their results are there.

    Parameters
    ----------
    plan : Plan
    lowered : sequence of Lowered
        The plan's steps.
    layout : Layout
    maps : mapping of int to Values
        What the bits of every signal mean.
    config : DeviceConfig
    """
    stops: list[Stop] = []
    given = {step.gives: number for number, step in enumerate(plan.steps)}
    for number, (step, layer) in enumerate(zip(plan.steps, lowered, strict=True)):
        if step.whole:
            # Sums that are multiplied by K are nowhere.
            summed = has_weights(step.layer) and not isinstance(step.unit, Scaled)
            sums = _sums(layer, config) if summed else None
            region = layout.region_of[step.gives]
            stops.append(Stop(step.index, number, region, layer.values, step.plan, sums))
    for join in (one for one in (*plan.joins.values(), *plan.inner) if one.gives not in plan.added):
        number, region = max(given[part] for part in join.parts), layout.region_of[join.parts[0]]
        stops.append(Stop(join.index, number, region, maps[join.gives], join.index, None))
    return tuple(sorted(stops, key=lambda stop: (stop.number, stop.index)))


def _sums(layer: Lowered, config: DeviceConfig) -> SumsPlan:
    """Say how a layer's sums can be had: every position, and as many slices as they need."""
    values = layer.values
    loops, height, width = pooled(layer.positions, None)
    slices = values.slices or layer.reach.bit_length() + 1
    tile = slices * config.geometry.words_per_tile
    pitch = layer.tiles * tile
    columns, adding = np.arange(values.outputs), layer.descriptor.adding
    lanes = None
    if adding and adding.short:
        # The first columns have no channels.
        lanes = columns = columns + adding.short * config.result_lanes
    sums = replace(values, height=height, width=width, pitch=pitch, slices=slices, lanes=lanes, planes=1)
    return SumsPlan(loops, sums, tile, layer.start_of(columns))
