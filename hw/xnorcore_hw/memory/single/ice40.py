"""SPRAM of the iCE40 UltraPlus: 16,384 words of 16 bits, of one port."""

from __future__ import annotations

from amaranth import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value

from .generic import Access, SingleMemory

__all__ = ["SPRAM_DEPTH", "SPRAM_WIDTH", "Ice40Spram"]

SPRAM_DEPTH, SPRAM_WIDTH = 1 << 14, 16
_NIBBLES = SPRAM_WIDTH // 4


class Ice40Spram(SingleMemory):
    """SB_SPRAM256KA, as many side by side as a word needs, and as many behind each other as the depth does.

    A block has a write enable for each four bits, which lanes are made of.
    """

    def add(self, m: Module, access: Access, depth: int) -> Value:
        """Add the blocks."""
        width, lanes = len(access.data), len(access.mask)
        across, banks = -(-width // SPRAM_WIDTH), -(-depth // SPRAM_DEPTH)
        nibbles = Cat(lane.replicate(width // lanes // 4) for lane in access.mask)
        # Of an unused bank nothing is asked; which one was read is known when its word comes.
        low, bank = access.addr[:14], access.addr[14:]
        read_bank = Signal(max(len(bank), 1), name="read_bank")
        if banks > 1:
            m.d.sync += read_bank.eq(bank)
        words = []
        for number in range(banks):
            word = Signal(across * SPRAM_WIDTH, name=f"word{number}")
            for part in range(across):
                mask, data = Signal(_NIBBLES), Signal(SPRAM_WIDTH)
                m.d.comb += [
                    mask.eq(nibbles[part * _NIBBLES :]),
                    data.eq(access.data[part * SPRAM_WIDTH :]),
                ]
                address = Signal(14)
                m.d.comb += address.eq(low)
                here = bank == number if banks > 1 else Const(1, 1)
                m.submodules[f"spram{number}_{part}"] = self.block(
                    address, access.write, mask, data, here, word[part * SPRAM_WIDTH :][:SPRAM_WIDTH]
                )
            words.append(word[:width])
        return Array(words)[read_bank] if banks > 1 else words[0]

    def block(
        self, address: Value, write: Value, mask: Value, data: Value, select: Value, word: Value
    ) -> Instance:
        """Return one block, which is never switched off."""
        return Instance(
            "SB_SPRAM256KA",
            i_ADDRESS=address, i_DATAIN=data, i_MASKWREN=mask, i_WREN=write, i_CHIPSELECT=select,
            i_CLOCK=ClockSignal(), i_STANDBY=Const(0, 1), i_SLEEP=Const(0, 1), i_POWEROFF=Const(1, 1),
            o_DATAOUT=word,
        )  # fmt: skip
