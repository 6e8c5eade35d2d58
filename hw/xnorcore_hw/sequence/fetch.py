"""Fetches layer descriptors out of program memory."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, HEADER, WIDE_WORDS

from ..interfaces import DescriptorLayout, LayerLayout, bits_for_depth
from ..memory.ports import ProgramReadSignature
from ..parts.limits import at_least
from .causes import CauseLayout
from .loops import loop_bits
from .moves import MoveLayout

__all__ = ["Fetch"]

_OUTPUT_WORD = DESCRIPTOR.fields["out_base"].word


class Fetch(wiring.Component):
    """Take one descriptor after another, word by word.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    program : Out(ProgramReadSignature)
    rest : In(1)
        Nothing runs: the next descriptor is the first one behind the header, or
    run, run_entry : In
        at `run_entry` if `run`.
    go : In(1)
        Take words, until the `last` one.
    in_batch : In(1)
        The program runs for a batch,
    out_base : In
        whose region of results is this.
    last : Out(1)
        A descriptor's last word is taken in this cycle.
    load : Out(1)
        The cycle after: all of the descriptor is there, and stays until the next one comes in.
    move : Out(MoveLayout)
        A distance of the descriptor, as it comes in.
    descriptor : Out(DescriptorLayout)
        All but the distances, which `move` has, and the output word, which `layer` has. Without
        `config.convolution` the optional words are 0.
    layer : Out(stream of LayerLayout)
    astray : Out(1)
        What is fetched leads out of program memory, or holds a number that a memory of this device has no
        place for.
    causes : Out(CauseLayout)
        Of a cycle with `go`: ``hazard`` while the last descriptor's results have no place to go yet, which
        the writer has not asked for.
    """

    CAUSES = ("fetch", "hazard")

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        entry, address = bits_for_depth(config.program_depth), bits_for_depth(config.act_depth)
        super().__init__(
            {
                "program": Out(ProgramReadSignature(config.program_depth)),
                "rest": In(1),
                "run": In(1),
                "run_entry": In(entry),
                "go": In(1),
                "in_batch": In(1),
                "out_base": In(address),
                "last": Out(1),
                "load": Out(1),
                "move": Out(MoveLayout(config)),
                "descriptor": Out(DescriptorLayout(config)),
                "layer": Out(stream.Signature(LayerLayout(config))),
                "astray": Out(1),
                "causes": Out(CauseLayout(*self.CAUSES)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, program, layer, descriptor = self.config, self.program, self.layer, self.descriptor
        # `pc` is the address of the word at `program.data`; `capture` takes that word, if it is ready, and
        # moves on. With one bit more than the address, `pc` stays beyond the end once it is there.
        pc = Signal(len(program.addr) + 1, init=HEADER.words, name="pc")
        index = Signal(range(DESCRIPTOR.words), name="index")
        pc_next, capture, blocked = Signal.like(pc, name="pc_next"), Signal(name="capture"), Signal()
        at_output = Signal()  # index == _OUTPUT_WORD
        at_kept = Signal(name="at_kept")  # behind the words that every layer needs
        m.d.comb += [
            pc_next.eq(pc + 1),
            program.addr.eq(pc),
            program.following.eq(pc_next),
            program.move.eq(capture),
            blocked.eq(layer.valid & (at_kept if config.keeps_once else at_output)),
            capture.eq(self.go & program.ready & ~blocked),
            self.last.eq(capture & at_output),
            self.causes.fetch.eq(self.go & ~blocked),
            self.causes.hazard.eq(self.go & blocked),
        ]
        # At rest, it is at the first descriptor.
        with m.If(self.rest & self.run):
            m.d.comb += program.jump.eq(1)
            m.d.sync += pc.eq(self.run_entry)
        with m.If(capture):
            m.d.sync += [pc.eq(pc_next), index.eq(index + 1), at_output.eq(index == _OUTPUT_WORD - 1)]
            m.d.sync += at_kept.eq(index == WIDE_WORDS.start - 1)
            short = ~descriptor.wide if config.convolution else 1
            with m.If((index == WIDE_WORDS.start - 1) & short):
                m.d.sync += [index.eq(WIDE_WORDS.stop), at_output.eq(1)]
        # Whole words come late in their cycle: they are used in the next one.
        word, number = Signal(32), Signal.like(index, name="number")
        taken, arrived = Signal(), Signal()
        m.d.sync += self.load.eq(self.last)
        if config.program_halves:
            m.d.comb += [word.eq(program.data), number.eq(index), taken.eq(capture), arrived.eq(self.last)]
        else:
            m.d.sync += [word.eq(program.data), number.eq(index), taken.eq(capture)]
            m.d.comb += arrived.eq(self.load)
        move = MoveLayout.taken(word, number, config)
        move["valid"] = move["valid"] & taken
        m.d.comb += [self.move[name].eq(value) for name, value in move.items()]
        beyond = self._end(m, pc, capture, self._strange(m, word, number, taken))
        with m.If(self.last):
            m.d.sync += [index.eq(0), at_output.eq(0)]
            with m.If(descriptor.end | beyond):
                m.d.comb += program.jump.eq(1)
                m.d.sync += pc.eq(HEADER.words)
        # Where the writer still needs what is kept, it is cleared at the end.
        clears = self.last if config.keeps_once else capture & (index == 2)
        self._keep(m, word, number, taken, clears & ~descriptor.wide, self.last & beyond)
        self._layer(m, word, arrived, beyond)
        return m

    def _keep(
        self, m: Module, word: Signal, number: Signal, taken: Signal, short: Value, ends: Value
    ) -> None:
        """Keep the descriptor's words; the optional ones are 0 in one that is `short`."""
        wide = range(0) if self.config.convolution else WIDE_WORDS
        flag = DESCRIPTOR.fields["end"]
        for place in range(_OUTPUT_WORD):
            if place in wide:
                continue
            register = Signal(32, name=f"descriptor{place}", reset_less=True)
            m.d.comb += self.descriptor.as_value().word_select(place, 32).eq(register)
            with m.If(taken & (number == place)):
                m.d.sync += register.eq(word)
            if place in WIDE_WORDS:
                with m.If(short):
                    m.d.sync += register.eq(0)
            if place == flag.word:
                with m.If(ends):
                    m.d.sync += register[flag.low].eq(1)

    def _end(self, m: Module, pc: Signal, capture: Signal, strange: Value) -> Signal:
        """Return whether `pc` is at the last word of the memory or behind it.

        Nothing behind program memory is a descriptor: one that reaches or leads there is the last. Both
        registers follow `pc` from the second word on.
        """
        beyond, behind = Signal(name="beyond"), Signal(name="behind")
        with m.If(capture):
            m.d.sync += [beyond.eq(at_least(pc, self.config.program_depth - 2)), behind.eq(beyond)]
        leads_out = self.last & beyond & (~self.descriptor.end | behind)
        m.d.comb += self.astray.eq(strange | leads_out)
        return beyond

    def _strange(self, m: Module, word: Signal, number: Signal, taken: Signal) -> Value:
        """Return whether the word before has a bit set that the device has no place for."""
        strays = _strays(self.config)
        strange = Signal(name="strange")
        found = Cat((number == place) & (word & mask).any() for place, mask in strays.items())
        m.d.sync += strange.eq(taken & found.any())
        return strange

    def _layer(self, m: Module, word: Signal, arrived: Signal, beyond: Signal) -> None:
        """Offer where the layer's results go."""
        layer, descriptor = self.layer, self.descriptor
        output = data.View(DescriptorLayout(self.config), Cat(Const(0, 32 * _OUTPUT_WORD), word))
        with m.If(layer.ready):
            m.d.sync += layer.valid.eq(0)
        with m.If(arrived):
            m.d.sync += [
                layer.p.base.eq(output.out_base + Mux(descriptor.out_image, self.out_base, 0)),
                layer.p.tile_stride.eq(output.out_tile_stride),
                layer.p.strips.eq(descriptor.strips),
                layer.p.score.eq(descriptor.score),
            ]
            if self.config.code_bits > 1:
                m.d.sync += [
                    layer.p.planes_last.eq(Mux(descriptor.score, 0, descriptor.code_last)),
                    layer.p.plane.eq(Cat(descriptor.plane_low, descriptor.plane_high)),
                ]
        # Kept once, they are the descriptor's own: the next one comes after the writer is done.
        held = Const(1) if self.config.keeps_once else Value.cast(arrived)
        domain = m.d.comb if self.config.keeps_once else m.d.sync
        with m.If(held):
            domain += [layer.p.delta.eq(descriptor.out_delta), layer.p.strip.eq(descriptor.out_strip)]
            if self.config.packed_rows:
                domain += [layer.p[name].eq(descriptor[name]) for name in ("packed", "row_pairs", "x_last")]
        with m.If(self.last):
            m.d.sync += layer.valid.eq(1)
            m.d.sync += layer.p.final.eq((descriptor.end | beyond) & self.in_batch)


def _strays(config: DeviceConfig) -> dict[int, int]:
    """Return the bits of a descriptor, by word, that must be 0 because the device has no place for them.

    Not of all fields: of those that tell most programs for a larger device, and look the same in two words.
    """
    strays: dict[int, int] = {}
    bits = loop_bits(config)
    kept = {name: bits[name] for name in ("run_last", "tile_last", "weight_base")}
    if config.code_bits > 1:
        kept["code_last"] = bits["code_last"]
    if not config.convolution:
        kept |= {"wide": 0, "in_base": bits["read_base"]}
    for name, width in kept.items():
        field = DESCRIPTOR.fields[name]
        mask = (1 << field.width) - (1 << min(width, field.width))
        if mask:
            strays[field.word] = strays.get(field.word, 0) | mask << field.low
    return strays
