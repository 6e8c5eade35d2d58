"""Where in the activation memories results go."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import LayerLayout, bits_for_depth
from .row_parts import FieldLayout, RowParts

__all__ = ["MarkLayout", "ResultPlace"]

MarkLayout = data.StructLayout({"slice": 1, "tile": 1, "layer_last": 1})
"""Of an `Emission`, what says where the result behind the present one goes."""


class ResultPlace(wiring.Component):
    """Follow a layer's results: address and lanes of each part of each.

    A result has as many parts as a tile has words, for each row's strip.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    layer : In(stream of LayerLayout)
        Taken with `begin`; with `config.keeps_once`, with the last part of the layer's last result.
    begin : In(1)
        The layer's first result comes next.
    writing : In(1)
        The part that is described is written in this cycle.
    marks : In(MarkLayout)
        Of the result that is written.
    addr, mask, clear : Out
        As in `ResultLayout`.
    strips, final : Out(1)
        Of the layer.
    done : Out(1)
        The last part of a result is written.
    turns : Out(1)
        Only where results may be codes: behind this part comes the first one of the next plane.
    field : Out(FieldLayout)
        Only with `config.packed_rows`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "layer": In(stream.Signature(LayerLayout(config))),
                "begin": In(1),
                "writing": In(1),
                "marks": In(MarkLayout),
                "addr": Out(bits_for_depth(config.act_depth)),
                "mask": Out(g.width // g.lane),
                "clear": Out(1),
                "strips": Out(1),
                "final": Out(1),
                "done": Out(1),
                **({"turns": Out(1)} if config.code_bits > 1 else {}),
                **({"field": Out(FieldLayout)} if config.packed_rows else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g = self.config.geometry
        base = Signal.like(self.addr, name="base")
        # With `keeps_once`, the next layer's comes after all results of this one are written.
        waits = self.config.keeps_once
        layer = self.layer.p if waits else Signal(LayerLayout(self.config))
        m.d.comb += [
            self.strips.eq(layer.strips if self.config.convolution and g.rows > 1 else 0),
            self.final.eq(layer.final),
            self.layer.ready.eq(self.done & self.marks.layer_last if waits else self.begin),
        ]
        # Parts of a result.
        words, address, row_address = g.words_per_tile, Signal.like(self.addr), Signal.like(self.addr)
        word, row = Signal(range(max(words, 2))), Signal(range(max(g.rows, 2)))
        word_last = word == words - 1 if words > 1 else Const(1)
        row_last = ~self.strips | (row == g.rows - 1)
        ends = self.writing & word_last & row_last
        if self.config.code_bits > 1:
            ends &= ~self.turns
        parts = self._parts(m, layer) if self.config.packed_rows else None
        if parts is not None:
            ends &= parts.field.last
        m.d.comb += [self.addr.eq(address), self.done.eq(ends)]
        with m.If(self.writing):
            with m.If(~word_last):
                m.d.sync += [word.eq(word + 1), address.eq(address + 1)]
            with m.Else():
                m.d.sync += word.eq(0)
                with m.If(row_last):
                    m.d.sync += row.eq(0)
                    if self.config.code_bits > 1:
                        self._turn(m, layer, base, word_last & row_last, address, row_address)
                with m.Else():
                    following = row_address + layer.strip
                    m.d.sync += [row.eq(row + 1), row_address.eq(following), address.eq(following)]

        # Where the next result goes, once the last part of this one is written.
        shared, tile_base = g.tiles_per_word, Signal.like(self.addr)
        lane, wraps = Signal(range(max(shared, 2))), Signal()
        next_tile, next_base = Signal.like(self.addr), Signal.like(self.addr)
        step = Mux(self.marks.slice, words, layer.delta)
        m.d.comb += [
            wraps.eq(layer.score | (lane == shared - 1)),
            next_tile.eq(Mux(wraps, tile_base + layer.tile_stride, tile_base)),
            next_base.eq(Mux(self.marks.tile, next_tile, base + step)),
        ]
        with m.If(self.done):
            m.d.sync += [base.eq(next_base), address.eq(next_base), row_address.eq(next_base)]
            with m.If(self.marks.tile):
                m.d.sync += [tile_base.eq(next_tile), lane.eq(Mux(wraps, 0, lane + 1))]
        with m.If(self.begin):
            start = self.layer.p.base
            m.d.sync += [place.eq(start) for place in (base, address, row_address, tile_base)]
            m.d.sync += lane.eq(0)
            if not waits:
                m.d.sync += layer.eq(self.layer.p)

        # Every part of the word carries the bits and the mask picks one, but the first clears the rest.
        lanes = g.columns // g.lane
        mask = Mux(lane == 0, -1, ((1 << lanes) - 1) << (lane * lanes)) if shared > 1 else -1
        m.d.comb += [self.mask.eq(mask), self.clear.eq(lane == 0)]
        if parts is not None:
            with m.If(parts.packed):
                m.d.comb += self.mask.eq(
                    Cat(
                        (quarter | parts.field.clear).replicate(len(self.mask) // 4)
                        for quarter in parts.field.quarters
                    )
                )
            with m.If(self.writing & ~parts.field.last):
                m.d.sync += address.eq(address - parts.back - 1)
        return m

    def _parts(self, m: Module, layer: data.View) -> RowParts:
        """Return what goes through the parts of results that are kernel rows'."""
        m.submodules.parts = parts = RowParts()
        names = ("packed", "row_pairs", "x_last")
        m.d.comb += [getattr(parts, name).eq(layer[name]) for name in names]
        m.d.comb += [
            parts.begin.eq(self.begin),
            parts.writing.eq(self.writing),
            self.field.eq(parts.field),
        ]
        return parts

    def _turn(
        self, m: Module, layer: data.View, base: Signal, last: Value, address: Signal, row_address: Signal
    ) -> None:
        """Go from a result's last part of a plane to the first one of the next plane.

        To be called where a part is `last` of its plane, and is written.
        """
        plane = Signal.like(layer.planes_last, name="plane")
        following, before = Signal.like(address, name="plane_next"), None
        with m.If(self.turns):
            m.d.sync += [plane.eq(plane + 1), address.eq(following), row_address.eq(following)]
            if self.config.code_bits > 2:
                before = Signal.like(address, name="plane_base")
                m.d.sync += before.eq(following)
        with m.Else():
            m.d.sync += plane.eq(0)
        m.d.comb += [
            self.turns.eq(last & (plane != layer.planes_last)),
            following.eq((base if before is None else Mux(plane == 0, base, before)) + layer.plane),
        ]
