"""The flash that a store is in: who made it, how large it is, and whether it lets itself be written."""

from __future__ import annotations

from ..errors import WrongFlashError
from ..isa.device import DeviceConfig
from ..isa.protocol import Space
from ..isa.stores import StoreKind
from ..link.session import Session
from .requests import read_requests

__all__ = ["check_flash"]

_MAKERS = {0xEF: "Winbond", 0xC8: "GigaDevice", 0x9D: "ISSI", 0x20: "Micron", 0x0B: "XTX", 0x85: "Puya"}
"""Of chips that understand what the device says."""
_PROTECTED = 0b0001_1100
"""Bits of the first status register that protect a part of the chip."""


def check_flash(session: Session, config: DeviceConfig) -> None:
    """Ask the flash of a device who it is; do nothing where its store is something else.

    Raises
    ------
    WrongFlashError
        If none answers, or one of another maker, or the device's region reaches behind its end, or it is
        protected.
    """
    if config.store_kind != StoreKind.FLASH:
        return
    said = b"".join(session.stream(read_requests(config, Space.CHIP, 0, 0, 4)))
    maker, kind, capacity, status = said[0], said[1], said[2], said[4]
    first = int.from_bytes(said[12:16], "little")
    number = said[:3].hex(" ")
    if said[:3] in (b"\0\0\0", b"\xff\xff\xff"):
        raise WrongFlashError(f"no flash answers (identity {number}); check the board")
    if maker not in _MAKERS:
        known = ", ".join(f"{code:02x} {name}" for code, name in _MAKERS.items())
        raise WrongFlashError(f"the flash is of maker {maker:02x} (identity {number}), but known are {known}")
    name = f"{_MAKERS[maker]} {kind:02x}{capacity:02x}"
    size = 1 << capacity if capacity < 32 else 0
    # Behind its end a chip begins again from 0, where the bitstream is.
    behind = first + 4 * config.store_words
    if size < behind:
        raise WrongFlashError(
            f"the flash, {name}, has {size:,} bytes, but the device's store takes bytes {first:,} to "
            f"{behind - 1:,}; the bitstream is one for a board with a larger flash"
        )
    if status & _PROTECTED:
        raise WrongFlashError(
            f"the flash, {name}, is write-protected (status {status:02x}); clear its protection bits with "
            "the board's own programmer"
        )
