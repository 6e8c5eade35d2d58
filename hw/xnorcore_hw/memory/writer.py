"""Puts the bits that leave the array into activation memory, as the running layer's output says."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..array.array import array_latency
from ..interfaces import EmitSignature, bits_for_depth
from ..sequence.sequencer import LayerSignature

__all__ = ["ResultWriter"]


class ResultWriter(wiring.Component):
    """Pool and write emitted bits, one word a cycle, at the same address in all rows.

    The bits of a pooling window are ORed; the last emission of the window is the one that is written.
    With more columns than bits in a word, a result fills several words, written one after the other.
    With fewer, tiles of one position share a word: the first of them clears the word's other lanes.
    Strips: the rows' results go one after the other into all memories, at the rows' own addresses.

    Members
    -------
    emit : In(EmitSignature)
        In step with the array's control word.
    layer : In(LayerSignature)
    bits : In(rows * columns)
        The array's output, `array_latency` cycles later.
    waddr : Out
    wdata : Out(rows * min(columns, width))
    wclear : Out(1)
    wmask : Out(width // lane)
        Write port of the activation memories.
    busy : Out(1)
        A lane is written.
    layer_done, batch_done : Out(1)
        The last word of a layer (of a batch's last layer) is on its way into the memories.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "emit": In(EmitSignature()),
                "layer": In(LayerSignature(config)),
                "bits": In(g.rows * g.columns),
                "waddr": Out(bits_for_depth(config.act_depth)),
                "wdata": Out(g.rows * min(g.columns, g.width)),
                "wclear": Out(1),
                "wmask": Out(g.width // g.lane),
                "busy": Out(1),
                "layer_done": Out(1),
                "batch_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g, e = self.config.geometry, self.emit
        flags = Cat(e.valid, e.layer_first, e.window_first, e.window_last, e.slice, e.tile, e.layer_last)
        for stage in range(array_latency(self.config)):
            early = flags
            flags = Signal(len(flags), name=f"emit_d{stage}")
            m.d.sync += flags.eq(early)

        # The descriptor's output side is copied one cycle before the layer's first emission arrives.
        base, delta, tile_base, tile_stride, strip = (
            Signal(len(self.waddr), name=n) for n in ("base", "delta", "tile_base", "tile_stride", "strip")
        )
        score, final, strips = Signal(), Signal(), Signal()

        # Pooling: OR over a window.
        pooled, window = Signal(len(self.bits)), Signal(len(self.bits), reset_less=True)
        pools = self.config.convolution
        m.d.comb += pooled.eq(self.bits | (window if pools else 0))
        with m.If(early[0] & early[2]):
            m.d.sync += window.eq(0)  # before a window's first
        with m.Elif(flags[0]):
            m.d.sync += window.eq(pooled)

        # A result has words * strips parts; those after the first wait in a register, with their flags.
        words, shared = g.words_per_tile, g.tiles_per_word
        starts, rest, writing, done = Signal(), Signal(), Signal(), Signal()
        kept, live = Signal(3), Signal(3)
        word, row = Signal(range(max(words, 2))), Signal(range(max(g.rows, 2)))
        word_last = word == words - 1 if words > 1 else Const(1)
        row_last = ~strips | (row == g.rows - 1) if pools else Const(1)
        m.d.comb += [
            writing.eq(starts | rest),
            done.eq(writing & word_last & row_last),
            live.eq(Mux(rest, kept, flags[4:7])),
        ]
        m.d.sync += [starts.eq(early[0] & (early[3] if pools else 1)), rest.eq(writing & ~done)]
        more_slices, tile, layer_last = live
        later, data = Signal(len(self.bits), reset_less=True), Signal(len(self.bits))
        chunk = min(g.width, g.columns)
        address, row_address = Signal(len(self.waddr)), Signal(len(self.waddr))
        m.d.comb += data.eq(Mux(rest, later, pooled))
        with m.If(writing):
            m.d.sync += [later.eq(data >> chunk), kept.eq(live)]
            with m.If(~word_last):
                m.d.sync += [word.eq(word + 1), address.eq(address + 1)]
            with m.Else():
                m.d.sync += word.eq(0)
                with m.If(row_last):
                    m.d.sync += row.eq(0)
                with m.Else():
                    following = row_address + strip
                    m.d.sync += [row.eq(row + 1), row_address.eq(following), address.eq(following)]

        # Where the next result goes, once the last part of this one is written.
        lane, wraps = Signal(range(max(shared, 2))), Signal()
        next_tile, next_base = Signal(len(address)), Signal(len(address))
        m.d.comb += [
            wraps.eq(score | (lane == shared - 1)),
            next_tile.eq(Mux(wraps, tile_base + tile_stride, tile_base)),
            next_base.eq(Mux(tile, next_tile, base + Mux(more_slices, words, delta))),
            self.layer_done.eq(done & layer_last),
            self.batch_done.eq(self.layer_done & final),
        ]
        with m.If(done):
            m.d.sync += [base.eq(next_base), address.eq(next_base), row_address.eq(next_base)]
            with m.If(tile):
                m.d.sync += [tile_base.eq(next_tile), lane.eq(Mux(wraps, 0, lane + 1))]

        lanes = g.columns // g.lane
        m.d.comb += [self.waddr.eq(address), self.busy.eq(writing)]
        mask = Mux(lane == 0, -1, ((1 << lanes) - 1) << (lane * lanes)) if shared > 1 else -1
        m.d.comb += self.wmask.eq(mask)
        # Every part of the word carries the bits and the mask picks one, but the first clears the rest.
        m.d.comb += self.wclear.eq(lane == 0)
        for number in range(g.rows):
            bits = Mux(strips, data[:chunk], data[number * g.columns :][:chunk])
            m.d.comb += self.wdata.word_select(number, chunk).eq(bits)

        with m.If(early[0] & early[1]):
            layer = self.layer
            m.d.comb += layer.take.eq(1)
            m.d.sync += [
                *(signal.eq(layer.base) for signal in (base, address, row_address, tile_base)),
                delta.eq(layer.delta),
                tile_stride.eq(layer.tile_stride),
                strips.eq(layer.strips & pools),
                strip.eq(layer.strip),
                score.eq(layer.score),
                final.eq(layer.final),
                lane.eq(0),
            ]
        return m
