"""Turns an integer network into the memory contents and the program of one device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .bits import bytes_per_image
from .errors import CapacityError, CompileError
from .geometry import DeviceConfig
from .image import Block, LayerPlan, Program, result_word_bytes
from .layers import Conv2d, Dense, GlobalSum, MaxPool2d
from .lowering import (
    MAX_MAP,
    Lowered,
    Region,
    Windows,
    lower_conv,
    lower_dense,
    lower_pixels,
    lower_windows,
)
from .network import Network
from .program import HEADER, PROGRAM_MAGIC, pack_descriptor
from .protocol import Space

__all__ = ["Block", "LayerPlan", "Program", "compile_network"]

_MEMORIES = {
    "weight_depth": "words per weight buffer",
    "threshold_depth": "start values per threshold buffer",
    "act_depth": "words of activation memory",
    "program_depth": "words of program memory",
}


def compile_network(network: Network, config: DeviceConfig, at_once: int | None = None) -> Program:
    """Compile `network` for a device.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    at_once : int, optional
        Images that are there at a time, where that is known. The rows of the array work on an image
        each, unless strips of one image, one after the other, take fewer cycles for `at_once` images.

    Returns
    -------
    Program

    Raises
    ------
    CapacityError
        If the network needs more of a memory, or a wider accumulator, than the device has.
    CompileError
        If the network has a layer that the device cannot run.
    """
    rows = config.geometry.rows
    program = _Compiler(network, config).compile()
    if rows == 1 or not at_once or at_once >= rows:
        return program
    try:
        spread = _Compiler(network, config, rows).compile()
    except CapacityError:
        return program
    return spread if at_once * spread.cycles < program.cycles else program


@dataclass(frozen=True)
class _Step:
    """A layer with weights, what pools its result, and whether it reads a sum over positions."""

    layer: Dense | Conv2d
    name: str
    macs: int
    pool: MaxPool2d | None = None
    summed: bool = False


def _steps(network: Network) -> list[_Step]:
    steps: list[_Step] = []
    summed = False
    for index, (layer, macs) in enumerate(zip(network.layers, network.layer_macs, strict=True)):
        name = layer.name or f"layer{index}"
        if isinstance(layer, GlobalSum):
            summed = True
        elif isinstance(layer, MaxPool2d):
            steps[-1] = replace(steps[-1], pool=layer)
        elif isinstance(layer, Dense | Conv2d):
            steps.append(_Step(layer, name, macs, summed=summed))
        else:
            raise CompileError(f"layer {name!r} is a {type(layer).__name__}, which is not supported")
    return steps


@dataclass
class _Compiler:
    network: Network
    config: DeviceConfig
    strips: int = 1
    header: dict[str, int] = field(default_factory=dict)
    image_words: int = 0

    def compile(self) -> Program:
        network, config = self.network, self.config
        steps = _steps(network)
        lowered = [self._first(steps[0])]
        for step in steps[1:]:
            behind = lowered[-1]
            source = Region(behind.height, behind.width, len(behind.offset), behind.pitch)
            if isinstance(step.layer, Conv2d):
                lowered.append(lower_conv(step.layer, step.pool, source, config, step.name, self.strips))
            else:
                lowered.append(lower_dense(step.layer, source, config, step.summed, step.name))

        # Results alternate between two regions behind the two images.
        sizes = [layer.words for layer in lowered]
        even = 2 * self.image_words
        odd = even + max(sizes[0:-1:2], default=0)
        out_base = odd + max(sizes[1:-1:2], default=0)
        used = {
            "weight_depth": sum(layer.weights.shape[1] for layer in lowered),
            "threshold_depth": sum(layer.starts.shape[1] for layer in lowered),
            "act_depth": out_base + 2 * sizes[-1],
        }
        self._check(used)
        descriptors = self._descriptors(lowered, (even, odd))
        used["program_depth"] = HEADER.words + len(descriptors)
        self._check(used)

        last = lowered[-1]
        outputs = len(last.offset)
        word_bytes = result_word_bytes(config, outputs, score=last.slices > 0)
        # Of a single position only the words that hold channels are sent.
        out_words = last.height * last.width * last.pitch
        if not last.slices and out_words == last.pitch:
            out_words = -(-outputs // config.geometry.width)
        self.header |= {
            "spread": self.strips > 1,
            "magic": PROGRAM_MAGIC,
            "image_bytes": bytes_per_image(network),
            "out_words": out_words,
            "out_bytes": word_bytes,
            "in_base1": self.image_words,
            "entry": HEADER.words,
            "out_base0": out_base,
            "out_base1": out_base + sizes[-1],
        }
        blocks = list(self._blocks(lowered))
        identifier = self._identifier(blocks, descriptors)
        self.header["id_low"] = int.from_bytes(identifier[:4], "little")
        self.header["id_high"] = int.from_bytes(identifier[4:], "little")
        program = np.array(HEADER.pack(self.header) + descriptors, "<u4").tobytes()
        return Program(
            network,
            config,
            (*blocks, Block(Space.PROGRAM, 0, 0, program)),
            tuple(self._plan(step, layer) for step, layer in zip(steps, lowered, strict=True)),
            used,
            identifier,
            self.header["image_bytes"],
            out_words * word_bytes,
            self.strips > 1,
            last,
        )

    def _first(self, step: _Step) -> Lowered:
        """Lay out the image, and lower the layer that reads it."""
        network, config = self.network, self.config
        bits, width = network.input.bits, config.geometry.width
        layer = step.layer
        if isinstance(layer, Conv2d):
            return self._windows(step, layer)
        words = -(-network.input.size // width)
        self.image_words = bits * words
        self.header |= {"in_bits_last": bits - 1, "plane_stride": words}
        if bits == 1:
            return lower_dense(layer, Region(1, 1, layer.inputs, words), config, False, step.name)
        return lower_pixels(layer, bits, words, config, step.name)

    def _windows(self, step: _Step, layer: Conv2d) -> Lowered:
        network, config = self.network, self.config
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
        self.image_words = planes * source.plane_words
        ring = kh * row_values
        self.header |= {
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
            "slot_start": -top % kh * row_values,
            "slot_step": layer.stride[0] % kh * row_values,
            "slots_end": ring,
        }
        return lower_windows(layer, step.pool, source, across, config, step.name, self.strips)

    def _descriptors(self, lowered: list[Lowered], bases: tuple[int, int]) -> list[int]:
        words: list[int] = []
        weight_base = threshold_base = 0
        for index, layer in enumerate(lowered):
            last = index == len(lowered) - 1
            source = bases[(index - 1) % 2] if index else 0
            words += pack_descriptor(
                {
                    **layer.fields,
                    "end": last,
                    "depends": index > 0,
                    "in_image": index == 0,
                    "out_image": last,
                    "in_base": (layer.fields["in_base"] + source) % (1 << 16),
                    "out_base": 0 if last else bases[index % 2],
                    "weight_base": weight_base,
                    "threshold_base": threshold_base,
                }
            )
            weight_base += layer.weights.shape[1]
            threshold_base += layer.starts.shape[1]
        return words

    def _plan(self, step: _Step, layer: Lowered) -> LayerPlan:
        words = layer.weights.shape[1], layer.starts.shape[1]
        return LayerPlan(step.name, layer.beats, layer.drains, step.macs, layer.acc_bits, *words)

    def _check(self, used: dict[str, int]) -> None:
        for name, words in used.items():
            limit = getattr(self.config, name)
            if words > limit:
                raise CapacityError(
                    f"network {self.network.name!r} needs {words} {_MEMORIES[name]} at geometry "
                    f"{self.config.geometry}, the device has {limit} ({name})"
                )

    def _blocks(self, lowered: list[Lowered]) -> Iterable[Block]:
        g = self.config.geometry
        weights = np.concatenate([layer.weights for layer in lowered], axis=1)
        starts = np.concatenate([layer.starts for layer in lowered], axis=1).astype("<i4")
        for column in range(g.columns):
            yield Block(Space.WEIGHTS, column, 0, weights[column].tobytes())
            yield Block(Space.THRESHOLDS, column, 0, starts[column].tobytes())
        # Lanes that no image byte reaches must read as 0.
        for row in range(g.rows):
            yield Block(Space.ACTIVATIONS, row, 0, bytes(2 * self.image_words * g.width // 8))

    def _identifier(self, blocks: list[Block], descriptors: list[int]) -> bytes:
        described: Any = (self.config, sorted(self.header.items()), descriptors)
        digest = hashlib.sha256(repr(described).encode())
        for block in blocks:
            place = (int(block.space), block.bank, block.address, len(block.data))
            digest.update(repr(place).encode() + block.data)
        return digest.digest()[:8]
