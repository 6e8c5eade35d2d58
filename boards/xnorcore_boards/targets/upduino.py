"""UPduino 3.1: iCE40UP5K, FT232H.

The FT232H is on the wires of the flash memory, without a resistor between. As a serial port, which it is when
a computer has set it up and nothing programs the board, its TXD drives the flash's clock, its DTR# selects
the flash, its RTS# drives what the flash sends. So the UART is on pins of the header instead, and a design
that reads the flash runs on power that comes from no computer. The clock comes through the jumper OSC, which
is open when the board is delivered; the FPGA's own oscillator is off by up to 10 %. The flash's other two
lines are open, too, and one of them is the clock's pin.
"""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ice40 import UP5K_SG48_CORE


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
    # Two SPRAMs hold the maps, two the weights that exceed the buffers. Not the flash: on a computer's power
    # the FT232H and the FPGA would drive its wires against each other.
    config=DeviceConfig(
        Geometry(1, 4, 32),
        acc_width=14,
        weight_depth=512,
        threshold_depth=128,
        act_depth=16384,
        program_depth=114,
        fifo_bytes=512,
        column_group=4,
        line_bytes=512,
        counters=0,
        convolution=1,
        threshold_share=4,
        program_halves=1,
        whole_windows=1,
        act_ports=1,
        store_words=16384,
    ),
    clock_pin="clk12",
    clock_in_hz=12_000_000,
    clock_hz=36_000_000,
    baud=3_000_000,
    best_baud=6_000_000,
    programmers=(("iceprog", "{}"),),
    heartbeat=("rgb_led", 0, "g"),
    activity=("rgb_led", 0, "b"),
    error=("rgb_led", 0, "r"),
    usb=("0403", "6014"),
    # The upper half of 4 MiB; the bitstream begins at 0.
    chips=(StoreChip(StoreKind.FLASH2, "spi_flash_2x", 1 << 19, 1 << 21),),
    adapter="wire an adapter of 3.3 V, its TXD to pin 23, its RXD to pin 25, and ground; close jumper OSC; a "
    "design with store_kind=4 then needs power from a charger: its FT232H drives the flash's wires",
)
