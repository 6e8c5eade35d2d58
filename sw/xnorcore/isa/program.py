"""A compiled network: what is written to a device, and how its results are read.

It is kept as descriptors; the words of program memory are made of them when somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError
from ..model.network import Network
from .blocks import Block, Pass, Section, identifier_of, word_bytes
from .descriptor import MemoryMap
from .device import DeviceConfig
from .layout import HEADER, header_of
from .protocol import Space
from .results import Results, Stop, SumsPlan, Values
from .timing import Cycles, Timed, alone, alone_layers, steady, steady_layers

__all__ = [
    "Block", "LayerPlan", "Pass", "Program", "Results", "Section", "Stop", "SumsPlan", "Values",
    "identifier_of", "word_bytes",
]  # fmt: skip


@dataclass(frozen=True)
class LayerPlan:
    """What one layer costs on the device.

    Attributes
    ----------
    name : str
    beats, drains : int
        Array cycles per batch: those that multiply, and those that shift scores out.
    macs, acc_bits : int
        Useful multiply-accumulates per image; accumulator bits that provably hold every number on the way.
    weight_words, threshold_words : int
        Buffer words per column.
    layer : int
        Of the network; a pooling may take two plans.
    """

    name: str
    beats: int
    drains: int
    macs: int
    acc_bits: int
    weight_words: int
    threshold_words: int
    layer: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one device configuration.

    Attributes
    ----------
    network : Network
    config : DeviceConfig
    header : dict
        Fields of the header but for the identifier.
    regions : MemoryMap
    sections : tuple of Section
        One if all weights fit.
    layers : tuple of LayerPlan
    used : dict
        Words used of each device memory, by the name of its `DeviceConfig` field.
    identifier : bytes
        Eight bytes; those of equal networks on equal configurations are equal.
    values, results : Values, Results
        What comes back, and where it is.
    stops : tuple of Stop
        Where a layer of the network is done, in order; the last one is the end of the program.
    whole : Program or None
        What this one is a part of, if it ends early (`xnorcore.compiler.stops`): INFER sends no results.
    starts : array of int64, shape (outputs,), or None
        What the accumulators of the results start from, if that is to be taken off.
    per_row, most, single : int, int or None, Program or None
        Images of a batch in each row of the array, at most (as many as are of use), and the same program with
        one, if these are several (`xnorcore.compiler.group`).
    """

    network: Network
    config: DeviceConfig
    header: Mapping[str, int]
    regions: MemoryMap
    sections: tuple[Section, ...]
    layers: tuple[LayerPlan, ...]
    used: dict[str, int]
    identifier: bytes
    values: Values
    results: Results
    stops: tuple[Stop, ...]
    whole: Program | None = None
    starts: NDArray[np.int64] | None = None
    per_row: int = 1
    most: int | None = None
    single: Program | None = None

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Everything to write, program header last; of the first pass, if there are several."""
        words, _ = self.sections[0].encoded(self.regions, self.config.geometry.width)
        low, high = (int.from_bytes(self.identifier[at : at + 4], "little") for at in (0, 4))
        header = header_of(self.config).pack({**self.header, "id_low": low, "id_high": high})
        program = Block(Space.PROGRAM, 0, 0, np.array(header + words, "<u4").tobytes())
        return (*self.sections[0].buffers, *self._images(), program)

    @cached_property
    def later(self) -> tuple[Pass, ...]:
        """Further passes; empty if all weights fit."""
        passes = []
        for section in self.sections[1:]:
            words, entries = section.encoded(self.regions, self.config.geometry.width)
            block = Block(Space.PROGRAM, 0, HEADER.words, np.array(words, "<u4").tobytes())
            passes.append(Pass((*section.buffers, block), tuple(compress(entries, section.begins))))
        return tuple(passes)

    def _images(self) -> tuple[Block, ...]:
        # Lanes that no image byte reaches must read as 0. Several images beside each other reach all.
        size = self.regions.words("image") * self.config.geometry.width // 8
        rows = range(self.config.geometry.rows if self.per_row == 1 or self.turns else 0)
        return tuple(Block(Space.ACTIVATIONS, row, 0, bytes(size)) for row in rows)

    @cached_property
    def turns(self) -> tuple[int, ...]:
        """Program addresses to RUN, one behind each INFER of a batch's images; none if INFER does everything.

        So the images of a row come one after the other (`xnorcore.compiler.rounds`).
        """
        first = self.sections[0]
        _, entries = first.encoded(self.regions, self.config.geometry.width)
        return tuple(compress(entries, first.begins))[1:]

    @property
    def image_bytes(self) -> int:
        """Bytes of one image on the wire; of several beside each other, 0 up to where the next begins."""
        return self.header["image_bytes"] // (1 if self.turns else self.per_row)

    @property
    def result_bytes(self) -> int:
        """Bytes of one image's results on the wire."""
        return self.results.words * self.results.word_bytes

    @property
    def spread(self) -> bool:
        """Whether the rows of the array share one image, and a batch is one image."""
        return bool(self.header["spread"])

    @property
    def stopped(self) -> bool:
        """Whether the program ends early."""
        return self.whole is not None

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates of an image, in the layers that take a step."""
        return sum(layer.macs for layer in self.layers)

    @property
    def beats(self) -> int:
        """Array cycles per batch that multiply: the array's own bound."""
        return sum(layer.beats for layer in self.layers)

    @property
    def passes(self) -> int:
        """Times that the buffers are filled with weights for an image; 1 if they are filled once and stay."""
        return len(self.sections)

    @property
    def streams(self) -> bool:
        """Whether weights and start values come from the device's store."""
        return any(one.stream for one in self.sections[0].descriptors)

    @property
    def results_read(self) -> bool:
        """Whether the host reads them, a batch at a time: in passes, of one region, and if `stopped`."""
        return not self.regions.paired or self.stopped

    @property
    def bytes_per_call(self) -> int:
        """Bytes of weights and start values that cross the link for the images of a call; 0 with one pass."""
        if len(self.sections) == 1:
            return 0
        return sum(len(block.data) for section in self.sections for block in section.buffers)

    @property
    def batch(self) -> int:
        """Images that the array works on at once."""
        return self.filled_rows * self.per_row

    @property
    def filled_rows(self) -> int:
        """Images of a batch that the loader counts: each fills a row, or, if `spread`, all of them."""
        return 1 if self.spread else self.config.geometry.rows

    @property
    def cycles(self) -> int:
        """Cycles of a batch: between others, or, where they do not overlap, by itself (`timing`).

        The counters' ``active`` without ``wait_output``, but for the `readouts` at most.
        """
        return self.busy.active if self.regions.paired else self.latency

    @property
    def readouts(self) -> int:
        """Cycles at most that reading a batch's results for the link takes from the next one.

        With activation memories of one port, also those that writing its images takes from the one before.
        """
        reads = 0 if self.results_read else self.batch * self.results.reads(self.config)
        if self.config.act_ports == 1:
            reads += self.filled_rows * self.regions.sizes["image"] * self.config.geometry.width // 8
        return reads

    @property
    def latency(self) -> int:
        """Cycles of a batch by itself, from its start to its last result; of all passes together."""
        again = max(len(self.turns) - 1, 0) * self.by_itself[0].active
        return sum(cycles.active for cycles in self.by_itself) + again

    @cached_property
    def busy(self) -> Cycles:
        """Cycles by cause of a batch between others."""
        return steady(self.timed[0], self.config)

    @cached_property
    def by_part(self) -> list[tuple[int, Cycles]]:
        """The layer of each descriptor in `layers`, and its cycles by cause: between others, or by itself."""
        parts = [part for section in self.sections for part, _ in section.parts]
        first, *runs = self.timed
        found = (steady_layers if self.regions.paired else alone_layers)(first, self.config)
        for run in runs:
            found += alone_layers(run, self.config, run=True)
        return list(zip(parts, found, strict=True))

    @cached_property
    def by_itself(self) -> tuple[Cycles, ...]:
        """Cycles by cause of an INFER alone, and of each RUN that a further pass, or image, takes."""
        if not self.turns:
            return tuple(alone(layers, self.config, run=at > 0) for at, layers in enumerate(self.timed))
        # All rounds but the last one take the same.
        first, last = (alone(self.timed[number], self.config, run=True) for number in (1, -1))
        return (alone(self.timed[0], self.config), *[first] * (len(self.turns) - 1), last)

    @cached_property
    def timed(self) -> list[list[Timed]]:
        """What runs without a pause: the layers of an INFER, and those of each RUN."""
        runs: list[list[Timed]] = []
        for section in self.sections:
            words, entries = section.encoded(self.regions, self.config.geometry.width)
            ends = [*entries[1:], HEADER.words + len(words)]
            places = zip(section.descriptors, entries, ends, section.begins, strict=True)
            for descriptor, first, end, begins in places:
                if begins:
                    runs.append([])
                runs[-1].append(Timed(descriptor, end - first))
        return runs

    def contents(self, space: Space, bank: int) -> list[int]:
        """Return the words of a memory bank that `blocks` writes, from address 0 on."""
        size = word_bytes(self.config, space)
        words: dict[int, int] = {}
        for block in self.blocks:
            if (block.space, block.bank) == (space, bank):
                for index in range(0, len(block.data), size):
                    word = block.data[index : index + size]
                    words[block.address + index // size] = int.from_bytes(word, "little")
        return [words.get(address, 0) for address in range(max(words, default=-1) + 1)]

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
        return self.values.decode(raw, images, self.config, self.starts)
