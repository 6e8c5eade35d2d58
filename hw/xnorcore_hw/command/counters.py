"""Performance counters."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import counters_of

from ..interfaces import CounterSignature
from ..sequence.sequencer import stalls

__all__ = ["Counters"]


class Counters(wiring.Component):
    """Count what `xnorcore.isa.layout.counters_of` names, modulo 2**32, if `config.counters`.

    The counters go round in a ring of registers, and one adder takes each in its turn. What happens until a
    counter's turn comes is a small number beside it.

    Members
    -------
    stalls : In(len(stalls(config)))
        What this cycle is counted as.
    counting : In(1)
        A batch, and not a self-test, is what the cycle is spent on.
    batch : In(1)
        A batch starts in this cycle. At most twice while the ring goes round.
    images : In(4)
        Images of that batch.
    frames_good, frames_bad : In(16)
        Counts that the link keeps itself.
    clear : In(1)
    readout : In(CounterSignature)
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, self._causes = config, stalls(config)
        super().__init__(
            {
                "stalls": In(len(self._causes)),
                "counting": In(1),
                "batch": In(1),
                "images": In(4),
                "frames_good": In(16),
                "frames_bad": In(16),
                "clear": In(1),
                "readout": In(CounterSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        if not self.config.counters:
            return m
        # All a cycle late, and so in step: what a cycle is counted as is known late in that cycle.
        events = Cat(self.stalls, self.counting, self.batch, self.images, self.clear)
        late = Signal(len(events))
        m.d.sync += late.eq(events)
        causes, names = self._causes, counters_of(self.config)
        cause, (counting, batch), clear = late[: len(causes)], late[len(causes) :][:2], late[-1]
        images = late[len(causes) + 2 : -1]
        step = {
            **{name: cause[index] & counting for index, name in enumerate(causes)},
            "active": counting & ~cause[causes.index("wait_input")],
            "images": images & batch.replicate(len(images)),
            "batches": batch,
        }
        size = len(names)
        turn = Signal(size, init=1)
        m.d.sync += turn.eq(turn.rotate_left(1))
        ring = [Signal(32, name=f"ring{place}") for place in range(size)]
        more, foreign = Const(0), Const(0)
        for mine, name in zip(turn, names, strict=True):
            if name in step:
                bits = len(step[name])
                most = size if bits == 1 else 2 * ((1 << bits) - 1)
                waiting = Signal(range(most + 1), name=name)
                m.d.sync += waiting.eq((waiting & ~mine.replicate(len(waiting))) + step[name])
                with m.If(clear):
                    m.d.sync += waiting.eq(0)
            else:
                # Comes as it is, to a place in the ring that stays 0.
                waiting = getattr(self, name)
                foreign |= mine
            more |= waiting & mine.replicate(len(waiting))
        total = Signal(32)
        m.d.comb += total.eq(ring[-1] + more)
        m.d.sync += [to.eq(value) for to, value in zip(ring, [total, *ring], strict=False)]
        with m.If(foreign):
            m.d.sync += ring[0].eq(0)
        with m.If(clear):
            m.d.sync += [place.eq(0) for place in ring]

        readout = self.readout
        with m.If(~readout.valid):
            m.d.sync += readout.ready.eq(0)
        with m.Elif(turn.bit_select(readout.index, 1) & ~readout.ready):
            m.d.sync += [readout.ready.eq(1), readout.data.eq(total)]
        return m
