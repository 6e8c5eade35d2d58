"""The flash that a store is in: who made it, how large it is, and whether it lets itself be written."""

from __future__ import annotations

from ..errors import WrongFlashError
from ..isa.device import DeviceConfig
from ..isa.protocol import Space
from ..isa.regions import flash_words
from ..link.session import Session
from .requests import read_requests

__all__ = ["check_flash"]

_MAKERS = {0xEF: "Winbond", 0xC8: "GigaDevice", 0x9D: "ISSI", 0x20: "Micron", 0x0B: "XTX", 0x85: "Puya"}
"""Of chips that understand what the device says."""
_PROTECTED = {0x9D: 0b0011_1100, 0x20: 0b0101_1100}
"""Bits of the status register that protect a part of the chip, by maker,"""
_MOSTLY = 0b0001_1100
"""and of all others."""
_ISSI, _QUAD = 0x9D, 0b0100_0000
"""Whose chips have four lines only if this bit is 1, which only their own command sets, for ever."""


def check_flash(session: Session, config: DeviceConfig) -> None:
    """Ask the flash of a device who it is; do nothing where there is none.

    Raises
    ------
    WrongFlashError
        If none answers, or one of another maker, or the device's region reaches behind its end, or it is
        protected, or does not use the lines that the device does.
    """
    if not flash_words(config):
        return
    said = b"".join(session.stream(read_requests(config, Space.CHIP, 0, 0, 4)))
    maker, kind, capacity, status = said[0], said[1], said[2], said[4]
    first, lines = int.from_bytes(said[12:15], "little"), said[15]
    number = said[:3].hex(" ")
    if said[:3] in (b"\0\0\0", b"\xff\xff\xff"):
        raise WrongFlashError(f"no flash answers (identity {number}); check the board")
    if maker not in _MAKERS:
        known = ", ".join(f"{code:02x} {name}" for code, name in _MAKERS.items())
        raise WrongFlashError(f"the flash is of maker {maker:02x} (identity {number}), but known are {known}")
    name = f"{_MAKERS[maker]} {kind:02x}{capacity:02x}"
    # 512 Mbit is 1Ah of some makers, and 20h of others.
    size = 1 << (capacity if capacity < 0x20 else capacity - 6)
    # Behind its end a chip begins again from 0, where the bitstream is.
    behind = first + 4 * flash_words(config)
    if size < behind:
        raise WrongFlashError(
            f"the flash, {name}, has {size:,} bytes, but the device's store takes bytes {first:,} to "
            f"{behind - 1:,}; the bitstream is one for a board with a larger flash"
        )
    if maker == _ISSI and lines == 4 and not status & _QUAD:
        raise WrongFlashError(
            f"the flash, {name}, has its four lines switched off (status {status:02x}, bit 6 is 0); set it "
            "with the board's own programmer"
        )
    if status & _PROTECTED.get(maker, _MOSTLY):
        raise WrongFlashError(
            f"the flash, {name}, is write-protected (status {status:02x}); clear its protection bits "
            "with the board's own programmer"
        )
