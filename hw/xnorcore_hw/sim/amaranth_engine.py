"""The slow, exact engine: Amaranth's own simulator."""

from __future__ import annotations

from collections import deque
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from xnorcore.errors import EngineError
from xnorcore.isa.device import DeviceConfig

from .engine import Factory, Progress, check_link, check_ports, standard_top
from .models.single import SIMULATED

_PERIOD = 1e-6


class AmaranthEngine:
    """Engine on `amaranth.sim`; for unit tests and for checking the compiled engine.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Clock that the device believes it has, in Hz.
    link : str
        ``direct`` or ``uart``.
    divisor : int
        Clock cycles per UART bit.
    top : callable, optional
        ``top(config, clock_hz)`` returns the component to simulate; default: the accelerator.
    progress : callable, optional
        Called with one line of text before slow work.

    Raises
    ------
    UsageError
        If `link` or `divisor` is illegal.
    EngineError
        If the component lacks a port.
    """

    def __init__(
        self,
        config: DeviceConfig,
        clock_hz: int,
        *,
        link: str = "direct",
        divisor: int = 4,
        top: Factory | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_link(link, divisor)
        self._direct = link == "direct"
        self._divisor = divisor
        if progress:
            progress("preparing Amaranth's simulator")
        self._top: Any = (top or standard_top)(config, clock_hz)
        check_ports(self._top)
        self._cycles = 0
        simulator = Simulator(Fragment.get(self._top, SIMULATED))
        simulator.add_clock(_PERIOD)
        simulator.add_testbench(self._testbench, background=True)
        self._simulator: Simulator | None = simulator
        self._clear()
        simulator.advance()  # starts the testbench; the first inputs are set later

    def _clear(self) -> None:
        self._queue: deque[int] = deque()
        self._arrived = bytearray()
        self._framing_errors = 0
        self._bits: deque[int] = deque()
        self._tx_history: list[int] | None = None

    @property
    def cycles(self) -> int:
        """Clock cycles run since the engine was opened."""
        return self._cycles

    @property
    def pending(self) -> int:
        """Bytes written that are not yet on the wire."""
        return len(self._queue)

    @property
    def framing_errors(self) -> int:
        """Bytes from the device without a stop bit, since power-on."""
        return self._framing_errors

    def reset(self) -> None:
        """Switch the device off and on."""
        self._running().reset()
        self._clear()
        self._running().advance()

    def write(self, data: bytes) -> None:
        """Queue bytes towards the device."""
        self._queue.extend(data)

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock until a zero byte arrives, but at most `max_cycles`; return what arrived.

        Raises
        ------
        EngineError
            If an assertion in the gateware fails, or the engine is closed.
        """
        simulator, end = self._running(), self._cycles + max_cycles
        try:
            while self._cycles < end and not self._arrived.endswith(b"\0"):
                simulator.advance()
        except AssertionError as error:
            raise EngineError(
                f"an assertion in the gateware failed in cycle {self._cycles}: {error}"
            ) from error
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def close(self) -> None:
        """Release the simulator."""
        self._simulator = None

    def __enter__(self) -> AmaranthEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise EngineError("the simulation engine is closed; open a new one")
        return self._simulator

    async def _testbench(self, ctx: Any) -> None:
        top = self._top
        ctx.set(top.direct, self._direct)
        ctx.set(top.divisor, self._divisor)
        ctx.set(top.device_to_host.ready, 1)
        while True:
            # A quarter period after the edge: run() stops at an edge, so that what is written between
            # two runs is seen in the next cycle.
            await ctx.delay(_PERIOD / 4)
            if self._direct:
                await self._cycle_direct(ctx, top)
            else:
                await self._cycle_uart(ctx, top)

    async def _cycle_direct(self, ctx: Any, top: Any) -> None:
        offered = bool(self._queue)
        ctx.set(top.host_to_device.valid, offered)
        if offered:
            ctx.set(top.host_to_device.payload, self._queue[0])
        taken = offered and ctx.get(top.host_to_device.ready)
        given = ctx.get(top.device_to_host.valid)
        payload = ctx.get(top.device_to_host.payload)
        await ctx.tick()
        self._cycles += 1
        if taken:
            self._queue.popleft()
        if given:
            self._arrived.append(payload)

    async def _cycle_uart(self, ctx: Any, top: Any) -> None:
        if not self._bits and self._queue:
            byte = self._queue.popleft()
            frame = [0, *(byte >> i & 1 for i in range(8)), 1]
            self._bits.extend(bit for bit in frame for _ in range(self._divisor))
        ctx.set(top.uart_rx, self._bits.popleft() if self._bits else 1)
        level = ctx.get(top.uart_tx)
        await ctx.tick()
        self._cycles += 1
        if self._tx_history is None:
            if not level:
                self._tx_history = [level]
            return
        self._tx_history.append(level)
        if len(self._tx_history) <= 9 * self._divisor + self._divisor // 2:
            return
        middle = self._tx_history[self._divisor // 2 :: self._divisor]
        self._tx_history = None
        if middle[9]:
            self._arrived.append(sum(bit << i for i, bit in enumerate(middle[1:9])))
        else:
            self._framing_errors += 1
