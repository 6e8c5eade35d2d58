"""Turns an integer network into the memory contents and the program of one device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import CapacityError, CompileError
from ..isa.check import validate_descriptors, validate_program
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER, PROGRAM_MAGIC, pack_descriptor
from ..isa.program import Block, LayerPlan, Pass, Program, Results, Stop, result_word_bytes
from ..isa.protocol import Space
from ..model.bits import bytes_per_image
from ..model.layers import Conv2d, Dense, GlobalSum, InputScale, MaxPool2d
from ..model.network import Network
from .lower import MAX_MAP, lower_conv, lower_dense, lower_pixels, lower_windows
from .nest import Lowered, Region, Windows
from .split import Piece, cut

__all__ = ["Block", "LayerPlan", "Program", "compile_network"]

_MEMORIES = {
    "act_depth": "words of activation memory",
    "program_depth": "words of program memory",
}


def compile_network(
    network: Network, config: DeviceConfig, at_once: int | None = None, *, cut_as_bits: bool = False
) -> Program:
    """Compile `network` for a device.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    at_once : int, optional
        Images that are there at a time, where that is known. The rows of the array work on an image
        each, unless strips of one image, one after the other, take fewer cycles for `at_once` images.
    cut_as_bits : bool
        Cut scores into passes where bits would be cut.

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
    program = _checked(_Compiler(network, config, cut_as_bits=cut_as_bits).compile())
    if rows == 1 or not at_once or at_once >= rows:
        return program
    try:
        spread = _checked(_Compiler(network, config, rows, cut_as_bits).compile())
    except CapacityError:
        return program
    return spread if at_once * spread.cycles < program.cycles else program


def _checked(program: Program) -> Program:
    """Return `program`, once it is sure that no address in it leaves the device's memories."""
    words = program.contents(Space.PROGRAM, 0)
    validate_program(words, program.config)
    for later in program.later:
        behind = b"".join(block.data for block in later.blocks if block.space == Space.PROGRAM)
        memory = words[: HEADER.words] + np.frombuffer(behind, "<u4").tolist()
        for entry in later.entries:
            validate_descriptors(memory, program.config, entry)
    return program


@dataclass(frozen=True)
class _Step:
    """A layer with weights, what pools its result, and whether it reads a sum over positions.

    `index` is the layer of the network that gives the step's result.
    """

    index: int
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
        elif isinstance(layer, InputScale):
            raise CompileError(
                f"layer {name!r} is an InputScale, XNOR-Net's K, which depends on the image and the position "
                "and so is no threshold; the accelerator cannot run it; train without input_scale"
            )
        elif isinstance(layer, MaxPool2d):
            steps[-1] = replace(steps[-1], index=index, pool=layer)
        elif isinstance(layer, Dense | Conv2d):
            steps.append(_Step(index, layer, name, macs, summed=summed))
        else:
            raise CompileError(f"layer {name!r} is a {type(layer).__name__}, which is not supported")
    return steps


def _words(values: list[int]) -> bytes:
    return np.array(values, "<u4").tobytes()


