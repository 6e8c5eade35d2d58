"""How many images a row of the array works on at a time, which share the weights that come from a store.

Networks of dense layers have them beside each other (`beside`), others one after the other up to their last
layers (`rounds`).
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..errors import CompileError, UsageError
from ..isa.places import ADDRESSES
from ..isa.program import Program
from .beside import all_dense, beside, most_beside
from .rounds import Cut, cuts, in_rounds

__all__ = ["fitted", "grouped", "largest", "most_per_row", "variant"]

_SPARE = 1.25
"""More than those for which the array takes as long as the store: what each layer takes besides its beats."""
_LIKELY = 2
"""Ways to go through in rounds that are looked at closely."""
_GAIN, _NEAR = 0.97, 1.02
"""Cycles that images in rounds take at most, as a share of what they take by themselves; and those of fewer
images, as a share of what most take, from which on more are of no use."""


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
    return _made(single, per_row)


def most_per_row(program: Program, byte_cycles: float = 0) -> int:
    """Return the most images per row that are of use: memories hold them, and the store is what takes time.

    As many as were asked for, if any were, where memories hold them. 1, if the images of a row cannot share
    weights: the program does not take them from a store, or its last layers cannot go over several images, or
    the device has no loop over positions.

    Parameters
    ----------
    program : Program
    byte_cycles : float
        Cycles that a byte takes on the wire; 0, next to none. While the array is at work, images in rounds
        come only as far as the receive buffer holds them: that may cost more than sharing weights gains.
    """
    single = program.single or program
    asked = program.per_row if program.single else single.most
    limit = _limit(single)
    if limit == 1 or asked:
        return min(limit, asked or 1)
    if not all_dense(single):
        use = _way(single)[2]
        return use if use == 1 or _pays(single, use, byte_cycles) else 1
    waited = single.busy.wait_weights
    balanced = single.cycles / max(single.cycles - waited, 1)
    return max(1, min(limit, round(_SPARE * balanced)))


def largest(program: Program, byte_cycles: float = 0) -> Program:
    """Return the program for as many images per row as are of use (`most_per_row`)."""
    return grouped(program, most_per_row(program, byte_cycles))


def fitted(program: Program, images: int, byte_cycles: float = 0) -> Program:
    """Return the program for a call of so many images: in as few batches as need be, all alike."""
    most = most_per_row(program, byte_cycles)
    rows = (program.single or program).batch
    batches = max(1, -(-images // (rows * most)))
    return grouped(program, max(1, -(-images // (rows * batches))))


def variant(program: Program, identifier: bytes) -> Program | None:
    """Return the program of that identifier, if it is this one for some number of images per row."""
    single = program.single or program
    if identifier == single.identifier:
        return single
    for per_row in range(2, most_per_row(single) + 1):
        found = _made(single, per_row)
        if found.identifier == identifier:
            return found
    return None


def _made(single: Program, per_row: int) -> Program:
    return beside(single, per_row) if all_dense(single) else in_rounds(_way(single)[0], per_row)


_ways: WeakKeyDictionary[Program, tuple[int, int, int]] = WeakKeyDictionary()
"""What `_way` has found, but for the program itself."""


def _way(single: Program) -> tuple[Cut, int, int]:
    """Return how images in rounds take the fewest cycles, the most images, and as many as are of use.

    1 and 1 if they cannot come in rounds: then the first means nothing.
    """
    if single not in _ways:
        # The cuts that promise most, each with as many images as there is room for.
        likely = sorted((cut.expected(_room(cut)), _room(cut), cut.first) for cut in cuts(single))[:_LIKELY]
        found = [(program.cycles / program.per_row, program.per_row, first)
                 for _, most, first in likely if (program := _most(Cut(single, first), most))]  # fmt: skip
        best, most, first = min(found, default=(0, 1, 0))
        use = 1
        if found and best < _GAIN * single.cycles:
            two = in_rounds(Cut(single, first), 2).cycles
            # Of each further image, and of all together.
            own = (best * most - two) / max(most - 2, 1)
            shared = two - 2 * own
            use = next(count for count in range(2, most + 1) if shared / count + own <= _NEAR * best)
        _ways[single] = first, most, use
    first, most, use = _ways[single]
    return Cut(single, first), most, use


def _pays(single: Program, per_row: int, byte_cycles: float) -> bool:
    """Whether rounds take no longer than images by themselves, on such a wire."""
    config, wire = single.config, single.batch * single.image_bytes * byte_cycles
    # A frame leaves the receive buffer as a whole.
    buffered = (config.fifo_bytes - config.max_frame) * byte_cycles

    def apart(cycles: float) -> float:
        return wire + max(cycles - buffered, 0)

    if not single.results_read and single.cycles <= wire:
        return False  # it is full without them
    alone = apart(single.cycles) if single.results_read else single.cycles
    cut, *_ = _way(single)
    first = sum(found.active for _, found in single.by_part[: cut.first])
    last = in_rounds(cut, per_row).cycles - (per_row - 1) * first
    return (per_row - 1) * apart(first) + apart(last) <= per_row * _NEAR * alone


def _room(cut: Cut) -> int:
    """Return the images per row that memories hold; 1, if they do not hold two."""
    config = cut.single.config
    depth, most = min(config.act_depth, ADDRESSES), 1
    step = 1 << (config.program_depth.bit_length() - 1)
    while step:
        if cut.program_words(most + step) <= config.program_depth and cut.words(most + step) <= depth:
            most += step
        step //= 2
    return most


def _most(cut: Cut, most: int) -> Program | None:
    """Return the program for so many images per row, or as many as its fields hold, if these are several."""
    while most > 1:
        try:
            return in_rounds(cut, most)
        except CompileError:
            most //= 2  # a loop or a distance has no room
    return None


def _limit(single: Program) -> int:
    """Return the images per row that memories and fields hold; 1 where they cannot share weights."""
    if not (single.streams and single.config.convolution) or single.spread:
        return 1
    return most_beside(single) if all_dense(single) else _way(single)[1]
