"""Lays out the image as the layers that read it want it, and lowers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import CapacityError, CompileError
from ..isa.device import DeviceConfig
from ..isa.places import aligned
from ..model.bits import bytes_per_image
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from .lower import MAX_MAP, lower_conv, lower_dense, lower_pixels, lower_windows
from .nest import Lowered, Region, Windows
from .plan import Step

__all__ = ["Image", "lower_first"]

MAX_CHANNELS = 256
"""Most channels of an image that the loader interleaves."""


@dataclass(frozen=True)
class Image:
    """The image in activation memory.

    Attributes
    ----------
    header : dict
        How the loader stores it.
    words : int
    layer : str
        Whose form it has, in messages.
    """

    header: dict[str, int]
    words: int
    layer: str


def lower_first(
    step: Step, network: Network, config: DeviceConfig, strips: int, image: Image | None
) -> tuple[Lowered, Image]:
    """Lower a layer that reads the image.

    Parameters
    ----------
    step : Step
        Of a layer with weights.
    network : Network
    config : DeviceConfig
    strips : int
        As for `lower_windows`.
    image : Image or None
        What an earlier layer has made of it.

    Raises
    ------
    CompileError
        If the device cannot do it, or two layers want the image in different forms.
    """
    lowered, mine = FIRST[type(step.layer)](step, network, config, strips)
    if image is not None and (mine.header, mine.words) != (image.header, image.words):
        raise CompileError(
            f"layers {image.layer!r} and {step.name!r} both read the image, but want it in different forms "
            "in memory; give both the same kernel, stride and padding, or put one layer between"
        )
    return lowered, mine if image is None else image


def _dense(step: Step, network: Network, config: DeviceConfig, strips: int) -> tuple[Lowered, Image]:
    layer: Any = step.layer
    bits, width = network.input.bits, config.geometry.width
    words = -(-network.input.size // width)
    header = {"image_bytes": bytes_per_image(network), "in_bits_last": bits - 1, "plane_stride": words}
    image = Image(header, bits * words, step.name)
    if bits == 1:
        region = Region(1, 1, layer.inputs, words)
        return lower_dense(layer, region, config, False, step.name, step.unit), image
    return lower_pixels(layer, bits, words, config, step.name, step.unit), image


def _conv(step: Step, network: Network, config: DeviceConfig, strips: int) -> tuple[Lowered, Image]:
    layer: Any = step.layer
    windows, shape = _windows(layer, network.input.shape, network.input.bits, config), network.input.shape
    bytes_ = {"image_bytes": bytes_per_image(network)}
    region, fields = _map(network, config)
    if region is not None and _better(layer, region, windows, config, strips):
        lowered = lower_conv(layer, step.pool, region, config, step.name, strips, step.unit)
        return lowered, Image(bytes_ | fields, region.pixels * region.pitch, step.name)
    _check(step.name, layer, shape, config)
    across = layer.output_shape(shape)[1]
    lowered = lower_windows(layer, step.pool, windows, across, config, step.name, strips, step.unit)
    header = bytes_ | _interleaved(layer, shape, windows, network.input.bits == 1, config)
    return lowered, Image(header, windows.planes * windows.plane_words, step.name)


def _map(network: Network, config: DeviceConfig) -> tuple[Region | None, dict[str, int]]:
    """Return an image of bits as a map, each pixel in words of its own, and the header's fields for that.

    None, if the loader cannot store it so. Where pixels do not fill their words by themselves, they come
    as the windows of a kernel of one pixel, one below the other.
    """
    width, (height, columns, channels) = config.geometry.width, network.input.shape
    region = Region(height, columns, channels, -(-channels // width))
    if network.input.bits > 1 or max(height, columns) > MAX_MAP:
        return None, {}
    if channels % width == 0:
        return region, {"plane_stride": region.pixels * region.pitch}
    shape, one = (region.pixels, 1, channels), Conv2d(np.ones((1, 1, 1, channels), np.int8))
    if not config.reads_windows or region.pixels > MAX_MAP or _too_many(one, shape, config):
        return None, {}
    return region, _interleaved(one, shape, _windows(one, shape, 1, config), True, config)


def _better(layer: Conv2d, region: Region, windows: Windows, config: DeviceConfig, strips: int) -> bool:
    """Whether a map takes a convolution fewer words than windows, and no more beats."""
    width, (top, bottom, _, _) = config.geometry.width, layer.padding
    odd = (region.pitch * width - region.channels) % 2 and any(layer.padding) and layer.pad_value == 0
    beats = prod(layer.kernel) * region.pitch * (2 if odd else 1)
    beats *= strips if top or bottom else 1
    theirs = -(-windows.window // width) * windows.planes
    return beats <= theirs and region.pixels * region.pitch < windows.planes * windows.plane_words


def _check(name: str, layer: Conv2d, shape: Sequence[int], config: DeviceConfig) -> None:
    """Refuse an image whose windows the loader cannot take."""
    height, columns, channels = shape
    if not config.reads_windows:
        what = "line_bytes is 0"
        if config.line_bytes:
            what = f"width {config.geometry.width} is not a power of two, nor whole_windows 1"
        raise CompileError(f"layer {name!r} convolves images, which this device cannot do: {what}")
    if max(height, columns) > MAX_MAP or channels > MAX_CHANNELS:
        raise CompileError(
            f"images are {height} x {columns} x {channels}, but at most {MAX_MAP} x {MAX_MAP} x "
            f"{MAX_CHANNELS} can be convolved"
        )
    if _too_many(layer, shape, config):
        beside = _beside(layer, channels, config)
        padding = f" and {beside} of padding" if beside else ""
        raise CapacityError(
            f"layer {name!r} needs {layer.kernel[0]} image rows of {columns * channels} values{padding} in "
            f"the line buffer, the device has {config.line_bytes} bytes (line_bytes)"
        )


def _beside(layer: Conv2d, channels: int, config: DeviceConfig) -> int:
    """Return the values of padding between two rows in the line buffer, where they lie there with theirs."""
    _, _, left, right = layer.padding
    return max(left * channels, right * channels, 1) if config.whole_windows else 0


def _too_many(layer: Conv2d, shape: Sequence[int], config: DeviceConfig) -> bool:
    """Whether the rows under a kernel have more values than the loader can hold, or count."""
    _, columns, channels = shape
    # Behind a window's last row there is padding as well.
    behind = layer.padding[2] * channels if config.whole_windows else 0
    values = layer.kernel[0] * (columns * channels + _beside(layer, channels, config)) + behind
    return channels > MAX_CHANNELS or values > min(config.line_bytes, (1 << 16) - 1)


def _windows(layer: Conv2d, shape: Sequence[int], bits: int, config: DeviceConfig) -> Windows:
    """Return how the values under a kernel lie in memory."""
    width, (_, columns, channels) = config.geometry.width, shape
    (kh, kw), (_, _, left, right) = layer.kernel, layer.padding
    expanded = bits == 1 and any(layer.padding) and layer.pad_value == 0
    rows, across, _ = layer.output_shape((shape[0], columns, channels))
    used = kh * channels
    if config.whole_windows:
        window = column = used = kw * used
        words = -(-used // width)
        apart, row_words = words * width, across * words
    else:
        column = aligned(used, config.column_align)
        window, apart = kw * column, layer.stride[1] * column
        row_words = -(-(left + columns + right) * column // width)
    planes = 2 if expanded else bits
    whole = bool(config.whole_windows)
    return Windows(whole, window, column, used, apart, rows, row_words, rows * row_words, planes, expanded)


def _interleaved(
    layer: Conv2d, shape: Sequence[int], windows: Windows, packed: bool, config: DeviceConfig
) -> dict[str, int]:
    """Return the header's fields for windows."""
    height, columns, channels = shape
    fields = {
        "in_bits_last": windows.planes - 1,
        "plane_stride": windows.plane_words,
        "interleaved": 1,
        "packed": packed,
        "pad": 1 if windows.expanded or layer.pad_value == 1 else 0,
        "kernel_last": layer.kernel[0] - 1,
        "stride": layer.stride[0],
        "pad_top": layer.padding[0],
        "map_height": height,
        "rows_last": windows.rows - 1,
        "row_values": columns * channels,
    }
    return fields | (_whole if config.whole_windows else _shared)(layer, shape, config)


