"""What a device does for one layer, by name: loops, places in memories, padding. Bits are up to `layout`.

A descriptor is a plain value. To change a program is to replace descriptors: to stop behind a layer is
``replace(descriptor, end=True)``. `encode` makes words of it, the last step of all; `decode` is its inverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import CompileError
from .codes import start_words
from .layout import DESCRIPTOR, LOOPS, VALUES, pack_descriptor, plane_words, signed, unpack_descriptor
from .places import NOWHERE, Adding, Loop, MemoryMap, Nest, Padding, Place, Strips
from .scaling import Scaling

__all__ = [
    "Adding",
    "Descriptor",
    "Loop",
    "MemoryMap",
    "Nest",
    "Padding",
    "Place",
    "Strips",
    "decode",
    "encode",
]

_BITS_OF = ("win_x", "win_y", "x", "y", "tile")
"""Loops that may move on by a number of bits that is no whole word."""
_FARTHEST = 1 << 15
"""Words that a loop does not move the address by: distances have a sign."""
_LOW = DESCRIPTOR.fields["plane_low"].width


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
        The accumulator doubles from plane to plane, and takes a part of the start value each time; with some
        copies that count twice, within every plane, behind these.
    depends : bool
        Reads what the descriptor before it writes.
    end : bool
        Last of the program.
    lanes : int
        Bits used of a run's last word; 0, all.
    padding : Padding or None
    strips : Strips or None
    stream : bool
        Weights and start values come from the store (`xnorcore.isa.stream`).
    bits : int
        Of a result that is no score. Above 1 it is a code, and a tile has a start value for each threshold.
    plane : int
        Words from one plane of such results to the next more significant one.
    single : int
        Copies (loop ``copy``) that count once, the last ones; those before them count twice, but for the
    four : int
        first ones, which count four times.
    row_sum : bool
        From every sum, the sum of all that the last copy reads is taken away.
    rescaled : bool
        Codes are made by the results unit, and a tile has one start value (`xnorcore.isa.scales`).
    adding : Adding or None
        These codes are added to values, whose signs (`bits` is 1) or which themselves, less -128 (`bits` is
        8), are the result.
    scaling : Scaling
        What it has to do with K.
    packed : int
        Words of a kernel row, 1 or 2, if results are written into such rows (`xnorcore.isa.packed`).
    edges : (bool, bool)
        The first, and the last, position of every row has weights of its own.
    """

    nest: Nest
    source: Place
    target: Place = NOWHERE
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
    stream: bool = False
    bits: int = 1
    plane: int = 0
    single: int = 1
    four: int = 0
    row_sum: bool = False
    rescaled: bool = False
    adding: Adding | None = None
    scaling: Scaling = Scaling.NONE
    packed: int = 0
    edges: tuple[bool, bool] = (False, False)

    @property
    def kinds(self) -> int:
        """Positions that have weights of their own: all, or those at the edges and between them."""
        return 1 + sum(self.edges)

    @property
    def levels(self) -> int:
        """Start values of a tile, in each column."""
        return 1 if self.rescaled else start_words(self.bits)

    @property
    def parts(self) -> int:
        """Parts of the start value that the accumulator takes, one for each doubling and the first."""
        if not self.double:
            return 1
        return self.nest.count("plane") + int(self.nest.count("copy") > self.single)


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
        "stream": d.stream,
        "in_image": d.source.region in regions.paired,
        "out_image": d.target.region in regions.paired,
        "in_base": regions.word(d.source),
        "out_base": regions.word(d.target.moved(d.packed)),
        "weight_base": d.weights,
        "threshold_base": d.starts,
        "out_delta": d.out_step,
        "out_tile_stride": d.out_tile,
        "lanes": d.lanes,
        "code_last": d.bits - 1,
        "plane_low": d.plane % (1 << _LOW),
        "plane_high": d.plane >> _LOW,
        "single_last": d.single - 1,
        "near": d.nest.count("copy") - d.four if d.four else 0,
        "row_sum": d.row_sum,
        "rescaled": d.rescaled,
        "scaling": d.scaling,
        "packed": d.packed > 0,
        "row_pairs": d.packed > 1,
        "edge_left": d.edges[0],
        "edge_right": d.edges[1],
    }
    if p := d.padding:
        fields |= {
            "padded": 1,
            "pad_zero": p.value == 0,
            "pad_one": p.value == 1,
            "balance": p.balance,
            "pad_last": p.bits[-1] if p.bits else 0,
            "pad_between": p.bits[1] if p.bits[2:] else 0,
            "pad_left": p.left,
            "pad_top": p.top,
            "stride_y": p.stride[0],
            "stride_x": p.stride[1],
            "step_y": p.step[0],
            "step_x": p.step[1],
            "map_height": p.map[0],
            "map_width": p.map[1],
        }
    if (a := d.adding) is not None:
        changes = (a.offset, a.bits - 1, a.adds, a.halves, a.short, a.fresh)
        fields |= {"valued": 1} | dict(zip(VALUES, changes, strict=True))
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
        if not -_FARTHEST <= words < _FARTHEST:
            raise CompileError(
                f"loop {name} moves the address by {words:,} words, and the limit is {_FARTHEST - 1:,}: its "
                "map is too large; choose wider words, or a smaller image"
            )
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
            delta = signed(f[f"delta_{name}"]) * width + f.get(f"bits_{name}", 0)
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
            _pad_bits(f),
        )
    descriptor = Descriptor(
        Nest.of(**loops),
        Place("image" if f["in_image"] else "", f["in_base"]),
        Place("results" if f["out_image"] else "", f["out_base"] - (1 + f["row_pairs"]) * f["packed"]),
        f["weight_base"],
        f["threshold_base"],
        signed(f["out_delta"]),
        signed(f["out_tile_stride"]),
        f["slices"] if f["score"] else 0,
        bool(f["double"]),
        bool(f["depends"]),
        bool(f["end"]),
        f["lanes"],
        padding,
        Strips(f["in_strip"], f["out_strip"]) if f["strips"] else None,
        bool(f["stream"]),
        f["code_last"] + 1,
        plane_words(f),
        f["single_last"] + 1,
        max(f["copy_last"] + 1 - f["near"], 0) if f["near"] else 0,
        bool(f["row_sum"]),
        bool(f["rescaled"]),
        Adding.of(f) if f["valued"] else None,
        Scaling(f["scaling"]),
        (1 + f["row_pairs"]) * f["packed"],
        (bool(f["edge_left"]), bool(f["edge_right"])),
    )
    return descriptor, after


def _pad_bits(fields: Mapping[str, int]) -> tuple[int, ...]:
    """Return the bits of the code around a map, for the planes that are read of it."""
    if not fields["double"] or fields["pad_zero"] or not fields["plane_last"]:
        return ()
    between = (fields["pad_between"],) * (fields["plane_last"] - 1)
    return (fields["pad_one"], *between, fields["pad_last"])
