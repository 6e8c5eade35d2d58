"""Nested loops that walk through a layer, one beat a step."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.codes import MAX_COMPARED_BITS
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import levels_of, loops_of

from ..interfaces import RingSignature
from ..parts.counting import down_or_load
from ..parts.sizes import place_bits
from .edges import Advance, own_weights
from .loops import LoopLayout, loop_bits
from .moves import BASE, ONE_WORD, PLACES, MoveLayout

__all__ = ["LoopNest"]


class LoopNest(wiring.Component):
    """Loop counters and addresses of the beats of one layer.

    The levels are `xnorcore.isa.layout.levels_of`, innermost first. `load` starts a layer; every `step`
    replaces the beat at the outputs by the next one. The outputs are registers. Loops that are not
    `xnorcore.isa.layout.loops_of` the device count as 1.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    load : In(1)
        Take the loop counts and bases, once the descriptor is complete.
    step : In(1)
        Present the next beat; only while `more` is 1.
    layer : In(LoopLayout)
        Stays while the layer runs.
    at_zero : In(1)
        The region that is read is not at `layer.read_base`, but at 0.
    place : Out
        Distance to read in `Moves` at `load` and `step`,
    distance : In
        and the one that was read last.
    more : Out(1)
        Beats are left.
    raddr, waddr, taddr : Out
        Addresses of the beat in activation memory, weight and threshold buffers.
    offset : Out(config.offset_bits)
        Where in the word at `raddr` the beat's word starts.
    moved : Out(len(levels_of(config)))
        Loop that the next step will advance, one-hot; all 0 for the first beat.
    first, doubles, last : Out(1)
        Beat that takes the start value, or a bit of it; first beat of a further plane, if planes double;
        last beat of a position.
    sliced, whole : In(1)
        Slices follow the last beat of a position; something is emitted with it.
    slice : In(1)
        Present the next slice instead of the next beat; not together with `step`.
    slice_emits, slice_last : In(1)
        Something is emitted with that slice; it is the last one.
    tile_first, tile_next : Out(1)
        First beat of a tile; the next beat will be one.
    emits, closes : Out(1)
        Something is emitted with the beat or slice; no slice follows. In registers, since the decision
        whether a beat is issued is late.
    run_end : Out(1)
        Last word of a run.
    plane_first, plane_last : Out(1)
        First plane; last one, only where there may be codes.
    even : Out(1)
        Column and row of positions, from 0 on, are even. Only with `config.value_depth`.
    four, copy_last : Out(1)
    stays : In(1)
        With `config.row_sums`: a copy that counts four times; the last one. The next slice is no threshold.
    window_last : Out(1)
        Last position of a pooling window.
    tile_end, layer_end : Out(1)
        With `last`: last position of a tile; of the layer.
    ring : Out(RingSignature)
        On a device with a store.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, self.offset_bits = config, config.offset_bits
        self.loops, self.levels = loops_of(config), levels_of(config)
        counts = LoopLayout(config).members
        self._left = {
            loop: Signal(counts[f"{loop}_last"], name=f"{loop}_left", reset_less=True) for loop in self.loops
        }
        bits = loop_bits(config)
        ports: dict = {"layer": In(LoopLayout(config))}
        ports |= {f"{name[0]}addr": Out(bits[f"{name}_base"]) for name in ("read", "weight", "threshold")}
        ports |= {name: In(1) for name in ("load", "step", "at_zero", "sliced", "whole")}
        ports |= {name: In(1) for name in ("slice", "slice_emits", "slice_last")}
        flags = ("more", "tile_first", "tile_next", "first", "doubles", "last", "emits", "closes")
        flags += ("run_end", "plane_first", "window_last")
        flags += ("plane_last",) if config.code_bits > 1 else ()
        flags += ("four", "copy_last") if config.row_sums else ()
        flags += ("even",) if config.value_depth else ()
        ports |= {"stays": In(1)} if config.row_sums else {}
        ports |= {name: Out(1) for name in (*flags, "tile_end", "layer_end")}
        ports |= {"offset": Out(self.offset_bits), "moved": Out(len(self.levels))}
        ports |= {"place": Out(place_bits()), "distance": In(MoveLayout(config).members["distance"])}
        if config.store_words:
            ports["ring"] = Out(RingSignature(config))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        lasts = {loop: self.layer[f"{loop}_last"] for loop in self.loops}
        level_of = {loop: level for level, loop in enumerate(self.levels)}
        plane, tile = level_of["plane"], level_of["tile"]
        absent = sum(1 << level for loop, level in level_of.items() if loop not in lasts)
        at_last, at_first = (
            Signal(len(self.levels), name=name, init=absent, reset_less=True)
            for name in ("at_last", "at_first")
        )
        inner = self._inner(m, lasts, at_last)
        advance = Signal(len(self.levels))
        for loop, level in level_of.items():
            if loop in lasts:
                m.d.comb += advance[level].eq(inner[level] & ~at_last[level])

        with m.If(self.load):
            m.d.sync += self.more.eq(1)
        with m.Elif(self.step & at_last.all()):
            m.d.sync += self.more.eq(0)
        for loop, last in lasts.items():
            level, left = level_of[loop], self._left[loop]
            begins = self.load | at_last[level]
            with m.If(self.load | (self.step & inner[level])):
                m.d.sync += [left.eq(down_or_load(~begins, left, last)), at_first[level].eq(begins)]
                m.d.sync += at_last[level].eq(Mux(begins, last == 0, left == 1))

        first, doubles = self._starts(at_first, plane)
        ends = {
            "moved": advance,
            "first": first,
            "doubles": doubles,
            "last": at_last[: plane + 1].all(),
            "emits": at_last[: plane + 1].all() & self.whole,
            "closes": ~(at_last[: plane + 1].all() & self.sliced),
            "run_end": at_last[0],
            "plane_first": at_first[plane],
            "window_last": at_last[level_of["win_x"]] & at_last[level_of["win_y"]],
            "tile_first": at_first[:tile].all(),
            "tile_end": at_last[:tile].all(),
            "layer_end": at_last.all(),
        }
        if self.config.code_bits > 1:
            ends["plane_last"] = at_last[plane]
        if self.config.row_sums:
            near = self.layer.near
            ends["four"] = (near != 0) & (self._left["copy"] >= near)
            ends["copy_last"] = at_last[level_of["copy"]]
        if self.config.value_depth:
            odd = [self._left[loop][0] ^ lasts[loop][0] for loop in ("x", "y")]
            ends["even"] = ~(odd[0] | odd[1])
        m.d.comb += self.tile_next.eq(ends["tile_first"])
        registers = {name: self._register(m, name) for name in ends}
        with m.If(self.load):
            m.d.sync += registers["moved"].eq(0)
        with m.Elif(self.step):
            m.d.sync += [registers[name].eq(value) for name, value in ends.items()]
        with m.Elif(self.slice):
            m.d.sync += [registers["emits"].eq(self.slice_emits), registers["closes"].eq(self.slice_last)]
        self._read_address(m, advance)
        self._buffer_addresses(m, (at_first[level_of["x"]], at_last[level_of["x"]]))
        return m

    def _starts(self, at_first: Signal, plane: int) -> tuple[Value, Value]:
        """Return whether a beat takes a part of the start value, and whether it doubles the accumulator."""
        double = self.layer.double
        if "copy" not in self.levels:
            first = at_first[:plane].all() & (at_first[plane] | double)
            return first, double & at_first[:plane].all() & ~at_first[plane]
        fresh, begins = at_first[: plane - 1].all(), at_first[plane - 1] & at_first[plane]
        doubles = double & (self._left["copy"] == self.layer.single_last)
        return fresh & (begins | doubles), fresh & doubles & ~begins

    def _inner(self, m: Module, lasts: dict[str, Value], at_last: Signal) -> Signal:
        """Return which loops have all loops inside them at their last round.

        Of many loops it is in registers, since the decision whether a beat leaves is late: what each step
        makes of it is known before.
        """
        levels = range(len(self.levels))
        inner = Signal(len(levels), name="inner", init=1, reset_less=True)
        if not self.config.convolution:
            m.d.comb += [inner[level].eq(at_last[:level].all()) for level in levels]
            return inner
        after = Signal(len(levels), name="at_last_after")
        m.d.comb += after.eq(at_last)
        for loop, last in lasts.items():
            level = self.levels.index(loop)
            with m.If(inner[level]):
                m.d.comb += after[level].eq(Mux(at_last[level], last == 0, self._left[loop] == 1))
        alone = Cat(lasts[loop] == 0 for loop in self.levels)
        for level in levels:
            with m.If(self.load):
                m.d.sync += inner[level].eq(alone[:level].all())
            with m.Elif(self.step):
                m.d.sync += inner[level].eq(after[:level].all())
        return inner

    def _register(self, m: Module, port: str) -> Signal:
        # Only `more` needs a reset, which would take a look-up table at every enable.
        value = getattr(self, port)
        register = Signal(len(value), name=f"{port}_register", reset_less=True)
        m.d.comb += value.eq(register)
        return register

    def _read_address(self, m: Module, advance: Value) -> None:
        # Word address and bit offset are one number. The distance to the beat the counters describe was asked
        # for in the step before.
        k = self.offset_bits
        address = Signal(len(self.raddr) + k, name="address", reset_less=True)
        m.d.comb += [self.offset.eq(address[:k]), self.raddr.eq(address[k:])]
        places = [Mux(advance[self.levels.index(loop)], PLACES.get(loop, ONE_WORD), 0) for loop in self.loops]
        m.d.comb += self.place.eq(Mux(self.load, BASE, reduce(or_, places)))
        with m.If(self.load):
            m.d.sync += address.eq(self.layer.read_base << k)
            with m.If(self.at_zero):
                m.d.sync += address.eq(0)
        with m.Elif(self.step):
            m.d.sync += address.eq(address + self.distance)

    def _buffer_addresses(self, m: Module, at_x: tuple[Value, Value]) -> None:
        # Weights run on inside a plane and at a new tile; planes and positions start the tile again.
        moved, base = self.moved, self.layer.weight_base
        plane, last = self.levels.index("plane"), self.levels.index("tile")
        address, tile = self._register(m, "waddr"), Signal(len(base), name="waddr_tile", reset_less=True)
        following, start = Signal.like(address), self._register(m, "taddr")
        m.d.comb += following.eq(address + 1)
        goes_on, again = moved[:plane].any() | moved[last], tile
        if self.config.packed_rows:
            advance = Advance(self.load, self.step, moved, self.levels)
            onward, again = own_weights(m, self.layer, advance, at_x, (tile, following))
            goes_on |= onward
        with m.If(self.load):
            m.d.sync += [address.eq(base), tile.eq(base), start.eq(self.layer.threshold_base)]
        with m.Elif(self.step):
            with m.If(moved[last]):
                m.d.sync += tile.eq(following)
                if self.config.code_bits == 1:
                    m.d.sync += start.eq(start + 1)
            with m.If(goes_on):
                m.d.sync += address.eq(following)
            with m.Elif(moved[plane:last].any()):
                m.d.sync += address.eq(again)
        first, next_start = self._thresholds(m, start) if self.config.code_bits > 1 else (None, start + 1)
        if self.config.store_words:
            ring, goes_on = self.ring, self.load & self.layer.stream
            m.d.comb += [
                ring.go.eq(goes_on),
                ring.base.eq(tile),
                ring.start.eq(start if first is None else first),
                ring.next_word.eq(following),
                ring.next_start.eq(next_start),
            ]
            with m.If(goes_on):
                m.d.sync += [address.eq(following), tile.eq(following), start.eq(next_start)]
                if first is not None:
                    m.d.sync += first.eq(next_start)

    def _thresholds(self, m: Module, start: Signal) -> tuple[Signal, Signal]:
        """Go through the start values of a tile at each position, one for each threshold.

        Return the first one's place, and that of the next tile's.
        """
        code, first = self.layer.code_last, Signal.like(start, name="taddr_tile")
        following, levels = (
            Signal.like(start, name="taddr_next"),
            Cat(1, (code >= n for n in range(1, min(self.config.code_bits, MAX_COMPARED_BITS)))),
        )
        if self.config.store_words:
            # The next layer goes on behind this one's start values, as many as there were.
            kept = Signal.like(levels, name="levels", reset_less=True)
            with m.If(self.load):
                m.d.sync += kept.eq(levels)
            levels = kept
        m.d.comb += following.eq(first + levels)
        with m.If(self.load):
            m.d.sync += first.eq(self.layer.threshold_base)
        with m.Elif(self.step):
            with m.If(self.moved[self.levels.index("tile")]):
                m.d.sync += [first.eq(following), start.eq(following)]
            with m.Else():
                m.d.sync += start.eq(first)
        with m.Elif(self.slice & ~self.stays if self.config.row_sums else self.slice):
            m.d.sync += start.eq(start + 1)
        return first, following
