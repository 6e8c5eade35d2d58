"""Knows which kernel taps lie outside the map."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.layout import DESCRIPTOR, LOOPS

__all__ = ["LEVELS", "TapLayout", "TapTracker", "taps_moved"]

LEVELS = tuple(loop for loop in LOOPS if loop != "copy")
"""Loops that a tap's place tells apart: a copy begins a position again as a plane does."""
_RUN, _COL, _ROW, _PLANE, _WIN_X, _WIN_Y, _X, _Y, _TILE = range(len(LEVELS))
_BITS = 10
"""Of a place along an axis of a map."""


def _either(choices: list[tuple[Value, Value]]) -> Value:
    merged: Value = Const(0)
    for chosen, value in choices:
        merged = merged | Mux(chosen, value, 0)
    return merged


def taps_moved(moved: Value, levels: Sequence[str]) -> Value:
    """Return `TapTracker.moved` for that of a nest of `levels`."""
    if "copy" not in levels:
        return moved
    copy = levels.index("copy")
    return Cat(moved[:copy], moved[copy] | moved[copy + 1], moved[copy + 2 :])


class TapLayout(data.StructLayout):
    """What a descriptor says about the map under a kernel, by the names that it has there.

    Members
    -------
    col_last, row_last, win_x_last, win_y_last
        Columns and rows of the kernel and of a pooling window, minus one.
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
        names = ("col_last", "row_last", "win_x_last", "win_y_last", "pad_left", "pad_top")
        names += ("stride_x", "stride_y", "step_x", "step_y", "map_width", "map_height")
        super().__init__({name: DESCRIPTOR.fields[name].width for name in names})


class TapTracker(wiring.Component):
    """Follow a `LoopNest` in map coordinates.

    The tap's place is all that is kept: a loop that starts again has gone its whole length before, so that
    the way back is the same every time.

    Members
    -------
    load, step : In(1)
    moved : In(len(LEVELS))
        As at the nest, a copy as a plane.
    layer : In(TapLayout)
    inside : Out(1)
        The tap of the nest's beat is on the map.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "step": In(1),
                "moved": In(len(LEVELS)),
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
        begin = Signal()
        m.d.comb += begin.eq(first | moved[_TILE])
        # Along x: the loops that go on by a tap, that start the position again, that go on to a position of a
        # window, that start the window again, that go on to a window, and that start at the edge of the map.
        x = moved[_COL], moved[_ROW:_WIN_X].any(), moved[_WIN_X], moved[_WIN_Y], moved[_X], begin | moved[_Y]
        y = moved[_ROW], moved[_PLANE:_WIN_Y].any(), moved[_WIN_Y], moved[_X], moved[_Y], begin
        tap_x = self._axis(m, "x", layer.pad_left, layer.col_last, *x)
        tap_y = self._axis(m, "y", layer.pad_top, layer.row_last, *y)
        # A place is less than a size if the size and the place's complement have a carry.
        inside = [(size + tap)[_BITS] for tap, size in ((tap_x, layer.map_width), (tap_y, layer.map_height))]
        m.d.comb += self.inside.eq(inside[0] & inside[1])
        return m

    def _axis(
        self,
        m: Module,
        axis: str,
        pad: Value,
        taps_last: Value,
        tap_on: Value,
        again: Value,
        position_on: Value,
        window_again: Value,
        window_on: Value,
        begin: Value,
    ) -> Signal:
        """Return the complement of the tap's place along an axis; a place before the map is a large number.

        A step goes on, and back to the first tap of a position or of a window before that; or it begins.
        """
        layer = self.layer
        stride, positions_last = layer[f"stride_{axis}"], layer[f"win_{axis}_last"]
        tap, back = Signal(_BITS, name=f"tap_{axis}"), Signal(signed(6), name=f"back_{axis}")
        # Known long before a position or a window ends.
        window_back, to_position, to_window, to_edge = (
            Signal(signed(6), name=f"{name}_{axis}")
            for name in ("window_back", "to_position", "to_window", "to_edge")
        )
        once, twice = (Mux(bit, stride, 0) for bit in positions_last)
        m.d.sync += [
            window_back.eq(taps_last + once + (twice << 1)),
            to_position.eq(taps_last - stride),
            to_window.eq(window_back - layer[f"step_{axis}"]),
            to_edge.eq(pad - 1),
        ]
        # One of them at a time; what goes on goes back by less than nothing.
        backs = [
            (tap_on, Const(-1, signed(6))),
            (again, taps_last),
            (position_on, to_position),
            (window_again, window_back),
            (window_on, to_window),
            (begin, to_edge),
        ]
        m.d.comb += back.eq(_either(backs))
        with m.If(self.step):
            # What is left of 0, too, is the complement of one less.
            m.d.sync += tap.eq(Mux(begin, back, tap + back))
        return tap
