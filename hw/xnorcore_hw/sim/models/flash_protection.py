"""What the status register of a serial flash protects."""

from __future__ import annotations

from amaranth import Cat, Const, Value

from .flash_table import CHANGES

__all__ = ["protected", "shielded"]

_SECTOR, _PARTS = 1 << 12, 64


def protected(status: int, size: int) -> tuple[int, int]:
    """Return the first byte that may not be changed, and the first one behind those that may not.

    W25Q128JV, section 7.1 (block protection BP2 to BP0, from the top or bottom by TB, of sectors by SEC),
    with CMP and WPS as delivered.

    Parameters
    ----------
    status : int
        Status register 1.
    size : int
        Bytes of the chip.
    """
    blocks, bottom, sectors = status >> 2 & 7, status >> 5 & 1, status >> 6 & 1
    if blocks == 0:
        return 0, 0
    if blocks == 7:
        return 0, size
    count = _SECTOR << min(blocks - 1, 3) if sectors else size // _PARTS << blocks - 1
    return (0, count) if bottom else (size - count, size)


def shielded(opcode: Value, address: Value, status: int, size: int) -> Value:
    """Return whether a command would change a place that is protected.

    Parameters
    ----------
    opcode, address : Value
        Of a byte in what is to be changed.
    status, size : int
        As of `protected`.
    """
    first, behind = protected(status, size)
    found: Value = Const(0)
    for code, bits in CHANGES.items():
        base = Cat(Const(0, bits), address[bits:])
        found |= (opcode == code) & (base < behind) & (base + (1 << bits) > first)
    return found
