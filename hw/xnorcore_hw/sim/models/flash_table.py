"""What datasheets say of serial flashes: identity, size, commands, times."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["CHANGES", "READS", "W25Q128JV", "FlashTable", "Opcode", "Read"]


class Opcode(IntEnum):
    """Commands of the model: W25Q128JV, revision L, table 8.1.2 (instruction set, standard SPI) and 8.1.3."""

    WRITE_ENABLE = 0x06
    VOLATILE_ENABLE = 0x50
    WRITE_DISABLE = 0x04
    STATUS_1 = 0x05
    STATUS_2 = 0x35
    WRITE_STATUS_2 = 0x31
    PROGRAM = 0x02
    ERASE_SECTOR = 0x20
    ERASE_BLOCK = 0xD8
    READ = 0x03
    FAST_READ = 0x0B
    DUAL_OUTPUT = 0x3B
    QUAD_OUTPUT = 0x6B
    QUAD_IO = 0xEB
    IDENTITY = 0x9F
    POWER_DOWN = 0xB9
    RELEASE = 0xAB


@dataclass(frozen=True)
class Read:
    """How a command reads.

    Attributes
    ----------
    address_lanes, data_lanes : int
        Lines of the address and of the data.
    dummy : int
        Clock cycles between them, mode bits included.
    fast : bool
        It may be clocked as fast as the chip can be; else only at `FlashTable.read_hz`.
    """

    address_lanes: int
    data_lanes: int
    dummy: int
    fast: bool = True


READS = {
    Opcode.READ: Read(1, 1, 0, fast=False),
    Opcode.FAST_READ: Read(1, 1, 8),
    Opcode.DUAL_OUTPUT: Read(1, 2, 8),
    Opcode.QUAD_OUTPUT: Read(1, 4, 8),
    Opcode.QUAD_IO: Read(4, 4, 6),
}
"""Section 8.2.6 to 8.2.11."""

CHANGES = {Opcode.PROGRAM: 8, Opcode.ERASE_SECTOR: 12, Opcode.ERASE_BLOCK: 16}
"""Commands that change what is there, and the logarithms of the bytes that they are about."""


@dataclass(frozen=True)
class FlashTable:
    """One chip.

    Attributes
    ----------
    name : str
    identity : tuple of int
        Maker, type and capacity, as command 9Fh gives them.
    size : int
        Bytes.
    program_s, sector_s, block_s : float
        Typical seconds of the program of a page, of the erase of 4 KiB and of 64 KiB.
    status_s : float
        Typical seconds of a write of the status register that is for good.
    up_s, change_s : float
        From power-up to the first command, and to the first that changes something.
    release_s : float
        From the release from power-down to the next command.
    deselect_s : float
        The least time without select between commands.
    read_hz, fast_hz : float
        Fastest clock of command 03h, and of the others.
    """

    name: str
    identity: tuple[int, int, int]
    size: int
    program_s: float
    sector_s: float
    block_s: float
    status_s: float
    up_s: float
    change_s: float
    release_s: float
    deselect_s: float
    read_hz: float
    fast_hz: float


W25Q128JV = FlashTable(
    "W25Q128JV", (0xEF, 0x70, 0x18), 16 << 20, 0.4e-3, 45e-3, 150e-3, 10e-3, 20e-6, 5e-3, 3e-6, 50e-9,
    50e6, 133e6,
)  # fmt: skip
"""Tables 9.3 (power-up: tVSL, tPUW), 9.6 (AC electrical characteristics) and 8.1.1 (identity), as delivered
with QE = 0."""
