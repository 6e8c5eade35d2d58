"""Programs for several images per row of networks whose first layers take most of the time, and memory.

In a **round** the first layers work on one image, as they do in the program of one image per row, and leave
what further ones read in a place of its own. Behind the last round these go over all images as positions: a
tile's weights are used for all of them before the next tile's come. So what takes weights is done once for
all images, and what takes time does not have them all in memory.

INFER brings the images of a round and does next to nothing; RUN of an entry in `Program.turns` is the round,
and the last one goes on through all other layers. Each RUN begins with the store's first tile, so that the
store holds what it does for one image. Nothing that a RUN reads is overwritten before all layers are done:
it may be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import lcm

from ..isa.check import validate_descriptors, validate_program
from ..isa.descriptor import Descriptor, MemoryMap, Nest, Place
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER
from ..isa.places import POSITIONS
from ..isa.program import LayerPlan, Program, Results, Section, identifier_of
from ..isa.protocol import Space
from .allocate import Buffer, allocate
from .beside import keeps

__all__ = ["Cut", "cuts", "in_rounds"]


@dataclass(frozen=True)
class Cut:
    """Where the layers begin that go over all images.

    Attributes
    ----------
    single : Program
        For one image per row.
    first : int
        Number of the first of their descriptors.
    """

    single: Program
    first: int

    @cached_property
    def strides(self) -> dict[str, int]:
        """Words from one image to the next, of each region that these layers read or write.

        Empty, if they cannot go over several images: they have padding or read the image itself, two want
        different distances, the rows of a map do not lie evenly from image to image, or they add to values in
        place or have to do with K, of which there are one image's.
        """
        single, config, width = self.single, self.single.config, self.single.config.geometry.width
        late = single.sections[0].descriptors[self.first :]
        if any(one.source.region == "image" or one.padding or one.strips or keeps(one) for one in late):
            return {}
        found: dict[str, int] = {}
        for one in late:
            nest, region, target = _lined(one.nest), one.source.region, one.target.region
            if region not in found:
                downs = [_lined(other.nest).step("y") for other in late if other.source.region == region]
                even = lcm(*(down // width for down in downs if down))
                found[region] = -(-single.regions.sizes[region] // even) * even
            across, rows, stride = nest.count("x"), nest.count("y"), found[region] * width
            if across * rows == 1:
                continue
            if one.bits > 1 or (rows > 1 and stride % nest.step("y")):
                return {}
            rows = stride // nest.step("y") if rows > 1 else 1
            wanted = rows * across * (one.out_step + _further(one, config))
            if found.setdefault(target, wanted) != wanted:
                return {}
        sizes = {one.target.region: single.regions.sizes[one.target.region] for one in late}
        return sizes | found if all(words >= sizes.get(name, 0) for name, words in found.items()) else {}

    def words(self, per_row: int) -> int:
        """Return the words of activation memory that so many images take."""
        regions = self.regions(per_row)
        return max(regions.bases[name] + regions.sizes[name] for name in regions.bases)

    def program_words(self, per_row: int) -> int:
        """Return the words of program memory that they take."""
        first, further = self._lengths
        return HEADER.words + first + (per_row - 2) * further

    @cached_property
    def _lengths(self) -> tuple[int, int]:
        """Words of the descriptors for two images, and for each further one: the first layers once more."""
        words, entries = self.section(2).encoded(self.regions(2), self.single.config.geometry.width)
        return len(words), entries[1 + self.first] - entries[1]

    def expected(self, per_row: int) -> float:
        """Return about as many cycles as an image takes: of its own, and its part of what all wait for."""
        cycles = 0.0
        for number, (_, found) in enumerate(self.single.by_part):
            waits = found.active - found.busy
            cycles += found.busy + (waits if number < self.first else waits / per_row)
        return cycles

    def regions(self, per_row: int) -> MemoryMap:
        """Return every region, anew by liveness: of images one, and what a round leaves stays to the end."""
        descriptors, sizes = self.single.sections[0].descriptors, self.single.regions.sizes
        own = {name: per_row * self.strides[name] if name in self.strides else sizes[name] for name in sizes}
        lives: dict[str, tuple[int, int]] = {}
        for number, one in enumerate(descriptors):
            for region in (one.source.region, one.target.region):
                lives[region] = lives.get(region, (number, number))[0], number
        last = len(descriptors) - 1
        for region in self.strides:
            if lives[region][0] < self.first:
                lives[region] = 0, last
        buffers = [Buffer(name, own[name], *life) for name, life in lives.items() if name != "image"]
        bases, _ = allocate(buffers)
        return MemoryMap({"image": 0} | {name: own["image"] + base for name, base in bases.items()}, own)

    def section(self, per_row: int) -> Section:
        """Return the descriptors: of INFER, of each round, and behind the last one of all other layers."""
        single = self.single.sections[0]
        # It writes where the last round will: an earlier one may have left a part of its results.
        unused = self._place(Place("results"), per_row - 1)
        found, parts = [Descriptor(Nest.of(), Place("image"), unused, end=True)], [single.parts[0]]
        for image in range(per_row):
            for number, one in enumerate(single.descriptors[: self.first]):
                end = number == self.first - 1 and image < per_row - 1
                source, target = (self._place(place, image) for place in (one.source, one.target))
                found.append(replace(one, source=source, target=target, end=end))
                parts.append(single.parts[number])
        for number, one in enumerate(single.descriptors[self.first :], self.first):
            found.append(self._together(one, per_row))
            parts.append(single.parts[number])
        return Section(tuple(found), tuple(parts), single.buffers)

    def _place(self, place: Place, image: int) -> Place:
        return place.moved(image * self.strides.get(place.region, 0))

    def _together(self, one: Descriptor, per_row: int) -> Descriptor:
        """Return a layer that goes over the images of a row as positions, or as rows of these."""
        config = self.single.config
        stride = self.strides[one.source.region] * config.geometry.width
        nest = _lined(one.nest)
        across, rows = nest.count("x"), nest.count("y")
        if across * rows == 1:
            nest = nest.with_loops(x=(per_row, stride))
            step = self.strides[one.target.region] - _further(one, config)
            return replace(one, nest=nest, out_step=step)
        down = stride if rows == 1 else nest.step("y")
        # Rows between two images are computed as well, and nobody reads what comes of them.
        return replace(one, nest=nest.with_loops(y=((per_row - 1) * (stride // down) + rows, down)))


def cuts(single: Program) -> list[Cut]:
    """Return all ways to cut a program of one image per row; none if it cannot be.

    Its weights come from the store in one pass, and the layers that go over all images have a loop for that:
    no padding, and rows of positions that lie evenly from image to image.
    """
    layers = [layer for layer, _ in single.sections[0].parts]
    one_pass = (
        single.passes == 1 and len(layers) == len(set(layers)) and not (single.spread or single.stopped)
    )
    if not (one_pass and single.streams and single.config.convolution):
        return []
    found = (Cut(single, first) for first in range(1, len(single.sections[0].descriptors)))
    return [cut for cut in found if cut.strides]


def in_rounds(cut: Cut, per_row: int) -> Program:
    """Return the program for several images per row.

    Parameters
    ----------
    cut : Cut
    per_row : int
        2 or more.

    Raises
    ------
    CompileError
        If something of it has no place.
    """
    single, regions, section = cut.single, cut.regions(per_row), cut.section(per_row)
    config, base = single.config, regions.bases["results"]
    header = {
        **single.header,
        "in_base1": 0,
        "out_words": 1,
        "out_bytes": 1,
        "out_base0": base,
        "out_base1": base,
    }
    bare = [replace(section, buffers=())]
    program = replace(
        single,
        header=header,
        regions=regions,
        sections=(section,),
        layers=_layers(cut, section, per_row),
        used={
            **single.used,
            "act_depth": cut.words(per_row),
            "program_depth": cut.program_words(per_row),
        },
        identifier=identifier_of(config, header, regions, bare, single.identifier),
        results=Results(base, single.results.words, single.results.word_bytes),
        per_row=per_row,
        single=single,
    )
    words = program.contents(Space.PROGRAM, 0)
    validate_program(words, config)
    for entry in program.turns:
        validate_descriptors(words, config, entry)
    return program


def _layers(cut: Cut, section: Section, per_row: int) -> tuple[LayerPlan, ...]:
    """Return what each layer costs, for all images of a batch."""
    found, single = list(cut.single.layers), cut.single.sections[0]
    for number, ((layer, _), one) in enumerate(zip(single.parts, single.descriptors, strict=True)):
        plan, beats = found[layer], per_row * one.nest.beats
        if number >= cut.first:
            beats = section.descriptors[number - len(single.descriptors)].nest.beats
        found[layer] = replace(plan, beats=beats, drains=plan.drains * beats // one.nest.beats)
    return tuple(found)


def _lined(nest: Nest) -> Nest:
    """Return a nest with its positions in one row, if they lie evenly one behind the other."""
    across, rows = nest.count("x"), nest.count("y")
    step = nest.step("x") if across > 1 else nest.step("y")
    if rows > 1 and across * rows <= POSITIONS and (across == 1 or nest.step("y") == across * step):
        return nest.with_loops(x=(across * rows, step), y=(1, 0))
    return nest


def _further(one: Descriptor, config: DeviceConfig) -> int:
    """Return the words from a result's first slice to its last."""
    return max(one.slices - 1, 0) * config.geometry.words_per_tile
