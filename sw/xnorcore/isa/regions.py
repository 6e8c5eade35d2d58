"""The flash of a device that keeps a network without power: its store, or one beside it."""

from __future__ import annotations

from functools import lru_cache

from .device import DeviceConfig
from .protocol import Space
from .stores import FLASHES, StoreKind

__all__ = ["flash_space", "flash_words", "region_of"]


def flash_words(config: DeviceConfig) -> int:
    """Return the 32-bit words of a device's region in flash; 0 without one."""
    return config.store_words if config.store_kind in FLASHES else config.kept_words


def flash_space(config: DeviceConfig) -> Space:
    """Return the space of requests for what is in that region."""
    return Space.STORE if config.store_kind in FLASHES else Space.KEPT


@lru_cache
def region_of(config: DeviceConfig) -> DeviceConfig:
    """Return a device whose store is the region: what writes and reads a store in flash takes it for one."""
    if config.store_kind in FLASHES:
        return config
    return DeviceConfig(store_words=config.kept_words, store_kind=StoreKind.FLASH2)
