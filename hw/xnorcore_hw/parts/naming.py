"""Bundles that take fields of others by name."""

from __future__ import annotations

from collections.abc import Collection

from amaranth import Module, Value
from amaranth.lib import data

__all__ = ["take_names"]


def take_names(m: Module, target: data.View, source: data.View, but: Collection[str] = ()) -> None:
    """Set the fields of `target` to those of the same names in `source`.

    Parameters
    ----------
    m : Module
        Gets the statements.
    target, source : View
        A field of the target that is narrower takes the lower bits.
    but : collection of str
        Fields of the target that are left alone.
    """
    layout = target.shape()
    assert isinstance(layout, data.StructLayout)
    m.d.comb += [Value.cast(target[name]).eq(source[name]) for name in layout.members if name not in but]
