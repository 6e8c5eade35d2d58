"""Six nested loops that walk through a layer, one beat a step."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.program import DESCRIPTOR, LOOPS

__all__ = ["LoopNest"]


class LoopNest(wiring.Component):
    """Loop counters and addresses of the beats of one layer.

    The loops are `xnorcore.program.LOOPS`, innermost first. `load` starts a layer; every `step` replaces
    the beat at the outputs by the next one. The outputs are registers.

    Members
    -------
    load : In(1)
        Take the loop counts and bases, once the descriptor is complete.
    step : In(1)
        Present the next beat; only while `more` is 1.
    <loop>_last : In
        Count of each loop, minus one.
    delta_<loop> : In(16)
        Added to the read address when the loop advances (all but run).
    read_base, weight_base, threshold_base : In(16)
    double : In(1)
        The accumulator doubles between planes, and every plane has a start value of its own.
    more : Out(1)
        Beats are left.
    raddr, waddr, taddr : Out(16)
        Addresses of the beat in activation memory, weight and threshold buffers.
    first, doubles, last : Out(1)
        Beat that takes the start value at `taddr`; first beat of a further plane, if planes double; last
        beat of a position.
    tile_end, layer_end : Out(1)
        With `last`: last position of a tile; of the layer.
    """

    def __init__(self) -> None:
        fields = DESCRIPTOR.fields
        ports: dict = {f"{loop}_last": In(fields[f"{loop}_last"].width) for loop in LOOPS}
        ports |= {f"delta_{loop}": In(16) for loop in LOOPS[1:]}
        ports |= {name: In(16) for name in ("read_base", "weight_base", "threshold_base")}
        ports |= {name: Out(16) for name in ("raddr", "waddr", "taddr")}
        ports |= {name: In(1) for name in ("load", "step", "double")}
        ports |= {name: Out(1) for name in ("more", "first", "doubles", "last", "tile_end", "layer_end")}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        lasts = [getattr(self, f"{loop}_last") for loop in LOOPS]
        left = [Signal(len(last), name=f"{loop}_left") for loop, last in zip(LOOPS, lasts, strict=True)]
        at_last, at_first = Signal(len(LOOPS)), Signal(len(LOOPS))
        advance = Signal(len(LOOPS))
        for level in range(len(LOOPS)):
            m.d.comb += advance[level].eq(at_last[:level].all() & ~at_last[level])

        with m.If(self.load):
            m.d.sync += self.more.eq(1)
        with m.Elif(self.step & at_last.all()):
            m.d.sync += self.more.eq(0)
        for level, last in enumerate(lasts):
            with m.If(self.load | (self.step & at_last[: level + 1].all())):
                m.d.sync += [left[level].eq(last), at_last[level].eq(last == 0), at_first[level].eq(1)]
            with m.Elif(self.step & advance[level]):
                m.d.sync += [
                    left[level].eq(left[level] - 1),
                    at_last[level].eq(left[level] == 1),
                    at_first[level].eq(0),
                ]

        # The address change that leads to the beat the counters describe, kept from the step before.
        delta = Signal(16)
        plane_move, position_move, tile_move, weight_move = (
            Signal(name=f"{n}_move") for n in ("plane", "position", "tile", "weight")
        )
        weight_tile, threshold_tile, next_weight, next_threshold = (
            Signal(16, name=n) for n in ("weight_tile", "threshold_tile", "next_weight", "next_threshold")
        )
        m.d.comb += [next_weight.eq(self.waddr + 1), next_threshold.eq(self.taddr + 1)]
        with m.If(self.load):
            m.d.sync += [
                self.raddr.eq(self.read_base),
                self.waddr.eq(self.weight_base),
                weight_tile.eq(self.weight_base),
                self.taddr.eq(self.threshold_base),
                threshold_tile.eq(self.threshold_base),
                delta.eq(0),
                weight_move.eq(0),
                plane_move.eq(0),
                position_move.eq(0),
                tile_move.eq(0),
            ]
        with m.Elif(self.step):
            choices = [1, *(getattr(self, f"delta_{loop}") for loop in LOOPS[1:])]
            gated = [Mux(bit, choice, 0) for bit, choice in zip(advance, choices, strict=True)]
            merged = gated[0]
            for value in gated[1:]:
                merged = merged | value
            m.d.sync += [
                self.raddr.eq(self.raddr + delta),
                delta.eq(merged),
                # Weights run on inside a plane and at a new tile; planes and positions start the tile again.
                weight_move.eq(advance[0] | advance[1]),
                plane_move.eq(advance[2]),
                position_move.eq(advance[3:5].any()),
                tile_move.eq(advance[5]),
                self.first.eq(at_first[:2].all() & (at_first[2] | self.double)),
                self.doubles.eq(self.double & at_first[:2].all() & ~at_first[2]),
                self.last.eq(at_last[:3].all()),
                self.tile_end.eq(at_last[:5].all()),
                self.layer_end.eq(at_last.all()),
            ]
            with m.If(tile_move):
                m.d.sync += [self.waddr.eq(next_weight), weight_tile.eq(next_weight)]
                m.d.sync += [self.taddr.eq(next_threshold), threshold_tile.eq(next_threshold)]
            with m.Elif(position_move):
                m.d.sync += [self.waddr.eq(weight_tile), self.taddr.eq(threshold_tile)]
            with m.Elif(plane_move):
                m.d.sync += self.waddr.eq(weight_tile)
                with m.If(self.double):
                    m.d.sync += self.taddr.eq(next_threshold)
            with m.Elif(weight_move):
                m.d.sync += self.waddr.eq(next_weight)
        return m
