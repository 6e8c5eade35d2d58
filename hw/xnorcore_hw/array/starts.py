"""What columns add for their start values, plane by plane."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value

from xnorcore.isa.starts import MAX_PLANES

__all__ = ["starts_by_planes"]


def starts_by_planes(
    m: Module,
    values: list[Value],
    first: Value,
    doubles: Value,
    counted: Value | None = None,
    parts: int = MAX_PLANES,
) -> list[Signal]:
    """Return what each column adds, a cycle after `first`: its start value, or the next bit of it.

    The first plane takes the whole value. A further one, of an accumulator that `doubles`, takes a bit, the
    most significant first; what the first plane had in these places has left the accumulator by the end.
    Where `counted` is given and 0, a whole value goes another way. No value has more than so many `parts`.
    """
    most, place, index = parts - 1, Signal(range(parts)), Signal(range(parts))
    m.d.comb += index.eq(Mux(doubles, place, most))
    with m.If(first):
        m.d.sync += place.eq(Mux(doubles, place + 1, 0))
    starts = []
    for column, value in enumerate(values):
        start = Signal(len(value), name=f"start{column}", reset_less=True)
        with m.If(first if counted is None else first & (doubles | counted)):
            m.d.sync += start[0].eq(Cat(*reversed(value[-most:]), value[0]).bit_select(index, 1))
        with m.Else():
            m.d.sync += start[0].eq(0)
        with m.If(first & ~doubles if counted is None else first & ~doubles & counted):
            m.d.sync += start[1:].eq(value[1:])
        with m.Else():
            m.d.sync += start[1:].eq(0)
        starts.append(start)
    return starts
