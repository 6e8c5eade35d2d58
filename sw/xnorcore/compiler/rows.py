"""Maps of few channels as kernel rows (`xnorcore.isa.packed`): who writes and who reads them, and how.

A convolution of three columns reads such a row in a word, or in two, instead of a word for each tap. Beside
the map are bits of 0, which are padding of -1. Where padding is to count as nothing, the first and the last
position of a row have weights of their own: in the lanes of what is outside they alternate, and cancel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..isa.descriptor import Nest, Padding, Place
from ..isa.device import DeviceConfig
from ..isa.packed import field_bits, row_columns
from ..isa.scales import unit_words
from ..model.layers import Conv2d
from .copies import copies_of
from .finish import finish
from .lower import lanes_of, lower_conv
from .nest import Lowered, Positions, Region
from .plan import Plan, Step
from .scaled import Scaled

__all__ = ["as_rows", "lower_map", "lower_rows", "rows_of"]

_MOST_SHORT = 32
"""Words of a position in the results unit, beyond which none are left out: their number has five bits."""


def rows_of(plan: Plan, config: DeviceConfig) -> dict[int, int]:
    """Return the signals that may be kernel rows, and the words of one.

    Parameters
    ----------
    plan : Plan
    config : DeviceConfig
    """
    if not config.packed_rows:
        return {}
    joined = {part for join in (*plan.joins.values(), *plan.inner) for part in (*join.parts, join.gives)}
    found: dict[int, int] = {}
    for step in plan.steps:
        readers = [one for one in plan.steps if one.reads == step.gives]
        # Of the network's last value there is none.
        scaled = any(isinstance(one.unit, Scaled) for one in (step, *readers))
        alone = len(readers) == 1 and step.gives not in joined and not scaled
        if alone and isinstance(step.layer, Conv2d):
            words = _words(plan, step, config)
            if words and _reads_rows(plan, readers[0], words):
                found[step.gives] = words
    return found


def _words(plan: Plan, step: Step, config: DeviceConfig) -> int:
    """Return the words of a kernel row of what a step gives; 0, there are none."""
    value, g = plan.network.values[step.gives], config.geometry
    _, across, channels = value.shape
    for words in (1, 2):
        if channels <= min(field_bits(words, g.width), g.columns):
            return words if value.bits == 1 and across >= words else 0
    return 0


def _reads_rows(plan: Plan, step: Step, words: int) -> bool:
    """Return whether a step can read kernel rows."""
    layer = step.layer
    if not isinstance(layer, Conv2d) or layer.kernel[1] != 3:
        return False
    (*around, left, right), (_, across, channels) = layer.padding, plan.network.values[step.reads].shape
    if (left, right) not in ((0, 0), (1, 1)) or (any(around) and not left):
        return False
    if not any(layer.padding) or layer.pad_value < 0:
        return True
    # Lanes that are left over would be as many as taps are inside.
    edges = _edges(layer, across)
    positions = (across + left + right - 3) // layer.stride[1] + 1
    return layer.pad_value == 0 and not channels % 2 and not step.pool and positions > sum(edges)


def _edges(layer: Conv2d, across: int) -> tuple[bool, bool]:
    """Return whether the first, and the last, position of a row has a tap outside that counts as nothing."""
    left, stride = layer.padding[2], layer.stride[1]
    if not left or layer.pad_value:
        return False, False
    return True, stride * ((across - 1) // stride) == across - 1


def as_rows(layer: Lowered, words: int, before: int, config: DeviceConfig) -> Lowered:
    """Return a layer as it writes kernel rows of so many `words`; of 0, it writes a map.

    A layer that changes values takes what the one `before` it has left: so many words of a position.
    """
    one, values, g = layer.descriptor, layer.values, config.geometry
    short = 0
    if words:
        pixel = row_columns(words, g.width)[1]
        lanes = pixel + np.arange(values.outputs)
        pixels = values.height * values.width
        one = replace(one, packed=words, out_step=words * (pixels > 1))
        layer = replace(layer, values=replace(values, pitch=words, lanes=lanes), words=pixels * words)
        most = unit_words(config) if one.adding else 0
        if 0 < most <= _MOST_SHORT:
            short = max(most - -(-field_bits(words, g.width) // config.result_lanes), 0)
    if one.adding is not None:
        most = unit_words(config)
        used = max(most - short, before if one.adding.adds else 0)
        fresh = used - before if one.adding.adds else 0
        short = most - used
        one = replace(one, adding=replace(one.adding, short=short, fresh=fresh))
    if short:
        # The last columns are those that leave the array first.
        by = short * config.result_lanes
        assert layer.scales is not None  # what changes values comes from the results unit
        moved = (np.roll(part, by, axis=0) for part in (layer.weights, layer.starts, layer.scales))
        layer = replace(layer, **dict(zip(("weights", "starts", "scales"), moved, strict=True)))
    return replace(layer, descriptor=one)


def lower_map(step: Step, source: Region, config: DeviceConfig, strips: int) -> Lowered:
    """Lower a convolution of a map, on so many `strips` if it is not one of kernel rows."""
    if source.packed:
        return lower_rows(step, source, config)
    assert isinstance(step.layer, Conv2d)
    return lower_conv(step.layer, step.pool, source, config, step.name, strips, step.unit)


def lower_rows(step: Step, source: Region, config: DeviceConfig) -> Lowered:
    """Lower a convolution of a map of kernel rows."""
    layer, words, width = step.layer, source.packed, config.geometry.width
    assert isinstance(layer, Conv2d)
    (top, bottom, left, _), (sy, sx), (ph, pw) = layer.padding, layer.stride, _windows(step)
    height, columns, _ = layer.output_shape((source.height, source.width, source.channels))
    row = source.width * words * width
    rows, edges = layer.kernel[0], _edges(layer, source.width)
    made = copies_of(layer.weights, True, step.name, config, rows * words)
    starts = row_columns(words, width)
    places = np.array([first + np.arange(source.channels) for first in starts])
    kinds = [slice(1, 3)] * edges[0] + [slice(0, 3)] + [slice(0, 2)] * edges[1]
    lanes, odd = zip(
        *(
            lanes_of(
                layer.weights[:, :, taps].reshape(layer.outputs, rows, -1), made, words, width,
                places[taps].reshape(-1),
            )
            for taps in kinds
        ), strict=True,
    )  # fmt: skip
    lowered = finish(
        layer,
        np.concatenate(lanes, axis=1),
        odd[0],
        made,
        Nest.of(run=(words, width), row=(rows, row)),
        config,
        step.name,
        planes=1,
        copies=1,
        factor=2,
        positions=Positions(height, columns, row * sy, words * width * sx),
        pool=step.pool,
        unit=step.unit,
        kinds=len(kinds),
    )
    padding = None
    if top or bottom:
        size = (source.height, source.width)
        padding = Padding(layer.pad_value, 0, top, (sy, sx), (sy * ph, sx * pw), size)
    first = Place("", (1 - left - top * source.width) * words)
    descriptor = replace(lowered.descriptor, source=first, padding=padding, edges=edges)
    return replace(lowered, descriptor=descriptor)


def _windows(step: Step) -> tuple[int, int]:
    return step.pool.stride if step.pool else (1, 1)
