"""Values some cycles later."""

from __future__ import annotations

from collections.abc import Collection

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data

__all__ = ["delayed", "delayed_bundle"]


def delayed(m: Module, value: Value, cycles: int, name: str, *, resets: bool = False) -> Value:
    """Return `value` so many cycles later, in registers of `m` that a reset leaves as they are, or clears."""
    for stage in range(cycles):
        register = Signal(len(value), name=f"{name}_d{stage}", reset_less=not resets)
        m.d.sync += register.eq(value)
        value = register
    return value


def delayed_bundle(
    m: Module, bundle: data.View, cycles: int, name: str, resets: Collection[str] = ()
) -> data.View:
    """Return all of a bundle so many cycles later.

    Parameters
    ----------
    m : Module
        Gets the registers.
    bundle : View of a StructLayout
    cycles : int
    name : str
        Of the registers, in front of the fields' names.
    resets : collection of str
        Fields that are 0 behind a reset; the others have none.
    """
    layout = bundle.shape()
    assert isinstance(layout, data.StructLayout) and set(resets) <= set(layout.members)
    for stage in range(cycles):
        fields = []
        for field in layout.members:
            early = Value.cast(bundle[field])
            late = Signal(len(early), name=f"{name}_{field}_d{stage}", reset_less=field not in resets)
            m.d.sync += late.eq(early)
            fields.append(late)
        bundle = data.View(layout, Cat(*fields))
    return bundle
