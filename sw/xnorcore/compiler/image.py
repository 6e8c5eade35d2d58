"""Lays out the image as the layers that read it want it, and lowers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import CapacityError, CompileError
from ..isa.device import DeviceConfig
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
    if not config.offset_bits:
        what = f"width {width} is not a power of two" if config.line_bytes else "line_bytes is 0"
        raise CompileError(f"layer {step.name!r} convolves images, which this device cannot do: {what}")
    if max(height, columns) > MAX_MAP or channels > 256:
        raise CompileError(
            f"images are {height} x {columns} x {channels}, but at most {MAX_MAP} x {MAX_MAP} x 256 "
            "can be convolved"
        )
    row_values = columns * channels
    if kh * row_values > min(config.line_bytes, (1 << 16) - 1):
        raise CapacityError(
            f"layer {step.name!r} needs {kh} image rows of {row_values} values in the line buffer, "
            f"the device has {config.line_bytes} bytes (line_bytes)"
        )
    expanded = network.input.bits == 1 and any(layer.padding) and layer.pad_value == 0
    planes = 2 if expanded else network.input.bits
    rows, across, _ = layer.output_shape(network.input.shape)
    column = kh * channels
    row_words = -(-(left + columns + right) * column // width)
    source = Windows(kw * column, column, rows, row_words, rows * row_words, planes, expanded)
    header = {
        "image_bytes": bytes_per_image(network),
        "in_bits_last": planes - 1,
        "plane_stride": source.plane_words,
        "interleaved": 1,
        "packed": network.input.bits == 1,
        "pad": 1 if expanded or layer.pad_value == 1 else 0,
        "kernel_last": kh - 1,
        "channels_last": channels - 1,
        "stride": layer.stride[0],
        "pad_left": left,
        "pad_right": right,
        "pad_top": top,
        "map_width": columns,
        "map_height": height,
        "rows_last": rows - 1,
        "row_values": row_values,
        "first_place": (top * row_values + left * channels) & 0xFFFF,
        "column_step": (1 - (kh - 1) * row_values) & 0xFFFF,
        "line_step": (1 + (layer.stride[0] + 1 - kh) * row_values - (left + columns + right) * channels)
        & 0xFFFF,
    }
    lowered = lower_windows(layer, step.pool, source, across, config, step.name, strips)
    return lowered, Image(header, planes * source.plane_words, step.name)


FIRST = {Dense: _dense, Conv2d: _conv}
"""By kind of layer: how one that reads the image wants it."""
