"""Programs that end behind a layer, so that its results can be read from activation memory.

They compute with the very weights and start values of the whole program: some descriptors are replaced, and
nothing else but the length of what the store repeats. Their identifiers differ: a device that was left with
one is not taken for one that holds the network.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import CapacityError, UsageError
from ..isa.descriptor import Descriptor, MemoryMap, Place
from ..isa.program import Program, Results, Section, Stop, SumsPlan, Values, identifier_of
from ..isa.stream import shortened
from ..model.layers import has_weights
from ..model.network import Network

__all__ = ["stop_after", "sums_network", "sums_of"]


def stop_after(program: Program, index: int) -> Program:
    """Return a program that ends behind a layer and leaves its bits in activation memory.

    The layer's last descriptor has its `end` flag set, and the header tells the device to send one byte per
    image, which means nothing.

    Parameters
    ----------
    program : Program
        A whole one, or one that ends early: then the whole one counts.
    index : int
        Layer of the network; one of those in `Program.stops`.

    Returns
    -------
    Program
        The whole program if the layer is its last.

    Raises
    ------
    UsageError
        If the layer's results are not in memory: a pooling or a sum is part of the layer beside it.
    """
    whole = _whole(program)
    stop = _stop(whole, index)
    if stop is whole.stops[-1]:
        return program.whole or program
    sections = _up_to(whole, stop.number)
    return _ending(whole, sections, whole.regions, stop.region, stop.values, b"stop" + bytes([index % 256]))


def sums_network(network: Network, index: int) -> Network:
    """Return the network up to a layer with weights, without that layer's thresholds.

    Raises
    ------
    UsageError
        If the layer has no weights.
    NetworkError
        If it has more sums than a network may have outputs.
    """
    layer = network.layers[index] if 0 <= index < len(network.layers) else None
    if not has_weights(layer):
        raise UsageError(f"layer {index} has no sums: it has no weights")
    return network.up_to(index, layer.with_arrays(bare=True))


def sums_of(program: Program, index: int) -> Program:
    """Return a program that ends with the sums of a layer, not compared with thresholds and not pooled.

    The layer's descriptors go over all positions and send their accumulators, as those of the last layer do.
    They start from the whole program's start values, which `Program.decode` takes off: one wrong weight or
    threshold changes what it gives.

    Parameters
    ----------
    program : Program
        As for `stop_after`.
    index : int
        Layer with weights.

    Returns
    -------
    Program
        Of the first rows of positions only, if not all of the sums fit activation memory.

    Raises
    ------
    UsageError
        If the layer has no weights, or no step of its own.
    NetworkError
        If it has more sums than a network may have outputs.
    CapacityError
        If not even one row of positions fits.
    """
    whole = _whole(program)
    config, width = whole.config, whole.config.geometry.width
    network = sums_network(whole.network, index)
    number, plan = _summed(whole, index)
    sections = _up_to(whole, number)
    source = next(d for d, (layer, _) in zip(sections[-1].descriptors, sections[-1].parts, strict=True)
                  if layer == number).source.region  # fmt: skip
    base, room = _room(whole, source)
    row_words = plan.values.width * plan.values.pitch
    rows = min(plan.values.height, room // row_words)
    if rows < 1:
        raise CapacityError(
            f"the sums of layer {index} take {row_words} words of activation memory for a row of positions "
            f"behind word {base}, the device has {config.act_depth} (act_depth)"
        )
    values, loops = replace(plan.values, height=rows), {**plan.loops, "y": (rows, plan.loops["y"][1])}
    step = values.pitch - (values.slices - 1) * config.geometry.words_per_tile

    def summed(descriptor: Descriptor, first: int) -> Descriptor:
        # Every row of the array goes over all positions: maps lie whole in every memory.
        return replace(
            descriptor,
            nest=descriptor.nest.with_loops(**loops),
            target=Place("sums", first * plan.tile_words),
            out_step=step if rows * values.width > 1 else 0,
            out_tile=plan.tile_words,
            slices=values.slices,
            padding=descriptor.padding and replace(descriptor.padding, step=descriptor.padding.stride),
            strips=None,
            adding=None,
            packed=0,
        )

    sections = tuple(
        replace(
            section,
            descriptors=tuple(
                summed(descriptor, first) if layer == number else descriptor
                for descriptor, (layer, first) in zip(section.descriptors, section.parts, strict=True)
            ),
        )
        for section in sections
    )
    regions = replace(
        whole.regions,
        bases={**whole.regions.bases, "sums": base},
        sizes={**whole.regions.sizes, "sums": rows * row_words},
    )
    ended = _ending(whole, sections, regions, "sums", values, b"sums" + bytes([index % 256]))
    if max(len(section.encoded(regions, width)[0]) for section in sections) > config.program_depth:
        raise CapacityError(f"the program of layer {index}'s sums exceeds program memory")
    return replace(ended, network=network, starts=plan.starts)


def _whole(program: Program) -> Program:
    """Return what a program is a part of, with one image per row."""
    whole = program.whole or program
    return whole.single or whole


def _stop(program: Program, index: int) -> Stop:
    for stop in program.stops:
        if stop.index == index:
            return stop
    known = ", ".join(str(stop.index) for stop in program.stops)
    raise UsageError(f"layer {index} leaves nothing in the device's memory; layers that do: {known}")


def _summed(program: Program, index: int) -> tuple[int, SumsPlan]:
    for stop in program.stops:
        if stop.plan == index and stop.sums:
            return stop.number, stop.sums
    raise UsageError(f"layer {index} has no sums in a device: it is part of another layer's step")


def _up_to(program: Program, number: int) -> tuple[Section, ...]:
    """Return the sections up to the end of a layer, which ends the last one."""
    last = max(at for at, one in enumerate(program.sections) if number in dict(one.parts))
    section = program.sections[last]
    count = 1 + max(at for at, (layer, _) in enumerate(section.parts) if layer == number)
    descriptors = section.descriptors[:count]
    descriptors = (*descriptors[:-1], replace(descriptors[-1], end=True))
    buffers = section.buffers
    if descriptors[0].stream:
        tiles = sum(one.nest.count("tile") for one in descriptors)
        buffers = shortened(buffers, tiles, program.config)
    ended = replace(section, descriptors=descriptors, parts=section.parts[:count], buffers=buffers)
    return (*program.sections[:last], ended)


def _room(program: Program, source: str) -> tuple[int, int]:
    """Return the largest part of activation memory that a layer may fill that reads region `source`.

    Nothing but its source is in use: what follows does not run.
    """
    bases, sizes = program.regions.bases, program.regions.sizes
    # Images stay: the lanes that no image byte reaches are 0 only once.
    first, depth = program.regions.words("image"), program.config.act_depth
    if source == "image":
        return first, depth - first
    behind = bases[source] + sizes[source]
    choices = ((behind, depth - behind), (first, bases[source] - first))
    return max(choices, key=lambda choice: choice[1])


def _ending(
    program: Program,
    sections: tuple[Section, ...],
    regions: MemoryMap,
    region: str,
    values: Values,
    kind: bytes,
) -> Program:
    """Return `program` cut to `sections`, with its results in `region`, where the host reads them."""
    header = {**program.header, "out_words": 1, "out_bytes": 1}
    # The host reads one region, whatever the batch's parity.
    regions = replace(regions, paired=regions.paired - {"results"})
    return replace(
        program,
        header=header,
        regions=regions,
        sections=sections,
        identifier=identifier_of(program.config, header, regions, sections, program.identifier + kind),
        values=values,
        results=Results(regions.bases[region], values.spread, values.word_bytes(program.config), region),
        whole=program,
    )
