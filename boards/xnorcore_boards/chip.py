"""Chips on a board that can be a store of weights."""

from __future__ import annotations

from dataclasses import dataclass

from xnorcore.isa.stores import StoreKind

__all__ = ["StoreChip"]


@dataclass(frozen=True)
class StoreChip:
    """A chip on a board that can be a store, and the region of it that may be one.

    Parameters
    ----------
    kind : StoreKind
    resource : str
        Of the board's platform.
    words : int
        32-bit words of the region, a power of two.
    first : int
        Byte of the chip where the region begins, a multiple of its size. In flash, behind the bitstream.
    every : int
        Of a flash: cycles for a pulse of its clock, 1 or 2.
    """

    kind: StoreKind
    resource: str
    words: int
    first: int = 0
    every: int = 1
