"""Writes what a flash is to hold, so that a loss of power at any moment leaves no mixture.

The first sector, without which nothing of the rest counts, is erased first and written last, its first page
at the very end. Sectors that are right already stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import VerifyError, WrongFlashError
from ..isa.blocks import Block
from ..isa.kept import flash_image, may_keep
from ..isa.pages import PAGE_WORDS
from ..isa.program import Program
from ..isa.protocol import STORE_BANK, Space
from ..isa.regions import flash_space
from ..isa.stores import FLASH_BLOCK, FLASH_SECTOR
from ..link.session import Session
from .progress import Callback, Progress
from .requests import erase_requests, read_requests, write_requests

__all__ = ["FlashWriter"]

_TRIES = 3
"""A loss of power while it is changed may leave anything in a sector; it is then erased again."""
_ERASED = 0xFFFF_FFFF


class FlashWriter:
    """Brings a flash to what a program needs there.

    Parameters
    ----------
    session : Session
    program : Program
        One that takes its weights from the store, or that is to be kept.
    keep : bool
        The device is to start with it.
    progress : callable
        Called with a `Progress`.
    """

    def __init__(self, session: Session, program: Program, keep: bool, progress: Callback) -> None:
        self._session, self._config, self._progress = session, program.config, progress
        self._space, self._image = flash_space(program.config), flash_image(program, keep)
        # What tells of the rest; who does not ask for it to be kept has nothing against that.
        images = [self._image, *([flash_image(program, True)] if not keep and may_keep(program) else [])]
        named = program.streams or program.config.kept_words
        self._signs = [image[:FLASH_SECTOR] if named else image for image in images]
        self._done = 0

    def there(self) -> bool:
        """Return whether all is there: the first sector, which is written last, says so."""
        found = self._read(0, max(len(sign) for sign in self._signs))
        return any(np.array_equal(found[: len(sign)], sign) for sign in self._signs)

    def write(self, force: bool = False) -> bool:
        """Write what is not there; with `force`, look at everything, whatever the first sector says.

        Returns
        -------
        bool
            Whether anything was to be written.

        Raises
        ------
        VerifyError
            The flash does not hold what is written.
        WrongFlashError
            Nothing changes it.
        """
        if not force and self.there():
            return False
        self._advance(0)
        self._erase_first()
        wrong = []
        for first in range(FLASH_SECTOR, len(self._image), FLASH_SECTOR):
            if self._is_right(first, PAGE_WORDS) and self._is_right(first, FLASH_SECTOR):
                self._advance(FLASH_SECTOR)
            else:
                wrong.append(first)
        for first, words in _together(wrong):
            self._change(first, words)
            self._advance(words)
        self._write_first()
        self._advance(FLASH_SECTOR)
        return True

    def _erase_first(self) -> None:
        for _ in range(_TRIES):
            self._erase(0, FLASH_SECTOR)
            if (self._read(0, FLASH_SECTOR) == _ERASED).all():
                return
        raise self._failed(0, FLASH_SECTOR)

    def _write_first(self) -> None:
        """Write the first sector, its first page when all others are there."""
        for number in range(_TRIES):
            if number:
                self._erase_first()
            for first, words in ((PAGE_WORDS, FLASH_SECTOR - PAGE_WORDS), (0, PAGE_WORDS)):
                self._program(first, words)
                if not self._is_right(first, words):
                    break
            else:
                return
        raise self._failed(0, FLASH_SECTOR)

    def _change(self, first: int, words: int) -> None:
        for _ in range(_TRIES):
            self._erase(first, words)
            self._program(first, words)
            if self._is_right(first, words):
                return
        raise self._failed(first, words)

    def _failed(self, first: int, words: int) -> VerifyError | WrongFlashError:
        """Tell a chip that is protected from one that is worn out: nothing changes what it holds."""
        found, wanted = self._read(first, words), self._image[first : first + words]
        place = int(np.argmax(found != wanted))
        self._erase(first, words)
        if np.array_equal(self._read(first, words), found):
            return WrongFlashError(
                f"the flash is write-protected: neither erase nor program changes words {first:,} to "
                f"{first + words - 1:,} of the store, and status register 1 does not say so; clear the "
                "protection of its other registers (CMP, WPS, lock bits) with the board's own programmer"
            )
        return VerifyError(
            f"flash, word {first + place:,} of the store: wrote {wanted[place]:08x}, it holds "
            f"{found[place]:08x}, {_TRIES} times; load again; if that does not help, the flash is worn out"
        )

    def _is_right(self, first: int, words: int) -> bool:
        return np.array_equal(self._read(first, words), self._image[first : first + words])

    def _read(self, first: int, words: int) -> NDArray[np.uint32]:
        data = b"".join(
            answer
            for block in _banks(self._space, first, words)
            for answer in self._session.stream(
                read_requests(self._config, block.space, block.bank, block.address, len(block.data) // 4)
            )
        )
        return np.frombuffer(data, "<u4")

    def _erase(self, first: int, words: int) -> None:
        for block in _banks(self._space, first, words):
            for _ in self._session.stream(erase_requests(self._config, block)):
                pass

    def _program(self, first: int, words: int) -> None:
        wanted = self._image[first : first + words]
        used = int(np.flatnonzero(wanted != _ERASED)[-1]) + 1 if (wanted != _ERASED).any() else 0
        for block in _banks(self._space, first, used, wanted[:used].astype("<u4").tobytes()):
            for _ in self._session.stream(write_requests(self._config, block, self._session.max_payload)):
                pass

    def _advance(self, words: int) -> None:
        self._done += 4 * words
        self._progress(Progress("load", self._done, 4 * len(self._image), part="flash"))


def _banks(space: Space, first: int, words: int, data: bytes = b"") -> Iterator[Block]:
    """Cut words of the region at the ends of banks."""
    data = data or bytes(4 * words)
    while data:
        bank, address = divmod(first, STORE_BANK)
        part = data[: 4 * (STORE_BANK - address)]
        yield Block(space, bank, address, part)
        first, data = first + len(part) // 4, data[len(part) :]


def _together(sectors: list[int]) -> Iterator[tuple[int, int]]:
    """Yield words and how many of them are erased at once, block or sector."""
    left = set(sectors)
    for first in sectors:
        block = range(first, first + FLASH_BLOCK, FLASH_SECTOR)
        if first % FLASH_BLOCK == 0 and left.issuperset(block):
            left -= set(block)
            yield first, FLASH_BLOCK
        elif first in left:
            yield first, FLASH_SECTOR
