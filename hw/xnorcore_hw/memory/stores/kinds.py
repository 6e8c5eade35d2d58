"""Which store a device has, by its `DeviceConfig.store_kind`, and what that needs outside of the FPGA."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from xnorcore.boards import CLOCK_HZ
from xnorcore.errors import GeometryError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import FLASHES, StoreKind

from .flash import FlashStore
from .flash_pins import FlashSignature, flash_of
from .ram import RamStore
from .sdram import SdramStore
from .sdram_chips import SDRAM_CHIPS
from .sdram_pins import SdramPins

__all__ = ["chip_ports", "connect_chips", "store_of"]


def _flash(config: DeviceConfig, clock_hz: int, platform: object) -> FlashStore:
    return FlashStore(config, flash_of(platform, config))


def _sdram(config: DeviceConfig, clock_hz: int, platform: object) -> SdramStore:
    return SdramStore(config, SDRAM_CHIPS[StoreKind(config.store_kind)], clock_hz)


_STORES: dict[StoreKind, Callable[[DeviceConfig, int, object], Any]] = {
    StoreKind.RAM: lambda config, clock_hz, platform: RamStore(config),
    **dict.fromkeys(SDRAM_CHIPS, _sdram),
    **dict.fromkeys(FLASHES, _flash),
}
"""A configuration, its clock in Hz and a platform in; a component with the member `bus` out, and `chip` if it
has one."""

_CHIPS: dict[StoreKind, Callable[[], wiring.Signature]] = {
    **{kind: partial(SdramPins, chip) for kind, chip in SDRAM_CHIPS.items()},
    **dict.fromkeys(FLASHES, FlashSignature),
}
"""Signals to and from the chip, where there is one."""


def store_of(config: DeviceConfig, clock_hz: int, platform: object) -> Any:
    """Return the store of a device, whose clock has `CLOCK_HZ` if it is not known.

    Raises
    ------
    GeometryError
        If there is none of its kind.
    """
    kind = StoreKind(config.store_kind)
    if kind not in _STORES:
        raise GeometryError(f"store_kind is {kind}, but nothing puts a store into {kind.title} yet")
    return _STORES[kind](config, clock_hz or CLOCK_HZ, platform)


def chip_ports(config: DeviceConfig) -> dict[str, Any]:
    """Return the port `chip` for a store outside of the FPGA, and `flash` for what only keeps a network."""
    kind = StoreKind(config.store_kind)
    chip = {"chip": Out(_CHIPS[kind]())} if kind in _CHIPS else {}
    return {**chip, **({"flash": Out(FlashSignature())} if config.kept_words else {})}


def connect_chips(m: Module, config: DeviceConfig, inner: Any, outer: Any) -> None:
    """Connect the `chip_ports` of a component with those of the one that it is a part of."""
    for name in chip_ports(config):
        connect(m, getattr(inner, name), flipped(getattr(outer, name)))
