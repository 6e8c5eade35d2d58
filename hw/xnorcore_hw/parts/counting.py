"""Counters that can be loaded, at one LUT per bit where a LUT and a carry share a logic cell."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

__all__ = ["down_or_load", "load_or_up"]

# Written plainly, the choice takes a second LUT per bit: the adder's constant operand occupies one input of
# the first. Here that operand is the choice itself, so that its input serves both. What the adder then gives
# while loading is not used.


def down_or_load(down: Value, count: Value, load: Value) -> Value:
    """Return `count` - 1 if `down`, else `load`; as wide as `count`."""
    return Mux(down, count + down.replicate(len(count)), load)[: len(count)]


def load_or_up(choose: Value, load: Value, count: Value) -> Value:
    """Return `load` if `choose`, else `count` + 1; as wide as `count`."""
    return Mux(choose, load, count + choose.replicate(len(count)) + 1)[: len(count)]
