"""Olimex GateMateA1-EVB: GateMate CCGM1A1, RP2040 as programmer and serial port.

Not checked against a document of its maker: the pins of UART and light, the RP2040's USB numbers, the
programmer's name for the board, and the core voltage, of which the lowest is assumed.

No flash: on its schematic (revisions B and C) that of the FPGA's configuration, U3, is an option that is not
fitted. A chip there would be on IO_WA_A8 (select), B8 (clock), B7 and A7 (data).
"""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry

from ..board import Board
from ..families.gatemate import CCGM1A1


def _platform() -> Any:
    from amaranth.build import Attrs, Clock, Pins, Resource
    from amaranth_boards.resources import LEDResources, UARTResource

    from ..families.gatemate_platform import GateMatePlatform

    class OlimexGateMatePlatform(GateMatePlatform):
        resources = [  # noqa: RUF012
            Resource("clk10", 0, Pins("IO_SB_A8", dir="i"), Clock(10e6), Attrs(SCHMITT_TRIGGER="true")),
            *LEDResources(pins="IO_SB_B6", invert=True),
            UARTResource(0, rx="IO_SA_B6", tx="IO_SA_A6"),
        ]
        connectors = []  # noqa: RUF012

    return OlimexGateMatePlatform()


BOARD = Board(
    name="gatemate-a1-evb",
    title="Olimex GateMateA1-EVB",
    part=CCGM1A1,
    platform=_platform,
    config=DeviceConfig(
        Geometry(1, 8, 32),
        acc_width=14,
        weight_depth=2048,
        threshold_depth=512,
        act_depth=7168,
        program_depth=498,
        fifo_bytes=512,
        column_group=8,
        line_bytes=2048,
        counters=0,
        convolution=1,
        threshold_share=2,
        program_halves=1,
    ),
    clock_pin="clk10",
    clock_in_hz=10_000_000,
    clock_hz=20_000_000,
    # What any firmware of the RP2040 passes on; a faster rate is untried.
    baud=115_200,
    best_baud=115_200,
    programmers=(("openFPGALoader", "-b", "olimex_gatemateevb", "{}"),),
    heartbeat=("led", 0),
    usb=("1209", "c0ca"),
)
