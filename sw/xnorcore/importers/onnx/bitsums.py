"""Additions of values of one bit: what reads the sums reads each of what is added, with the same weights.

A value of one bit counts as 0 or 1 here, so that sums are codes, 0 to how many there are, until all stages
are known. Then a product of such sums becomes one of bits side by side: w (a + b) is w a + w b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .graph import Node
from .integers import HIGHEST, LOWEST
from .maps import Form, Linear
from .signal import Joined, Levels, Stage

__all__ = ["added_bits", "as_code", "codes_of", "is_sum", "over_bits", "padding_of"]

_HALF = Fraction(1, 2)


def is_sum(levels: Levels) -> bool:
    """Whether values are sums of values of one bit."""
    return isinstance(levels.giver, Joined) and levels.giver.bits


def as_code(levels: Levels) -> Levels:
    """Return values of one bit as numbers that count from the lower one; others as they are."""
    if levels.bits > 1:
        return levels
    return replace(levels, scale=2 * levels.scale, offset=levels.offset - levels.scale)


def added_bits(
    parts: Sequence[Levels], times: Sequence[int], node: Node
) -> tuple[tuple[Levels, ...], tuple[int, ...]]:
    """Return the values of one bit that an addition adds, and how many times each counts.

    Parameters
    ----------
    parts : sequence of Levels
        Of one bit, or sums of such.
    times : sequence of int
        How many times each of these counts.
    node : Node
        For messages.

    Raises
    ------
    ImportFailedError
        If a value counts more often than a weight can say.
    """
    found: dict[tuple[int, str], tuple[Levels, int]] = {}
    for part, outer in zip(parts, times, strict=True):
        giver, inner = part.giver, [(part, 1)]
        if isinstance(giver, Joined) and giver.bits:
            inner = list(zip(giver.parts, giver.times, strict=True))
        for one, count in inner:
            key = id(one.giver), one.tensor
            found[key] = one, found.get(key, (one, 0))[1] + outer * count
    most = max(count for _, count in found.values())
    if most > HIGHEST:
        raise node.fail(f"counts a value of one bit {most} times, the limit is {HIGHEST}")
    return tuple(one for one, _ in found.values()), tuple(count for _, count in found.values())


def padding_of(node: Node, reads: Levels, value: Fraction) -> int:
    """Return what pads each of the bits, so that their sum is padded with a real value.

    Raises
    ------
    ImportFailedError
        If it is neither the lowest sum, nor the highest, nor the one between.
    """
    levels = [reads.offset + reads.scale * reads.most * share for share in (0, _HALF, 1)]
    if value not in levels:
        shown = ", ".join(f"{float(level):g}" for level in levels)
        raise node.fail(f"pads with {float(value):g}, but sums of signs can be padded with {shown} alone")
    return levels.index(value) - 1


def over_bits(stage: Stage) -> None:
    """Let a stage that reads sums of bits read the bits, if it does.

    Raises
    ------
    ImportFailedError
        If a weight has more than 8 bits then.
    """
    reads, giver = stage.reads, stage.reads.giver
    if not isinstance(giver, Joined) or not giver.bits:
        return
    weights, channels, top = stage.node.attributes["weights"], reads.shape[-1], sum(giver.times)
    rows = weights.reshape(len(weights), -1, channels).astype(np.int64)
    wide = np.concatenate([rows * count for count in giver.times], axis=2)
    if wide.min() < LOWEST or wide.max() > HIGHEST:
        raise stage.node.fail(
            f"has weights of {int(np.abs(rows).max())} for sums that {giver.node.label} makes of signs, of "
            f"which one counts {max(giver.times)} times: more than 8 bits; add signs of one scale"
        )
    places = reads.places[0].size // rows[0].size if reads.sums else 1
    # A sum s of these codes is (t + all) / 2, where t is the sum of what counts as -1 and +1.
    everything = (rows.sum(axis=(1, 2)) * top * places).tolist()
    half = Linear([_HALF], [Fraction(0)], [_HALF * one for one in everything], [Fraction(1)])
    form, pooled = stage.form, stage.form.pooled_at
    stage.form = Form(form.channels, [(None, half), *form.maps], None if pooled is None else pooled + 1)
    shape = wide.shape[2:] if weights.ndim > 2 else ()
    wide = wide.reshape(*weights.shape[:-1], *shape) if shape else wide.reshape(len(weights), -1)
    stage.node = replace(stage.node, attributes={**stage.node.attributes, "weights": wide.astype(np.int8)})
    order = np.arange(places * rows[0].size * len(giver.times))[np.newaxis]
    stage.summed = reads
    stage.reads = replace(
        reads, scale=reads.scale / 2, offset=(reads.offset + reads.scale * top / 2) / top, bits=1, top=0,
        shape=(*reads.shape[:-1], channels * len(giver.times)), index=order, places=order,
    )  # fmt: skip


def codes_of(stage: Stage, v: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums, from 0, that a stage reads in the source, where the network's bits are -1 or +1.

    Parameters
    ----------
    stage : Stage
        Changed by `over_bits`.
    v : array of int64, shape (n, values)
    """
    giver, reads = stage.reads.giver, stage.summed
    assert isinstance(giver, Joined) and reads is not None
    bits = (v.reshape(len(v), -1, len(giver.times), reads.shape[-1]) + 1) // 2
    return np.einsum("npkc,k->npc", bits, np.array(giver.times)).reshape(len(v), -1)
