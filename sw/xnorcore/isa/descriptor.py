"""What a device does for one layer, by name: loops, places in memories, padding. Bits are up to `layout`.

A descriptor is a plain value. To change a program is to replace descriptors: to stop behind a layer is
``replace(descriptor, end=True)``. `encode` makes words of it, the last step of all; `decode` is its inverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..errors import CompileError
from .layout import LOOPS, pack_descriptor, unpack_descriptor

__all__ = ["Descriptor", "Loop", "MemoryMap", "Nest", "Padding", "Place", "Strips", "decode", "encode"]

_ADDRESS = 1 << 16
_BITS_OF = ("win_x", "win_y", "x", "y", "tile")
"""Loops that may move on by a number of bits that is no whole word."""


@dataclass(frozen=True)
class Loop:
    """One loop of a nest.

    Attributes
    ----------
    count : int
        Iterations, at least 2.
    step : int
        Bits of activation memory from one iteration to the next.
    """

    count: int
    step: int


@dataclass(frozen=True)
class Nest:
    """Loops by name, those of `layout.LOOPS` that go round more than once.

    Attributes
    ----------
    loops : mapping of str to Loop
    """

    loops: Mapping[str, Loop]

    @classmethod
    def of(cls, **loops: tuple[int, int]) -> Nest:
        """Make a nest of counts and steps by loop."""
        return cls({name: Loop(*loops[name]) for name in LOOPS if name in loops and loops[name][0] > 1})

    def with_loops(self, **loops: tuple[int, int]) -> Nest:
        """Return this nest with other counts and steps for some loops."""
        kept = {name: (loop.count, loop.step) for name, loop in self.loops.items()}
        return Nest.of(**{**kept, **loops})

    def count(self, name: str) -> int:
        """Return how often a loop goes round."""
        return self.loops[name].count if name in self.loops else 1

    def step(self, name: str) -> int:
        """Return a loop's distance in bits; 0 for one that does not go round."""
        return self.loops[name].step if name in self.loops else 0

    @property
    def beats(self) -> int:
        """Beats of the whole nest."""
        return prod(loop.count for loop in self.loops.values())


@dataclass(frozen=True)
class Place:
    """A word of activation memory, counted from the beginning of a region.

    Attributes
    ----------
    region : str
        A name of the program's `MemoryMap`; ``""`` for the memory itself.
    offset : int
        May lie before the region's beginning: padding has no words.
    """

    region: str
    offset: int = 0

    def moved(self, words: int) -> Place:
        """Return the place `words` further on."""
        return Place(self.region, self.offset + words)


@dataclass(frozen=True)
class Padding:
    """What lies around a map.

    Attributes
    ----------
    value : int
        -1 or +1; 0, taps there count as nothing.
    left, top : int
        Columns and rows before the first of the map.
    stride : (int, int)
        Rows and columns from one position of a pooling window to the next.
    step : (int, int)
        From one window to the next.
    map : (int, int)
        Height and width.
    balance : bool
        The last lane of a tap is 1 in every plane but the first: an odd lane cancels over two planes.
    """

    value: int
    left: int
    top: int
    stride: tuple[int, int]
    step: tuple[int, int]
    map: tuple[int, int]
    balance: bool = False


@dataclass(frozen=True)
class Strips:
    """The rows of the array share an image: words from one row's strip to the next, read and written."""

    source: int
    target: int


@dataclass(frozen=True)
class Descriptor:
    """One layer, or some tiles of it, as the device runs it.

    Attributes
    ----------
    nest : Nest
    source, target : Place
        First word read; first result word.
    weights, starts : int
        First word in every column's weight and threshold buffer.
    out_step, out_tile : int
        Words from one position's result to the next, and from one tile's to the next.
    slices : int
        Bits of each score, the most significant first; 0, the result is the accumulator's sign.
    double : bool
        The accumulator doubles from plane to plane, and each plane has a start value of its own.
    depends : bool
        Reads what the descriptor before it writes.
    end : bool
        Last of the program.
    lanes : int
        Bits used of a run's last word; 0, all.
    padding : Padding or None
    strips : Strips or None
    """

    nest: Nest
    source: Place
    target: Place = Place("")
    weights: int = 0
    starts: int = 0
    out_step: int = 0
    out_tile: int = 0
    slices: int = 0
    double: bool = False
    depends: bool = False
    end: bool = False
    lanes: int = 0
    padding: Padding | None = None
    strips: Strips | None = None