def _shared(layer: Conv2d, shape: Sequence[int], config: DeviceConfig) -> dict[str, int]:
    """Return the header's fields for columns that neighbours share."""
    _, columns, channels = shape
    (kh, _), (top, _, left, right) = layer.kernel, layer.padding
    row_values = columns * channels
    line = 1 + (layer.stride[0] + 1 - kh) * row_values - (left + columns + right) * channels
    return {
        "channels_last": channels - 1,
        "pad_left": left,
        "pad_right": right,
        "map_width": columns,
        "first_place": (top * row_values + left * channels) & 0xFFFF,
        "column_step": (1 - (kh - 1) * row_values) & 0xFFFF,
        "line_step": line & 0xFFFF,
    }


def _whole(layer: Conv2d, shape: Sequence[int], config: DeviceConfig) -> dict[str, int]:
    """Return the header's fields for windows in words of their own.

    Of the padding between two rows a window takes what it needs on either side.
    """
    _, columns, channels = shape
    (kh, kw), (sy, sx), left = layer.kernel, layer.stride, layer.padding[2]
    across, beside = layer.output_shape((shape[0], columns, channels))[1], _beside(layer, channels, config)
    length, run = columns * channels + beside, kw * channels
    back = (kh - 1) * length + run - 1
    return {
        "run_last": run - 1,
        "across_last": across - 1,
        "row_step": (length - run + 1) & 0xFFFF,
        "first_place": (left * channels - beside) & 0x7FF,
        "window_step": (sx * channels - back) & 0xFFFF,
        "line_step": (sy * length - (across - 1) * sx * channels - back) & 0xFFFF,
    }


FIRST = {Dense: _dense, Conv2d: _conv}
"""By kind of layer: how one that reads the image wants it."""
