"""Which chip a simulated device has beside it, by its `DeviceConfig.store_kind`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xnorcore.boards import CLOCK_HZ
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.regions import region_of
from xnorcore.isa.stores import FLASHES, StoreKind

from ...memory.stores.sdram_chips import SDRAM_CHIPS
from .flash_wired import WiredFlash
from .sdram import SdramBoard

__all__ = ["chip_of", "flash_of"]


def _sdram(config: DeviceConfig, clock_hz: int) -> SdramBoard:
    return SdramBoard(SDRAM_CHIPS[StoreKind(config.store_kind)], clock_hz or CLOCK_HZ, config.store_words)


_MODELS: dict[StoreKind, Callable[[DeviceConfig, int], Any]] = {
    **dict.fromkeys(SDRAM_CHIPS, _sdram),
    **dict.fromkeys(FLASHES, WiredFlash),
}
"""A configuration and its clock in Hz in; a component with the member `chip` out."""


def chip_of(config: DeviceConfig, clock_hz: int) -> Any:
    """Return the model of the chip that `xnorcore_hw.memory.stores.kinds.chip_ports` gives a device."""
    return _MODELS[StoreKind(config.store_kind)](config, clock_hz)


def flash_of(config: DeviceConfig, clock_hz: int) -> WiredFlash:
    """Return the model of the flash of a device with `DeviceConfig.kept_words`."""
    return WiredFlash(region_of(config), clock_hz)
