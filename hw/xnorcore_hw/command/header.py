"""Keeps the header of the program that is armed."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER, PROGRAM_MAGIC, header_of

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
    foreign : Out(1)
        The word shows that this is no header; with `config.program_halves`, that of the cycle before.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self._fields, self._halves = header_of(config).fields, config.program_halves
        super().__init__(
            {
                "word": In(32),
                "number": In((HEADER.words - 1).bit_length()),
                "take": In(1),
                "header": Out(HeaderLayout(config)),
                "foreign": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        kept = self.header.shape().members
        for place in range(HEADER.words):
            with m.If(self.take & (self.number == place)):
                for name, field in self._fields.items():
                    if field.word == place and name in kept:
                        m.d.sync += self.header[name].eq(self.word[field.low :][: field.width])
        magic = HEADER.fields["magic"].word
        other = Signal()
        # A word in halves is there for a cycle before it is taken.
        domain = m.d.sync if self._halves else m.d.comb
        domain += other.eq(self.word != PROGRAM_MAGIC)
        m.d.comb += self.foreign.eq((self.number == magic) & other)
        return m
