"""What goes into a board's bitstream."""

from __future__ import annotations

from amaranth import Elaboratable, Module, Signal, Value
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.stores import SDRAMS
from xnorcore_hw.memory.stores.kinds import chip_ports, connect_chips
from xnorcore_hw.shells.uart import UartShell

from .board import Board
from .clock import clock_domain
from .flash_pads import flash_pads, flash_place

__all__ = ["BoardTop", "Device"]


class Device(wiring.Component):
    """Accelerator, UART and lights, without pins and clocks: what every board has in common.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO.
    divisor : int
        Clock cycles per UART bit.
    bake : Program, optional
        Network that is in the memories from the start.

    Members
    -------
    rx, tx : In, Out(1)
        UART lines; `rx` is asynchronous.
    rst : In(1)
        Start again as at power-up.
    tick : In(1)
        Now and then for one cycle; `activity` and `error` say what happened between two ticks.
    activity, error : Out(1)
        There was something on the wire; a frame was dropped because it was damaged.
    chip, flash
        Of what is outside of the FPGA (`xnorcore_hw.memory.stores.kinds`).
    """

    rx: Signal
    tx: Signal
    rst: Signal
    tick: Signal
    activity: Signal
    error: Signal

    def __init__(
        self, config: DeviceConfig, clock_hz: int, divisor: int, bake: Program | None = None
    ) -> None:
        self.config, self.clock_hz, self.divisor, self.bake = config, clock_hz, divisor, bake
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "rst": In(1),
                "tick": In(1),
                "activity": Out(1),
                "error": Out(1),
                **chip_ports(config),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.accelerator = shell = UartShell(self.config, self.clock_hz, self.divisor, self.bake)
        m.d.comb += [shell.rst.eq(self.rst), shell.rx.eq(self.rx), self.tx.eq(shell.tx)]
        connect_chips(m, self.config, shell, self)
        self._light(m, shell.active, self.activity)
        self._light(m, shell.error, self.error)
        return m

    def _light(self, m: Module, event: Value, light: Signal) -> None:
        seen = Signal()
        with m.If(event):
            m.d.sync += seen.eq(1)
        with m.If(self.tick):
            m.d.sync += [light.eq(seen), seen.eq(event)]


class BoardTop(Elaboratable):
    """A board's whole design: clock, reset, pins, `Device`.

    Parameters
    ----------
    board : Board
    config : DeviceConfig, optional
        Default: the board's.
    baud : int, optional
        Default: the board's.
    bake : Program, optional
        Network that is in the memories from the start.

    Raises
    ------
    BuildError
        If the clock or the baud rate cannot be made.
    """

    def __init__(
        self,
        board: Board,
        config: DeviceConfig | None = None,
        baud: int | None = None,
        bake: Program | None = None,
    ) -> None:
        self.board = board
        self.device = Device(config or board.config, board.true_hz, board.divisor(baud or board.baud), bake)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        board, device = self.board, self.device
        m.submodules.device = device
        count, reset = clock_domain(m, board, platform)
        m.d.comb += device.rst.eq(reset)
        uart = platform.request(board.uart, dir="-")  # type: ignore[attr-defined]
        m.submodules.rx_pin = rx = io.Buffer("i", uart.rx)
        m.submodules.tx_pin = tx = io.Buffer("o", uart.tx)
        m.d.comb += [device.rx.eq(rx.i), tx.o.eq(device.tx)]

        for name, chip in board.beside(device.config).items():
            wires, sdram = getattr(device, name), chip.kind in SDRAMS
            m.submodules["sdram" if sdram else "flash"] = pads = Module()
            port = platform.request(chip.resource, dir="-")  # type: ignore[attr-defined]
            if sdram:
                board.part.family.sdram(pads, port, wires, ~reset)
            else:
                flash_pads(pads, board.part.family, flash_place(chip), port, wires)
        beat = Signal()
        m.d.sync += beat.eq(count[-4])
        m.d.comb += device.tick.eq(beat & ~count[-4])
        lights = {"heartbeat": count[-1], "activity": device.activity, "error": device.error}
        shared: dict[tuple[str, int], tuple[str, dict[str, Value]]] = {}
        for name, value in lights.items():
            led = getattr(board, name)
            if led is not None:
                _, colours = shared.setdefault(led[:2], (name, {}))
                colours[led[2] if led[2:] else ""] = value
        for resource, (name, colours) in shared.items():
            # Of a light with several colours, the others are driven as well: to be dark.
            port = platform.request(*resource, dir="-")  # type: ignore[attr-defined]
            for part, pins in [("", port)] if "" in colours else vars(port).items():
                m.submodules[f"{name}_pin{part}"] = pin = io.Buffer("o", pins)
                m.d.comb += pin.o.eq(colours.get(part, 0))
        return m
