"""The contract of a simulation engine: bytes in, clock cycles, bytes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from xnorcore.errors import EngineError, UsageError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import MIN_DIVISOR

if TYPE_CHECKING:
    from amaranth.lib import wiring

Progress = Callable[[str], None]
Factory = Callable[[DeviceConfig, int], "wiring.Component"]

ENGINES = ("compiled", "amaranth", "cxxrtl")
LINKS = ("direct", "uart")
MAX_DIVISOR = 65535


class Engine(Protocol):
    """One simulated device and the host's end of its link.

    In link mode ``uart`` the engine drives and samples the serial lines itself, 8N1 with `divisor` clock
    cycles per bit, bytes back to back; in ``direct`` mode a byte passes in at most one cycle and no line
    is simulated. Every engine gives the same bytes at the same cycles.
    """

    @property
    def cycles(self) -> int:
        """Clock cycles run since the engine was opened; `reset` does not clear them."""
        ...

    @property
    def pending(self) -> int:
        """Bytes written that are not yet on the wire."""
        ...

    @property
    def framing_errors(self) -> int:
        """Bytes from the device without a stop bit, dropped, since power-on; 0 in ``direct`` mode."""
        ...

    def reset(self) -> None:
        """Switch the device off and on: memories as built, all bytes under way lost."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes towards the device; they move while `run` advances the clock."""
        ...

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock until a zero byte arrives, but at most `max_cycles`.

        Returns
        -------
        bytes
            Everything that arrived. A zero byte, if any, is the last.

        Raises
        ------
        EngineError
            If an assertion in the gateware fails, or the engine is closed.
        """
        ...

    def close(self) -> None:
        """Release the simulation; closing twice is harmless."""
        ...


def check_link(link: str, divisor: int) -> None:
    """Refuse a link mode or a divisor that no engine can run.

    Raises
    ------
    UsageError
        If `link` is unknown or `divisor` is not 4 to 65535 clock cycles per bit.
    """
    if link not in LINKS:
        raise UsageError(f"link is {link!r}, but must be one of: {', '.join(LINKS)}")
    if not isinstance(divisor, int) or not MIN_DIVISOR <= divisor <= MAX_DIVISOR:
        raise UsageError(
            f"divisor is {divisor!r}, but must be {MIN_DIVISOR} to {MAX_DIVISOR} clock cycles per UART bit"
        )


def standard_top(config: DeviceConfig, clock_hz: int) -> wiring.Component:
    """Return the accelerator that an engine simulates unless it is given another factory."""
    from ..shells.sim import SimTop  # here: elaboration is slow to import and a cache hit needs none

    return SimTop(config, clock_hz)


def check_ports(top: wiring.Component) -> None:
    """Refuse a component that lacks a port which the engines drive or read.

    Raises
    ------
    EngineError
        If a port is missing.
    """
    for name in ("uart_rx", "uart_tx", "divisor", "direct", "host_to_device", "device_to_host"):
        if name not in top.signature.members:
            raise EngineError(f"{type(top).__name__} has no port {name!r}, so it cannot be simulated")
