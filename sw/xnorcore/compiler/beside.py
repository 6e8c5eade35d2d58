"""Programs for several images per row of networks of dense layers: images beside each other, as positions.

The images of a row are positions, as those of a map are: a tile's weights are used for all of them before
the next tile's come. On the wire they are one image, that of the program's header. Only descriptors and
regions differ from the program of one image per row; weights, start values and their order are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..isa.check import validate_program
from ..isa.descriptor import Descriptor, MemoryMap
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER
from ..isa.places import ADDRESSES, POSITIONS
from ..isa.program import Program, Results, Section, identifier_of
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, KEY_BYTES, Space
from ..isa.scaling import Scaling
from ..model.network import Network

__all__ = ["all_dense", "beside", "keeps", "most_beside"]

_PARTS = 1 << 7
"""Frames that may bring a batch."""


def all_dense(single: Program) -> bool:
    """Whether a program of one image per row has dense layers alone."""
    dense = all(_dense(one) for section in single.sections for one in section.descriptors)
    return dense and not single.header.get("interleaved")


def keeps(one: Descriptor) -> bool:
    """Whether a layer has to do with what the results unit keeps, of one image in each row."""
    return one.adding is not None or one.scaling is not Scaling.NONE


def most_beside(single: Program) -> int:
    """Return the images per row of a program of dense layers that memories and fields hold.

    1, if the host reads its results, or if there is a K, of which a device has one for each image alone.
    """
    config = single.config
    if single.results_read or any(keeps(one) for one in single.sections[0].descriptors):
        return 1
    stride = _values(single.network, config)
    wire = stride // 8 if single.network.input.bits == 1 else stride
    frame = config.max_frame - HEADER_BYTES - CRC_BYTES - 1 - KEY_BYTES
    most = min(POSITIONS, frame * _PARTS // (wire * config.geometry.rows))
    if _program_words(single, _sections(single, 2), _regions(single, 2)) > config.program_depth:
        return 1
    depth = min(config.act_depth, ADDRESSES)
    while most > 1 and _words(single, most) > depth:
        most -= max(1, (_words(single, most) - depth) // _words(single, 1))
    return max(most, 1)


def beside(single: Program, per_row: int) -> Program:
    """Return the program for several images per row, `most_beside` at most, of one of dense layers."""
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
