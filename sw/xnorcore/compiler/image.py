"""Lays out the image as the layers that read it want it, and lowers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CapacityError, CompileError
from ..isa.device import DeviceConfig, aligned
from ..model.bits import bytes_per_image
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from .lower import MAX_MAP, lower_dense, lower_pixels, lower_windows
from .nest import Lowered, Region, Windows
from .steps import Step

__all__ = ["Image", "lower_first"]


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
        return lower_dense(layer, Region(1, 1, layer.inputs, words), config, False, step.name), image
    return lower_pixels(layer, bits, words, config, step.name), image


def _conv(step: Step, network: Network, config: DeviceConfig, strips: int) -> tuple[Lowered, Image]:
    layer: Any = step.layer
    width = config.geometry.width
    height, columns, channels = network.input.shape
    kh, kw = layer.kernel
    top, _, left, right = layer.padding
    if not config.reads_windows:
        what = "line_bytes is 0"
        if config.line_bytes:
            what = f"width {width} is not a power of two, nor whole_windows 1"
        raise CompileError(f"layer {step.name!r} convolves images, which this device cannot do: {what}")
    if max(height, columns) > MAX_MAP or channels > 256:
        raise CompileError(
            f"images are {height} x {columns} x {channels}, but at most {MAX_MAP} x {MAX_MAP} x 256 "
            "can be convolved"
        )
    row_values = columns * channels
    # Where rows lie with their padding, there is some between two of them, and behind a window's last one.
    beside = max(left * channels, right * channels, 1) if config.whole_windows else 0
    behind = left * channels if config.whole_windows else 0
    if kh * (row_values + beside) + behind > min(config.line_bytes, (1 << 16) - 1):
        padding = f" and {beside} of padding" if beside else ""
        raise CapacityError(
            f"layer {step.name!r} needs {kh} image rows of {row_values} values{padding} in the line buffer, "
            f"the device has {config.line_bytes} bytes (line_bytes)"
        )
    expanded = network.input.bits == 1 and any(layer.padding) and layer.pad_value == 0
    planes = 2 if expanded else network.input.bits
    rows, across, _ = layer.output_shape(network.input.shape)
    used = kh * channels
    if config.whole_windows:
        column = used = kw * used
        words = -(-used // width)
        bits, row_words = words * width, across * words
    else:
        column = aligned(used, config)
        bits = layer.stride[1] * column
        row_words = -(-(left + columns + right) * column // width)
    window = column if config.whole_windows else kw * column
    source = Windows(
        bool(config.whole_windows),
        window,
        column,
        used,
        bits,
        rows,
        row_words,
        rows * row_words,
        planes,
        expanded,
    )
    header = {
        "image_bytes": bytes_per_image(network),
        "in_bits_last": planes - 1,
        "plane_stride": source.plane_words,
        "interleaved": 1,
        "packed": network.input.bits == 1,
        "pad": 1 if expanded or layer.pad_value == 1 else 0,
        "kernel_last": kh - 1,
        "stride": layer.stride[0],
        "pad_top": top,
        "map_height": height,
        "rows_last": rows - 1,
        "row_values": row_values,
    }
    header |= (_whole if config.whole_windows else _shared)(layer, network.input.shape, beside, across)
    lowered = lower_windows(layer, step.pool, source, across, config, step.name, strips)
    return lowered, Image(header, planes * source.plane_words, step.name)


def _shared(layer: Conv2d, shape: Sequence[int], beside: int, across: int) -> dict[str, int]:
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


def _whole(layer: Conv2d, shape: Sequence[int], beside: int, across: int) -> dict[str, int]:
    """Return the header's fields for windows in words of their own.

    `beside` values of padding lie between two rows, of which a window takes what it needs on either side.
    """
    _, columns, channels = shape
    (kh, kw), (sy, sx), left = layer.kernel, layer.stride, layer.padding[2]
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
