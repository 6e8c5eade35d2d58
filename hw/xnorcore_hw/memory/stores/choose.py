"""Which store a device has."""

from __future__ import annotations

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import STORE_BANK, Space

from .ram import RamStore

__all__ = ["store_of"]


def store_of(platform: object, config: DeviceConfig, bake: Program | None) -> RamStore:
    """Return the store of a device, a component with the member ``bus`` : In(StoreSignature).

    Parameters
    ----------
    platform : object
        May name another kind of memory than block RAM.
    config : DeviceConfig
    bake : Program or None
        What it holds at power-up.
    """
    banks = range(-(-config.store_words // STORE_BANK))
    return RamStore(
        config, [word for bank in banks for word in bake.contents(Space.STORE, bank)] if bake else []
    )
