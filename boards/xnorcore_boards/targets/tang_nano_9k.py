"""Tang Nano 9K: GW1NR-9C, BL702."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.gowin import GW1NR_9C_QN88P


def _platform() -> Any:
    from amaranth_boards.tang_nano_9k import TangNano9kPlatform

    return TangNano9kPlatform()


BOARD = Board(
    name="tang-nano-9k",
    title="Tang Nano 9K",
    part=GW1NR_9C_QN88P,
    platform=_platform,
    config=DeviceConfig(
        Geometry(1, 4, 32),
        acc_width=14,
        weight_depth=512,
        threshold_depth=256,
        act_depth=8192,
        program_depth=498,
        fifo_bytes=512,
        column_group=4,
        line_bytes=2048,
        counters=0,
        convolution=1,
        threshold_share=2,
        program_halves=1,
        store_words=1 << 17,
        store_kind=StoreKind.FLASH2,
    ),
    clock_pin="clk27",
    clock_in_hz=27_000_000,
    clock_hz=60_750_000,
    baud=2_000_000,
    best_baud=2_000_000,
    programmers=(("openFPGALoader", "-b", "tangnano9k", "{}"),),
    heartbeat=("led", 0),
    activity=("led", 1),
    error=("led", 2),
    pack=("--sspi_as_gpio", "--mspi_as_gpio"),
    # The upper half of a P25Q32U, of which two data lines are wired; the bitstream is in the FPGA itself.
    chips=(StoreChip(StoreKind.FLASH2, "spi_flash_2x", 1 << 19, 1 << 21),),
)
