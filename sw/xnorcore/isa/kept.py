"""A network that a flash keeps without power: what the device reads there when it starts.

The flash is that of the store, or one beside a store of another kind, or beside none. The region's first
sector begins with the stream's length, if the stream is there, and the device's key. Behind
them lie requests as those of the link, which the device executes at power-up: the program, what its buffers
hold, and ARM. A request is a word with the number of words that follow in its first byte, and then command
and tag; and those words. ARM, behind which none follow, is the last one. All of it lies in pages, like the
stream (`xnorcore.isa.pages`); a script that exceeds the first sector goes on behind it. In a flash beside the
store it may be as long as the region, since it also writes the stream into the store. The program's
identifier comes first there, in a request of a command that no device has: so the first sector, which is
written last, tells which network all of it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError, UsageError
from .blocks import Block, word_bytes
from .device import DeviceConfig
from .layout import HEADER
from .pages import DATA_WORDS, PAGE_WORDS, checksums, paged, unpaged
from .program import Program
from .protocol import STORE_BANK, Command, Space
from .regions import flash_words
from .stores import FLASH_SECTOR, StoreKind

__all__ = ["check_kept", "flash_image", "kept_key", "kept_requests", "may_keep", "script_bits"]

_MOST = 254
"""Words of data in a request."""
_SPACES = (Space.WEIGHTS, Space.THRESHOLDS)
_LABEL = 0
"""No command: a device refuses it, and goes on."""


def kept_key(config: DeviceConfig) -> int:
    """Return word 1 of a region that keeps a network: it names the configuration that the network is for."""
    return int.from_bytes(config.digest()[:4], "little") | 1


def script_bits(config: DeviceConfig) -> int:
    """Return the bits of a script's addresses: for twice what all memories hold, or the whole region."""
    if config.kept_words:
        return (config.kept_words - 1).bit_length()
    weights = -(-config.weight_depth * config.geometry.width // 32)
    words = config.program_depth + config.geometry.columns * (weights + config.threshold_depth)
    return (min(2 * words, config.store_words) - 1).bit_length()


def check_kept(program: Program) -> None:
    """Check that a device can keep a program without power.

    Raises
    ------
    UsageError
        If it has no flash, or it is a part of a program.
    CapacityError
        If the flash is too small.
    """
    config = program.config
    if not flash_words(config):
        where = StoreKind(config.store_kind).title if config.store_words else "none"
        raise UsageError(
            "keep: only a device with a store in flash, or a flash beside it, keeps a network without power, "
            f"and this one's store is {where}; a board with a flash can be built with --set kept_words=N "
            "(docs/boards.md has its words); or load without keep"
        )
    if program.stopped:
        raise UsageError("keep: the program ends behind a layer; load the whole network")
    if program.passes > 1:
        raise CapacityError(
            f"keep: the network takes {program.passes} passes, because its weights exceed the buffers and "
            f"the store of {config.store_words:,} words; build with a larger --set store_words=N"
        )
    found, room = _room(program)
    if found > room:
        what = "program and contents of buffers" + " and store" * bool(config.kept_words)
        way = "; build with a larger --set kept_words=N, or take a smaller network" * bool(config.kept_words)
        raise CapacityError(f"keep: {what} take {found:,} words of flash, but there are {room:,}{way}")


def may_keep(program: Program) -> bool:
    """Return whether `check_kept` has nothing against it."""
    if not flash_words(program.config) or program.stopped or program.passes > 1:
        return False
    found, room = _room(program)
    return found <= room


def _room(program: Program) -> tuple[int, int]:
    """Return the words that a script takes, and those that there are for it."""
    config = program.config
    room = FLASH_SECTOR if program.streams and not config.kept_words else 1 << script_bits(config)
    return len(paged(_script(program))), room


def flash_image(program: Program, keep: bool) -> NDArray[np.uint32]:
    """Return what the region holds from its first word on; whole sectors, ones where there is nothing.

    Parameters
    ----------
    program : Program
    keep : bool
        With the script, so that the device starts with the network; else only with the stream, and the
        program's identifier in words 2 and 3.
    """
    parts = {
        STORE_BANK * block.bank + block.address: np.frombuffer(block.data, "<u4")
        for block in program.blocks
        if block.space == Space.STORE and not program.config.kept_words
    }
    name = np.frombuffer(program.identifier, "<u4")
    if keep:
        parts[0] = paged(_script(program))
    elif parts:
        parts[0] = paged(np.array([parts[0][0], 0, *name], np.uint32))
    words = max((first + len(part) for first, part in parts.items()), default=0)
    image = np.full(-(-words // FLASH_SECTOR) * FLASH_SECTOR, 0xFFFF_FFFF, np.uint32)
    for first, part in parts.items():
        image[first : first + len(part)] = part
    return image


def _script(program: Program) -> NDArray[np.uint32]:
    config = program.config
    length = next((block for block in program.blocks if block.space == Space.STORE), None)
    first = 0 if length is None or config.kept_words else int.from_bytes(length.data[:4], "little")
    words = [np.array([first, kept_key(config)], np.uint32)]
    if config.kept_words:
        name = np.frombuffer(program.identifier, "<u4")
        words += [np.array([len(name) | _LABEL << 8, *name], np.uint32)]
    for block in _blocks(program):
        words += _writes(block, config)
    return np.concatenate([*words, np.array([Command.ARM << 8], np.uint32)])


def _blocks(program: Program) -> Iterator[Block]:
    """Yield what is written, the identifier last: before it is there, nothing tells of the network."""
    spaces = (*_SPACES, Space.STORE) if program.config.kept_words else _SPACES
    yield from (block for block in program.blocks if block.space in spaces)
    (whole,) = (block for block in program.blocks if block.space == Space.PROGRAM)
    mark = HEADER.fields["id_low"].word
    for first, last in ((0, mark), (mark + 2, len(whole.data) // 4), (mark, mark + 2)):
        if first < last:
            yield Block(Space.PROGRAM, 0, first, whole.data[4 * first : 4 * last])


def _writes(block: Block, config: DeviceConfig) -> Iterator[NDArray[np.uint32]]:
    size = word_bytes(config, block.space)
    unit = lcm(4, size)
    step = 4 * _MOST // unit * unit
    for start in range(0, len(block.data), step):
        data = block.data[start : start + step]
        data += bytes(-len(data) % unit)  # behind what is used, or refused
        address = block.address + start // size
        head = bytes([1 + len(data) // 4, Command.WRITE, 0, 0, block.space, block.bank])
        yield np.frombuffer(head + address.to_bytes(2, "little") + data, "<u4")


def kept_requests(store: NDArray[np.uint32], config: DeviceConfig) -> Iterator[tuple[int, bytes]]:
    """Yield the requests, command and payload, that a device executes when it starts; none, if none are kept.

    Parameters
    ----------
    store : array of uint32, shape (words of the region,)

    A page that is not what its checksum says ends them.
    """
    pages = store[: 1 << script_bits(config)].reshape(-1, PAGE_WORDS)
    bad = np.flatnonzero(checksums(pages) != 0)
    words = unpaged(store[: PAGE_WORDS * (bad[0] if len(bad) else len(pages))])
    place = 2
    if len(words) < DATA_WORDS or words[1] != kept_key(config):
        return
    while place < len(words):
        count, command = int(words[place]) & 255, int(words[place]) >> 8 & 255
        body = words[place + 1 : place + 1 + count]
        if len(body) < count:
            return
        yield command, body.astype("<u4").tobytes()
        if not count:
            return
        place += 1 + count
