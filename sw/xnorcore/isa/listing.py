"""A compiled program as people read it: per layer the loops, places in memory, and beats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from math import prod
from typing import Any

from .descriptor import Descriptor, MemoryMap, Place
from .layout import LOOPS
from .program import Program
from .scaling import Scaling

__all__ = ["listing", "listing_lines"]


def listing(program: Program) -> dict[str, Any]:
    """Return a program in the form of ``--json``.

    Returns
    -------
    dict
        ``regions`` of activation memory by name; ``header`` fields; and ``passes``, each with its
        ``descriptors``, in the order in which the device runs them.
    """
    regions, width = program.regions, program.config.geometry.width
    passes = []
    for section in program.sections:
        _, entries = section.encoded(regions, width)
        rows = zip(section.descriptors, section.parts, entries, strict=True)
        passes.append(
            {
                "buffer_bytes": sum(len(block.data) for block in section.buffers),
                "descriptors": [_descriptor(program, *row) for row in rows],
            }
        )
    return {
        "network": program.network.name,
        "geometry": str(program.config.geometry),
        "identifier": program.identifier.hex(),
        "regions": {
            name: {"first": regions.bases[name], "words": words, "copies": 1 + (name in regions.paired)}
            for name, words in regions.sizes.items()
        },
        "header": {name: int(value) for name, value in program.header.items()},
        "used": program.used,
        "passes": passes,
    }


def _descriptor(program: Program, one: Descriptor, part: tuple[int, int], entry: int) -> dict[str, Any]:
    layer, first = part
    width, nest = program.config.geometry.width, one.nest
    taps = prod(nest.count(name) for name in ("run", "col", "row", "copy")) * one.kinds
    tiles = nest.count("tile")
    return {
        "layer": program.layers[layer].name,
        "word": entry,
        "first_tile": first,
        "tiles": tiles,
        "loops": {
            name: {
                "count": nest.count(name),
                "words": nest.step(name) // width,
                "bits": nest.step(name) % width,
            }
            for name in LOOPS
            if name in nest.loops
        },
        "beats": nest.beats,
        "reads": _place(one.source, program.regions),
        "writes": _place(one.target, program.regions),
        "weights": [one.weights, one.weights + taps * tiles],
        "starts": [one.starts, one.starts + tiles * one.levels],
        "stream": one.stream,
        "result": _result(one),
        "out_plane": one.plane,
        "out_step": one.out_step,
        "out_tile": one.out_tile,
        "flags": list(_flags(one)),
    }


def _result(one: Descriptor) -> str:
    if one.slices:
        return f"{one.slices} slices"
    return f"codes of {one.bits} bits" if one.bits > 1 else "bits"


def _place(place: Place, regions: MemoryMap) -> dict[str, Any]:
    word = regions.word(place)
    if place.region in regions.paired:
        word += regions.bases[place.region]
    return {"region": place.region, "offset": place.offset, "word": word % (1 << 16)}


_SCALING = {
    Scaling.FOLDED: "codes as signs and magnitudes",
    Scaling.KEPT: "sums kept as K",
    Scaling.MULTIPLIED: "sums times K",
}


def _flags(one: Descriptor) -> Iterator[str]:
    if one.double and one.nest.count("plane") > 1:
        yield "planes double"
    if (copies := one.nest.count("copy")) > 1:
        four = f", {one.four} four times" if one.four else ""
        yield f"{copies} copies{four}, {copies - one.single - one.four} of them twice"
    if one.row_sum:
        yield "the rows' sums"
    if one.rescaled:
        yield "results unit"
    if one.packed:
        yield f"kernel rows of {one.packed} words" if one.packed > 1 else "kernel rows"
    if one.kinds > 1:
        yield f"weights of its own {' and '.join(compress(('left', 'right'), one.edges))}"
    if one.adding:
        to = "values" if one.adding.adds else "0"
        yield f"codes of {one.adding.bits} bits less {one.adding.offset}, added to {to}"
        if one.adding.halves:
            yield "every second column and row of values"
    if one.scaling:
        yield _SCALING[one.scaling]
    if one.depends:
        yield "waits for the layer before"
    if one.lanes:
        yield f"{one.lanes} lanes of a run's last word"
    if one.padding:
        p = one.padding
        kind = "nothing" if p.value == 0 else f"{p.value:+d}"
        if p.bits:
            kind = f"code {int(''.join(map(str, p.bits)), 2)}"
        yield f"padding of {kind}, {p.top} above and {p.left} left of {p.map[0]} x {p.map[1]}"
        if p.balance:
            yield "balanced lane"
    if one.strips:
        yield f"strips {one.strips.source} words apart, results {one.strips.target}"
    if one.end:
        yield "end"


def listing_lines(value: dict[str, Any]) -> list[str]:
    """Return what `listing` gives as lines of text."""
    lines = [f"{value['network']} for {value['geometry']}, program {value['identifier']}", ""]
    lines.append("activation memory")
    for name, region in value["regions"].items():
        if region["words"]:
            last = region["first"] + region["copies"] * region["words"] - 1
            twice = ", one for each of two batches" if region["copies"] > 1 else ""
            lines.append(f"  {name:<8} words {region['first']} to {last}{twice}")
    several = len(value["passes"]) > 1
    for number, section in enumerate(value["passes"]):
        if several:
            size = f"{section['buffer_bytes']:,} bytes of weights and start values"
            lines += ["", f"pass {number + 1} of {len(value['passes'])}: {size}"]
        for one in section["descriptors"]:
            lines += ["", *_descriptor_lines(one)]
    return lines


def _descriptor_lines(one: dict[str, Any]) -> Iterator[str]:
    tiles = one["tiles"]
    part = f", tiles {one['first_tile']} to {one['first_tile'] + tiles - 1}" if one["first_tile"] else ""
    yield f"word {one['word']}: {one['layer']}{part}, {one['beats']:,} beats"
    loops = [
        f"{name} {loop['count']} x {loop['words']:+d}"
        + (f" words {loop['bits']} bits" if loop["bits"] else "")
        for name, loop in reversed(one["loops"].items())
    ]
    yield f"  loops    {', '.join(loops) or 'a single beat'}"
    for what in ("reads", "writes"):
        place = one[what]
        offset = f"{place['offset']:+d}" if place["offset"] else ""
        yield f"  {what:<8} {place['region']}{offset}, from word {place['word']}"
    for what in ("weights", "starts"):
        first, behind = one[what]
        place = f"{behind} words from the store" if one["stream"] else f"words {first} to {behind - 1}"
        yield f"  {what:<8} {place}"
    steps = f"{one['out_step']} words per position, {one['out_tile']} per tile"
    if one["out_plane"]:
        steps += f", {one['out_plane']} per plane"
    yield f"  result   {one['result']}; {steps}"
    if one["flags"]:
        yield f"  flags    {'; '.join(one['flags'])}"
