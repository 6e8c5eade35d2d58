"""Shells with the names that people expect in Verilog, one signal a port, and what each port is for."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import ClockDomain, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program

from .stream import StreamShell
from .uart import UartShell

__all__ = ["AxiStreamPins", "Port", "UartPins"]


@dataclass(frozen=True)
class Port:
    """A port of a Verilog module.

    Attributes
    ----------
    name : str
    inward : bool
        It is an input.
    width : int
        Bits.
    meaning : str
    """

    name: str
    inward: bool
    width: int
    meaning: str


_CLOCK = (
    Port("aclk", True, 1, "clock; everything happens at its rising edge"),
    Port(
        "aresetn",
        True,
        1,
        "reset, active low, synchronous; two cycles at least. Memories keep their contents",
    ),
)
_STREAMS = (
    ("s_axis_images", True, "images: packed bytes of one image", {}),
    (
        "m_axis_scores",
        False,
        "results: bytes of one image's",
        {"tuser": "with tlast: an error; tdata says which"},
    ),
    ("s_axis_requests", True, "requests of docs/protocol.md: body without CRC", {}),
    ("m_axis_responses", False, "their responses, one for each", {}),
)


def _stream(name: str, inward: bool, meaning: str, more: dict[str, str]) -> list[Port]:
    return [
        Port(f"{name}_tdata", inward, 8, meaning),
        Port(f"{name}_tvalid", inward, 1, "a byte is there; stays until it is taken"),
        Port(f"{name}_tready", not inward, 1, "it is taken at this clock edge"),
        Port(f"{name}_tlast", inward, 1, "last byte of a packet"),
        *(Port(f"{name}_{signal}", inward, 1, text) for signal, text in more.items()),
    ]


class _Pins(wiring.Component):
    """A component whose members are `PORTS`, in a clock domain of its own."""

    PORTS: tuple[Port, ...]

    def __init__(self) -> None:
        # The lines of a UART and the reset are inactive until somebody drives them.
        high = ("aresetn", "uart_rx", "uart_tx")
        super().__init__(
            {
                port.name: (In if port.inward else Out)(port.width, init=port.name in high)
                for port in self.PORTS
            }
        )

    def port(self, name: str) -> Signal:
        """Return a port."""
        return getattr(self, name)

    def clock(self, m: Module) -> None:
        """Give `m` its clock; its reset is for a register, in which it is at power-up."""
        m.domains.sync = domain = ClockDomain(reset_less=True)
        domain.clk = self.port("aclk")


class AxiStreamPins(_Pins):
    """The stream shell with AXI-Stream names.

    Parameters are those of `StreamShell`.
    """

    PORTS = (
        *_CLOCK,
        *(port for stream in _STREAMS for port in _stream(*stream)),
        Port("status", False, 8, "why images wait: a status of docs/protocol.md, or 0"),
    )

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        super().__init__()
        self.shell = StreamShell(config, clock_hz, bake)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        self.clock(m)
        restart = Signal(init=1)
        m.d.sync += restart.eq(~self.port("aresetn"))
        m.submodules.shell = ResetInserter(restart)(self.shell)
        for name, inward, _, more in _STREAMS:
            port = getattr(self.shell, name.split("_")[-1])
            pairs = [
                (self.port(f"{name}_tdata"), port.payload.data),
                (self.port(f"{name}_tvalid"), port.valid),
                (self.port(f"{name}_tlast"), port.payload.last),
                *((self.port(f"{name}_{signal}"), port.payload.error) for signal in more),
            ]
            ready = self.port(f"{name}_tready")
            m.d.comb += [inner.eq(pin) if inward else pin.eq(inner) for pin, inner in pairs]
            m.d.comb += ready.eq(port.ready) if inward else port.ready.eq(ready)
        m.d.comb += self.port("status").eq(self.shell.status)
        return m


class UartPins(_Pins):
    """The UART shell with a clock and a reset like the other's.

    Parameters are those of `UartShell`.
    """

    PORTS = (
        *_CLOCK,
        Port("uart_rx", True, 1, "from the host; asynchronous, high when idle"),
        Port("uart_tx", False, 1, "to the host"),
        Port("active", False, 1, "something is on the wire"),
        Port("error", False, 1, "a frame is dropped in this cycle"),
    )

    def __init__(
        self, config: DeviceConfig, clock_hz: int, divisor: int, bake: Program | None = None
    ) -> None:
        super().__init__()
        self.shell = UartShell(config, clock_hz, divisor, bake)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        self.clock(m)
        m.submodules.shell = shell = self.shell
        m.d.comb += [
            shell.rst.eq(~self.port("aresetn")),
            shell.rx.eq(self.port("uart_rx")),
            self.port("uart_tx").eq(shell.tx),
            self.port("active").eq(shell.active),
            self.port("error").eq(shell.error),
        ]
        return m
