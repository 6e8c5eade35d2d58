"""Lowers one layer to a loop nest of the array, with its weights and start values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError, CompileError
from ..isa.descriptor import Descriptor, Nest, Padding, Place, Strips
from ..isa.device import DeviceConfig
from ..isa.program import Values
from ..model.layers import Conv2d, Dense, MaxPool2d
from .nest import Lowered, Positions, Region, Windows, stored_words

MAX_MAP = 1000
_ONE = Positions(1, 1, 0, 0)


def lower_dense(layer: Dense, source: Region, config: DeviceConfig, summed: bool, name: str) -> Lowered:
    """Lower a dense layer.

    Parameters
    ----------
    layer : Dense
    source : Region
        What it reads, flattened; or, if `summed`, the map whose positions are added up first.
    config : DeviceConfig
    summed : bool
        Positions play the role of planes that do not double: sum over positions of w * x.
    name : str
    """
    width = config.geometry.width
    pixels = 1 if summed else source.pixels
    # A sum over positions reads the same weights at each of them.
    copies = source.pixels if summed else 1
    nest = Nest.of(run=(pixels * source.pitch, width), plane=(copies, source.pitch * width))
    weights = layer.weights.reshape(layer.outputs, pixels, source.channels)
    lanes = _lanes(weights, source.pitch, width, source.lanes)
    return finish(layer, *lanes, nest, config, name, planes=1, copies=copies, factor=2)


def lower_pixels(layer: Dense, planes: int, plane_words: int, config: DeviceConfig, name: str) -> Lowered:
    """Lower a dense layer that reads the planes of an n-bit image, the most significant first."""
    width = config.geometry.width
    words = -(-layer.inputs // width)
    nest = Nest.of(run=(words, width), plane=(planes, -plane_words * width))
    lanes = _lanes(layer.weights[:, np.newaxis], words, width)
    lowered = finish(layer, *lanes, nest, config, name, planes=planes, copies=1, factor=1)
    return _with(lowered, source=Place("", (planes - 1) * plane_words))


def lower_windows(
    layer: Conv2d,
    pool: MaxPool2d | None,
    source: Windows,
    columns: int,
    config: DeviceConfig,
    name: str,
    strips: int = 1,
) -> Lowered:
    """Lower a convolution of an interleaved image; `columns` is the number of positions in a row.

    Each of `strips` rows of the array computes as many rows of the result map, of one image.
    """
    width = config.geometry.width
    words = -(-source.window // width)
    nest = Nest.of(run=(words, width), plane=(source.planes, -source.plane_words * width))
    positions = Positions(source.rows, columns, source.row_words * width, source.across)
    taps = layer.weights if source.whole else layer.weights.transpose(0, 2, 1, 3)
    lanes = _lanes(taps.reshape(layer.outputs, 1, -1), words, width, source.places)
    if source.expanded:
        planes, copies, factor = 1, 2, 1
    else:
        planes, copies, factor = source.planes, 1, 1 if source.planes > 1 else 2
    lowered = finish(
        layer,
        *lanes,
        nest,
        config,
        name,
        planes=planes,
        copies=copies,
        factor=factor,
        positions=positions,
        pool=pool,
        strips=strips,
    )
    base = (source.planes - 1) * source.plane_words
    # In words of its own, a window has nothing but 0 behind it.
    used = 0 if source.whole else source.window - (words - 1) * width
    return _with(lowered, source=Place("", base), lanes=used)


def lower_conv(
    layer: Conv2d,
    pool: MaxPool2d | None,
    source: Region,
    config: DeviceConfig,
    name: str,
    strips: int = 1,
) -> Lowered:
    """Lower a convolution of a feature map; `strips` as for `lower_windows`."""
    width, pitch = config.geometry.width, source.pitch
    kh, kw = layer.kernel
    top, bottom, left, _ = layer.padding
    # The array knows one position of the kernel on the map, not one for each strip.
    strips = 1 if top or bottom else strips
    height, columns, _ = layer.output_shape((source.height, source.width, source.channels))
    if max(source.height, source.width) > MAX_MAP:
        raise CompileError(f"layer {name!r} reads a map of more than {MAX_MAP} rows or columns")
    pixel, line = pitch * width, source.width * pitch * width
    sy, sx = layer.stride
    positions = Positions(height, columns, line * sy, pixel * sx)
    taps = layer.weights.reshape(layer.outputs, kh * kw, source.channels)
    lanes, odd = _lanes(taps, pitch, width, source.lanes)
    # Zero padding leaves out a varying number of taps, and with each the lane left over. Two passes over
    # the window, with that lane at 0 and at 1, cancel it; they count the sum twice.
    balanced = any(layer.padding) and layer.pad_value == 0 and odd > 0
    copies = 2 if balanced else 1
    nest = Nest.of(run=(pitch, width), col=(kw, pixel), row=(kh, line), plane=(copies, 0))
    lowered = finish(
        layer,
        lanes,
        0 if balanced else odd,
        nest,
        config,
        name,
        planes=1,
        copies=copies,
        factor=1 if balanced else 2,
        positions=positions,
        pool=pool,
        strips=strips,
    )
    source_place = Place("", -(top * source.width + left) * pitch)
    if not any(layer.padding):
        return lowered
    ph, pw = pool.stride if pool else (1, 1)
    padding = Padding(
        layer.pad_value, left, top, (sy, sx), (sy * ph, sx * pw), (source.height, source.width), balanced
    )
    # The lane that is left over, a tap's last one, is 0 in padding of ones, too.
    lanes_used = width - 1 if layer.pad_value == 1 and source.channels % 2 else 0
    return _with(lowered, source=source_place, padding=padding, lanes=lanes_used)


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


def _lanes(
    weights: NDArray[np.int8], words: int, width: int, places: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Spread weights of shape (outputs, pixels, values) over lanes; a pixel takes `words` words.

    Values lie at `places` of a pixel, or one behind the other. Lanes without a value meet activation bit 0;
    their weights alternate, so that they cancel, and the first of an odd number is left over as +1.

    Returns
    -------
    lanes : array of uint8, shape (outputs, pixels * words, width)
    odd : int
        Lanes left over, of all pixels.
    """
    outputs, pixels, values = weights.shape
    spare = words * width - values
    used: Any = slice(values) if places is None else places
    empty = np.ones(words * width, np.bool_)
    empty[used] = False
    lanes = np.empty((outputs, pixels, words * width), np.uint8)
    lanes[:, :, used] = weights > 0
    if spare:
        lanes[:, :, empty] = np.arange(spare) % 2
    return lanes.reshape(outputs, pixels * words, width), pixels * (spare % 2)


