"""What a device's store of weights may be, and how large: the part of `DeviceConfig` that says so."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ..errors import GeometryError
from .ranges import in_range, power_of_two_at_least

__all__ = [
    "FLASHES",
    "FLASH_BITS",
    "FLASH_BLOCK",
    "FLASH_SECTOR",
    "QUEUE_WORDS",
    "SDRAM32_WORDS",
    "SDRAMS",
    "SDRAM_HZ",
    "SDRAM_WORDS",
    "STORE_WORDS",
    "StoreKind",
    "check_clock",
    "check_kept_words",
    "check_store",
]  # fmt: skip

STORE_WORDS = (1 << 10, 1 << 24)
"""Fewest and most words of a store."""
SDRAM_WORDS = 1 << 23
"""Most of one in SDRAM, the 256 Mbit of the smallest chip that a ULX3S has."""
SDRAM32_WORDS = 1 << 21
"""Most of one in an SDRAM of 32 bits, the 64 Mbit inside a GW2AR-18."""
SDRAM_HZ = (5_000_000, 142_000_000)
"""Clocks of a device with one: time for words between refreshes, and as fast as the chip."""
FLASH_WORDS = 1 << 21
"""Most of one in flash, half of what 24 bits of address reach: the bitstream is in the other half."""
FLASH_SECTOR = 1 << 10
"""Words that are erased at once,"""
FLASH_BLOCK = 1 << 14
"""and the most of them."""
_MOST = {1: SDRAM_WORDS, 2: FLASH_WORDS, 3: SDRAM32_WORDS, 4: FLASH_WORDS, 5: FLASH_WORDS}


class StoreKind(IntEnum):
    """What a store is made of: `DeviceConfig.store_kind`."""

    RAM = 0
    """Memory on the chip."""
    SDRAM = 1
    """Of 16 bits."""
    FLASH = 2
    """That gives four bits a cycle."""
    SDRAM32 = 3
    """SDRAM of 32 bits."""
    FLASH2 = 4
    """One that gives two."""
    QUEUED = 5
    """One that gives four, and a queue of its words on the chip."""

    @property
    def title(self) -> str:
        """What people call it."""
        return (
            "memory on the chip",
            "SDRAM",
            "flash",
            "SDRAM of 32 bits",
            "flash of two bits a cycle",
            "flash with a queue",
        )[self]

    @property
    def outside(self) -> StoreKind:
        """What of it is not on the chip, as a board's file names it."""
        return StoreKind.FLASH if self is StoreKind.QUEUED else self

    @property
    def memory(self) -> str:
        """``ram``, ``sdram`` or ``flash``, of whatever width."""
        return "sdram" if self in SDRAMS else "flash" if self in FLASHES else "ram"


SDRAMS = (StoreKind.SDRAM, StoreKind.SDRAM32)
FLASH_BITS = {StoreKind.FLASH: 4, StoreKind.FLASH2: 2, StoreKind.QUEUED: 4}
"""That come in a cycle of the device's clock: on so many lines, or on more at a slower pace."""
FLASHES = tuple(FLASH_BITS)
QUEUE_WORDS = {StoreKind.QUEUED: 1 << 14}
"""Words that may wait on the chip between the store and the rings: two blocks of SPRAM."""


def check_store(words: int, kind: int, rings: Mapping[str, int]) -> None:
    """Check the store of a configuration.

    Parameters
    ----------
    words, kind : int
        `DeviceConfig.store_words` and `DeviceConfig.store_kind`.
    rings : mapping of str to int
        Depths of the buffers that become rings, by name.

    Raises
    ------
    GeometryError
        If a value is outside its limits.
    """
    in_range("store_kind", kind, min(StoreKind), max(StoreKind))
    if words == 0:
        if kind:
            raise GeometryError(
                f"store_kind is {kind}, {StoreKind(kind).title}, but must be 0 without store_words"
            )
        return
    # A stream in flash begins behind a sector that holds its length.
    least = 2 * FLASH_SECTOR if kind in FLASHES else STORE_WORDS[0]
    in_range("store_words", words, least, _MOST.get(kind, STORE_WORDS[1]))
    for name, value in {"store_words": words, **rings}.items():
        if value & (value - 1):
            raise GeometryError(
                f"{name} is {value}, but must be a power of two on a device with a store; "
                f"try {power_of_two_at_least(value)}"
            )


def check_kept_words(words: int, kind: int) -> None:
    """Check the flash that only keeps a network: `DeviceConfig.kept_words`, beside a store of a kind.

    Raises
    ------
    GeometryError
        If it is outside its limits, or the store is in a flash already.
    """
    if not words:
        return
    if kind in FLASHES:
        raise GeometryError(
            f"kept_words is {words}, but must be 0 where the store is {StoreKind(kind).title}: that "
            "keeps the network itself"
        )
    in_range("kept_words", words, 2 * FLASH_SECTOR, FLASH_WORDS)
    if words & (words - 1):
        raise GeometryError(
            f"kept_words is {words}, but must be a power of two; try {power_of_two_at_least(words)}"
        )


def check_clock(kind: int, clock_hz: int) -> None:
    """Check that a store of a kind can work at a clock.

    Raises
    ------
    GeometryError
        If it cannot.
    """
    low, high = SDRAM_HZ
    if kind in SDRAMS and not low <= clock_hz <= high:
        raise GeometryError(
            f"clock_hz is {clock_hz}, but must be {low} to {high} on a device with a store in SDRAM"
        )
