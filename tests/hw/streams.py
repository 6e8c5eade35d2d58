"""Feeders and collectors for streams, with random stalls, and a simulation that always ends."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from xnorcore_hw.sim.models.single import SIMULATED

Testbench = Callable[[Any], Awaitable[None]]
_MOST = 4
"""Testbenches at once."""


class Bench:
    """A design, and its simulator for any number of runs, each of them from power-up.

    To elaborate and translate an accelerator takes longer than most runs of it.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self._simulator: Simulator | None = None
        self._testbenches: tuple[Testbench, ...] = ()

    def _power_up(self) -> Simulator:
        # None while one runs: where that fails, its testbenches still wait in the simulator.
        simulator, self._simulator = self._simulator, None
        if simulator is not None:
            simulator.reset()
            return simulator
        simulator = Simulator(Fragment.get(self.dut, SIMULATED))
        simulator.add_clock(1e-6)
        for place in range(_MOST):

            async def testbench(ctx: Any, place: int = place) -> None:
                if place < len(self._testbenches):
                    await self._testbenches[place](ctx)

            simulator.add_testbench(testbench)  # type: ignore
        return simulator

    def run(self, *testbenches: Testbench, cycles: int = 20_000) -> None:
        """Run `testbenches` at once; fail if they have not all ended after `cycles` clock cycles."""
        assert len(testbenches) <= _MOST
        self._testbenches = testbenches
        simulator = self._power_up()
        for _ in range(2 * cycles):  # the clock's edges; a watchdog coroutine would outlive the run
            if not simulator.advance():
                self._simulator = simulator
                return
        raise AssertionError(f"the simulation has not ended after {cycles} cycles")


def simulate(dut: Any, *testbenches: Testbench, cycles: int = 20_000) -> None:
    """Run `testbenches` at once on `dut`; fail if they have not all ended after `cycles` clock cycles."""
    Bench(dut).run(*testbenches, cycles=cycles)


_benches: dict[tuple[Any, ...], Bench] = {}


def shared(kind: Callable[..., Any], *arguments: Any) -> Bench:
    """Return the bench of ``kind(*arguments)``, one for all tests."""
    if (key := (kind, *arguments)) not in _benches:
        _benches[key] = Bench(kind(*arguments))
    return _benches[key]


class Stalls:
    """Random pauses: before each transfer, with probability `chance`, up to `longest` cycles."""

    def __init__(self, seed: int = 0, chance: float = 0.0, longest: int = 5) -> None:
        self.random = random.Random(seed)
        self.chance = chance
        self.longest = longest

    async def pause(self, ctx: Any) -> None:
        """Wait, or not."""
        if self.random.random() < self.chance:
            await ctx.tick().repeat(self.random.randint(1, self.longest))


NONE = Stalls()


async def put(ctx: Any, stream: Any, values: Iterable[Any], stalls: Stalls = NONE) -> None:
    """Transfer all `values` into `stream`."""
    for value in values:
        await stalls.pause(ctx)
        ctx.set(stream.payload, value)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def get(ctx: Any, stream: Any, count: int, stalls: Stalls = NONE) -> list[Any]:
    """Return `count` values from `stream`."""
    values = []
    for _ in range(count):
        await stalls.pause(ctx)
        ctx.set(stream.ready, 1)
        (value,) = await ctx.tick().sample(stream.payload).until(stream.valid)
        ctx.set(stream.ready, 0)
        values.append(value)
    return values


async def assert_quiet(ctx: Any, stream: Any, cycles: int) -> None:
    """Check that `stream` offers nothing for `cycles` cycles."""
    for _ in range(cycles):
        *_, valid = await ctx.tick().sample(stream.valid)
        assert not valid, f"the stream offers {ctx.get(stream.payload)} when it should have nothing"


def packet_values(packet: bytes) -> list[dict[str, int]]:
    """Return the stream values of one packet."""
    return [{"data": byte, "last": int(i == len(packet) - 1)} for i, byte in enumerate(packet)]


async def get_packet(ctx: Any, stream: Any, stalls: Stalls = NONE) -> bytes:
    """Return the bytes of one packet from `stream`."""
    data = bytearray()
    while True:
        (value,) = await get(ctx, stream, 1, stalls)
        data.append(value.data)
        if value.last:
            return bytes(data)
