"""Runs programs: fetches layer descriptors, issues array beats, keeps layers and batches in order."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, LOOPS, WIDE_WORDS

from ..interfaces import ControlLayout, EmitLayout, HeaderLayout, LayerLayout, OperandLayout
from ..memory.ports import ProgramReadSignature
from .nest import DELTAS, LoopNest
from .padding import TapTracker

__all__ = ["STALLS", "Sequencer"]

STALLS = ("busy", "drain", "fetch", "hazard", "port", "wait_output", "tail", "wait_input")
"""What each cycle is counted as; exactly one of them is 1."""

_OUTPUT_WORD = DESCRIPTOR.fields["out_base"].word


class Sequencer(wiring.Component):
    """Issue the beats of one program after another.

    Members
    -------
    program : Out(ProgramReadSignature)
    header : In(HeaderLayout)
        Of the loaded program.
    batch : In(2)
        Per parity: inputs are complete and the output region is free.
    loaded : In(2)
        Per parity: inputs are complete (for the counters).
    parity : Out(1)
        Batch that runs, or will run next.
    start, start_parity : Out(1)
        A batch starts, and which.
    finish : Out(1)
        The last beat of batch `parity` is issued: its inputs may be replaced.
    run : In(1)
    run_entry : In(16)
        Run the program at `run_entry` once, outside the batches; only while `idle`.
    idle : Out(1)
        Nothing runs and every result is written.
    operand : Out(OperandLayout)
    ctl : Out(ControlLayout)
    emit : Out(EmitLayout)
        In step with `ctl`.
    layer : Out(stream of LayerLayout)
        The layer whose descriptor was fetched last, until its first emission reaches the writer.
    layer_done : In(1)
        The last result of a layer is being written.
    fault : Out(1)
        Since `forgive`, a program has run that this device cannot run: its descriptors do not end within
        program memory, hold a number that a memory of this device has no place for, or lead to an address
        behind the end of one. Such a program ends all the same, or at the reset; its results mean nothing.
    forgive : In(1)
    readout_valid : In(1)
    readout_grant : Out(1)
        The activation memories may read something else than the operand. Beats go first, for at most
        16 cycles.
    stalls : Out(len(STALLS))
        One-hot, what this cycle is counted as.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        self.nest = LoopNest(config)
        super().__init__(
            {
                "program": Out(ProgramReadSignature(config.program_depth)),
                "header": In(HeaderLayout(config)),
                "batch": In(2),
                "loaded": In(2),
                "parity": Out(1),
                "start": Out(1),
                "start_parity": Out(1),
                "finish": Out(1),
                "run": In(1),
                "run_entry": In(16),
                "idle": Out(1),
                "operand": Out(OperandLayout(config)),
                "ctl": Out(ControlLayout(config)),
                "emit": Out(EmitLayout()),
                "layer": Out(stream.Signature(LayerLayout(config))),
                "layer_done": In(1),
                "fault": Out(1),
                "forgive": In(1),
                "readout_valid": In(1),
                "readout_grant": Out(1),
                "stalls": Out(len(STALLS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.nest = nest = self.nest
        config, layer, ctl, emit = self.config, self.layer, self.ctl, self.emit
        stall = {name: self.stalls[index] for index, name in enumerate(STALLS)}
        words = DESCRIPTOR.words

        word, number = Signal(32), Signal(range(words))
        taken, arrived = Signal(), Signal()
        regs: dict[int, Value] = {
            i: Signal(32, name=f"descriptor{i}", reset_less=True) for i in range(_OUTPUT_WORD)
        }
        if not config.convolution:
            regs |= dict.fromkeys(WIDE_WORDS, Const(0, 32))

        def field(name: str):
            f = DESCRIPTOR.fields[name]
            source = regs.get(f.word, word)
            return source[f.low : f.low + f.width]

        names = [f"{loop}_last" for loop in LOOPS] + [f"delta_{loop}" for loop in DELTAS]
        names += [f"bits_{loop}" for loop in LOOPS if hasattr(nest, f"bits_{loop}")]
        for name in names:
            m.d.comb += getattr(nest, name).eq(field(name))
        m.d.comb += [
            nest.double.eq(field("double")),
            nest.weight_base.eq(field("weight_base")),
            nest.threshold_base.eq(field("threshold_base")),
            nest.read_base.eq(
                field("in_base")
                + Mux(field("in_image"), Mux(self.parity, self.header.in_base1, self.header.in_base0), 0)
            ),
        ]

        # Fetch: pc is the address of the word at program_data; capture takes that word, if it is ready, and
        # moves on.
        # With one bit more than the address, pc stays beyond the end once it is there.
        pc, index = Signal(len(self.program.addr) + 1, name="pc"), Signal(range(words), name="index")
        at_output = Signal()  # index == _OUTPUT_WORD
        capture, load = Signal(name="capture"), Signal(name="last_capture")
        batch_run, pc_next = Signal(), Signal.like(pc, name="pc_next")
        blocked, ready = Signal(), self.program.ready
        m.d.comb += [
            pc_next.eq(pc + 1),
            self.program.addr.eq(pc),
            self.program.following.eq(pc_next),
            self.program.move.eq(capture),
            blocked.eq(layer.valid & at_output),
        ]
        m.d.sync += nest.load.eq(load)
        # Whole words come late in their cycle: they are used in the next one.
        if config.program_halves:
            m.d.comb += [word.eq(self.program.data), number.eq(index), taken.eq(capture), arrived.eq(load)]
        else:
            m.d.sync += [word.eq(self.program.data), number.eq(index), taken.eq(capture)]
            m.d.comb += arrived.eq(nest.load)
        # Layers alternate between two marks that their results are not all written yet.
        layer_parity, done_parity, unwritten = Signal(), Signal(init=1), Signal(2)
        with m.If(self.layer_done):
            m.d.sync += [unwritten.bit_select(done_parity, 1).eq(0), done_parity.eq(~done_parity)]
        with m.If(layer.ready):
            m.d.sync += layer.valid.eq(0)
        # Nothing behind program memory is a descriptor: one that reaches or leads there is the last. Both
        # follow `pc` from the second word on: it is at the last word of the memory or behind it; behind it.
        beyond, behind, astray = (Signal(name=name) for name in ("beyond", "behind", "astray"))
        m.d.sync += astray.eq(0)
        with m.If(astray):
            m.d.sync += self.fault.eq(1)
        with m.Elif(self.forgive):
            m.d.sync += self.fault.eq(0)
        strays = _strays(config, nest)
        strange, was = Signal(len(strays)), Signal(range(words + 1))
        m.d.sync += was.eq(Mux(taken, number, words))
        for bit, (place, mask) in enumerate(strays.items()):
            m.d.sync += strange[bit].eq((word & mask).any())
            with m.If((was == place) & strange[bit]):
                m.d.sync += astray.eq(1)
        for place, register in regs.items():
            if isinstance(register, Signal):
                with m.If(taken & (number == place)):
                    m.d.sync += register.eq(word)
        with m.If(capture):
            m.d.sync += [pc.eq(pc_next), index.eq(index + 1), at_output.eq(index == _OUTPUT_WORD - 1)]
            m.d.sync += [beyond.eq(pc >= config.program_depth - 2), behind.eq(beyond)]
            if config.convolution:
                with m.If((index == 2) & ~field("wide")):
                    m.d.sync += [regs[place].eq(0) for place in WIDE_WORDS]
            with m.If((index == WIDE_WORDS.start - 1) & (~field("wide") if config.convolution else 1)):
                m.d.sync += [index.eq(WIDE_WORDS.stop), at_output.eq(1)]
        with m.If(arrived):
            image_base = Mux(self.parity, self.header.out_base1, self.header.out_base0)
            m.d.sync += [
                layer.p.base.eq(field("out_base") + Mux(field("out_image"), image_base, 0)),
                layer.p.delta.eq(field("out_delta")),
                layer.p.tile_stride.eq(field("out_tile_stride")),
                layer.p.strips.eq(field("strips")),
                layer.p.strip.eq(field("out_strip")),
                layer.p.score.eq(field("score")),
            ]
        with m.If(load):
            m.d.sync += [
                layer.p.final.eq((field("end") | beyond) & batch_run),
                index.eq(0),
                at_output.eq(0),
                layer.valid.eq(1),
                # After it was cleared above: the layer before last may be done in this very cycle.
                unwritten.bit_select(~layer_parity, 1).eq(1),
                layer_parity.eq(~layer_parity),
            ]
            with m.If(field("end") | beyond):
                m.d.sync += pc.eq(self.header.entry)
            with m.If(beyond):
                end = DESCRIPTOR.fields["end"]
                m.d.sync += [
                    regs[end.word][end.low].eq(1),
                    astray.eq(~field("end") | behind),
                ]

        # Issue: the nest's beat goes to the array unless something it needs is not there yet.
        outside = Signal()
        if config.convolution:
            m.submodules.taps = taps = TapTracker()
            m.d.comb += [taps.load.eq(nest.load), taps.step.eq(nest.step), taps.moved.eq(nest.moved)]
            for name in ("pad_left", "pad_top", "stride_x", "stride_y", "step_x", "step_y"):
                m.d.comb += getattr(taps, name).eq(field(name))
            m.d.comb += [
                taps.width.eq(field("map_width")),
                taps.height.eq(field("map_height")),
                outside.eq(field("padded") & ~taps.inside),
            ]

        beat, fresh = Signal(), Signal()
        idling = Signal()  # a reset may have left sums in the array
        g = config.geometry
        slot_free, free = Signal(), Signal()
        hazard, barred, held = Signal(), Signal(), Signal()
        gap = Signal(range(g.words_per_tile * g.rows + 1))
        issue, last_issue, draining = Signal(), Signal(), Signal()
        # Whether a beat issues is decided late in the cycle; what depends on it is known early, in registers.
        slices_left, slices = Signal(6), field("slices")
        score, all_slices, all_but_one, last_but_one, gapped = (Signal() for _ in range(5))
        m.d.sync += [
            score.eq(field("score")),
            all_slices.eq(~field("score") | (slices == config.acc_width)),
            all_but_one.eq(slices >= config.acc_width - 1),
        ]
        m.d.comb += [
            nest.sliced.eq(score),
            nest.whole.eq(all_slices),
            # The last slice always leaves: a layer ends, whatever its descriptor says.
            nest.slice.eq(issue & ~nest.closes),
            last_but_one.eq(slices_left == 1),
            nest.slice_last.eq(draining & last_but_one),
            nest.slice_emits.eq(
                Mux(draining, nest.emits | (slices_left == slices) | last_but_one, all_but_one)
            ),
            self.operand.addr.eq(nest.raddr),
            self.operand.cut.offset.eq(Mux(self.readout_grant, 0, nest.offset)),
            self.operand.strip.eq(Mux(field("strips"), field("in_strip"), 0)),
            self.operand.cut.lanes.eq(field("lanes")),
            self.operand.cut.masked.eq(nest.run_end & (field("lanes") != 0) & ~self.readout_grant),
            self.operand.cut.balance.eq(field("balance") & nest.run_end & ~nest.plane_first),
            self.operand.cut.pad.eq(outside & ~field("pad_zero") & ~self.readout_grant),
            self.operand.cut.pad_one.eq(field("pad_one")),
            ctl.valid.eq(issue & ~draining & ~(outside & field("pad_zero"))),
            ctl.first.eq(issue & ~draining & nest.first),
            ctl.double.eq(issue & (draining | nest.doubles)),
            ctl.clear.eq(idling | issue & (draining | nest.last) & nest.closes),
            ctl.waddr.eq(nest.waddr),
            ctl.taddr.eq(nest.taddr),
            emit.valid.eq(issue & nest.emits),
            emit.slice.eq(~nest.closes),
            emit.window_first.eq(nest.window_first),
            emit.window_last.eq(nest.window_last),
            emit.tile.eq(nest.tile_end & nest.closes),
            emit.layer_first.eq(fresh),
            emit.layer_last.eq(nest.layer_end & nest.closes),
            nest.step.eq(nest.more & (~beat | (free & nest.closes))),
            last_issue.eq(issue & nest.layer_end & nest.closes),
        ]  # fmt: skip
        # Columns that share a threshold memory take their start values one after the other.
        starting = Signal()  # as of the next cycle
        if config.threshold_share > 1:
            loading, loads, loads_next = Signal(range(config.threshold_share)), Signal(), Signal()
            m.d.comb += [
                loads_next.eq(ctl.first | loads & (loading != 1)),
                starting.eq(Mux(nest.step, nest.starts, nest.first) & loads_next),
            ]
            m.d.sync += [
                loads.eq(loads_next),
                loading.eq(Mux(ctl.first, config.threshold_share - 1, loading - 1)),
            ]

        # There is a beat in state ISSUE only. The hazard ends with the cycle that writes the last result.
        watched = Signal()
        m.d.comb += [
            slot_free.eq(~(nest.emits & gapped) & ~barred),
            free.eq(slot_free & ~hazard),
            issue.eq(beat & free),
            watched.eq(Mux(load, layer_parity, ~layer_parity)),
        ]
        written = self.layer_done & (done_parity == watched)
        m.d.sync += hazard.eq(field("depends") & unwritten.bit_select(watched, 1) & ~written)
        # Addresses have just the bits of the memories; some of those may have fewer words.
        for addr, depth in (
            (nest.raddr, config.act_depth),
            (nest.waddr, config.weight_depth),
            (nest.taddr, config.threshold_depth),
        ):
            with m.If(issue & ~draining & ~outside & (addr > depth - 1)):
                m.d.sync += astray.eq(1)
        with m.If(nest.load):
            m.d.sync += fresh.eq(1)
        with m.Elif(emit.valid):
            m.d.sync += fresh.eq(0)
        with m.If(emit.valid & emit.window_last):
            words = Mux(field("strips"), g.rows * g.words_per_tile, g.words_per_tile)
            m.d.sync += [gap.eq(words - 1), gapped.eq(words != 1)]
        with m.Elif(gap != 0):
            m.d.sync += [gap.eq(gap - 1), gapped.eq(gap != 1)]
        with m.If(nest.step):
            m.d.sync += beat.eq(1)
        with m.Elif(last_issue):
            m.d.sync += beat.eq(0)
        with m.If(issue):
            first_left = config.acc_width - 2
            m.d.sync += [
                slices_left.eq(Mux(draining, slices_left - 1, first_left)),
                draining.eq(~nest.closes),
            ]

        age = Signal(4)
        # A cycle without a beat promises the next one to the readout: it does not wait for that decision.
        m.d.comb += self.readout_grant.eq(held)
        holds = self.readout_valid & ~held & (~issue | draining | age.all())
        m.d.sync += [held.eq(holds), barred.eq(holds | starting)]
        with m.If(held | ~self.readout_valid):
            m.d.sync += age.eq(0)
        with m.Elif(~age.all()):
            m.d.sync += age.eq(age + 1)

        next_ready = Signal()
        waiting = Signal()  # a batch, for a cycle at least
        m.d.sync += next_ready.eq(self.batch.bit_select(~self.parity, 1))
        m.d.comb += [
            self.start_parity.eq(self.parity ^ self.finish),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~unwritten.any() & ~self.batch.any()), idling.eq(1)]
                m.d.sync += pc.eq(self.header.entry)
                with m.If(self.run):
                    m.d.sync += [pc.eq(self.run_entry), batch_run.eq(0)]
                    m.next = "START"
                # Not after an Elif: no batch is there when something runs by itself, which is decided late.
                m.d.sync += waiting.eq(self.batch.bit_select(self.parity, 1))
                with m.If(waiting):
                    m.d.comb += [self.start.eq(1), stall["fetch"].eq(1)]
                    m.d.sync += [waiting.eq(0), batch_run.eq(1)]
                    m.next = "FETCH"
                with m.Elif((self.loaded & ~self.batch).bit_select(self.parity, 1)):
                    m.d.comb += stall["wait_output"].eq(1)
                with m.Elif(unwritten.any()):
                    m.d.comb += stall["tail"].eq(1)
                with m.Else():
                    m.d.comb += stall["wait_input"].eq(1)
            with m.State("START"):
                m.d.comb += stall["fetch"].eq(1)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += [
                    capture.eq(ready & ~blocked),
                    load.eq(ready & ~blocked & at_output),
                    stall["fetch"].eq(~blocked),
                    stall["hazard"].eq(blocked),
                ]
                with m.If(load):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += [
                    stall["busy"].eq(issue & ~draining),
                    stall["drain"].eq(issue & draining),
                    stall["fetch"].eq(~beat),
                    stall["hazard"].eq(beat & hazard),
                    stall["port"].eq(beat & ~hazard & ~slot_free),
                ]
                with m.If(last_issue):
                    with m.If(~field("end")):
                        m.next = "FETCH"
                    with m.Elif(batch_run):
                        m.d.comb += self.finish.eq(1)
                        m.d.sync += self.parity.eq(~self.parity)
                        with m.If(next_ready):
                            m.d.comb += self.start.eq(1)
                            m.next = "FETCH"
                        with m.Else():
                            m.next = "IDLE"
                    with m.Else():
                        m.next = "IDLE"
        return m


def _strays(config: DeviceConfig, nest: LoopNest) -> dict[int, int]:
    """Return the bits of a descriptor, by word, that must be 0 because the device has no place for them.

    Not of all fields: of those that tell most programs for a larger device, and look the same in two words.
    """
    strays: dict[int, int] = {}
    kept = {name: len(getattr(nest, name)) for name in ("run_last", "tile_last", "weight_base")}
    if not config.convolution:
        kept |= {"wide": 0, "in_base": len(nest.read_base)}
    for name, width in kept.items():
        field = DESCRIPTOR.fields[name]
        mask = (1 << field.width) - (1 << min(width, field.width))
        if mask:
            strays[field.word] = strays.get(field.word, 0) | mask << field.low
    return strays
