"""Turns an integer network into the memory contents and the program of one device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .bits import bytes_per_image, pack
from .errors import CapacityError, CompileError, DeviceError
from .geometry import DeviceConfig
from .network import Dense, Network
from .program import HEADER, PROGRAM_MAGIC, pack_descriptor
from .protocol import Space

_BASE_OF_DESCRIPTORS = HEADER.words


@dataclass(frozen=True)
class Block:
    """Consecutive words of one memory bank.

    Attributes
    ----------
    space : Space
    bank : int
        Column or row; 0 for program memory.
    address : int
        First word.
    data : bytes
        Whole words, least significant byte first (docs/protocol.md, WRITE).
    """

    space: Space
    bank: int
    address: int
    data: bytes


@dataclass(frozen=True)
class LayerPlan:
    """What one layer costs on the device.

    Attributes
    ----------
    name : str
    beats : int
        Array cycles that multiply, per batch.
    drains : int
        Array cycles that shift scores out, per batch.
    macs : int
        Useful XNOR multiply-accumulates per image.
    acc_bits : int
        Accumulator bits that provably hold every intermediate value.
    weight_words, threshold_words : int
        Buffer words per column.
    """

    name: str
    beats: int
    drains: int
    macs: int
    acc_bits: int
    weight_words: int
    threshold_words: int


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one device configuration.

    Attributes
    ----------
    network : Network
    config : DeviceConfig
    blocks : tuple of Block
        Everything to write, program header last.
    layers : tuple of LayerPlan
    used : dict
        Words used of each device memory, by the name of its `DeviceConfig` field.
    identifier : bytes
        Eight bytes; equal programs on equal configurations have equal identifiers.
    image_bytes : int
        Bytes of one image on the wire.
    result_bytes : int
        Bytes of one image's results on the wire.
    """

    network: Network
    config: DeviceConfig
    blocks: tuple[Block, ...]
    layers: tuple[LayerPlan, ...]
    used: dict[str, int]
    identifier: bytes
    image_bytes: int
    result_bytes: int
    _slices: int = 0
    _factor: int = 1
    _offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def beats(self) -> int:
        """Array cycles per batch that multiply: the array's own bound."""
        return sum(layer.beats for layer in self.layers)

    def decode(self, raw: bytes, images: int) -> NDArray:
        """Turn result bytes into what `golden.run` returns.

        Parameters
        ----------
        raw : bytes
            ``images * result_bytes`` bytes, image after image.
        images : int

        Returns
        -------
        array
            int64 scores, or uint8 bits, of shape (images, outputs).

        Raises
        ------
        DeviceError
            If the number of bytes is wrong.
        """
        if len(raw) != images * self.result_bytes:
            expected = images * self.result_bytes
            raise DeviceError(f"{images} images gave {len(raw)} result bytes, not {expected}")
        g, outputs = self.config.geometry, self.network.outputs
        size = _result_word_bytes(g.width, g.columns, outputs, score=bool(self._slices))
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        if not self._slices:
            return np.ascontiguousarray(bits.reshape(images, 8 * self.result_bytes)[:, :outputs])
        # (image, tile, slice, word of the tile, bit) -> (image, channel, slice), high slice first.
        tiles = -(-outputs // g.columns)
        bits = bits.reshape(images, tiles, self._slices, g.words_per_tile, 8 * size)
        bits = bits.transpose(0, 1, 3, 4, 2)[:, :, :, : g.columns]
        bits = bits.reshape(images, -1, self._slices) if images else bits.reshape(0, outputs, self._slices)
        bits = bits[:, :outputs].astype(np.int64) ^ 1
        weights = 1 << np.arange(self._slices - 1, -1, -1, dtype=np.int64)
        weights[0] = -weights[0]
        return bits @ weights * self._factor + self._offset


def compile_network(network: Network, config: DeviceConfig) -> Program:
    """Compile `network` for a device.

    Parameters
    ----------
    network : Network
    config : DeviceConfig

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
    return _Compiler(network, config).compile()


def _result_word_bytes(width: int, columns: int, outputs: int, score: bool) -> int:
    return -(-min(width, columns if score else width, outputs) // 8)


@dataclass
class _Compiler:
    network: Network
    config: DeviceConfig
    weights: list[NDArray[np.uint8]] = field(default_factory=list)
    starts: list[NDArray[np.int64]] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    plans: list[LayerPlan] = field(default_factory=list)
    weight_words: int = 0
    threshold_words: int = 0
    slices: int = 0
    factor: int = 1
    offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def compile(self) -> Program:
        network, config, g = self.network, self.config, self.config.geometry
        for layer in network.layers:
            if not isinstance(layer, Dense):
                kind = type(layer).__name__
                raise CompileError(f"layer {layer.name!r} is a {kind}, which is not supported")
        bits = network.input.bits
        plane_words = -(-network.input.size // g.width)
        hidden = [_stored_words(layer.weights.shape[0], config) for layer in network.layers[:-1]]
        ping = [max(hidden[parity::2], default=0) for parity in range(2)]
        in_base = [0, bits * plane_words]
        ping_base = [2 * bits * plane_words, 2 * bits * plane_words + ping[0]]
        out_base = ping_base[1] + ping[1]

        macs = network.layer_macs
        for index, layer in enumerate(network.layers):
            last = index == len(network.layers) - 1
            self._dense(
                layer,
                planes=bits if index == 0 else 1,
                pixels=index == 0 and bits > 1,
                macs=macs[index],
                name=layer.name or f"layer{index}",
                fields={
                    "end": last,
                    "depends": index > 0,
                    "in_image": index == 0,
                    "out_image": last,
                    "in_base": 0 if index == 0 else ping_base[(index - 1) % 2],
                    "out_base": 0 if last else ping_base[index % 2],
                },
            )

        outputs = network.outputs
        out_words = self._result_words(outputs)
        out_region = out_words if self.slices else _stored_words(outputs, config)
        word_bytes = _result_word_bytes(g.width, g.columns, outputs, score=bool(self.slices))
        used = {
            "weight_depth": self.weight_words,
            "threshold_depth": self.threshold_words,
            "act_depth": out_base + 2 * out_region,
            "program_depth": _BASE_OF_DESCRIPTORS + len(self.descriptors),
        }
        self._check_capacity(used)

        image_bytes = bytes_per_image(network)
        header = {
            "magic": PROGRAM_MAGIC,
            "image_bytes": image_bytes,
            "in_bits_last": bits - 1,
            "out_words": out_words,
            "out_bytes": word_bytes,
            "in_base0": in_base[0],
            "in_base1": in_base[1],
            "plane_stride": plane_words,
            "entry": _BASE_OF_DESCRIPTORS,
            "out_base0": out_base,
            "out_base1": out_base + out_region,
        }
        blocks = list(self._blocks(2 * bits * plane_words))
        digest = hashlib.sha256(repr((config, sorted(header.items()), self.descriptors)).encode())
        for block in blocks:
            place = (int(block.space), block.bank, block.address, len(block.data))
            digest.update(repr(place).encode() + block.data)
        identifier = digest.digest()[:8]
        header["id_low"] = int.from_bytes(identifier[:4], "little")
        header["id_high"] = int.from_bytes(identifier[4:], "little")
        program = np.array(HEADER.pack(header) + self.descriptors, "<u4").tobytes()
        return Program(
            network,
            config,
            (*blocks, Block(Space.PROGRAM, 0, 0, program)),
            tuple(self.plans),
            used,
            identifier,
            image_bytes,
            out_words * word_bytes,
            self.slices,
            self.factor,
            self.offset,
        )

    def _result_words(self, outputs: int) -> int:
        g = self.config.geometry
        if not self.slices:
            return -(-outputs // g.width)
        return -(-outputs // g.columns) * self.slices * g.words_per_tile

    def _dense(
        self, layer: Dense, *, planes: int, pixels: bool, macs: int, name: str, fields: dict[str, int]
    ) -> None:
        config, g = self.config, self.config.geometry
        outputs, inputs = layer.weights.shape
        words, tiles = -(-inputs // g.width), -(-outputs // g.columns)
        spare = words * g.width - inputs
        # Unused lanes hold activation bit 0; alternating weights cancel, and an odd one is left over as +1.
        odd = spare % 2
        lanes = np.zeros((tiles * g.columns, words * g.width), np.uint8)
        lanes[:outputs, :inputs] = layer.weights > 0
        lanes[:, inputs:] = np.arange(spare) % 2

        # The accumulator counts s = sum over planes of 2^b (dot_b + odd) / 2; natural = factor * s + offset.
        top = (1 << planes) - 1
        if pixels:
            sums = layer.weights.sum(axis=1, dtype=np.int64)
            factor, offset = 1, top * (sums - odd) // 2
        else:
            factor, offset = 2, np.full(outputs, -odd, np.int64)
        half = words * g.width // 2 * top
        starts = np.zeros(tiles * g.columns, np.int64)
        slices = 0
        if layer.thresholds is None:
            slices = half.bit_length() + 1
            self.slices, self.factor, self.offset = slices, factor, offset
        else:
            # natural >= T is s >= ceil((T - offset) / factor); beyond half the neuron is constant.
            bound = -((offset - layer.thresholds) // factor)
            starts[:] = -half - 1
            starts[:outputs] = np.clip(-bound, -half - 1, half)
        acc_bits = int(half + np.abs(starts).max()).bit_length() + 1
        if max(acc_bits, slices) > config.acc_width:
            raise CapacityError(
                f"layer {name!r} needs an accumulator of {max(acc_bits, slices)} bits, the device has "
                f"{config.acc_width}; set acc_width or reduce the input bits"
            )

        stored = pack(lanes.reshape(tiles, g.columns, words, g.width))
        self.weights.append(stored.transpose(1, 0, 2, 3).reshape(g.columns, tiles * words, g.width // 8))
        # Horner's scheme: the first plane takes the start value without its low bits, each further one a bit.
        shifts = planes - 1 - np.arange(planes)
        staged = starts[:, np.newaxis] >> shifts
        staged[:, 1:] &= 1
        self.starts.append(staged.reshape(tiles, g.columns, planes).transpose(1, 0, 2).reshape(g.columns, -1))

        plane_stride = words
        self.descriptors += pack_descriptor(
            {
                **fields,
                "score": slices > 0,
                "double": planes > 1,
                "slices": slices,
                "plane_last": planes - 1,
                "run_last": words - 1,
                "tile_last": tiles - 1,
                "in_base": fields["in_base"] + (planes - 1) * plane_stride,
                "weight_base": self.weight_words,
                "threshold_base": self.threshold_words,
                "delta_plane": -plane_stride - (words - 1),
                "delta_tile": (planes - 1) * plane_stride - (words - 1),
                "out_tile_stride": (slices or 1) * g.words_per_tile,
            }
        )
        self.plans.append(
            LayerPlan(
                name,
                tiles * words * planes,
                tiles * (config.acc_width - 1) if slices else 0,
                macs,
                acc_bits,
                tiles * words,
                tiles * planes,
            )
        )
        self.weight_words += tiles * words
        self.threshold_words += tiles * planes

    def _check_capacity(self, used: dict[str, int]) -> None:
        what = {
            "weight_depth": "words per weight buffer",
            "threshold_depth": "start values per threshold buffer",
            "act_depth": "words of activation memory",
            "program_depth": "words of program memory",
        }
        for name, words in used.items():
            limit = getattr(self.config, name)
            if words > limit:
                raise CapacityError(
                    f"network {self.network.name!r} needs {words} {what[name]} at geometry "
                    f"{self.config.geometry}, the device has {limit} ({name})"
                )

    def _blocks(self, input_words: int) -> Iterable[Block]:
        g = self.config.geometry
        weights = np.concatenate(self.weights, axis=1)
        starts = np.concatenate(self.starts, axis=1).astype("<i4")
        for column in range(g.columns):
            yield Block(Space.WEIGHTS, column, 0, weights[column].tobytes())
            yield Block(Space.THRESHOLDS, column, 0, starts[column].tobytes())
        # Lanes that no image byte reaches must read as 0.
        for row in range(g.rows):
            yield Block(Space.ACTIVATIONS, row, 0, bytes(input_words * g.width // 8))


def _stored_words(outputs: int, config: DeviceConfig) -> int:
    g = config.geometry
    tiles = -(-outputs // g.columns)
    return tiles * g.words_per_tile if g.columns >= g.width else -(-tiles // g.tiles_per_word)
