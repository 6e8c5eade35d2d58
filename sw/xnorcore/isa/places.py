"""What a descriptor is made of: loops, places in activation memory, padding, strips, additions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from .layout import LOOPS

__all__ = [
    "ADDRESSES", "NOWHERE", "POSITIONS", "Adding", "Loop", "MemoryMap", "Nest", "Padding", "Place", "Strips",
    "aligned",
]  # fmt: skip

ADDRESSES = 1 << 16
"""Words that an address can name; it counts modulo this."""
POSITIONS = 1 << 10
"""That a loop over images or positions may have."""


def aligned(column: int, align: int) -> int:
    """Return the bits that `column` values under a kernel take in a plane, a multiple of `align`."""
    return -(-column // align) * align


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


NOWHERE = Place("")


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
    bits : tuple of int
        Around a map of codes, what each of its planes reads there, the most significant first.
    """

    value: int
    left: int
    top: int
    stride: tuple[int, int]
    step: tuple[int, int]
    map: tuple[int, int]
    balance: bool = False
    bits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Strips:
    """The rows of the array share an image: words from one row's strip to the next, read and written."""

    source: int
    target: int


@dataclass(frozen=True)
class Adding:
    """How codes change the values that a device keeps beside its results unit (`xnorcore.isa.scales.added`).

    Attributes
    ----------
    bits : int
        Of the codes.
    offset : int
        What they are less, 0 to 255.
    adds : bool
        They are added to what the layer before has left; where it has left nothing, and if not, to 0.
    halves : bool
        Only what is in even columns and rows is left to the layer behind.
    short : int
        Words of a position that do not go through the unit: those of the first columns.
    fresh : int
        Of those that do, the first ones, for which the layer before has left nothing.
    """

    bits: int
    offset: int
    adds: bool
    halves: bool = False
    short: int = 0
    fresh: int = 0

    @classmethod
    def of(cls, f: Mapping[str, int]) -> Adding:
        """Return what the fields of a descriptor say that is `valued`."""
        flags = bool(f["value_adds"]), bool(f["value_halves"])
        return cls(f["value_last"] + 1, f["value_offset"], *flags, f["value_short"], f["value_fresh"])


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

    def words(self, region: str) -> int:
        """Return the words that a region takes, of both if there are two."""
        return self.sizes[region] * (2 if region in self.paired else 1)

    def word(self, place: Place) -> int:
        """Return the word that a descriptor holds for a place."""
        base = 0 if place.region in self.paired or not place.region else self.bases[place.region]
        return (base + place.offset) % ADDRESSES
