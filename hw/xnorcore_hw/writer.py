"""Puts the bits that leave the array into activation memory, as the running layer's output says."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig

from .array import array_latency
from .interfaces import EmitSignature, bits_for_depth
from .sequencer import LayerSignature

__all__ = ["ResultWriter"]


class ResultWriter(wiring.Component):
    """Write emitted bits; one word a cycle, the same address in all rows.

    With more columns than bits in a word, a tile fills several words, written one after the other.
    With fewer, tiles of one position share a word: the first of them clears the word's other lanes.

    Members
    -------
    emit : In(EmitSignature)
        In step with the array's control word.
    layer : In(LayerSignature)
    bits : In(rows * columns)
        The array's output, `array_latency` cycles later.
    waddr : Out
    wdata : Out(rows * width)
    wmask : Out(width // lane)
        Write port of the activation memories.
    layer_done, batch_done : Out(1)
        The last word of a layer (of a batch's last layer) is being written.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "emit": In(EmitSignature()),
                "layer": In(LayerSignature()),
                "bits": In(g.rows * g.columns),
                "waddr": Out(bits_for_depth(config.act_depth)),
                "wdata": Out(g.rows * g.width),
                "wmask": Out(g.width // g.lane),
                "layer_done": Out(1),
                "batch_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g = self.config.geometry
        e = self.emit
        flags = Cat(e.valid, e.slice, e.tile, e.layer_first, e.layer_last)
        for stage in range(array_latency(self.config)):
            early = flags
            flags = Signal(len(flags), name=f"emit_d{stage}")
            m.d.sync += flags.eq(early)
        valid = flags[0]
        words, shared = g.words_per_tile, g.tiles_per_word
        # Word of the tile that is written; later words wait in a register, with their flags.
        part, kept = Signal(range(words)), Signal(3)
        held = Signal(g.rows * (g.columns - g.width) if words > 1 else 1)
        live = Signal(3)
        m.d.comb += live.eq(Mux(part == 0, Cat(flags[1], flags[2], flags[4]), kept))
        more_slices, tile, layer_last = live

        addr, delta, tile_base, tile_stride = (
            Signal(16, name=n) for n in ("addr", "delta", "tile_base", "tile_stride")
        )
        score, final = Signal(), Signal()
        lane = Signal(range(max(shared, 2)))

        # Where the next emission goes, once the last word of this one is written.
        done = Signal()
        wraps = Signal()
        next_tile = Signal(16)
        m.d.comb += [
            wraps.eq(score | (lane == shared - 1)),
            next_tile.eq(Mux(wraps, tile_base + tile_stride, tile_base)),
        ]

        with m.If(done):
            with m.If(tile):
                m.d.sync += [addr.eq(next_tile), tile_base.eq(next_tile)]
                m.d.sync += lane.eq(Mux(wraps, 0, lane + 1))
            with m.Else():
                m.d.sync += addr.eq(addr + Mux(more_slices, 1, delta))
        m.d.comb += self.layer_done.eq(done & layer_last)
        m.d.comb += self.batch_done.eq(self.layer_done & final)

        m.d.comb += self.waddr.eq(addr)
        rows = [self.bits.word_select(row, g.columns) for row in range(g.rows)]
        with m.If(valid | (part != 0)):
            lanes = g.columns // g.lane
            mask = Mux(lane == 0, -1, ((1 << lanes) - 1) << (lane * lanes)) if shared > 1 else -1
            m.d.comb += self.wmask.eq(mask)
        if words == 1:
            m.d.comb += done.eq(valid)
            for row, bits in enumerate(rows):
                # Every lane carries the bits and the mask picks one, except that the first clears the rest.
                wide = Mux(lane == 0, bits, bits.replicate(shared)) if shared > 1 else bits
                m.d.comb += self.wdata.word_select(row, g.width).eq(wide)
        else:
            m.d.comb += done.eq(part == words - 1)
            rest = g.columns - g.width
            with m.If(valid):
                m.d.sync += [part.eq(1), kept.eq(live)]
            with m.Elif(part != 0):
                m.d.sync += part.eq(Mux(done, 0, part + 1))
            for row, bits in enumerate(rows):
                later = held.word_select(row, rest)
                m.d.sync += later.eq(Mux(part == 0, bits[g.width :], later >> g.width))
                m.d.comb += self.wdata.word_select(row, g.width).eq(Mux(part == 0, bits, later))
            with m.If((valid | (part != 0)) & ~done):
                m.d.sync += addr.eq(addr + 1)

        # The descriptor's output side is copied one cycle before the layer's first emission arrives.
        with m.If(early[0] & early[3]):
            m.d.comb += self.layer.take.eq(1)
            m.d.sync += [
                addr.eq(self.layer.base),
                tile_base.eq(self.layer.base),
                delta.eq(self.layer.delta),
                tile_stride.eq(self.layer.tile_stride),
                score.eq(self.layer.score),
                final.eq(self.layer.final),
                lane.eq(0),
            ]
        return m
