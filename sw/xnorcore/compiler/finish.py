"""The end of every lowering: weights, start values and the loops over positions of a layer."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError
from ..isa.codes import start_words
from ..isa.descriptor import Descriptor, Nest, Place, Strips
from ..isa.device import DeviceConfig
from ..isa.places import Adding
from ..isa.program import Values
from ..isa.scaling import Scaling
from ..model.layers import Conv2d, Dense, MaxPool2d
from .chains import InPlace
from .copies import Copies
from .nest import Lowered, Positions, stored_words
from .rescale import NOTHING, Scales, scales_at_once, scales_for
from .scaled import Scaled, Unit

__all__ = ["finish", "pooled"]

_ONE = Positions(1, 1, 0, 0)


def pooled(positions: Positions, pool: MaxPool2d | None) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Return the loops over positions and pooling windows, and height and width of the result map."""
    (wh, ww), (ph, pw) = (pool.window, pool.stride) if pool else ((1, 1), (1, 1))
    height, width = (positions.height - wh) // ph + 1, (positions.width - ww) // pw + 1
    loops = {
        "win_x": (ww, positions.across),
        "win_y": (wh, positions.down),
        "x": (width, positions.across * pw),
        "y": (height, positions.down * ph),
    }
    return loops, height, width


def finish(
    layer: Dense | Conv2d,
    lanes: NDArray[np.uint8],
    odd: int,
    made: Copies,
    nest: Nest,
    config: DeviceConfig,
    name: str,
    *,
    planes: int,
    copies: int,
    factor: int,
    positions: Positions = _ONE,
    pool: MaxPool2d | None = None,
    strips: int = 1,
    most: int = 1,
    unit: Unit | None = None,
    kinds: int = 1,
) -> Lowered:
    """Make weights, start values and the loops over positions of a layer, the end of every lowering.

    The accumulator counts s, the sum over all beats of (dot + odd) / 2, `planes` doubling and `copies`
    adding up, where odd is the number of lanes that are left over. Weights are `made` of signs. Planes of
    codes are as far apart as those of a layer of `most` strips, so that codes of one size lie alike.
    The results unit does more than make codes if there is a `unit`. There are `kinds` of positions.
    """
    g, (outputs, words, width) = config.geometry, lanes.shape
    tiles = -(-outputs // g.columns)
    offset, half = _counted(layer, words // kinds * width // made.count, odd, made, planes, copies, factor)
    factor, offset, scale = _reduced(factor, offset, made.scale)
    bits = max(layer.steps.bit_length(), 1)
    starts = _starts(layer, (tiles * g.columns, start_words(bits)), offset, half, factor, scale)
    slices = half.bit_length() + 1 if layer.thresholds is None else 0
    loops, height, across = pooled(positions, pool)
    strip, spread = -(-height // strips), strips > 1 and height > 1
    nest = nest.with_loops(
        **{**loops, "y": (strip, loops["y"][1])}, copy=(made.count, 0), tile=(tiles, nest.step("tile"))
    )
    bounds, turns = -starts[: layer.outputs, : layer.steps], g.rows if spread else 1
    scales = _scales(bounds, (half, scale), nest, turns, made.shift > 0, config, name, unit)
    if isinstance(unit, Scaled) and not scales:
        scales = unit.scales(layer, factor, offset, planes)
    if scales:
        starts = _padded(scales.starts, tiles * g.columns)[:, np.newaxis]
    acc_bits = _acc_bits(starts, half, slices, config, name)
    bits, adding, scaling, empty = _more(unit, bits)
    result = tiles * slices * g.words_per_tile if slices else stored_words(outputs, config)
    plane = _rows(height, most if bits > 1 else strips) * across * result
    apart, further = plane if bits > 1 else 0, _further(1 if scales else bits, slices > 0, made, config)
    descriptor = Descriptor(
        nest,
        Place(""),
        out_step=result - max(slices - 1, 0) * g.words_per_tile if height * across > 1 else 0,
        out_tile=(slices or 1) * g.words_per_tile,
        slices=slices,
        double=planes > 1 or made.twice > 0,
        bits=bits,
        plane=apart,
        single=made.single,
        four=made.four,
        row_sum=made.shift > 0,
        rescaled=scales is not None,
        adding=adding,
        scaling=scaling,
        strips=Strips(strip * loops["y"][1] // width, strip * across * result) if spread else None,
    )
    return Lowered(
        descriptor,
        _stored(lanes, tiles, g.columns, made.shift > 0),
        starts.reshape(tiles, g.columns, -1).transpose(1, 0, 2),
        tiles,
        Values(height, across, result, outputs, slices, factor, offset, None, bits, apart, scale),
        bits * plane,
        positions,
        half,
        nest.beats,
        prod(nest.count(loop) for loop in ("tile", "y", "x", "win_x", "win_y")) * further,
        acc_bits,
        scales and scales.stored(tiles, g.columns, empty),
    )


def _scales(
    bounds: NDArray[np.int64],
    sums: tuple[int, int],
    nest: Nest,
    turns: int,
    row_sum: bool,
    config: DeviceConfig,
    name: str,
    unit: Unit | None,
) -> Scales | None:
    """Return what the results unit makes codes with, if it does; parameters as of `scales_for`."""
    if bounds.shape[1] < 2 or not config.result_lanes:
        return None
    if unit is None:
        return scales_for(bounds, sums, nest, turns, row_sum, config, name)
    why = "be added to values in place" if isinstance(unit, InPlace) else "be signs and magnitudes"
    return scales_at_once(bounds, sums, config, name, why)


def _more(unit: Unit | None, bits: int) -> tuple[int, Adding | None, Scaling, int]:
    """Return what becomes of codes of so many bits: bits, addition, scaling, word of no channel."""
    if isinstance(unit, InPlace):
        return unit.bits, unit.adding, Scaling.NONE, NOTHING
    return (bits, None, unit.kind, unit.empty) if isinstance(unit, Scaled) else (bits, None, Scaling.NONE, 0)


def _reduced(factor: int, offset: NDArray[np.int64], scale: int) -> tuple[int, NDArray[np.int64], int]:
    """Return the three in the fewest units: natural sums times the scale are factor * s + offset."""
    if factor % scale == 0 and not (offset % scale).any():
        return factor // scale, offset // scale, 1
    return factor, offset, scale


def _stored(lanes: NDArray[np.uint8], tiles: int, columns: int, shifted: bool) -> NDArray[np.uint8]:
    """Return what the weight buffers hold, as `Lowered.weights`.

    Columns without a channel have weights of -1. Where a row's sum is added, or `shifted`, that would be a
    weight beyond the accumulator's reach, which no start value keeps negative: they have those of a channel.
    """
    outputs, words, width = lanes.shape
    full = np.zeros((tiles * columns, words, width), np.uint8)
    full[outputs:] = lanes[0] * shifted
    full[:outputs] = lanes
    stored = np.packbits(full, axis=-1, bitorder="little").reshape(tiles, columns, words, width // 8)
    return stored.transpose(1, 0, 2, 3).reshape(columns, tiles * words, width // 8)


def _acc_bits(starts: NDArray[np.int64], half: int, slices: int, config: DeviceConfig, name: str) -> int:
    """Return the bits of an accumulator of that reach, and for so many slices."""
    bits = max(int(half + np.abs(starts).max()).bit_length() + 1, slices)
    if bits > config.acc_width:
        raise CapacityError(
            f"layer {name!r} needs an accumulator of {bits} bits, the device has "
            f"{config.acc_width}; set acc_width or reduce the input bits"
        )
    return bits


def _padded(values: NDArray, count: int) -> NDArray:
    """Return values of channels, and 0 for those that fill the last tile."""
    return np.concatenate([values, np.zeros(count - len(values), values.dtype)])


def _further(bits: int, score: bool, made: Copies, config: DeviceConfig) -> int:
    """Return the beats of a position that read nothing: sums of rows, and thresholds or slices of a score."""
    sums = config.geometry.rows if made.shift else 0
    return sums + (config.acc_width if score else start_words(bits)) - 1


def _rows(height: int, strips: int) -> int:
    """Return the rows of a result map that so many strips give."""
    return -(-height // strips) * strips if height > 1 else 1


def _starts(
    layer: Dense | Conv2d,
    shape: tuple[int, int],
    offset: NDArray[np.int64],
    half: int,
    factor: int,
    scale: int,
) -> NDArray[np.int64]:
    """Return what accumulators of such a reach start from, for each threshold; scores start from 0."""
    if layer.thresholds is None:
        return np.zeros(shape, np.int64)
    # natural >= T is s >= ceil((scale * T - offset) / factor); beyond half the neuron is constant.
    starts = np.full(shape, -half - 1)
    limits = scale * layer.thresholds.reshape(layer.outputs, -1)
    bound = -((offset[:, np.newaxis] - limits) // factor)
    starts[: layer.outputs, : layer.steps] = np.clip(-bound, -half - 1, half)
    return starts


def _counted(
    layer: Dense | Conv2d, lanes: int, odd: int, made: Copies, planes: int, copies: int, factor: int
) -> tuple[NDArray[np.int64], int]:
    """Return by what a scaled sum differs from `factor` times the accumulator, and the latter's reach."""
    top = (1 << planes) - 1
    if planes > 1:
        sums = layer.weights.reshape(layer.outputs, -1).sum(axis=1, dtype=np.int64)
        offset = top * (made.scale * sums - odd) // 2
    else:
        offset = np.full(layer.outputs, -odd * copies * factor // 2, np.int64)
    return offset, lanes // 2 * made.reach * top * copies
