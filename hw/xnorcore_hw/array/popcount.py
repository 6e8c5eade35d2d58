"""Pipelined population count of products: full adders whose carry-in counts a product of its own.

P(2n+1) = P(n) + P(n) + product, with a register after every level; the first level adds three products.
A product that only a later level needs is made for that level: its operands arrive later, by a delay that all
elements of a row (and of a column) share.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Signal, Value

from ..parts.delay import delayed
from .carry.generic import Addition, Bit, Carry, Product

__all__ = ["lane_delays", "lanes_apart", "popcount", "popcount_stages", "staggered"]


def popcount_stages(width: int) -> int:
    """Return k for a count over the next power of two, 2**k, at or above `width`."""
    return (width - 1).bit_length()


def _levels(width: int) -> list[int]:
    # Level that takes each lane: three for each sum of level 1, one for each sum above, and one at the end.
    k = popcount_stages(width)
    lanes = [1] * (3 << (k - 2))
    for level in range(2, k + 1):
        lanes += [level] * (1 << max(k - 1 - level, 0))
    return lanes


def _after(level: int, index: int) -> int:
    # Order of the sums, each right after the two that it adds: short wires where all share a chain.
    return ((index + 1) << (level + 3)) + level


def lane_delays(width: int, carry: Carry) -> list[int]:
    """Return by how many cycles each bit of the operands must be late.

    A first bit of delay 0 counts `popcount_stages` cycles later. Where a family has `tables`, all bits below
    half of the next power of two have delay 0, and no other one.
    """
    k, delays = popcount_stages(width), []
    for lane, level in enumerate(_levels(width)[:width]):
        if carry.absorbs:
            # The level adds the operands themselves; the last product is registered.
            delays.append(level if level < k else level - 1)
        elif level == 1:
            delays.append(int(carry.tables and lane >= 1 << (k - 1)))
        else:
            delays.append(level - 1)
    return delays


def lanes_apart(width: int, carry: Carry) -> int:
    """Return how many of the last bits of a weight are read a cycle late, from a memory of their own.

    That is less than a register for each of them, where both parts fill memory blocks.
    """
    early = 1 << (popcount_stages(width) - 1)
    return width - early if carry.tables and carry.block and early % carry.block == 0 else 0


def staggered(m: Module, word: Value, delays: list[int], name: str) -> Value:
    """Return a word with each bit so many cycles later, in registers of `m`."""
    late = [word]
    for _ in range(max(delays)):
        late.append(delayed(m, late[-1], 1, f"{name}_{len(late)}"))
    return Cat(late[delay][lane] for lane, delay in enumerate(delays))


def popcount(
    m: Module, carry: Carry, x: Sequence[Value], w: Sequence[Value], name: str = "pop"
) -> tuple[Value, Value]:
    """Count the lanes in which `x` and `w` are equal, all but the last register level.

    Adds registers to the `sync` domain of `m`.

    Parameters
    ----------
    m : Module
    carry : Carry
        The family's adders.
    x, w : sequence of Value
        One-bit operands, at least 8, each late by its `lane_delays`; `w` inverted if `carry.inverted`.
    name : str
        Prefix of the registers' names.

    Returns
    -------
    count : Value
        Count of all lanes but the last of a power of two, minus half of the operands' bits, as a signed
        number. The caller registers it.
    last : Value
        Product of the last lane; one more to count, in step with `count`.
    """
    k = popcount_stages(len(x))
    levels = _levels(len(x))
    lanes: list[Product | Const] = [Product(*pair) for pair in zip(x, w, strict=True)]
    # Constant ones in half of the lanes that pad to a power of two cancel: they add 0 to dot.
    lanes += [Const(lane & 1, 1) for lane in range(len(levels) - len(lanes))]

    def product(lane: Product | Const) -> Value:
        if isinstance(lane, Const):
            return lane
        return lane.x ^ lane.w if carry.inverted else ~(lane.x ^ lane.w)

    def registered(value: Value, text: str) -> Signal:
        register = Signal(len(value), name=f"{name}_{text}", reset_less=True)
        m.d.sync += register.eq(value)
        return register

    def late(lane: Product | Const, text: str) -> Bit:
        return lane if carry.absorbs or isinstance(lane, Const) else registered(product(lane), text)

    first = [lane for lane, level in zip(lanes, levels, strict=True) if level == 1]
    triples = [first[index : index + 3] for index in range(0, 3 << (k - 2), 3)]
    if carry.tables:
        pairs = range(0, 1 << (k - 1), 2)
        triples = [
            [*first[at : at + 2], third] for at, third in zip(pairs, first[1 << (k - 1) :], strict=True)
        ]
    additions: list[Addition] = []
    sums = [Signal(2, name=f"{name}_l1_{index}", reset_less=True) for index in range(len(triples))]
    totals: list[Signal] = []
    for index, triple in enumerate(triples):
        if carry.tables:
            _three(m, [product(lane) for lane in triple], sums[index], f"{name}_{index}")
        else:
            low, high, odd = (late(lane, f"p{3 * index + place}") for place, lane in enumerate(triple))
            additions.append(Addition([low], [high], odd, place=_after(1, index)))
            totals.append(sums[index])

    for level in range(2, k):
        lates = [lane for lane, its in zip(lanes, levels, strict=True) if its == level]
        pairs = [(sums[index], sums[index + 1]) for index in range(0, len(sums), 2)]
        sums = [Signal(level + 1, name=f"{name}_l{level}_{i}", reset_less=True) for i in range(len(pairs))]
        for index, (low, high) in enumerate(pairs):
            bit = lates[index]
            if not carry.multiplies:
                bit = late(bit, f"odd{level}_{index}")
            # The count of 2**k - 1 lanes minus 2**(k-1), in two's complement, has its top bit inverted.
            inverted, place = level == k - 1, _after(level, index)
            additions.append(Addition(list(low), list(high), bit, inverted, place))
        totals += sums
    # All levels share their chains; the last sum is the caller's to register.
    found = carry.add(m, additions, name)
    m.d.sync += [register.eq(value) for register, value in zip(totals[:-1], found[:-1], strict=True)]
    return found[-1], product(lanes[-1])


def _three(m: Module, products: list[Value], total: Signal, name: str) -> None:
    # Sum and carry of two products are one table of four inputs each; the third product, which comes a cycle
    # later, joins them in two more.
    half, both = (Signal(name=f"{name}_{text}", reset_less=True) for text in ("half", "both"))
    m.d.sync += [
        half.eq(products[0] ^ products[1]),
        both.eq(products[0] & products[1]),
        total[0].eq(half ^ products[2]),
        total[1].eq(both | (half & products[2])),
    ]