@dataclass(frozen=True)
class MemoryMap:
    """Regions of activation memory by name.

    Attributes
    ----------
    bases : mapping of str to int
        First word of each region.
    sizes : mapping of str to int
    paired : frozenset of str
        ``image`` and ``results``, where there are two of each, one for either parity of a batch: a
        descriptor then counts from the header's base. `bases` has the first one's.
    """

    bases: Mapping[str, int]
    sizes: Mapping[str, int]
    paired: frozenset[str] = frozenset()

    def word(self, place: Place) -> int:
        """Return the word that a descriptor holds for a place."""
        base = 0 if place.region in self.paired or not place.region else self.bases[place.region]
        return (base + place.offset) % _ADDRESS


def encode(descriptor: Descriptor, regions: MemoryMap, width: int) -> list[int]:
    """Return the words of a descriptor.

    Parameters
    ----------
    descriptor : Descriptor
    regions : MemoryMap
    width : int
        Bits of a word of activation memory.

    Raises
    ------
    CompileError
        If a number does not fit its field.
    """
    d = descriptor
    fields = _loops(d.nest, width) | {
        "end": d.end,
        "score": d.slices > 0,
        "slices": d.slices,
        "depends": d.depends,
        "double": d.double,
        "in_image": d.source.region in regions.paired,
        "out_image": d.target.region in regions.paired,
        "in_base": regions.word(d.source),
        "out_base": regions.word(d.target),
        "weight_base": d.weights,
        "threshold_base": d.starts,
        "out_delta": d.out_step,
        "out_tile_stride": d.out_tile,
        "lanes": d.lanes,
    }
    if d.padding:
        p = d.padding
        fields |= {
            "padded": 1,
            "pad_zero": p.value == 0,
            "pad_one": p.value == 1,
            "balance": p.balance,
            "pad_left": p.left,
            "pad_top": p.top,
            "stride_y": p.stride[0],
            "stride_x": p.stride[1],
            "step_y": p.step[0],
            "step_x": p.step[1],
            "map_height": p.map[0],
            "map_width": p.map[1],
        }
    if d.strips:
        fields |= {"strips": 1, "in_strip": d.strips.source, "out_strip": d.strips.target}
    return pack_descriptor(fields)


def _loops(nest: Nest, width: int) -> dict[str, int]:
    """Return counts and deltas: a loop's delta leads from the last beat of the loops inside it."""
    fields: dict[str, int] = {}
    behind = 0
    for name in LOOPS:
        count, step = nest.count(name), nest.step(name)
        fields[f"{name}_last"] = count - 1
        if count == 1:
            continue
        words, bits = divmod(step - behind, width)
        behind += step * (count - 1)
        if name in ("run", "col"):
            if (words, bits) != (1, 0):
                raise CompileError(f"loop {name} moves on by {step} bits, but the device goes on by a word")
            continue
        fields[f"delta_{name}"] = words
        if bits and name not in _BITS_OF:
            raise CompileError(f"loop {name} moves on by {step} bits, which is no whole number of words")
        if name in _BITS_OF:
            fields[f"bits_{name}"] = bits
    return fields


def decode(words: Sequence[int], place: int, width: int) -> tuple[Descriptor, int]:
    """Return the descriptor at word `place`, and the word behind it.

    Places are of the memory itself, or of ``image`` and ``results`` where they count from the header.

    Raises
    ------
    CompileError
        As `unpack_descriptor`.
    """
    f, after = unpack_descriptor(words, place)
    loops: dict[str, tuple[int, int]] = {}
    behind = 0
    for name in LOOPS:
        count = f[f"{name}_last"] + 1
        delta = width
        if name not in ("run", "col"):
            delta = _signed(f[f"delta_{name}"]) * width + f.get(f"bits_{name}", 0)
        step = delta + behind
        if count > 1:
            loops[name] = count, step
            behind += step * (count - 1)
    padding = None
    if f["padded"]:
        padding = Padding(
            0 if f["pad_zero"] else 1 if f["pad_one"] else -1,
            f["pad_left"],
            f["pad_top"],
            (f["stride_y"], f["stride_x"]),
            (f["step_y"], f["step_x"]),
            (f["map_height"], f["map_width"]),
            bool(f["balance"]),
        )
    descriptor = Descriptor(
        Nest.of(**loops),
        Place("image" if f["in_image"] else "", f["in_base"]),
        Place("results" if f["out_image"] else "", f["out_base"]),
        f["weight_base"],
        f["threshold_base"],
        _signed(f["out_delta"]),
        _signed(f["out_tile_stride"]),
        f["slices"] if f["score"] else 0,
        bool(f["double"]),
        bool(f["depends"]),
        bool(f["end"]),
        f["lanes"],
        padding,
        Strips(f["in_strip"], f["out_strip"]) if f["strips"] else None,
    )
    return descriptor, after


def _signed(value: int) -> int:
    return value - _ADDRESS if value >= _ADDRESS // 2 else value
