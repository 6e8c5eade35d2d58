"""Turns an integer network into the memory contents and the program of one device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CapacityError, CompileError
from ..files.xnorfile import content_hash
from ..isa.check import validate_descriptors, validate_program
from ..isa.descriptor import Descriptor, MemoryMap, Place
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER, PROGRAM_MAGIC, levels_of
from ..isa.program import LayerPlan, Program, Results, Section, Values, identifier_of
from ..isa.protocol import Space
from ..isa.scales import unit_words
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from .buffers import buffer_blocks
from .chains import NO_CHAINS, Chains, ways
from .factors import check_positions, check_resident, check_rows
from .image import Image, lower_first
from .lacking import only_dense
from .layout import Layout, joined, lay_out, together
from .lower import lower_dense
from .nest import Lowered, Region
from .plan import IMAGE, Plan, Step
from .pooling import PoolPass, lower_pool
from .readable import stops_of
from .rows import as_rows, lower_map, rows_of
from .scaled import behind, seen
from .spec import check_cut, check_layout, check_plan, check_step
from .split import Piece, cut
from .steps import SaturatingError, plan_of, several_passes
from .stream import cut_stream, exceeds_flash, stream_blocks, stream_words

__all__ = ["compile_network"]

_MEMORIES = {
    "act_depth": "words of activation memory",
    "program_depth": "words of program memory",
}


def compile_network(
    network: Network, config: DeviceConfig, at_once: int | None = None, *, per_row: int | None = None
) -> Program:
    """Compile `network` for a device.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    at_once : int, optional
        Images that are there at a time, where that is known. The rows of the array work on an image
        each, unless strips of one image, one after the other, take fewer cycles for `at_once` images.
    per_row : int, optional
        Images that calls make a row work on at once, at most, where weights come from a store and memories
        hold so many; default: as many as are of use. The program is that for one (`xnorcore.compiler.group`).

    Returns
    -------
    Program

    Raises
    ------
    CapacityError
        If the network needs more of a memory, or a wider accumulator, than the device has. Weights may
        exceed the buffers: they then come from the store or, if there is none that holds them, in passes,
        with every call again.
    CompileError
        If the network has a layer that the device cannot run.
    """
    rows = config.geometry.rows
    program = replace(_faster(network, config), most=per_row)
    if rows == 1 or not at_once or at_once >= rows:
        return program
    try:
        spread = _checked(_Compiler(network, config, rows).compile())
    except CapacityError:
        return program
    return spread if at_once * spread.cycles < program.cycles else program


def _faster(network: Network, config: DeviceConfig) -> Program:
    """Return the program of the fewest cycles: with or without additions in place, and kernel rows."""
    tried = [(NO_CHAINS, True)] if config.packed_rows else []
    for rows in (False, True)[: 1 + config.packed_rows]:
        tried += [(found, rows) for found in ways(network, config, rows)]
    best, said = None, None
    for way in tried:
        try:
            program = _checked(_Compiler(network, config, 1, *way).compile())
            # Neither is a way for several passes, between which a host has maps alone.
            if program.passes > 1:
                said = several_passes(program)
            elif best is None or program.cycles < best.cycles:
                best = program
        except CompileError as error:
            said = error
    try:
        plain = _checked(_Compiler(network, config).compile())
    except CompileError as error:
        if best:
            return best
        raise (said if said and isinstance(error, SaturatingError) else error) from None
    return best if best and best.cycles <= plain.cycles else plain


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
    chains: Chains = NO_CHAINS
    rows: bool = False

    def compile(self) -> Program:
        network, config = self.network, self.config
        if not config.convolution:
            only_dense(network)
        copies = "copy" in levels_of(config)
        plan = plan_of(
            network, config.code_bits, copies=copies, chains=self.chains, scale_depth=config.scale_depth
        )
        check_plan(plan)
        check_rows(plan, self.strips)
        lowered, image, maps = self._lower(plan)
        check_positions(plan, lowered, config.scale_depth)
        passes, stream = self._passes(lowered, [step.name for step in plan.steps])
        check_resident(plan, len(passes))
        check_cut(passes, lowered, config, stream)
        layout = lay_out(plan, lowered, image.words, paired=len(passes) == 1)
        if layout.words > config.act_depth:
            layout = lay_out(plan, lowered, image.words, paired=False)
        check_layout(plan, lowered, layout, config)
        self._check("act_depth", layout.words)
        regions = layout.regions
        sections = tuple(
            self._section(plan, pieces, layout, stream, stops=number > 0 and not stream)
            for number, pieces in enumerate(passes)
        )
        used = {
            "weight_depth": sum(layer.weights.shape[1] for layer in lowered),
            "threshold_depth": sum(layer.tiles * layer.levels for layer in lowered),
            "act_depth": layout.words,
        }
        if config.store_words:
            whole = [piece for pieces in passes for piece in pieces]
            used["store_words"] = stream_words(whole, config) if stream else 0
        words = [len(section.encoded(regions, config.geometry.width)[0]) for section in sections]
        used["program_depth"] = HEADER.words + max(words)
        self._check("program_depth", used["program_depth"])
        values = maps[len(network.values) - 1]
        results = Results(regions.bases["results"], values.words(config), values.word_bytes(config))
        header = self._header(image, results, regions)
        return Program(
            network,
            config,
            header,
            regions,
            sections,
            tuple(self._plan(step, layer) for step, layer in zip(plan.steps, lowered, strict=True)),
            used,
            # Networks that differ only in what the host does, of which the device has nothing, are others.
            identifier_of(config, header, regions, sections, content_hash(network).encode()),
            values,
            results,
            stops_of(plan, lowered, layout, maps, config),
        )

    def _passes(self, lowered: list[Lowered], names: list[str]) -> tuple[list[list[Piece]], bool]:
        """Cut the network into as few passes as buffers or store allow; tell whether it is the store."""
        resident, obstacle = None, CapacityError()
        try:
            resident = cut(lowered, names, self.config)
        except CapacityError as error:
            obstacle = CapacityError(f"{error}{exceeds_flash(lowered, self.config)}")
        if resident and len(resident) == 1:
            return resident, False
        streamed = cut_stream(lowered, names, self.config)
        if streamed and (not resident or len(streamed) < len(resident)):
            return streamed, True
        if not resident:
            raise obstacle
        return resident, False

    def _lower(self, plan: Plan) -> tuple[list[Lowered], Image, dict[int, Values]]:
        """Lower every step; return also the image, and what the bits of every signal mean."""
        config, width = self.config, self.config.geometry.width
        lowered: dict[int, Lowered] = {}
        regions: dict[int, Region] = {}
        image: Image | None = None
        packed, before = rows_of(plan, config) if self.rows else {}, 0
        for step in plan.steps:
            if step.reads == IMAGE:
                layer, image = lower_first(step, self.network, config, self.strips, image)
            else:
                region = regions[step.reads]
                layer = LOWER[type(step.layer)](step, seen(region, step.unit, step.top), config, self.strips)
                layer = behind(layer, region, step.unit, step.top)
            layer = as_rows(layer, packed.get(step.gives, 0), before, config)
            if layer.descriptor.adding:
                before = unit_words(config, layer.descriptor.adding.short)
            check_step(plan, step, layer, config)
            lowered[step.gives], regions[step.gives] = layer, layer.source
            for join in plan.joins.values():
                if step.gives in join.parts and lowered.keys() >= set(join.parts):
                    parts, regions[join.gives] = joined(join, lowered, width)
                    lowered |= parts
        assert image is not None  # a network reads its image
        maps = {signal: layer.values for signal, layer in lowered.items()}
        for join in (*plan.joins.values(), *plan.inner):
            maps[join.gives] = together([maps[part] for part in join.parts])
        return [lowered[step.gives] for step in plan.steps], image, maps

    def _header(self, image: Image, results: Results, regions: MemoryMap) -> dict[str, int]:
        """Complete the header."""
        base, paired = regions.bases["results"], bool(regions.paired)
        # With one region of each, the host asks for the results itself; what the device sends means nothing.
        return {
            **image.header,
            "spread": self.strips > 1,
            "magic": PROGRAM_MAGIC,
            "out_words": results.words if paired else 1,
            "out_bytes": results.word_bytes if paired else 1,
            "in_base1": image.words if paired else 0,
            "entry": HEADER.words,
            "out_base0": base,
            "out_base1": base + (regions.sizes["results"] if paired else 0),
        }

    def _section(self, plan: Plan, pieces: list[Piece], layout: Layout, stream: bool, stops: bool) -> Section:
        """Say where the pieces of a pass read and write; `stops` ends a run at every layer."""
        descriptors: list[Descriptor] = []
        weights = starts = 0
        for number, piece in enumerate(pieces):
            template, step = piece.layer.descriptor, plan.steps[piece.index]
            source, target = (Place(layout.region_of[signal]) for signal in (step.reads, step.gives))
            behind = piece.first // piece.shared(self.config) * template.out_tile
            descriptors.append(
                replace(
                    template,
                    nest=template.nest.with_loops(tile=(piece.tiles, template.nest.step("tile"))),
                    source=source.moved(template.source.offset + piece.before(self.config)),
                    target=target.moved(template.target.offset + behind),
                    weights=0 if stream else weights,
                    starts=0 if stream else starts,
                    stream=stream,
                    depends=piece.index > 0,
                    end=stops or number == len(pieces) - 1,
                )
            )
            weights += piece.weight_words.stop - piece.weight_words.start
            starts += piece.start_words.stop - piece.start_words.start
        parts = tuple((piece.index, piece.first) for piece in pieces)
        buffers = stream_blocks(pieces, self.config) if stream else tuple(buffer_blocks(pieces, self.config))
        return Section(tuple(descriptors), parts, buffers)

    def _plan(self, step: Step, layer: Lowered) -> LayerPlan:
        words = layer.weights.shape[1], layer.tiles * layer.levels
        return LayerPlan(
            step.name, layer.beats, layer.drains, step.macs, layer.acc_bits, *words, layer=step.plan
        )

    def _check(self, name: str, words: int) -> None:
        limit = getattr(self.config, name)
        if words > limit:
            raise CapacityError(
                f"network {self.network.name!r} needs {words} {_MEMORIES[name]} at geometry "
                f"{self.config.geometry}, the device has {limit} ({name})"
            )


LOWER: dict[type, Callable[[Any, Region, DeviceConfig, int], Lowered]] = {
    Dense: lambda step, source, config, strips: lower_dense(
        step.layer, source, config, step.summed, step.name, step.unit
    ),
    Conv2d: lower_map,
    PoolPass: lambda step, source, config, strips: lower_pool(step.layer, source, config, step.name, strips),
}
"""By kind of step: how one that reads a region is lowered; `image` has those that read the image."""
