"""Turns an integer network into the memory contents and the program of one device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import CapacityError, CompileError
from ..isa.check import validate_descriptors, validate_program
from ..isa.descriptor import Descriptor, MemoryMap, Place
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER, PROGRAM_MAGIC
from ..isa.program import (
    Block,
    LayerPlan,
    Program,
    Results,
    Section,
    Stop,
    SumsPlan,
    Values,
    identifier_of,
)  # fmt: skip
from ..isa.protocol import Space
from ..model.bits import bytes_per_image
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from .lower import MAX_MAP, lower_conv, lower_dense, lower_pixels, lower_windows, pooled
from .nest import Lowered, Region, Windows
from .pooling import PoolPass, lower_pool
from .split import Piece, cut
from .steps import Step, steps_of

__all__ = ["compile_network"]

_MEMORIES = {
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
        If the network needs more of a memory, or a wider accumulator, than the device has. Weights may
        exceed the buffers: they then arrive in passes, for each batch again.
    CompileError
        If the network has a layer that the device cannot run.
    """
    rows = config.geometry.rows
    program = _checked(_Compiler(network, config).compile())
    if rows == 1 or not at_once or at_once >= rows:
        return program
    try:
        spread = _checked(_Compiler(network, config, rows).compile())
    except CapacityError:
        return program
    return spread if at_once * spread.cycles < program.cycles else program


def _checked(program: Program) -> Program:
    """Return `program`, once it is sure that no address in it leaves the device's memories."""
    words = program.contents(Space.PROGRAM, 0)
    validate_program(words, program.config)
    for section in program.sections[1:]:
        behind, entries = section.encoded(program.regions, program.config.geometry.width)
        for entry in entries:
            validate_descriptors(words[: HEADER.words] + behind, program.config, entry)
    return program


