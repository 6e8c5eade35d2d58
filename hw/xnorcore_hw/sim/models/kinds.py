"""Which chip a simulated device has beside it, by its `DeviceConfig.store_kind`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import StoreKind

__all__ = ["chip_of"]

_MODELS: dict[StoreKind, Callable[[DeviceConfig, int], Any]] = {}
"""A configuration and its clock in Hz in; a component with the member `chip` out."""


def chip_of(config: DeviceConfig, clock_hz: int) -> Any:
    """Return the model of the chip that `xnorcore_hw.memory.stores.kinds.chip_ports` gives a device."""
    return _MODELS[StoreKind(config.store_kind)](config, clock_hz)
