"""A store as irregular as any: words some time after their addresses, several on their way at once."""

from __future__ import annotations

import itertools

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore_hw.core import Core
from xnorcore_hw.memory.stores.port import StoreSignature
from xnorcore_hw.memory.stores.ram import RamStore
from xnorcore_hw.parts.stream_register import StreamRegister
from xnorcore_hw.shells.sim import SimTop

__all__ = ["SlowStore", "SlowTop"]


class _Gate(wiring.Component):
    """A stream with pauses: pseudo-random ones, and now and then a long one."""

    def __init__(self, signature: stream.Signature, seed: int) -> None:
        self._seed = seed
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        noise, phase, held = Signal(15, init=self._seed), Signal(8), Signal()
        m.d.sync += [noise.eq(Cat(noise[14] ^ noise[13], noise)), phase.eq(phase + 1)]
        opens = held | (noise[0] | noise[5]) & (phase[4:] != 3)
        m.d.comb += [
            self.o.valid.eq(self.i.valid & opens),
            self.o.p.eq(self.i.p),
            self.i.ready.eq(self.o.ready & opens),
        ]
        m.d.sync += held.eq(self.o.valid & ~self.o.ready)
        return m


class SlowStore(wiring.Component):
    """`RamStore` behind gates and registers."""

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__({"bus": In(StoreSignature(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ram = ram = RamStore(self.config)
        connect(m, flipped(self.bus.write), ram.bus.write)
        parts = []
        for index, source in enumerate((self.bus.request, ram.bus.word)):
            signature = stream.Signature(source.p.shape())
            steps = [StreamRegister(signature), _Gate(signature, 77 + index), StreamRegister(signature)]
            for number, step in enumerate(steps):
                m.submodules[f"step{index}_{number}"] = step
            for one, other in itertools.pairwise(steps):
                connect(m, one.o, other.i)
            parts += [steps[0].i, steps[-1].o]
        connect(m, flipped(self.bus.request), parts[0])
        connect(m, parts[1], ram.bus.request)
        connect(m, ram.bus.word, parts[2])
        connect(m, parts[3], flipped(self.bus.word))
        return m


class SlowCore(Core):
    """A core with such a store."""

    def _store(self, platform: object) -> SlowStore:
        return SlowStore(self.config)


class SlowTop(SimTop):
    """The accelerator as engines drive it, with such a core."""

    def __init__(self, config: DeviceConfig, clock_hz: int = 0) -> None:
        super().__init__(config, clock_hz)
        self.accelerator.core.__class__ = SlowCore
