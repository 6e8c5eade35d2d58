"""Knows which kernel taps lie outside the map."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.layout import DESCRIPTOR, LOOPS

__all__ = ["TapLayout", "TapTracker"]

_RUN, _COL, _ROW, _PLANE, _WIN_X, _WIN_Y, _X, _Y, _TILE = range(len(LOOPS))
_BITS = 10
"""Of a place along an axis of a map."""


def _one_hot(choices: list[tuple[Value, Value]]) -> Value:
    merged: Value = Const(0)
    for chosen, value in choices:
        merged = merged | Mux(chosen, value, 0)
    return merged


def _negative(pad: Value) -> Value:
    # Without the carry chain that a subtraction from 0 would take.
    low = Cat(pad[0], pad[1] ^ pad[0], pad[2] ^ pad[:2].any())
    return Cat(low, pad.any().replicate(_BITS - len(low)))


class TapLayout(data.StructLayout):
    """What a descriptor says about the map under a kernel, by the names that it has there.

    Members
    -------
    pad_left, pad_top
        Padding before the first column and row.
    stride_x, stride_y
        Distance of neighbouring positions of a pooling window.
    step_x, step_y
        Distance of neighbouring windows.
    map_width, map_height
        Size of the map.
    """

    def __init__(self) -> None:
        names = ("pad_left", "pad_top", "stride_x", "stride_y", "step_x", "step_y", "map_width", "map_height")
        super().__init__({name: DESCRIPTOR.fields[name].width for name in names})


class TapTracker(wiring.Component):
    """Follow a `LoopNest` in map coordinates.

    Members
    -------
    load, step : In(1)
    moved : In(len(LOOPS))
        As at the nest.
    layer : In(TapLayout)
    inside : Out(1)
        The tap of the nest's beat is on the map.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "step": In(1),
                "moved": In(len(LOOPS)),
                "layer": In(TapLayout()),
                "inside": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        moved, layer = self.moved, self.layer
        first = Signal()
        with m.If(self.load):
            m.d.sync += first.eq(1)
        with m.Elif(self.step):
            m.d.sync += first.eq(0)
        begin = first | moved[_TILE]
        # Along x: the loops that go on by a tap, that start the position again, that go on to a position of a
        # window, that start the window again, that go on to a window, and that start at the edge of the map.
        x = moved[_COL], moved[_ROW:_WIN_X].any(), moved[_WIN_X], moved[_WIN_Y], moved[_X], begin | moved[_Y]
        y = moved[_ROW], moved[_PLANE:_WIN_Y].any(), moved[_WIN_Y], moved[_X], moved[_Y], begin
        tap_x = self._axis(m, "x", layer.pad_left, moved[: _COL + 1].any(), *x)
        tap_y = self._axis(m, "y", layer.pad_top, moved[: _ROW + 1].any(), *y)
        m.d.comb += self.inside.eq((tap_x < layer.map_width) & (tap_y < layer.map_height))
        return m

    def _axis(
        self,
        m: Module,
        axis: str,
        pad: Value,
        within: Value,
        tap_on: Value,
        again: Value,
        position_on: Value,
        window_again: Value,
        window_on: Value,
        begin: Value,
    ) -> Signal:
        """Return the tap's place along an axis; before the map it is a large number.

        A step adds something to one of three places: the tap, the first tap of its position, and the first
        one of its window; or it begins.
        """
        layer = self.layer
        tap, position, window = (Signal(_BITS, name=f"{n}_{axis}") for n in ("tap", "pos", "win"))
        place, change, following = (
            Signal(_BITS, name=f"{n}_{axis}") for n in ("place", "change", "following")
        )
        places = [(again | position_on, position), (window_again | window_on, window), (within, tap)]
        changes = [
            (tap_on, Const(1)),
            (position_on, layer[f"stride_{axis}"]),
            (window_on, layer[f"step_{axis}"]),
            (begin, _negative(pad)),
        ]
        m.d.comb += [
            place.eq(_one_hot(places)),
            change.eq(_one_hot(changes)),
            following.eq(place + change),
        ]
        with m.If(self.step):
            m.d.sync += tap.eq(following)
            with m.If(position_on | window_again | window_on | begin):
                m.d.sync += position.eq(following)
            with m.If(window_on | begin):
                m.d.sync += window.eq(following)
        return tap
