"""Programs for several images per row at a time, which share the weights that come from a store.

The images of a row are positions, as those of a map are: a tile's weights are used for all of them before
the next tile's come. On the wire they are one image, that of the program's header. Only descriptors and
regions differ from the program of one image per row; weights, start values and their order are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import UsageError
from ..isa.check import validate_program
from ..isa.descriptor import Descriptor, MemoryMap
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER
from ..isa.program import Program, Results, Section, identifier_of
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, KEY_BYTES, Space
from ..model.network import Network

__all__ = ["fitted", "grouped", "largest", "most_per_row", "variant"]

_POSITIONS = 1 << 10
"""That a loop may have."""
_PARTS = 1 << 7
"""Frames that may bring a batch."""
_ADDRESSES = 1 << 16
_SPARE = 1.25
"""More than those for which the array takes as long as the store: what each layer takes besides its beats."""


def grouped(program: Program, per_row: int) -> Program:
    """Return a program that works on `per_row` images in each row of the array.

    Parameters
    ----------
    program : Program
        For one image per row, or made of it here.
    per_row : int
        1 to `most_per_row`.

    Raises
    ------
    UsageError
        If the program or the device cannot take so many.
    """
    single = program.single or program
    if per_row == 1:
        return single
    limit = _limit(single)
    if not 1 <= per_row <= limit:
        raise UsageError(f"{per_row} images per row, but this program and device take 1 to {limit}")
    return _grouped(single, per_row)


def most_per_row(program: Program) -> int:
    """Return the most images per row that are of use: memories hold them, and the store is what takes time.

    As many as were asked for, if any were, where memories hold them. 1, if the images of a row cannot share
    weights: the program does not take them from a store, or has layers that are not dense, or the device has
    no loop over positions.
    """
    single = program.single or program
    asked = program.per_row if program.single else single.most
    limit = _limit(single)
    if limit == 1 or asked:
        return min(limit, asked or 1)
    waited = single.busy.wait_weights
    balanced = single.cycles / max(single.cycles - waited, 1)
    return max(1, min(limit, round(_SPARE * balanced)))


def largest(program: Program) -> Program:
    """Return the program for as many images per row as are of use."""
    return grouped(program, most_per_row(program))


def fitted(program: Program, images: int) -> Program:
    """Return the program for a call of so many images: in as few batches as need be, all alike."""
    most = most_per_row(program)
    rows = (program.single or program).batch
    batches = max(1, -(-images // (rows * most)))
    return grouped(program, max(1, -(-images // (rows * batches))))


def variant(program: Program, identifier: bytes) -> Program | None:
    """Return the program of that identifier, if it is this one for some number of images per row."""
    single = program.single or program
    if identifier == single.identifier:
        return single
    for per_row in range(2, most_per_row(single) + 1):
        found = _grouped(single, per_row)
        if found.identifier == identifier:
            return found
    return None


def _limit(single: Program) -> int:
    """Return the images per row that memories and fields hold; 1 where they cannot share weights."""
    config = single.config
    if not (single.streams and config.convolution) or single.spread or single.results_read:
        return 1
    if single.header.get("interleaved"):
        return 1
    if not all(_dense(one) for section in single.sections for one in section.descriptors):
        return 1
    stride = _values(single.network, config)
    wire = stride // 8 if single.network.input.bits == 1 else stride
    frame = config.max_frame - HEADER_BYTES - CRC_BYTES - 1 - KEY_BYTES
    most = min(_POSITIONS, frame * _PARTS // (wire * config.geometry.rows))
    if _program_words(single, _sections(single, 2), _regions(single, 2)) > config.program_depth:
        return 1
    depth = min(config.act_depth, _ADDRESSES)
    while most > 1 and _words(single, most) > depth:
        most -= max(1, (_words(single, most) - depth) // _words(single, 1))
    return max(most, 1)


def _dense(descriptor: Descriptor) -> bool:
    nest = descriptor.nest
    alone = all(nest.count(loop) == 1 for loop in ("col", "row", "win_x", "win_y", "x", "y"))
    return alone and descriptor.padding is None and descriptor.strips is None


def _values(network: Network, config: DeviceConfig) -> int:
    """Return the values of the image from one of a row to the next: whole bytes of a plane, or words."""
    unit = 8 if config.offset_bits else config.geometry.width
    return -(-network.input.size // unit) * unit


def _plane_words(single: Program, per_row: int) -> int:
    return -(-per_row * _values(single.network, single.config) // single.config.geometry.width)


def _words(single: Program, per_row: int) -> int:
    regions = _regions(single, per_row)
    return regions.bases["results"] + regions.words("results")


def _regions(single: Program, per_row: int) -> MemoryMap:
    """Return every region with room for so many images, in the order in which they were."""
    old = single.regions
    image = single.network.input.bits * _plane_words(single, per_row)
    behind = 2 * image - per_row * old.words("image")
    bases = {name: behind + per_row * base for name, base in old.bases.items()}
    sizes = {name: per_row * size for name, size in old.sizes.items()}
    return replace(old, bases={**bases, "image": 0}, sizes={**sizes, "image": image})


def _grouped(single: Program, per_row: int) -> Program:
    config, network, regions = single.config, single.network, _regions(single, per_row)
    values, plane_words = _values(network, config), _plane_words(single, per_row)
    words = single.regions.sizes["results"]
    header = {
        **single.header,
        "image_bytes": per_row * (values // 8 if network.input.bits == 1 else values),
        "plane_stride": plane_words,
        "in_base1": regions.sizes["image"],
        "out_words": per_row * words,
        "out_base0": regions.bases["results"],
        "out_base1": regions.bases["results"] + per_row * words,
    }
    sections = _sections(single, per_row)
    program = replace(
        single,
        header=header,
        regions=regions,
        sections=sections,
        layers=tuple(
            replace(layer, beats=per_row * layer.beats, drains=per_row * layer.drains)
            for layer in single.layers
        ),
        used={
            **single.used,
            "act_depth": _words(single, per_row),
            "program_depth": _program_words(single, sections, regions),
        },
        identifier=identifier_of(config, header, regions, _bare(sections), single.identifier),
        results=Results(regions.bases["results"], words, single.results.word_bytes),
        per_row=per_row,
        single=single,
    )
    validate_program(program.contents(Space.PROGRAM, 0), config)
    return program


def _sections(single: Program, per_row: int) -> tuple[Section, ...]:
    return tuple(
        replace(section, descriptors=tuple(_descriptor(one, single, per_row) for one in section.descriptors))
        for section in single.sections
    )


def _program_words(single: Program, sections: Iterable[Section], regions: MemoryMap) -> int:
    width = single.config.geometry.width
    return HEADER.words + max(len(section.encoded(regions, width)[0]) for section in sections)


def _bare(sections: tuple[Section, ...]) -> list[Section]:
    """Return sections without what their buffers hold, which the single program's identifier is of."""
    return [replace(section, buffers=()) for section in sections]


def _descriptor(one: Descriptor, single: Program, per_row: int) -> Descriptor:
    """Return a layer that goes over the images of a row as positions."""
    config, sizes = single.config, single.regions.sizes
    g = config.geometry
    step, nest, source, lanes = sizes[one.source.region] * g.width, one.nest, one.source, one.lanes
    if source.region == "image":
        step, plane_words = _values(single.network, config), _plane_words(single, per_row)
        planes = nest.count("plane")
        nest = nest.with_loops(plane=(planes, -plane_words * g.width))
        source = replace(source, offset=(planes - 1) * plane_words)
        if step % g.width:
            # The last word of an image is the first one of the next.
            lanes = single.network.input.size % g.width
    return replace(
        one,
        nest=nest.with_loops(x=(per_row, step)),
        source=source,
        out_step=sizes[one.target.region] - max(one.slices - 1, 0) * g.words_per_tile,
        lanes=lanes,
    )