@dataclass
class _Compiler:
    network: Network
    config: DeviceConfig
    strips: int = 1
    cut_as_bits: bool = False
    header: dict[str, int] = field(default_factory=dict)
    image_words: int = 0

    def compile(self) -> Program:
        network, config = self.network, self.config
        steps = _steps(network)
        if not config.convolution:
            self._only_dense()
        lowered = [self._first(steps[0])]
        for step in steps[1:]:
            behind = lowered[-1]
            source = Region(behind.height, behind.width, len(behind.offset), behind.pitch)
            if isinstance(step.layer, Conv2d):
                lowered.append(lower_conv(step.layer, step.pool, source, config, step.name, self.strips))
            else:
                lowered.append(lower_dense(step.layer, source, config, step.summed, step.name))

        passes = cut(lowered, [step.name for step in steps], config, self.cut_as_bits)
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
        self._check("act_depth", used["act_depth"])
        places = [
            self._place(index, len(lowered), (even, odd, out_base), len(passes) > 1)
            for index in range(len(lowered))
        ]
        programs, entries = [], []
        ends: list[list[tuple[int, int]]] = [[] for _ in lowered]
        for number, pieces in enumerate(passes):
            words, starts = self._descriptors(pieces, places, stops=number > 0)
            programs.append(words)
            entries.append(starts)
            for piece, start in zip(pieces, starts, strict=True):
                ends[piece.index].append((number, start))
        used["program_depth"] = HEADER.words + max(map(len, programs))
        self._check("program_depth", used["program_depth"])

        last = lowered[-1]
        outputs = len(last.offset)
        word_bytes = result_word_bytes(config, outputs, score=last.slices > 0)
        # Of a single position only the words that hold channels are sent.
        out_words = last.height * last.width * last.pitch
        if not last.slices and out_words == last.pitch:
            out_words = -(-outputs // config.geometry.width)
        # In passes, the host asks for the results itself; what the first pass sends means nothing.
        alone = len(passes) == 1
        self.header |= {
            "spread": self.strips > 1,
            "magic": PROGRAM_MAGIC,
            "image_bytes": bytes_per_image(network),
            "out_words": out_words if alone else 1,
            "out_bytes": word_bytes if alone else 1,
            "in_base1": self.image_words if alone else 0,
            "entry": HEADER.words,
            "out_base0": out_base,
            "out_base1": out_base + (sizes[-1] if alone else 0),
        }
        buffers = [tuple(self._buffers(pieces)) for pieces in passes]
        blocks = [*buffers[0], *self._images()]
        identifier = self._identifier([block for group in buffers for block in group], programs)
        self.header["id_low"] = int.from_bytes(identifier[:4], "little")
        self.header["id_high"] = int.from_bytes(identifier[4:], "little")
        later = [
            Pass((*group, Block(Space.PROGRAM, 0, HEADER.words, _words(words))), starts)
            for group, words, starts in zip(buffers[1:], programs[1:], entries[1:], strict=True)
        ]
        return Program(
            network,
            config,
            (*blocks, Block(Space.PROGRAM, 0, 0, _words(HEADER.pack(self.header) + programs[0]))),
            tuple(self._plan(step, layer) for step, layer in zip(steps, lowered, strict=True)),
            used,
            identifier,
            self.header["image_bytes"],
            out_words * word_bytes,
            self.strips > 1,
            tuple(later),
            Results(out_base, out_words, word_bytes),
            tuple(
                Stop(step.index, tuple(parts), out_base if layer is last else (even, odd)[number % 2], layer)
                for number, (step, parts, layer) in enumerate(zip(steps, ends, lowered, strict=True))
            ),
            last,
        )

    def _only_dense(self) -> None:
        for index, layer in enumerate(self.network.layers):
            if not isinstance(layer, Dense):
                name = layer.name or f"layer{index}"
                raise CompileError(
                    f"layer {name!r} is a {type(layer).__name__}, but the device has dense layers only "
                    "(convolution=0); build it with convolution=1"
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

    def _place(self, index: int, layers: int, bases: tuple[int, int, int], absolute: bool) -> dict[str, int]:
        """Say where a layer reads and writes; by region of the running batch, or `absolute`."""
        first, last = index == 0, index == layers - 1
        return {
            "depends": not first,
            "in_image": first and not absolute,
            "out_image": last and not absolute,
            "in_base": 0 if first else bases[(index - 1) % 2],
            "out_base": (bases[2] if absolute else 0) if last else bases[index % 2],
        }

    def _descriptors(
        self, pieces: list[Piece], places: list[dict[str, int]], stops: bool
    ) -> tuple[list[int], tuple[int, ...]]:
        """Return the descriptors and their addresses; `stops` ends a run at every layer."""
        words: list[int] = []
        entries: list[int] = []
        weight_base = threshold_base = 0
        for number, piece in enumerate(pieces):
            entries.append(HEADER.words + len(words))
            last = piece is pieces[-1] or (stops and pieces[number + 1].index != piece.index)
            fields, place = piece.layer.fields, places[piece.index]
            words += pack_descriptor(
                {
                    **fields,
                    **place,
                    "end": last,
                    "tile_last": piece.tiles - 1,
                    "in_base": (fields["in_base"] + place["in_base"]) % (1 << 16),
                    "out_base": place["out_base"] + piece.out_offset(self.config),
                    "weight_base": weight_base,
                    "threshold_base": threshold_base,
                }
            )
            weight_base += piece.weight_words.stop - piece.weight_words.start
            threshold_base += piece.start_words.stop - piece.start_words.start
        return words, tuple(entries)

    def _plan(self, step: _Step, layer: Lowered) -> LayerPlan:
        words = layer.weights.shape[1], layer.starts.shape[1]
        # Each position, or plane if they double, takes a start value.
        between = words[0] // layer.tiles
        if not layer.fields["double"]:
            between *= layer.fields["plane_last"] + 1
        waits = layer.beats // between * max(self.config.threshold_share - between, 0)
        return LayerPlan(step.name, layer.beats, layer.drains, waits, step.macs, layer.acc_bits, *words)

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

    def _images(self) -> Iterable[Block]:
        # Lanes that no image byte reaches must read as 0.
        g = self.config.geometry
        for row in range(g.rows):
            yield Block(Space.ACTIVATIONS, row, 0, bytes(2 * self.image_words * g.width // 8))

    def _identifier(self, blocks: list[Block], programs: list[list[int]]) -> bytes:
        described: Any = (self.config, sorted(self.header.items()), programs)
        digest = hashlib.sha256(repr(described).encode())
        for block in blocks:
            place = (int(block.space), block.bank, block.address, len(block.data))
            digest.update(repr(place).encode() + block.data)
        return digest.digest()[:8]
