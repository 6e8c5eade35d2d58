"""Issues the beats of a layer, one each cycle in which nothing is missing."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..given import GivenLayout
from ..interfaces import ControlLayout, DescriptorLayout, Emission, OperandLayout, RingSignature
from ..parts.limits import at_least
from ..parts.naming import take_names
from ..parts.sizes import bits_for_depth
from .causes import CauseLayout
from .emissions import emission_of
from .hazards import WordHazards, WritePort
from .moves import MoveLayout, Moves
from .nest import LoopNest
from .operands import operand_of
from .padding import TapTracker, taps_moved
from .slices import ScoreSlices
from .starts import SharedStarts

__all__ = ["Issue"]


class Issue(wiring.Component):
    """Walk through a layer's beats and send each to the array, with what the beat reads and emits.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    descriptor : In(DescriptorLayout)
    move : In(MoveLayout)
        A distance of the descriptor that comes in.
    load : In(1)
        A layer begins: its descriptor is complete.
    in_base : In
        Region of images of batches of parity 1; that of the others is at 0.
    parity : In(1)
        Of the batch that runs.
    hazard : In(1)
        The layer must wait.
    barred : In(1)
        No beat may leave in this cycle.
    writes : In(1)
        Only with memories of one port: none that reads may.
    grant : In(1)
        The memories read something else in this cycle.
    clear : In(1)
        Nothing runs: clear what a reset may have left in the array.
    operand : Out(OperandLayout)
    ctl : Out(ControlLayout)
    emit : Out(Emission)
    beat : Out(1)
        There is a beat, which may have to wait.
    reads : Out(1)
        A beat leaves that reads its operand.
    bar : Out(1)
        No beat can leave in the next cycle.
    last : Out(1)
        The layer's last beat leaves.
    astray : Out(1)
        A beat leaves with an address behind the end of a memory.
    causes : Out(CauseLayout)
        Of a cycle with a `beat`.
    ring : Out(RingSignature)
        On a device with a store.
    lost : In(1)
        On a device with a store; as of `WordHazards`.
    given : Out(GivenLayout)
        With `config.result_lanes`: in step with `ctl`. What the results unit takes is not in `emit`.
    """

    CAUSES = ("busy", "drain", "hazard", "port", "wait_weights")

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        stored = bool(config.store_words)
        names_in = ("load", "parity", "hazard", "barred", "grant", "clear")
        names_in += ("writes",) * (config.act_ports == 1)
        names_out = ("beat", "reads", "bar", "last", "astray")
        super().__init__(
            {
                "descriptor": In(DescriptorLayout(config)),
                "move": In(MoveLayout(config)),
                "in_base": In(bits_for_depth(config.act_depth)),
                **dict.fromkeys(names_in, In(1)),
                "operand": Out(OperandLayout(config)),
                "ctl": Out(ControlLayout(config)),
                "emit": Out(Emission),
                **dict.fromkeys(names_out, Out(1)),
                "causes": Out(CauseLayout(*(self.CAUSES if stored else self.CAUSES[:-1]))),
                **({"ring": Out(RingSignature(config)), "lost": In(1)} if stored else {}),
                **({"given": Out(GivenLayout(config))} if config.result_lanes else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, descriptor = self.config, self.descriptor
        m.submodules.nest = nest = LoopNest(config)
        m.submodules.moves = moves = Moves(config)
        m.submodules.slices = slices = ScoreSlices(config)
        m.submodules.port = port = WritePort(config)
        m.submodules.starts = starts = SharedStarts(config)
        issue, draining = Signal(), Signal()
        free, slot_free = Signal(), Signal()
        ready = ~self.hazard
        if config.store_words:
            waits = self._waits(m, nest)
            ready = ready & ~waits
            m.d.comb += self.causes.wait_weights.eq(self.beat & ~self.hazard & waits)
        copies = ("copy_last", "single_last") if "copy" in nest.levels else ()
        copies += ("near",) * config.row_sums + ("edge_left", "edge_right") * config.packed_rows
        codes = ("code_last",) if config.result_lanes else ()
        take_names(m, nest.layer, descriptor, but=("read_base", *copies, *codes))
        # Strips have their distances in the same word.
        m.d.comb += [nest.layer[name].eq(Mux(descriptor.strips, 0, descriptor[name])) for name in copies]
        unit = self._codes(m, nest, slices, port) if config.code_bits > 1 else Const(0)
        if config.row_sums:
            m.d.comb += slices.row_sum.eq(descriptor.row_sum & ~descriptor.strips)
            m.d.comb += nest.stays.eq(slices.next_adds)
        # A beat goes to the array unless something it needs is not there yet.
        result = issue & nest.emits & nest.window_last
        if config.code_bits > 1:
            result &= nest.closes | ~slices.compares
        if config.result_lanes:
            result |= issue & nest.emits & unit
        room = ~(nest.emits & port.busy) & ~self.barred
        if config.act_ports == 1:
            room &= draining | ~self.writes
        m.d.comb += [
            nest.layer.read_base.eq(self.in_base),
            nest.at_zero.eq(~(descriptor.in_image & self.parity)),
            nest.load.eq(self.load),
            nest.distance.eq(moves.distance),
            moves.write.eq(self.move),
            moves.place.eq(nest.place),
            moves.en.eq(nest.load | nest.step),
            nest.sliced.eq(slices.sliced),
            nest.whole.eq(slices.whole),
            nest.slice.eq(slices.next),
            nest.slice_last.eq(slices.next_last),
            nest.slice_emits.eq(slices.next_emits),
            nest.step.eq(nest.more & (~self.beat | (free & nest.closes))),
            slices.score.eq(descriptor.score),
            slices.slices.eq(descriptor.slices),
            slices.issue.eq(issue),
            slices.emits.eq(nest.emits),
            slices.closes.eq(nest.closes),
            draining.eq(slices.draining),
            port.strips.eq(descriptor.strips),
            port.result.eq(result),
            starts.first.eq(self.ctl.first),
            starts.next_load.eq(Mux(nest.step, nest.tile_next, nest.tile_first)),
            self.bar.eq(starts.bar),
            slot_free.eq(room),
            free.eq(slot_free & ready),
            issue.eq(self.beat & free),
            self.reads.eq(issue & ~draining),
            self.last.eq(issue & nest.layer_end & nest.closes),
            self.causes.busy.eq(self.reads),
            self.causes.drain.eq(issue & draining),
            self.causes.hazard.eq(self.beat & self.hazard),
            self.causes.port.eq(self.beat & ready & ~slot_free),
        ]
        port.take_rows(m, descriptor)
        with m.If(nest.step):
            m.d.sync += self.beat.eq(1)
        with m.Elif(self.last):
            m.d.sync += self.beat.eq(0)
        outside = self._outside(m, nest)
        operand_of(m, config, self.operand, descriptor, nest, outside, self.grant)
        self._control(m, nest, issue, draining, slices, outside)
        self._emission(m, nest, issue, slices, unit)
        return m

    def _codes(self, m: Module, nest: LoopNest, slices: ScoreSlices, port: WritePort) -> Value:
        """Say how the layer's codes come about; return whether the results unit makes them."""
        descriptor, unit = self.descriptor, Const(0)
        compared, last = descriptor.code_last, Mux(slices.compares, descriptor.code_last, 0)
        if self.config.result_lanes:
            # Of sums with one start value; it takes every position by itself.
            unit = descriptor.rescaled & ~descriptor.score
            compared, last = Mux(descriptor.rescaled, 0, compared), Mux(unit, descriptor.code_last, last)
            m.d.comb += [port.unit.eq(unit), nest.layer.code_last.eq(compared)]
        m.d.comb += [slices.codes.eq(compared), port.planes_last.eq(last)]
        return unit

    def _emission(self, m: Module, nest: LoopNest, issue: Value, slices: ScoreSlices, unit: Value) -> None:
        """Say what the beat or slice emits, itself or through the results unit."""
        emit = self.emit
        if self.config.result_lanes:
            emit, given = Signal(Emission, name="emission"), self.given
            m.d.comb += [
                self.emit.eq(Mux(unit, Emission.NONE, emit)),
                given.emit.eq(Mux(unit, emit, Emission.NONE)),
                given.code_last.eq(self.descriptor.code_last),
                given.taddr.eq(nest.taddr),
                self.ctl.capture.eq(issue & nest.emits & unit),
            ]
        if self.config.value_depth:
            change, layer = self.given.change, self.descriptor
            m.d.comb += [change.valued.eq(layer.valued), change.kept.eq(nest.even | ~layer.value_halves)]
            m.d.comb += [change[name].eq(layer[f"value_{name}"]) for name in ("last", "offset", "adds")]
            for name in ("short", "fresh") if self.config.packed_rows else ():
                m.d.comb += change[name].eq(Mux(layer.valued, layer[f"value_{name}"], 0))
        if self.config.scale_depth:
            m.d.comb += self.given.scaling.eq(self.descriptor.scaling)
        emission_of(m, self.config, emit, nest, issue, slices)

    def _waits(self, m: Module, nest: LoopNest) -> Signal:
        """Return whether no beat may leave because of a word that has not come."""
        ring = self.ring
        m.submodules.words = words = WordHazards(self.config)
        connect(m, nest.ring, flipped(ring))
        m.d.comb += [
            words.stream.eq(self.descriptor.stream),
            words.word.eq(nest.waddr),
            words.next_word.eq(ring.next_word),
            words.arrived.eq(ring.arrived),
            words.lost.eq(self.lost),
        ]
        return words.waits

    def _outside(self, m: Module, nest: LoopNest) -> Value:
        """Return whether the beat's tap is outside the map."""
        outside = Signal()
        if self.config.convolution:
            m.submodules.taps = taps = TapTracker()
            take_names(m, taps.layer, self.descriptor)
            m.d.comb += [
                taps.load.eq(nest.load),
                taps.step.eq(nest.step),
                taps.moved.eq(taps_moved(nest.moved, nest.levels)),
                outside.eq(self.descriptor.padded & ~taps.inside),
            ]
        return outside

    def _control(
        self,
        m: Module,
        nest: LoopNest,
        issue: Value,
        draining: Value,
        slices: ScoreSlices,
        outside: Value,
    ) -> None:
        """Say what the array does with the beat or slice."""
        config, ctl = self.config, self.ctl
        m.d.comb += [
            ctl.valid.eq(issue & ~draining & ~(outside & self.descriptor.pad_zero)),
            ctl.load.eq(issue & ~draining & nest.tile_first),
            ctl.first.eq(issue & ~draining & nest.first),
            ctl.double.eq(issue & (draining | nest.doubles)),
            ctl.clear.eq(self.clear | issue & (draining | nest.last) & nest.closes),
            ctl.waddr.eq(nest.waddr),
            ctl.taddr.eq(nest.taddr),
        ]
        if config.code_bits > 1:
            self._compare(m, nest, issue, draining, slices)
        # Addresses have just the bits of the memories; some of those may have fewer words.
        for addr, depth in (
            (nest.raddr, config.act_depth),
            (nest.waddr, config.weight_depth),
            (nest.taddr, config.threshold_depth),
        ):
            with m.If(issue & ~draining & ~outside & at_least(addr, depth)):
                m.d.comb += self.astray.eq(1)

    def _compare(self, m: Module, nest: LoopNest, issue: Value, draining: Value, slices: ScoreSlices) -> None:
        """Say what the array does where codes are compared with one threshold after the other.

        The next threshold's start value takes the place of the first one's, which then must come again.
        """
        ctl, compares, shifts = self.ctl, slices.compares, ~slices.compares
        starts = compares
        if self.config.row_sums:
            # The sum of a row comes as a threshold does, but is not read.
            adds = slices.adds.any()
            starts, compares, shifts = compares | adds, compares & ~adds, shifts & ~adds
            m.d.comb += [ctl.four.eq(nest.four), ctl.shared.eq(ctl.valid & nest.copy_last)]
            m.d.comb += ctl.adds.eq(Mux(issue, slices.adds, 0))
        m.d.comb += [
            ctl.load.eq(issue & Mux(draining, compares, nest.first)),
            ctl.first.eq(issue & Mux(draining, starts, nest.first)),
            ctl.double.eq(issue & Mux(draining, shifts, nest.doubles)),
        ]
        with m.If(issue & draining & compares & at_least(nest.taddr, self.config.threshold_depth)):
            m.d.comb += self.astray.eq(1)
