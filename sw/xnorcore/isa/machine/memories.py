"""A device's memories: words as bits, the least significant first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ..blocks import Block, word_bytes
from ..device import DeviceConfig
from ..protocol import STORE_BANK, Space
from ..regions import flash_space
from ..stores import FLASH_BLOCK, FLASH_SECTOR, FLASHES

__all__ = ["Memories"]


_SAID = (0x0018_70EF, 0, 0x0018_70EF, 4 << 24 | 1 << 23)
"""A W25Q128JV: maker, type, size; nothing is protected; that it has four lines, and where its region is."""


class Memories:
    """Everything that a device stores.

    Parameters
    ----------
    config : DeviceConfig

    Attributes
    ----------
    program : array of uint32, shape (program_depth,)
    weights : array of uint8, shape (columns, weight_depth, width)
        Bits 0 and 1, as those of `activations`.
    starts : array of int64, shape (columns, threshold_depth)
        Start values of `acc_width` bits.
    scales : array of uint32, shape (columns, threshold_depth)
        Words of the results unit; of no columns without one.
    activations : array of uint8, shape (rows, act_depth, width)
    values : array of int64, shape (rows, value_depth * result_lanes)
        What codes are added to, in the order in which results are made.
    left : int
        Values of a row that the last layer with such additions has written.
    kept : array of int64, shape (rows, scale_depth)
        K of positions.
    store : array of uint32, shape (store_words,)
    flash : array of uint32
        The store, if it is in flash; else what only keeps a network, of `kept_words`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        self.program = np.zeros(config.program_depth, np.uint32)
        self.weights = np.zeros((g.columns, config.weight_depth, g.width), np.uint8)
        self.starts = np.zeros((g.columns, config.threshold_depth), np.int64)
        self.scales = np.zeros((g.columns if config.result_lanes else 0, config.threshold_depth), np.uint32)
        self.activations = np.zeros((g.rows, config.act_depth, g.width), np.uint8)
        self.values = np.zeros((g.rows, config.value_depth * config.result_lanes), np.int64)
        self.left = 0
        self.kept = np.zeros((g.rows, config.scale_depth), np.int64)
        self.store = np.zeros(config.store_words, np.uint32)
        in_flash = config.store_kind in FLASHES
        self.flash = self.store if in_flash else np.zeros(config.kept_words, np.uint32)
        self.flash[:] = 0xFFFF_FFFF

    def write(self, block: Block) -> None:
        """Store a block, as WRITE does.

        Raises
        ------
        CompileError
            If there is no such bank, or the block is longer than the memory.
        """
        config = self.config
        space, first = block.space, block.address
        if space == Space.CHIP:
            self._erase(block)
            return
        memories = (self.program, self.starts, self.weights, self.activations, self.store)
        in_flash = space == flash_space(config)
        bank = self.flash if in_flash else memories[space]
        number, scales = block.bank, space == Space.THRESHOLDS and block.bank >= len(bank)
        if scales:
            bank, number = self.scales, number - len(bank)
        plain = scales or space in (Space.PROGRAM, Space.STORE)
        if space in (Space.STORE, Space.KEPT):
            first += block.bank * STORE_BANK
        elif space != Space.PROGRAM:
            if number >= len(bank):
                raise CompileError(
                    f"a block for bank {block.bank} of {space.name.lower()}, which has {len(bank)}"
                )
            bank = bank[number]
        size = word_bytes(config, space)
        count = len(block.data) // size
        if first + count > len(bank):
            raise CompileError(
                f"a block of {space.name.lower()} reaches word {first + count - 1}, but the memory ends at "
                f"{len(bank) - 1}"
            )
        if in_flash:
            bank[first : first + count] &= np.frombuffer(block.data, "<u4")
        elif plain:
            bank[first : first + count] = np.frombuffer(block.data, "<u4")
        elif space == Space.THRESHOLDS:
            bank[first : first + count] = wrapped(
                np.frombuffer(block.data, "<i4").astype(np.int64), config.acc_width
            )
        else:
            words = np.frombuffer(block.data, np.uint8).reshape(count, size)
            bank[first : first + count] = np.unpackbits(words, axis=-1, bitorder="little")

    def _erase(self, block: Block) -> None:
        for index in range(0, len(block.data), 4):
            size = FLASH_BLOCK if block.data[index] & 1 and len(self.flash) >= FLASH_BLOCK else FLASH_SECTOR
            first = (block.bank * STORE_BANK + block.address + index // 4) // size * size
            self.flash[first : first + size] = 0xFFFF_FFFF

    def read(self, space: Space, bank: int, address: int, words: int) -> bytes:
        """Return words of program or activation memory, of the store or the flash, as READ does."""
        if space == Space.CHIP:
            said = [_SAID[number % 4].to_bytes(4, "little") for number in range(address, address + words)]
            return b"".join(said)
        if space in (Space.STORE, Space.KEPT):
            first, words_of = bank * STORE_BANK + address, self.store if space == Space.STORE else self.flash
            return words_of[first : first + words].astype("<u4").tobytes()
        if space == Space.PROGRAM:
            return self.program[address : address + words].astype("<u4").tobytes()
        return np.packbits(
            self.activations[bank, address : address + words], axis=-1, bitorder="little"
        ).tobytes()


def wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return `values` as registers of `bits` bits hold them, two's complement."""
    half = np.int64(1) << (bits - 1)
    return ((values + half) & (2 * half - 1)) - half
