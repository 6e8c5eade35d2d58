"""Additions on Gowin's parts."""

from __future__ import annotations

from .generic import GenericCarry

__all__ = ["GowinCarry"]


class GowinCarry(GenericCarry):
    """Plain sums behind tables.

    In front of an adder, which takes no more than a bit of each number, a product needs a table of its own; as
    tables of four inputs, two products and their sum take two.
    """

    tables = True
