"""Lays out activation memory: the images, the signals of a plan by liveness, and the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..isa.descriptor import MemoryMap
from ..isa.program import Values
from .allocate import Buffer, allocate
from .nest import Lowered, Region
from .plan import IMAGE, Join, Plan

__all__ = ["RESERVED", "Layout", "joined", "lay_out", "together"]

RESERVED = ("image", "results", "sums")
"""Regions that are not those of signals."""


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes
    ----------
    regions : MemoryMap
    region_of : mapping of int to str
        By signal; that of a part is the one of its join.
    lives : mapping of str to (int, int)
        First and last step in which a region of a signal is needed.
    words : int
        Activation memory that is used.
    """

    regions: MemoryMap
    region_of: Mapping[int, str]
    lives: Mapping[str, tuple[int, int]]
    words: int


def joined(join: Join, lowered: Mapping[int, Lowered], width: int) -> tuple[dict[int, Lowered], Region]:
    """Put the parts of a join beside each other.

    Every part takes whole words of a pixel. If the lanes that are left over are odd in number, the part that
    comes last in memory has one of them, so that it is the pixel's last (`lower_conv`).

    Parameters
    ----------
    join : Join
    lowered : mapping of int to Lowered
        The steps that give the parts, by signal.
    width : int
        Bits of a word.

    Returns
    -------
    parts : dict of int to Lowered
    region : Region
    """
    parts = [lowered[part] for part in join.parts]
    if parts[0].values.slices:
        return _behind(join, parts), parts[0].source
    order = sorted(join.parts, key=lambda part: lowered[part].values.outputs % 2)
    pitch = sum(part.values.pitch for part in parts)
    placed: dict[int, Lowered] = {}
    offset = 0
    for part in order:
        placed[part] = lowered[part].beside(pitch, offset, width)
        offset += lowered[part].values.pitch
    first = parts[0].values
    lanes = np.concatenate([placed[part].source.places for part in join.parts])
    planes, apart = first.planes, placed[order[0]].values.apart
    return placed, Region(first.height, first.width, len(lanes), pitch, lanes, planes, apart)


def _behind(join: Join, parts: Sequence[Lowered]) -> dict[int, Lowered]:
    """Put scores one behind the other, as they are."""
    words, placed = sum(part.words for part in parts), {}
    offset = 0
    for signal, part in zip(join.parts, parts, strict=True):
        descriptor = part.descriptor
        placed[signal] = replace(
            part, descriptor=replace(descriptor, target=descriptor.target.moved(offset)), words=words
        )
        offset += part.words
    return placed


def together(parts: Sequence[Values]) -> Values:
    """Return what the bits of parts mean that lie beside each other, as one map; of scores, and their K."""
    if parts[0].slices:
        return replace(parts[0], times=parts[1])
    lanes = np.concatenate([np.arange(one.outputs) if one.lanes is None else one.lanes for one in parts])
    count = len(lanes)
    return replace(parts[0], outputs=count, slices=0, factor=1, offset=np.zeros(count, np.int64), lanes=lanes)


def lay_out(plan: Plan, lowered: Sequence[Lowered], image_words: int, paired: bool) -> Layout:
    """Give every signal its words; images have theirs for good, and two results, too.

    Parameters
    ----------
    plan : Plan
    lowered : sequence of Lowered
        The plan's steps.
    image_words : int
    paired : bool
        Two images and two results: a batch comes, and leaves, while another one is computed. With one of
        each a batch has all of the device, and its results may lie where layers before had theirs.
    """
    home = {step.gives: step.gives for step in plan.steps}
    for join in plan.joins.values():
        home |= dict.fromkeys(join.parts, join.gives)
    result = home[plan.steps[-1].gives]
    sizes: dict[int, int] = {}
    lives: dict[int, tuple[int, int]] = {}
    for number, (step, layer) in enumerate(zip(plan.steps, lowered, strict=True)):
        signal = home[step.gives]
        sizes[signal] = max(sizes.get(signal, 0), layer.words)
        lives[signal] = lives.get(signal, (number, number))[0], number
        if step.reads != IMAGE:
            lives[step.reads] = lives[step.reads][0], number
    names = _names(plan, [signal for signal in sizes if signal != result])
    buffers = [Buffer(name, sizes[signal], *lives[signal]) for signal, name in names.items()]
    own = [] if paired else [Buffer("results", sizes[result], *lives[result])]
    bases, words = allocate([*buffers, *own])
    copies = 2 if paired else 1
    start = copies * image_words
    bases.setdefault("results", words)
    regions = MemoryMap(
        {"image": 0, **{name: start + base for name, base in bases.items()}},
        {"image": image_words, **{one.name: one.words for one in buffers}, "results": sizes[result]},
        frozenset({"image", "results"}) if paired else frozenset(),
    )
    names |= {IMAGE: "image", result: "results"}
    return Layout(
        regions,
        {IMAGE: "image", **{signal: names[to] for signal, to in home.items()}, **names},
        {names[signal]: life for signal, life in lives.items()},
        start + words + (copies * sizes[result] if paired else 0),
    )


def _names(plan: Plan, signals: Sequence[int]) -> dict[int, str]:
    """Name the regions of signals: as the signals are called, but for names that mean something else."""
    names: dict[int, str] = {}
    for signal in signals:
        name = plan.names[signal]
        while name in (*RESERVED, *names.values()):
            name += "'"
        names[signal] = name
    return names
