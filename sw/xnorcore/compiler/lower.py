"""Lowers one layer to a loop nest of the array, with its weights and start values."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..isa.descriptor import Nest, Padding, Place
from ..isa.device import DeviceConfig
from ..model.layers import Conv2d, Dense, MaxPool2d
from .copies import Copies, copies_of
from .finish import finish
from .nest import Lowered, Positions, Region, Windows
from .scaled import Scaled, Unit
from .touched import touched

MAX_MAP = 1000


def lower_dense(
    layer: Dense, source: Region, config: DeviceConfig, summed: bool, name: str, unit: Unit | None = None
) -> Lowered:
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
    unit : InPlace, Scaled or None
        What the results unit does for it, but for codes.
    """
    width = config.geometry.width
    if source.bits > 1:
        return _dense_of_codes(layer, source, config, summed, name, unit)
    pixels = 1 if summed else source.pixels
    # A sum over positions reads the same weights at each of them.
    copies = source.pixels if summed else 1
    nest = Nest.of(run=(pixels * source.pitch, width), plane=(copies, source.pitch * width))
    weights = layer.weights.reshape(layer.outputs, pixels, source.channels)
    made = copies_of(layer.weights, not summed, name, config, pixels * source.pitch)
    if made.odd and _exact(unit) and source.pixels * (source.pitch * width - source.channels) % 2:
        made = copies_of(layer.weights, True, name, config, pixels * source.pitch, even=True)
    lanes = lanes_of(weights, made, source.pitch, width, source.lanes)
    return finish(layer, *lanes, made, nest, config, name, planes=1, copies=copies, factor=2, unit=unit)


def _exact(unit: Unit | None) -> bool:
    """Whether accumulators must be the sums themselves: no lane may be left over."""
    return isinstance(unit, Scaled) and unit.signs


def _dense_of_codes(
    layer: Dense, source: Region, config: DeviceConfig, summed: bool, name: str, unit: Unit | None
) -> Lowered:
    """Lower a dense layer that reads the planes of codes, the most significant first."""
    width, words = config.geometry.width, source.pixels * source.pitch
    if summed:
        # The planes take the loop that could go over positions: each has weights of its own.
        layer = layer.with_arrays(weights=np.tile(layer.weights, (1, source.pixels)))
    nest = Nest.of(run=(words, width), plane=(source.bits, -source.plane_words * width))
    weights = layer.weights.reshape(layer.outputs, source.pixels, source.channels)
    made = copies_of(layer.weights, True, name, config, source.bits * words)
    lanes = lanes_of(weights, made, source.pitch, width, source.lanes)
    planes = source.bits
    lowered = finish(layer, *lanes, made, nest, config, name, planes=planes, copies=1, factor=1, unit=unit)
    return _with(lowered, source=Place("", (source.bits - 1) * source.plane_words))


