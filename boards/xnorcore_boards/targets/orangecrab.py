"""OrangeCrab r0.2 with an ECP5 25F; its USB port is the FPGA's own, and that of its bootloader.

The bootloader is at the beginning of the flash, and puts a design behind itself, from 80000h on.
"""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ecp5 import LFE5U_25F_MG285, with_flash


def _platform() -> Any:
    from amaranth.build import Attrs
    from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
    from amaranth_boards.resources import UARTResource

    platform = OrangeCrabR0_2_25FPlatform()  # N17 and M18 are pins 0 and 1 of the header
    attributes = Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
    platform.add_resources([UARTResource(0, rx="N17", tx="M18", attrs=attributes)])
    return with_flash(platform, "U17", "U18 T18 R18 N18")


BOARD = Board(
    name="orangecrab-25f",
    title="OrangeCrab 25F",
    part=LFE5U_25F_MG285,
    platform=_platform,
    config=DeviceConfig(
        Geometry(1, 16, 64),
        acc_width=16,
        column_group=4,
        weight_depth=512,
        threshold_depth=256,
        act_depth=4096,
        program_depth=498,
        fifo_bytes=2048,
        line_bytes=2048,
        threshold_share=4,
        column_align=4,
        store_words=1 << 17,
        store_kind=StoreKind.FLASH2,
    ),
    clock_pin="clk",
    clock_in_hz=48_000_000,
    clock_hz=96_000_000,
    baud=3_000_000,
    best_baud=3_000_000,
    programmers=(("dfu-util", "-d", "1209:5af0", "-a", "0", "-D", "{}"),),
    heartbeat=("rgb_led", 0, "g"),
    activity=("rgb_led", 0, "b"),
    error=("rgb_led", 0, "r"),
    pack=("--freq", "38.8"),
    usb=("1209", "5af0"),
    # The upper half of a W25Q128JV, at half the clock as on an ECPIX-5.
    chips=(StoreChip(StoreKind.FLASH2, "flash", 1 << 21, 1 << 23, every=2),),
    adapter="wire an adapter of 3.3 V, its TXD to pin 0, its RXD to pin 1, and ground",
)
