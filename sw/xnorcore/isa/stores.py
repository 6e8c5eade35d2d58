"""What a device's store of weights may be, and how large: the part of `DeviceConfig` that says so."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ..errors import GeometryError
from .ranges import in_range, power_of_two_at_least

__all__ = ["STORE_WORDS", "StoreKind", "check_store"]

STORE_WORDS = (1 << 10, 1 << 24)
"""Fewest and most words of a store."""


class StoreKind(IntEnum):
    """What a store is made of: `DeviceConfig.store_kind`."""

    RAM = 0
    """Memory on the chip."""
    SDRAM = 1
    FLASH = 2

    @property
    def title(self) -> str:
        """What people call it."""
        return ("memory on the chip", "SDRAM", "flash")[self]


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
    in_range("store_words", words, *STORE_WORDS)
    for name, value in {"store_words": words, **rings}.items():
        if value & (value - 1):
            raise GeometryError(
                f"{name} is {value}, but must be a power of two on a device with a store; "
                f"try {power_of_two_at_least(value)}"
            )