def lower_pixels(
    layer: Dense, planes: int, plane_words: int, config: DeviceConfig, name: str, unit: Unit | None = None
) -> Lowered:
    """Lower a dense layer that reads the planes of an n-bit image, the most significant first."""
    width = config.geometry.width
    words = -(-layer.inputs // width)
    nest = Nest.of(run=(words, width), plane=(planes, -plane_words * width))
    made = copies_of(layer.weights, True, name, config, planes * words)
    lanes = lanes_of(layer.weights[:, np.newaxis], made, words, width)
    lowered = finish(layer, *lanes, made, nest, config, name, planes=planes, copies=1, factor=1, unit=unit)
    return _with(lowered, source=Place("", (planes - 1) * plane_words))


def lower_windows(
    layer: Conv2d,
    pool: MaxPool2d | None,
    source: Windows,
    columns: int,
    config: DeviceConfig,
    name: str,
    strips: int = 1,
    unit: Unit | None = None,
) -> Lowered:
    """Lower a convolution of an interleaved image; `columns` is the number of positions in a row.

    Each of `strips` rows of the array computes as many rows of the result map, of one image. `unit` as for
    `lower_dense`.
    """
    width = config.geometry.width
    words = -(-source.window // width)
    nest = Nest.of(run=(words, width), plane=(source.planes, -source.plane_words * width))
    positions = Positions(source.rows, columns, source.row_words * width, source.across)
    taps = layer.weights if source.whole else layer.weights.transpose(0, 2, 1, 3)
    made = copies_of(layer.weights, not source.expanded, name, config, source.planes * words)
    most, strips = strips, strips if made.plain else 1
    lanes = lanes_of(taps.reshape(layer.outputs, 1, -1), made, words, width, source.places)
    if source.expanded:
        planes, copies, factor = 1, 2, 1
    else:
        planes, copies, factor = source.planes, 1, 1 if source.planes > 1 else 2
    lowered = finish(
        layer,
        *lanes,
        made,
        nest,
        config,
        name,
        planes=planes,
        copies=copies,
        factor=factor,
        positions=positions,
        pool=pool,
        strips=strips,
        most=most,
        unit=unit,
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
    unit: Unit | None = None,
) -> Lowered:
    """Lower a convolution of a feature map; `strips` and `unit` as for `lower_windows`."""
    width, pitch = config.geometry.width, source.pitch
    top, bottom, left, _ = layer.padding
    # The array knows one position of the kernel on the map, not one for each strip.
    most, strips = strips, 1 if top or bottom else strips
    height, columns, _ = layer.output_shape((source.height, source.width, source.channels))
    if max(source.height, source.width) > MAX_MAP:
        raise CompileError(f"layer {name!r} reads a map of more than {MAX_MAP} rows or columns")
    pixel, line = pitch * width, source.width * pitch * width
    sy, sx = layer.stride
    positions = Positions(height, columns, line * sy, pixel * sx)
    # Zero padding leaves out a varying number of taps, and with each the lane left over. Two passes over
    # the window, with that lane at 0 and at 1, cancel it; they count the sum twice.
    coded = source.bits > 1
    made = copies_of(layer.weights, True, name, config, source.bits * prod(layer.kernel) * pitch)
    left_over = (pitch * width - source.channels) % 2 and made.odd
    balanced = bool(any(layer.padding) and layer.pad_value == 0 and left_over and not coded)
    if balanced:
        made = copies_of(layer.weights, False, name)
    elif _exact(unit) and left_over and prod(layer.kernel) % 2:
        made = copies_of(layer.weights, True, name, config, prod(layer.kernel) * pitch, even=True)
    strips = strips if made.plain else 1
    copies = 2 if balanced else 1
    planes = (source.bits, -source.plane_words * width) if coded else (copies, 0)
    lanes, odd, nest, first = _taps(layer, source, made, planes, config)
    lowered = finish(
        layer,
        lanes,
        0 if balanced else odd,
        made,
        nest,
        config,
        name,
        planes=source.bits,
        copies=copies,
        factor=1 if balanced or coded else 2,
        positions=positions,
        pool=pool,
        strips=strips,
        most=most,
        unit=unit,
    )
    first += (source.bits - 1) * source.plane_words
    source_place = Place("", first - (top * source.width + left) * pitch)
    if not any(layer.padding):
        return _with(lowered, source=source_place)
    bits, value = (), layer.pad_value
    if coded:
        # Bits of 0 in every plane are the value 0.
        bits = tuple(value >> bit & 1 for bit in reversed(range(source.bits)))
        if len(set(bits[1:-1])) > 1:
            raise CompileError(
                f"layer {name!r} pads codes of {source.bits} bits with {value}, whose bits between the first "
                "and the last are not alike, for which a device has no place; pad with 0, or with the largest"
            )
        value = 2 * bits[0] - 1
    ph, pw = pool.stride if pool else (1, 1)
    padding = Padding(
        value, left, top, (sy, sx), (sy * ph, sx * pw), (source.height, source.width), balanced, bits
    )
    # The lane that is left over, a tap's last one, is 0 in padding of ones, too.
    lanes_used = width - 1 if 1 in (value, *bits) and source.channels % 2 else 0
    return _with(lowered, source=source_place, padding=padding, lanes=lanes_used)


def _taps(
    layer: Conv2d, source: Region, made: Copies, planes: tuple[int, int], config: DeviceConfig
) -> tuple[NDArray[np.uint8], int, Nest, int]:
    """Return the lanes of a convolution of a map, as `lanes_of`, their loops, and a pixel's first word."""
    g, pitch, (kh, kw) = config.geometry, source.pitch, layer.kernel
    width = g.width
    few = None if made.odd else touched(layer, source, g.columns, width)
    if few is None:
        taps = layer.weights.reshape(layer.outputs, kh * kw, source.channels)
        lines = {"col": (kw, pitch * width), "row": (kh, source.width * pitch * width)}
        nest = Nest.of(run=(pitch, width), plane=planes, **lines)
        return *lanes_of(taps, made, pitch, width, source.lanes), nest, 0
    lines = {"row": (few.rows, few.apart * width), "tile": (2, few.step * width)}
    nest = Nest.of(run=(few.run, width), plane=planes, **lines)
    return *lanes_of(few.lanes(layer, source), made, few.run * few.rows, width), nest, few.first


def lanes_of(
    weights: NDArray[np.int8], made: Copies, words: int, width: int, places: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Spread weights of shape (outputs, pixels, values) over lanes; a pixel takes `words` words.

    Values lie at `places` of a pixel, or one behind the other. Lanes without a value meet activation bit 0.
    Their weights are 0 where that is a sum of signs; otherwise they alternate, so that they cancel, and the
    first of an odd number is left over as +1.

    Returns
    -------
    lanes : array of uint8, shape (outputs, copies * pixels * words, width)
    odd : int
        Lanes left over, of all pixels.
    """
    outputs, pixels, values = weights.shape
    spare = words * width - values
    used: Any = slice(values) if places is None else places
    empty = np.ones(words * width, np.bool_)
    empty[used] = False
    odd = int(made.odd)
    sums = np.empty((outputs, pixels, words * width), np.int8 if made.count == 1 else np.int16)
    sums[:, :, used] = weights.astype(sums.dtype) * made.scale + made.shift
    sums[:, :, empty] = odd * (2 * (np.arange(spare) % 2) - 1) + made.shift
    lanes = made.signs(sums).transpose(1, 0, 2, 3)
    return lanes.reshape(outputs, made.count * pixels * words, width), odd * pixels * (spare % 2)


def _with(lowered: Lowered, **changes: Any) -> Lowered:
    return replace(lowered, descriptor=replace(lowered.descriptor, **changes))
