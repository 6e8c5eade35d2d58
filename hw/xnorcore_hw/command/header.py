"""Keeps the header of the program that is armed."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER, PROGRAM_MAGIC
from xnorcore.isa.protocol import KEY_BYTES

from ..interfaces import HeaderLayout

__all__ = ["HeaderStore"]


class HeaderStore(wiring.Component):
    """Take the words of a header, one by one, and keep what the gateware uses of them.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    word : In(32)
    number : In(4)
        Of the word in the header.
    take : In(1)
    header : Out(HeaderLayout)
    key : Out(8 * KEY_BYTES)
    key_valid : Out(1)
        The word that is taken is the key of the program's images.
    foreign : Out(1)
        The word shows that this is no header.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "word": In(32),
                "number": In((HEADER.words - 1).bit_length()),
                "take": In(1),
                "header": Out(HeaderLayout(config)),
                "key": Out(8 * KEY_BYTES),
                "key_valid": Out(1),
                "foreign": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        kept = self.header.shape().members
        for place in range(HEADER.words):
            with m.If(self.take & (self.number == place)):
                for name, field in HEADER.fields.items():
                    if field.word == place and name in kept:
                        m.d.sync += self.header[name].eq(self.word[field.low :][: field.width])
        magic, key = HEADER.fields["magic"].word, HEADER.fields["id_low"].word
        m.d.comb += [
            self.key.eq(self.word),
            self.key_valid.eq(self.take & (self.number == key)),
            self.foreign.eq((self.number == magic) & (self.word != PROGRAM_MAGIC)),
        ]
        return m
