"""Weights of positions at the edges of a map, which may have their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data

__all__ = ["Advance", "own_weights"]


class Advance(NamedTuple):
    """How a nest goes on: its ports, and the names of its `levels`."""

    load: Value
    step: Value
    moved: Value
    levels: Sequence[str]


def own_weights(
    m: Module, layer: data.View, nest: Advance, at_x: tuple[Value, Value], words: tuple[Signal, Signal]
) -> tuple[Value, Value]:
    """Say where the next position's weights are: of a device with `packed_rows`.

    A tile may have weights for the first position of a row, then has those for all others but the last, and
    may have those for the last one.

    Parameters
    ----------
    m : Module
        Gets the statements.
    layer : View of LoopLayout
    nest : Advance
    at_x : (Value, Value)
        The next beat is at the first, and at the last, position along x.
    words : (Signal, Signal)
        The tile's first word; the one behind the present beat's.

    Returns
    -------
    onward : Value
        They are the words that follow.
    again : Value
        Where they begin, if not: where this position's do, or the tile's.
    """
    tile, following = words
    x, y, last = (nest.levels.index(loop) for loop in ("x", "y", "tile"))
    own, was_first = Signal.like(tile, name="waddr_own"), Signal(name="was_at_first", reset_less=True)
    onward, again = Signal(name="onward"), Signal.like(tile, name="waddr_again")
    at_first, at_last = at_x
    m.d.comb += [
        onward.eq(nest.moved[x] & (layer.edge_left & was_first | layer.edge_right & at_last)),
        again.eq(Mux(nest.moved[y], tile, own)),
    ]
    with m.If(nest.load):
        m.d.sync += own.eq(layer.weight_base)
    with m.Elif(nest.step):
        m.d.sync += was_first.eq(at_first)
        with m.If(onward | nest.moved[last]):
            m.d.sync += own.eq(following)
        with m.Elif(nest.moved[y]):
            m.d.sync += own.eq(tile)
    return onward, again