@dataclass
class _Compiler:
    network: Network
    config: DeviceConfig
    strips: int = 1
    header: dict[str, int] = field(default_factory=dict)
    image_words: int = 0

    def compile(self) -> Program:
        network, config = self.network, self.config
        steps = steps_of(network)
        if not config.convolution:
            self._only_dense()
        lowered = self._lower(steps)
        passes = cut(lowered, [step.name for step in steps], config)
        regions = self._regions(lowered, alone=len(passes) == 1)
        sections = tuple(
            self._section(pieces, len(lowered), stops=number > 0) for number, pieces in enumerate(passes)
        )
        used = {
            "weight_depth": sum(layer.weights.shape[1] for layer in lowered),
            "threshold_depth": sum(layer.starts.shape[1] for layer in lowered),
            "act_depth": regions.bases["results"] + 2 * lowered[-1].words,
        }
        words = [len(section.encoded(regions, config.geometry.width)[0]) for section in sections]
        used["program_depth"] = HEADER.words + max(words)
        self._check("program_depth", used["program_depth"])
        results = self._results(lowered[-1].values, regions, alone=len(passes) == 1)
        return Program(
            network,
            config,
            self.header,
            regions,
            sections,
            tuple(self._plan(step, layer) for step, layer in zip(steps, lowered, strict=True)),
            used,
            identifier_of(config, self.header, regions, sections),
            lowered[-1].values,
            results,
            tuple(
                Stop(step.index, number, _region(number, len(steps)), layer.values, self._sums(layer))
                for number, (step, layer) in enumerate(zip(steps, lowered, strict=True))
                if step.whole
            ),
        )

    def _lower(self, steps: list[Step]) -> list[Lowered]:
        config = self.config
        lowered = [self._first(steps[0])]
        for step in steps[1:]:
            source = lowered[-1].source
            if isinstance(step.layer, PoolPass):
                lowered.append(lower_pool(step.layer, source, config, step.name, self.strips))
            elif isinstance(step.layer, Conv2d):
                lowered.append(lower_conv(step.layer, step.pool, source, config, step.name, self.strips))
            else:
                lowered.append(lower_dense(step.layer, source, config, step.summed, step.name))
        return lowered

    def _regions(self, lowered: list[Lowered], alone: bool) -> MemoryMap:
        """Lay out activation memory: results alternate between two regions behind the two images."""
        sizes = [layer.words for layer in lowered]
        regions = {
            "image": self.image_words,
            "even": max(sizes[0:-1:2], default=0),
            "odd": max(sizes[1:-1:2], default=0),
            "results": sizes[-1],
        }
        even = 2 * self.image_words
        odd = even + regions["even"]
        bases = {"image": 0, "even": even, "odd": odd, "results": odd + regions["odd"]}
        self._check("act_depth", bases["results"] + 2 * sizes[-1])
        # In passes, a batch has all of the device: there is one image and one result.
        return MemoryMap(bases, regions, frozenset({"image", "results"}) if alone else frozenset())

    def _results(self, values: Values, regions: MemoryMap, alone: bool) -> Results:
        """Say where the results are, and complete the header."""
        word_bytes, base = values.word_bytes(self.config), regions.bases["results"]
        # Of a single position only the words that hold channels are sent.
        out_words = values.height * values.width * values.pitch
        if not values.slices and out_words == values.pitch:
            out_words = -(-values.outputs // self.config.geometry.width)
        # In passes, the host asks for the results itself; what the first pass sends means nothing.
        self.header |= {
            "spread": self.strips > 1,
            "magic": PROGRAM_MAGIC,
            "image_bytes": bytes_per_image(self.network),
            "out_words": out_words if alone else 1,
            "out_bytes": word_bytes if alone else 1,
            "in_base1": self.image_words if alone else 0,
            "entry": HEADER.words,
            "out_base0": base,
            "out_base1": base + (regions.sizes["results"] if alone else 0),
        }
        return Results(base, out_words, word_bytes)

    def _only_dense(self) -> None:
        for index, layer in enumerate(self.network.layers):
            if not isinstance(layer, Dense):
                name = layer.name or f"layer{index}"
                raise CompileError(
                    f"layer {name!r} is a {type(layer).__name__}, but the device has dense layers only "
                    "(convolution=0); build it with convolution=1"
                )

    def _first(self, step: Step) -> Lowered:
        """Lay out the image, and lower the layer that reads it."""
        network, config = self.network, self.config
        bits, width = network.input.bits, config.geometry.width
        layer = step.layer
        if isinstance(layer, Conv2d):
            return self._windows(step, layer)
        assert isinstance(layer, Dense)  # a pooling follows a convolution
        words = -(-network.input.size // width)
        self.image_words = bits * words
        self.header |= {"in_bits_last": bits - 1, "plane_stride": words}
        if bits == 1:
            return lower_dense(layer, Region(1, 1, layer.inputs, words), config, False, step.name)
        return lower_pixels(layer, bits, words, config, step.name)

    def _windows(self, step: Step, layer: Conv2d) -> Lowered:
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

    def _section(self, pieces: list[Piece], layers: int, stops: bool) -> Section:
        """Say where the pieces of a pass read and write; `stops` ends a run at every layer."""
        descriptors: list[Descriptor] = []
        weights = starts = 0
        for number, piece in enumerate(pieces):
            template, index = piece.layer.descriptor, piece.index
            source = Place("image" if index == 0 else _region(index - 1, layers))
            behind = piece.first // piece.shared(self.config) * template.out_tile
            descriptors.append(
                replace(
                    template,
                    nest=template.nest.with_loops(tile=(piece.tiles, 0)),
                    source=source.moved(template.source.offset),
                    target=Place(_region(index, layers), behind),
                    weights=weights,
                    starts=starts,
                    depends=index > 0,
                    end=stops or number == len(pieces) - 1,
                )
            )
            weights += piece.weight_words.stop - piece.weight_words.start
            starts += piece.start_words.stop - piece.start_words.start
        parts = tuple((piece.index, piece.first) for piece in pieces)
        return Section(tuple(descriptors), parts, tuple(self._buffers(pieces)))

    def _sums(self, layer: Lowered) -> SumsPlan:
        """Say how a layer's sums can be had: every position, and as many slices as they need."""
        g, values = self.config.geometry, layer.values
        loops, height, width = pooled(layer.positions, None)
        slices = values.slices or layer.reach.bit_length() + 1
        tile = slices * g.words_per_tile
        sums = replace(values, height=height, width=width, pitch=layer.tiles * tile, slices=slices)
        return SumsPlan(loops, sums, tile, layer.start_of(values.outputs))

    def _plan(self, step: Step, layer: Lowered) -> LayerPlan:
        words = layer.weights.shape[1], layer.starts.shape[1]
        # Each position, or plane if they double, takes a start value.
        between = words[0] // layer.tiles
        if not layer.descriptor.double:
            between *= layer.nest.count("plane")
        waits = layer.beats // between * max(self.config.threshold_share - between, 0)
        return LayerPlan(
            step.name, layer.beats, layer.drains, waits, step.macs, layer.acc_bits, *words, layer=step.plan
        )

    def _check(self, name: str, words: int) -> None:
        limit = getattr(self.config, name)
        if words > limit:
            raise CapacityError(
                f"network {self.network.name!r} needs {words} {_MEMORIES[name]} at geometry "
                f"{self.config.geometry}, the device has {limit} ({name})"
            )

    def _buffers(self, pieces: list[Piece]) -> Iterable[Block]:
        weights = np.concatenate([piece.layer.weights[:, piece.weight_words] for piece in pieces], axis=1)
        starts = np.concatenate([piece.layer.starts[:, piece.start_words] for piece in pieces], axis=1)
        for column in range(self.config.geometry.columns):
            yield Block(Space.WEIGHTS, column, 0, weights[column].tobytes())
            yield Block(Space.THRESHOLDS, column, 0, starts[column].astype("<i4").tobytes())


def _region(index: int, layers: int) -> str:
    """Return where layer `index` of `layers` leaves its result."""
    return "results" if index == layers - 1 else ("even", "odd")[index % 2]
