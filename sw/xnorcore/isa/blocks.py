"""What is written into a device's memories."""

from __future__ import annotations

from dataclasses import dataclass

from .device import DeviceConfig
from .protocol import Space

__all__ = ["Block", "Pass", "word_bytes"]


def word_bytes(config: DeviceConfig, space: Space) -> int:
    """Return the bytes of a word of `space` on the link."""
    return 4 if space in (Space.PROGRAM, Space.THRESHOLDS) else config.geometry.width // 8


@dataclass(frozen=True)
class Block:
    """Consecutive words of one memory bank.

    Attributes
    ----------
    space : Space
    bank : int
        Column or row; 0 for program memory.
    address : int
        First word.
    data : bytes
        Whole words, least significant byte first (docs/protocol.md, WRITE).
    """

    space: Space
    bank: int
    address: int
    data: bytes


@dataclass(frozen=True)
class Pass:
    """A further pass of a network whose weights do not fit at once.

    Attributes
    ----------
    blocks : tuple of Block
        Weights, start values, and descriptors behind the header.
    entries : tuple of int
        Program addresses to run, one for each layer: a layer never overwrites what it reads, so that a
        run may be repeated when its answer is lost.
    """

    blocks: tuple[Block, ...]
    entries: tuple[int, ...]
