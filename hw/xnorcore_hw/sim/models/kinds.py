"""Which chip a simulated device has beside it, by its `DeviceConfig.store_kind`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xnorcore.boards import CLOCK_HZ
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import StoreKind

from ...memory.stores.sdram_chips import ULX3S
from .flash_wired import WiredFlash
from .sdram import SdramBoard

__all__ = ["chip_of"]

_MODELS: dict[StoreKind, Callable[[DeviceConfig, int], Any]] = {
    StoreKind.SDRAM: lambda config, clock_hz: SdramBoard(ULX3S, clock_hz or CLOCK_HZ, config.store_words),
    StoreKind.FLASH: WiredFlash,
}
"""A configuration and its clock in Hz in; a component with the member `chip` out."""


def chip_of(config: DeviceConfig, clock_hz: int) -> Any:
    """Return the model of the chip that `xnorcore_hw.memory.stores.kinds.chip_ports` gives a device."""
    return _MODELS[StoreKind(config.store_kind)](config, clock_hz)
