"""Lowers one layer to a loop nest of the array, with its weights and start values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError, CompileError
from ..isa.device import DeviceConfig
from ..model.layers import Conv2d, Dense, MaxPool2d
from .nest import Lowered, Nest, Region, Windows

MAX_MAP = 1000


def stored_words(outputs: int, config: DeviceConfig) -> int:
    """Return the words that the result bits of `outputs` channels take per position."""
    g = config.geometry
    tiles = -(-outputs // g.columns)
    return tiles * g.words_per_tile if g.columns >= g.width else -(-tiles // g.tiles_per_word)


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
    nest = Nest()
    nest.loop("run", pixels * source.pitch, width)
    # A sum over positions reads the same weights at each of them.
    if summed:
        nest.loop("plane", source.pixels, source.pitch * width)
    lanes = _lanes(layer.weights.reshape(layer.outputs, pixels, source.channels), source.pitch, width)
    copies = source.pixels if summed else 1
    lowered = _finish(layer, *lanes, nest, config, name, planes=1, copies=copies, factor=2, positions=(1, 1))
    return _with(lowered, in_base=source.base)


def lower_pixels(layer: Dense, planes: int, plane_words: int, config: DeviceConfig, name: str) -> Lowered:
    """Lower a dense layer that reads the planes of an n-bit image, the most significant first."""
    width = config.geometry.width
    words = -(-layer.inputs // width)
    nest = Nest()
    nest.loop("run", words, width)
    nest.loop("plane", planes, -plane_words * width)
    lanes = _lanes(layer.weights[:, np.newaxis], words, width)
    lowered = _finish(layer, *lanes, nest, config, name, planes=planes, copies=1, factor=1, positions=(1, 1))
    return _with(lowered, in_base=(planes - 1) * plane_words)


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
    nest = Nest()
    nest.loop("run", words, width)
    nest.loop("plane", source.planes, -source.plane_words * width)
    across = source.column * layer.stride[1]
    positions = _positions(nest, pool, (source.rows, columns), source.row_words * width, across)
    taps = layer.weights.transpose(0, 2, 1, 3).reshape(layer.outputs, 1, -1)
    lanes = _lanes(taps, words, width)
    if source.expanded:
        planes, copies, factor = 1, 2, 1
    else:
        planes, copies, factor = source.planes, 1, 1 if source.planes > 1 else 2
    lowered = _finish(
        layer,
        *lanes,
        nest,
        config,
        name,
        planes=planes,
        copies=copies,
        factor=factor,
        positions=positions,
        strips=strips,
    )
    base = source.base + (source.planes - 1) * source.plane_words
    return _with(lowered, in_base=base, lanes=source.window - (words - 1) * width)


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
    nest = Nest()
    nest.loop("run", pitch, width)
    nest.loop("col", kw, pixel)
    nest.loop("row", kh, line)
    sy, sx = layer.stride
    positions = _positions(nest, pool, (height, columns), line * sy, pixel * sx)
    taps = layer.weights.reshape(layer.outputs, kh * kw, source.channels)
    lanes, odd = _lanes(taps, pitch, width)
    # Zero padding leaves out a varying number of taps, and with each the lane left over. Two passes over
    # the window, with that lane at 0 and at 1, cancel it; they count the sum twice.
    balanced = any(layer.padding) and layer.pad_value == 0 and odd > 0
    if balanced:
        nest.loop("plane", 2, 0)
    lowered = _finish(
        layer,
        lanes,
        0 if balanced else odd,
        nest,
        config,
        name,
        planes=1,
        copies=2 if balanced else 1,
        factor=1 if balanced else 2,
        positions=positions,
        strips=strips,
    )
    padding: dict[str, int] = {}
    if any(layer.padding):
        ph, pw = pool.stride if pool else (1, 1)
        padding = {
            "padded": 1,
            "pad_zero": layer.pad_value == 0,
            "pad_one": layer.pad_value == 1,
            "balance": balanced,
            "pad_left": left,
            "pad_top": top,
            "stride_x": sx,
            "stride_y": sy,
            "step_x": sx * pw,
            "step_y": sy * ph,
            "map_width": source.width,
            "map_height": source.height,
        }
        if layer.pad_value == 1 and source.channels % 2:
            # The lane that is left over, a tap's last one, is 0 in padding too.
            padding["lanes"] = width - 1
    base = source.base - (top * source.width + left) * pitch
    return _with(lowered, in_base=base % (1 << 16), **padding)


def _positions(
    nest: Nest, pool: MaxPool2d | None, size: tuple[int, int], down: int, across: int
) -> tuple[int, int]:
    """Add the loops over positions and pooling windows; return the size of the result map."""
    height, width = size
    (wh, ww), (ph, pw) = (pool.window, pool.stride) if pool else ((1, 1), (1, 1))
    height, width = (height - wh) // ph + 1, (width - ww) // pw + 1
    nest.loop("win_x", ww, across)
    nest.loop("win_y", wh, down)
    nest.loop("x", width, across * pw)
    nest.loop("y", height, down * ph)
    return height, width


def _lanes(weights: NDArray[np.int8], words: int, width: int) -> tuple[NDArray[np.uint8], int]:
    """Spread weights of shape (outputs, pixels, values) over lanes; a pixel takes `words` words.

    Lanes without a value meet activation bit 0; their weights alternate, so that they cancel, and the
    first of an odd number is left over as +1.

    Returns
    -------
    lanes : array of uint8, shape (outputs, pixels * words, width)
    odd : int
        Lanes left over, of all pixels.
    """
    outputs, pixels, values = weights.shape
    spare = words * width - values
    lanes = np.empty((outputs, pixels, words * width), np.uint8)
    lanes[:, :, :values] = weights > 0
    lanes[:, :, values:] = np.arange(spare) % 2
    return lanes.reshape(outputs, pixels * words, width), pixels * (spare % 2)


def _with(lowered: Lowered, **fields: int) -> Lowered:
    return replace(lowered, fields={**lowered.fields, **fields})


def _finish(
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
    positions: tuple[int, int],
    strips: int = 1,
) -> Lowered:
    """Make weights and start values.

    The accumulator counts s, the sum over all beats of (dot + odd) / 2, `planes` doubling and `copies`
    adding up, where odd is the number of lanes that are left over.
    """
    g = config.geometry
    outputs, words, width = lanes.shape
    tiles = -(-outputs // g.columns)
    nest.loop("tile", tiles, 0)
    top = (1 << planes) - 1
    if planes > 1:
        sums = layer.weights.reshape(outputs, -1).sum(axis=1, dtype=np.int64)
        offset = top * (sums - odd) // 2
    else:
        offset = np.full(outputs, -odd * copies * factor // 2, np.int64)
    half = words * width // 2 * top * copies
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
    # Horner's scheme: the first plane takes the start value without its low bits, each further one a bit.
    staged = starts[:, np.newaxis] >> (planes - 1 - np.arange(planes))
    staged[:, 1:] &= 1
    height, across = positions
    strip = -(-height // strips)
    nest.counts["y"] = strip
    result = tiles * slices * g.words_per_tile if slices else stored_words(outputs, config)
    fields = {
        **nest.fields(width),
        "score": slices > 0,
        "double": planes > 1,
        "slices": slices,
        "out_delta": result - max(slices - 1, 0) * g.words_per_tile if height * across > 1 else 0,
        "out_tile_stride": (slices or 1) * g.words_per_tile,
    }
    if strips > 1 and height > 1:
        fields |= {
            "strips": 1,
            "in_strip": strip * nest.steps["y"] // width,
            "out_strip": strip * across * result,
        }
    return Lowered(
        fields,
        stored.transpose(1, 0, 2, 3).reshape(g.columns, tiles * words, width // 8),
        staged.reshape(tiles, g.columns, planes).transpose(1, 0, 2).reshape(g.columns, -1),
        tiles,
        height,
        across,
        result,
        (strip * strips if height > 1 else 1) * across * result,
        slices,
        factor,
        offset,
        nest.beats,
        tiles * strip * across * (config.acc_width - 1) if slices else 0,
        acc_bits,
    )