def _with(lowered: Lowered, **changes: Any) -> Lowered:
    return replace(lowered, descriptor=replace(lowered.descriptor, **changes))


def finish(
    layer: Dense | Conv2d,
    lanes: NDArray[np.uint8],
    odd: int,
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
) -> Lowered:
    """Make weights, start values and the loops over positions of a layer, the end of every lowering.

    The accumulator counts s, the sum over all beats of (dot + odd) / 2, `planes` doubling and `copies`
    adding up, where odd is the number of lanes that are left over.
    """
    g = config.geometry
    outputs, words, width = lanes.shape
    tiles = -(-outputs // g.columns)
    offset, half = _counted(layer, words * width, odd, planes, copies, factor)
    starts = np.zeros(tiles * g.columns, np.int64)
    slices = 0
    if layer.thresholds is None:
        slices = half.bit_length() + 1
    else:
        # natural >= T is s >= ceil((T - offset) / factor); beyond half the neuron is constant.
        bound = -((offset - layer.thresholds) // factor)
        starts[:] = -half - 1
        starts[:outputs] = np.clip(-bound, -half - 1, half)
    acc_bits = max(int(half + np.abs(starts).max()).bit_length() + 1, slices)
    if acc_bits > config.acc_width:
        raise CapacityError(
            f"layer {name!r} needs an accumulator of {acc_bits} bits, the device has "
            f"{config.acc_width}; set acc_width or reduce the input bits"
        )
    full = np.zeros((tiles * g.columns, words, width), np.uint8)
    full[:outputs] = lanes
    stored = np.packbits(full, axis=-1, bitorder="little").reshape(tiles, g.columns, words, width // 8)
    loops, height, across = pooled(positions, pool)
    strip = -(-height // strips)
    nest = nest.with_loops(**{**loops, "y": (strip, loops["y"][1])}, tile=(tiles, 0))
    result = tiles * slices * g.words_per_tile if slices else stored_words(outputs, config)
    descriptor = Descriptor(
        nest,
        Place(""),
        out_step=result - max(slices - 1, 0) * g.words_per_tile if height * across > 1 else 0,
        out_tile=(slices or 1) * g.words_per_tile,
        slices=slices,
        double=planes > 1,
    )
    if strips > 1 and height > 1:
        moves = Strips(strip * loops["y"][1] // width, strip * across * result)
        descriptor = replace(descriptor, strips=moves)
    return Lowered(
        descriptor,
        stored.transpose(1, 0, 2, 3).reshape(g.columns, tiles * words, width // 8),
        starts.reshape(tiles, g.columns).T,
        tiles,
        Values(height, across, result, outputs, slices, factor, offset),
        (strip * strips if height > 1 else 1) * across * result,
        positions,
        half,
        nest.beats,
        tiles * strip * across * (config.acc_width - 1) if slices else 0,
        acc_bits,
    )


def _counted(
    layer: Dense | Conv2d, lanes: int, odd: int, planes: int, copies: int, factor: int
) -> tuple[NDArray[np.int64], int]:
    """Return by what a natural sum differs from `factor` times the accumulator, and the latter's reach."""
    top = (1 << planes) - 1
    if planes > 1:
        sums = layer.weights.reshape(layer.outputs, -1).sum(axis=1, dtype=np.int64)
        offset = top * (sums - odd) // 2
    else:
        offset = np.full(layer.outputs, -odd * copies * factor // 2, np.int64)
    return offset, lanes // 2 * top * copies
