"""What is written into a device's memories."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .descriptor import Descriptor, MemoryMap, encode
from .device import DeviceConfig
from .layout import HEADER
from .protocol import Space

__all__ = ["Block", "Pass", "Section", "identifier_of", "word_bytes"]


def word_bytes(config: DeviceConfig, space: Space) -> int:
    """Return the bytes of a word of `space` on the link."""
    return config.geometry.width // 8 if space in (Space.WEIGHTS, Space.ACTIVATIONS) else 4


@dataclass(frozen=True)
class Block:
    """Consecutive words of one memory bank.

    Attributes
    ----------
    space : Space
    bank : int
        Column or row; 0 for program memory; of the store, 65,536 words each.
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


@dataclass(frozen=True, eq=False)
class Section:
    """A pass before it is encoded: the layers that it runs, and what their buffers hold.

    Attributes
    ----------
    descriptors : tuple of Descriptor
    parts : tuple of (int, int)
        For each of them, which layer with weights it is, and its first tile where it is only a part.
    buffers : tuple of Block
        Weights and start values, in their buffers or in the store.
    """

    descriptors: tuple[Descriptor, ...]
    parts: tuple[tuple[int, int], ...]
    buffers: tuple[Block, ...]

    def encoded(self, regions: MemoryMap, width: int) -> tuple[list[int], tuple[int, ...]]:
        """Return the words behind the header, and every descriptor's address."""
        words: list[int] = []
        entries = []
        for descriptor in self.descriptors:
            entries.append(HEADER.words + len(words))
            words += encode(descriptor, regions, width)
        return words, tuple(entries)

    @property
    def begins(self) -> tuple[bool, ...]:
        """Tell for each descriptor whether a run begins with it."""
        return (True, *(descriptor.end for descriptor in self.descriptors[:-1]))


def identifier_of(
    config: DeviceConfig,
    header: Mapping[str, int],
    regions: MemoryMap,
    sections: Iterable[Section],
    kind: bytes = b"",
) -> bytes:
    """Return eight bytes that name all that a program writes; `kind` tells equal ones apart."""
    digest = hashlib.sha256(repr((config, sorted(header.items()))).encode() + kind)
    for section in sections:
        digest.update(repr(section.encoded(regions, config.geometry.width)).encode())
        for block in section.buffers:
            place = (int(block.space), block.bank, block.address, len(block.data))
            digest.update(repr(place).encode() + block.data)
    return digest.digest()[:8]
