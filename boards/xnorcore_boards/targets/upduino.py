"""UPduino 3.1: iCE40UP5K, FT232H.

The FT232H's serial port is on the wires of the flash memory: its TXD is the flash's clock, its DTR# selects
the flash. The UART is on pins of the header instead. The clock comes through the jumper OSC, which is open
when the board is delivered; the FPGA's own oscillator is off by up to 10 %.
"""

from __future__ import annotations

from typing import Any

from ..board import Board
from ..families.ice40 import UP5K_SG48_CORE
from .icesugar import BOARD as ICESUGAR


def _platform() -> Any:
    from amaranth.build import Attrs
    from amaranth_boards.resources import UARTResource
    from amaranth_boards.upduino_v3 import UpduinoV3Platform

    platform = UpduinoV3Platform()
    attributes = Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)
    platform.add_resources([UARTResource(0, rx="23", tx="25", attrs=attributes)])
    return platform


BOARD = Board(
    name="upduino-3.1",
    title="UPduino 3.1",
    part=UP5K_SG48_CORE,
    platform=_platform,
    config=ICESUGAR.config,
    clock_pin="clk12",
    clock_in_hz=12_000_000,
    clock_hz=30_000_000,  # of 36 MHz the first placement reached 35.7
    baud=3_000_000,
    best_baud=6_000_000,
    programmers=(("iceprog", "{}"),),
    heartbeat=("rgb_led", 0, "g"),
    activity=("rgb_led", 0, "b"),
    error=("rgb_led", 0, "r"),
    usb=("0403", "6014"),
    adapter="wire an adapter of 3.3 V, its TXD to pin 23, its RXD to pin 25, and ground; close jumper OSC",
)
