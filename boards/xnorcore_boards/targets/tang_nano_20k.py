"""Tang Nano 20K: GW2AR-18C, BL616."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import SDRAM32_WORDS, StoreKind

from ..board import Board, StoreChip
from ..families.gowin import GW2AR_18C_QN88

_SDRAM = {
    "clk": "IOR11B",
    "cke": "IOL13A",
    "cs_n": "IOL14B",
    "we_n": "IOL12B",
    "ras_n": "IOL13B",
    "cas_n": "IOL14A",
    "ba": "IOR13A IOR12A",
    "a": "IOR14A IOR13B IOR14B IOR15A IOL16B IOL17B IOL16A IOL17A IOL15B IOL15A IOR12B",
    "dq": "IOL3A IOL3B IOL8A IOL8B IOL9A IOL9B IOL11A IOL11B "
    "IOR9B IOR9A IOR5B IOR6A IOR5A IOR4B IOR3B IOR3A "
    "IOL39B IOL39A IOL35B IOL35A IOL30B IOL30A IOL20A IOL18B "
    "IOR17A IOR16A IOR16B IOR17B IOR18A IOR18B IOR44A IOR44B",
    "dqm": "IOL12A IOR11A IOL18A IOR15B",
}
"""The SDRAM is in the package: its pads have places on the chip, and no pins (Project Apicula's table)."""


def _platform() -> Any:
    from amaranth.build import Attrs, Clock, Pins, Resource
    from amaranth.vendor import GowinPlatform
    from amaranth_boards.resources import LEDResources, SDRAMResource, SPIFlashResources, UARTResource

    lvcmos = Attrs(IO_TYPE="LVCMOS33")

    class TangNano20kPlatform(GowinPlatform):
        part = "GW2AR-LV18QN88C8/I7"
        family = "GW2AR-18C"
        default_clk = "clk27"
        resources = [  # noqa: RUF012
            Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), lvcmos),
            *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=lvcmos),
            UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
            SDRAMResource(0, **_SDRAM, attrs=lvcmos),
            *SPIFlashResources(0, cs_n="60", clk="59", copi="61", cipo="62", attrs=lvcmos),
        ]
        connectors = []  # noqa: RUF012

    return TangNano20kPlatform()


BOARD = Board(
    name="tang-nano-20k",
    title="Tang Nano 20K",
    part=GW2AR_18C_QN88,
    platform=_platform,
    config=DeviceConfig(
        # Maps of 32 by 32 pixels with 64 channels; weights that exceed the buffers come from the SDRAM.
        Geometry(2, 8, 32),
        acc_width=14,
        weight_depth=512,
        threshold_depth=256,
        act_depth=6656,
        program_depth=498,
        fifo_bytes=512,
        column_group=8,
        line_bytes=2048,
        counters=0,
        convolution=1,
        threshold_share=2,
        program_halves=1,
        store_words=SDRAM32_WORDS,
        store_kind=StoreKind.SDRAM32,
        kept_words=1 << 20,
    ),
    clock_pin="clk27",
    clock_in_hz=27_000_000,
    clock_hz=81_000_000,
    baud=3_000_000,
    best_baud=3_000_000,
    programmers=(("openFPGALoader", "-b", "tangnano20k", "{}"),),
    heartbeat=("led", 0),
    activity=("led", 1),
    error=("led", 2),
    pack=("--mspi_as_gpio",),
    chips=(
        StoreChip(StoreKind.SDRAM32, "sdram", SDRAM32_WORDS),
        # The upper half of a W25Q64, of which two data lines are wired; the bitstream begins at 0.
        StoreChip(StoreKind.FLASH2, "spi_flash_2x", 1 << 20, 1 << 22),
    ),
)
