"""Knows which kernel taps lie outside the map."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.program import LOOPS

__all__ = ["TapTracker"]

_COL, _ROW, _WIN_X, _WIN_Y, _X, _Y, _TILE = (
    LOOPS.index(name) for name in ("col", "row", "win_x", "win_y", "x", "y", "tile")
)


class TapTracker(wiring.Component):
    """Follow a `LoopNest` in map coordinates.

    Members
    -------
    load, step : In(1)
    moved : In(len(LOOPS))
        As at the nest.
    pad_left, pad_top : In(3)
        Padding before the first column and row.
    stride_x, stride_y : In(3)
        Distance of neighbouring positions of a pooling window.
    step_x, step_y : In(4)
        Distance of neighbouring windows.
    width, height : In(10)
        Size of the map.
    inside : Out(1)
        The tap of the nest's beat is on the map.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "step": In(1),
                "moved": In(len(LOOPS)),
                "pad_left": In(3),
                "pad_top": In(3),
                "stride_x": In(3),
                "stride_y": In(3),
                "step_x": In(4),
                "step_y": In(4),
                "width": In(10),
                "height": In(10),
                "inside": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        moved = self.moved
        # Window and position start, and tap, of each axis; before the map is a large number.
        tap_x, pos_x, win_x = (Signal(10, name=n) for n in ("tap_x", "pos_x", "win_x"))
        tap_y, pos_y, win_y = (Signal(10, name=n) for n in ("tap_y", "pos_y", "win_y"))
        m.d.comb += self.inside.eq((tap_x < self.width) & (tap_y < self.height))

        def start(axis: tuple[Signal, ...], value) -> None:
            m.d.sync += [signal.eq(value) for signal in axis]

        with m.If(self.load | (self.step & moved[_TILE])):
            start((tap_x, pos_x, win_x), -self.pad_left)
            start((tap_y, pos_y, win_y), -self.pad_top)
        with m.Elif(self.step):
            with m.If(moved[_COL]):
                start((tap_x,), tap_x + 1)
            with m.Elif(moved[_WIN_X]):
                start((tap_x, pos_x), pos_x + self.stride_x)
            with m.Elif(moved[_X]):
                start((tap_x, pos_x, win_x), win_x + self.step_x)
            with m.Elif(moved[_Y]):
                start((tap_x, pos_x, win_x), -self.pad_left)
            with m.Elif(moved[_WIN_Y]):
                start((tap_x, pos_x), win_x)
            with m.Elif(moved[_COL + 1 :].any()):
                start((tap_x,), pos_x)
            with m.If(moved[_ROW]):
                start((tap_y,), tap_y + 1)
            with m.Elif(moved[_WIN_Y]):
                start((tap_y, pos_y), pos_y + self.stride_y)
            with m.Elif(moved[_Y]):
                start((tap_y, pos_y, win_y), win_y + self.step_y)
            with m.Elif(moved[_X]):
                start((tap_y, pos_y), win_y)
            with m.Elif(moved[_ROW + 1 :].any()):
                start((tap_y,), pos_y)
        return m
