"""Additions on the carry chains of ECP5."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Instance, Module, Mux, Signal, Value

from .generic import Addition, Bit, Carry, Product, bit_at

__all__ = ["Ecp5Carry"]


class Ecp5Carry(Carry):
    """CCU2C: two places with a look-up table of four inputs each, which multiply as well.

    A place's table says whether it passes the carry below on; otherwise its carry is the value of the table
    with the last two inputs 0. Sum of two products: the XOR of all four inputs. The place that takes a sum's
    carry out puts the next sum's carry in: its third input is 1, for which the table is 0.

    The first place needs no carry below, and the last one's is not connected: nextpnr would spend a CCU2C on
    each. The third and fourth input are never tied to 0, for which it would lay a wire, but to 1, which is
    free.
    """

    absorbs = True
    inverted = True
    joins = True

    _SUM, _OUT, _INVERTED, _ACCUMULATE = 0x6996, 0x0006, 0x00F6, 0x596A
    # The XOR of three inputs, of which no more than two are 1; the carry is that of the first two or, if they
    # differ, the third one's, to which they are equal then.
    _JOINED = 0x960E

    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums."""
        zero, one = Const(0, 1), Const(1, 1)

        def pair(bit: Bit | None) -> tuple[Value, Value]:
            if bit is None:
                return zero, zero
            return (bit.x, bit.w) if isinstance(bit, Product) else (bit, zero)

        order = sorted(range(len(additions)), key=lambda index: additions[index].place)
        chain = [additions[index] for index in order]
        places: list[tuple[int, tuple[Value, ...]]] = [(self._OUT, (*pair(chain[0].carry), one, zero))]
        for addition, above in zip(chain, [*chain[1:], None], strict=True):
            for place in range(addition.length - 1):
                inputs = (*pair(bit_at(addition.low, place)), *pair(bit_at(addition.high, place)))
                places.append((self._SUM, inputs))
            table = self._INVERTED if addition.inverted else self._OUT
            assert not addition.inverted or above is None
            places.append((table, (*pair(above.carry if above else None), one, zero)))
        out = self._chain(m, places, name)
        sums: list[Value] = [zero] * len(additions)
        at = 1
        for index in order:
            sums[index] = Cat(*out[at : at + additions[index].length])
            at += additions[index].length
        return sums

    def accumulate(
        self,
        m: Module,
        acc: Value,
        count: Value,
        carry: Value,
        start: Value,
        double: Value,
        name: str,
        *,
        joined: bool = False,
    ) -> Value:
        """Return the sum; the table picks `acc` or its double, or adds the start value to what was picked."""
        zero, one = Const(0, 1), Const(1, 1)
        places: list[tuple[int, tuple[Value, ...]]] = [(self._OUT, (carry, zero, one, zero))]
        for place in range(len(acc)):
            counted = count[min(place, len(count) - 1)]
            if joined:
                base = Mux(double, acc[place - 1] if place else 0, acc[place])
                places.append((self._JOINED, (counted, start[place], base, one)))
            else:
                below = acc[place - 1] if place else start[0]
                places.append((self._ACCUMULATE, (counted, double, below, acc[place] | start[place])))
        return Cat(*self._chain(m, places, name)[1 : len(acc) + 1])

    @staticmethod
    def _chain(m: Module, places: list[tuple[int, tuple[Value, ...]]], name: str) -> list[Value]:
        zero = Const(0, 1)
        if len(places) % 2:
            places = [*places, (0, (zero, zero, zero, zero))]
        out = [Signal(name=f"{name}_s{index}") for index in range(len(places))]
        carry: Value | None = None
        for index in range(0, len(places), 2):
            pins: dict = {} if carry is None else {"i_CIN": carry}
            if index + 2 < len(places):
                pins["o_COUT"] = carry = Signal(name=f"{name}_c{index}")
            for half in range(2):
                init, inputs = _tied_high(*places[index + half])
                pins[f"p_INIT{half}"] = Const(init, 16)
                pins[f"p_INJECT1_{half}"] = "NO"
                pins[f"o_S{half}"] = out[index + half]
                pins |= {f"i_{pin}{half}": value for pin, value in zip("ABCD", inputs, strict=True)}
            m.submodules[f"{name}_ccu{index}"] = Instance("CCU2C", **pins)
        return out


def _tied_high(init: int, inputs: tuple[Value, ...]) -> tuple[int, tuple[Value, ...]]:
    # The four entries for 00 on the last two inputs stay, whatever these are: they make the carry.
    tied = list(inputs)
    for pin in (2, 3):
        value = inputs[pin]
        if isinstance(value, Const):
            for entry in range(16):
                if entry >> pin & 1:
                    source = entry if value.value else entry ^ 1 << pin
                    init = init & ~(1 << entry) | (init >> source & 1) << entry
            tied[pin] = Const(1, 1)
    return init, tuple(tied)
