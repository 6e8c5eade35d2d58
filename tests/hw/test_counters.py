"""The counters' ring: every event is counted once, whenever it comes and whenever it is read."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import counters_of
from xnorcore_hw.command.counters import Counters
from xnorcore_hw.sequence.sequencer import stalls

CONFIG = DeviceConfig(Geometry(1, 4, 8))


class Model:
    """Plain counters, two cycles behind their events as the device's are."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.counts = dict.fromkeys(names, 0)
        self.next: list[tuple[dict[str, int], bool]] = [({}, False)]

    def cycle(self, steps: dict[str, int], clear: bool) -> None:
        self.next.append((steps, clear))
        steps, clear = self.next.pop(0)
        for name in self.counts:
            value = 0 if clear else self.counts[name] + steps.get(name, 0)
            self.counts[name] = value & 0xFFFF_FFFF


@pytest.mark.parametrize("seed", range(4))
def test_counts(seed: int) -> None:
    config = replace(CONFIG, store_words=1024 * (seed % 2))
    dut, rng, names, causes = Counters(config), random.Random(seed), counters_of(config), stalls(config)

    async def bench(ctx) -> None:
        model, frames = Model(names), {"frames_good": 0, "frames_bad": 0}
        since_batch, index, waited, reads = 99, None, 0, 0
        seen: set[int] = set()
        for cycle in range(3000):
            stall = rng.choice(causes)
            counting, clear = rng.random() < 0.9, rng.random() < 0.004
            # No two batches start within ten cycles of each other.
            batch = since_batch >= 10 and rng.random() < 0.3
            since_batch, images = 0 if batch else since_batch + 1, rng.randrange(1, 16)
            frames = {name: min(0xFFFF, value + rng.choice((0, 0, 1, 900))) for name, value in frames.items()}
            steps = {stall: int(counting), "active": int(counting and stall != "wait_input")}
            steps |= {"images": images * batch, "batches": int(batch)}
            ctx.set(dut.stalls, 1 << causes.index(stall))
            inputs = {"counting": counting, "batch": batch, "images": images, "clear": clear, **frames}
            for name, value in inputs.items():
                ctx.set(getattr(dut, name), value)
            if index is None and rng.random() < 0.3:
                index, waited = rng.randrange(len(names)), 0
                seen = set()
            ctx.set(dut.readout.valid, index is not None)
            if index is not None:
                ctx.set(dut.readout.index, index)
                name = names[index]
                # What it stands at in this cycle: the events of the cycle before last included.
                seen.add(frames[name] if name in frames else model.counts[name])
            model.cycle(steps, clear)
            await ctx.tick()
            if index is not None:
                waited += 1
                assert waited <= len(names) + 1
                if ctx.get(dut.readout.ready):
                    assert ctx.get(dut.readout.data) in seen, (names[index], cycle)
                    index, reads = None, reads + 1
                    # One cycle without a request.
                    for signal in (dut.readout.valid, dut.batch, dut.counting, dut.clear):
                        ctx.set(signal, 0)
                    model.cycle({}, False)
                    await ctx.tick()
        assert reads > 100

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
