"""What the status register of a serial flash protects."""

from __future__ import annotations

__all__ = ["protected"]

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
