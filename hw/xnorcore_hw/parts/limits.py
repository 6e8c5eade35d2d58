"""Comparison with a constant, in few look-up tables."""

from __future__ import annotations

from amaranth import Const, Value

__all__ = ["at_least"]


def at_least(value: Value, limit: int) -> Value:
    """Return whether `value` >= `limit`, as plain logic.

    Otherwise synthesis subtracts, which takes an FPGA with carries in its logic cells a cell for each bit and
    some to enter and leave the chain; a table takes three bits.

    Parameters
    ----------
    value : Value
        Unsigned.
    limit : int
        Not negative; there may be no such value.
    """
    if limit >> len(value):
        return Const(0, 1)
    reached: Value = Const(1, 1)
    for place in range(len(value)):
        reached = value[place] & reached if limit >> place & 1 else value[place] | reached
    return reached
