"""Knows which kernel taps lie outside the map."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.layout import DESCRIPTOR, LOOPS

__all__ = ["TapLayout", "TapTracker"]

_RUN, _COL, _ROW, _PLANE, _WIN_X, _WIN_Y, _X, _Y, _TILE = range(len(LOOPS))


def _one_hot(choices: list[tuple[Value, Value]]) -> Value:
    # Where a value is kept it is chosen like any other: else this would become part of the enable, which is
    # decided late.
    merged: Value = Const(0)
    for chosen, value in choices:
        merged = merged | Mux(chosen, value, 0)
    return merged


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
        # Window and position start, and tap, of each axis; before the map is a large number.
        tap_x, pos_x, win_x = (Signal(10, name=n) for n in ("tap_x", "pos_x", "win_x"))
        tap_y, pos_y, win_y = (Signal(10, name=n) for n in ("tap_y", "pos_y", "win_y"))
        m.d.comb += self.inside.eq((tap_x < layer.map_width) & (tap_y < layer.map_height))

        first, left, top = Signal(), Signal(10), Signal(10)
        m.d.comb += [left.eq(-layer.pad_left), top.eq(-layer.pad_top)]
        with m.If(self.load):
            m.d.sync += first.eq(1)
        with m.Elif(self.step):
            m.d.sync += first.eq(0)
        begin = first | moved[_TILE]
        moves_x = [(begin | moved[_Y], left), (moved[_X], win_x + layer.step_x)]
        moves_y = [(begin, top), (moved[_Y], win_y + layer.step_y)]
        starts_x = [*moves_x, (moved[_WIN_Y], win_x), (moved[_WIN_X], pos_x + layer.stride_x)]
        starts_y = [*moves_y, (moved[_X], win_y), (moved[_WIN_Y], pos_y + layer.stride_y)]
        axes = (
            (win_x, [*moves_x, (moved[:_X].any(), win_x)]),
            (pos_x, [*starts_x, (moved[:_WIN_X].any(), pos_x)]),
            (
                tap_x,
                [
                    *starts_x,
                    (moved[_ROW:_WIN_X].any(), pos_x),
                    (moved[_COL], tap_x + 1),
                    (moved[_RUN], tap_x),
                ],
            ),
            (win_y, [*moves_y, (moved[:_Y].any(), win_y)]),
            (pos_y, [*starts_y, (moved[:_WIN_Y].any(), pos_y)]),
            (
                tap_y,
                [
                    *starts_y,
                    (moved[_PLANE:_WIN_Y].any(), pos_y),
                    (moved[_ROW], tap_y + 1),
                    (moved[:_ROW].any(), tap_y),
                ],
            ),
        )
        with m.If(self.step):
            for signal, moves in axes:
                m.d.sync += signal.eq(_one_hot(moves))
        return m
