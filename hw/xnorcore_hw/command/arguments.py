"""What a request names: a place in a memory, and how many words there."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER, counters_of
from xnorcore.isa.protocol import STORE_BANK, Space

from ..memory.stores.port import space_bits, stored_spaces, stores_of
from ..parts.counting import down_or_load
from ..parts.limits import at_least
from .identity import IDENTITY_WORDS

__all__ = ["Arguments"]


class Arguments(wiring.Component):
    """Registers as wide as there are places; that an argument had more bits is kept as well.

    The arguments are those of READ: space, bank, address, words; the last two have two bytes.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    clear : In(1)
        No arguments: the first word of program memory, and as many as INFO sends.
    put : In(1)
        Take a byte of an argument,
    number : In(3)
        which one of the six,
    data : In(8)
        and what it is.
    to_identity, to_network, to_counters : In(1)
        The address becomes that of the answer to INFO, of the program's identifier; the number of words that
        of counters.
    next, next_word : In(1)
        To the next address; one word less, too.
    space, bank, addr, words : Out
    inside : Out(1)
        The place is one of a memory; a cycle after it is known.
    readable : Out(1)
        The memory is one that READ reads; a cycle after it is known.
    exhausted : Out(1)
        No words are left; a cycle after it is known.
    lane_last : Out
        Bytes of a word there, minus one.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.limits = {
            Space.PROGRAM: (1, config.program_depth, 4),
            Space.THRESHOLDS: (g.columns * (2 if config.result_lanes else 1), config.threshold_depth, 4),
            Space.WEIGHTS: (g.columns, config.weight_depth, g.width // 8),
            Space.ACTIVATIONS: (g.rows, config.act_depth, g.width // 8),
        }
        for each, spaces in stores_of(config).values():
            words = each.store_words
            self.limits |= dict.fromkeys(spaces, (-(-words // STORE_BANK), min(words, STORE_BANK), 4))
        """Banks, words and bytes of a word, for each memory."""
        self.config = config
        longest = range(max(IDENTITY_WORDS + depth for _, depth, _ in self.limits.values()))
        commands = ("clear", "put", "to_identity", "to_network", "to_counters", "next", "next_word")
        super().__init__(
            {
                **dict.fromkeys(commands, In(1)),
                "number": In(3),
                "data": In(8),
                "space": Out(space_bits(config)),
                "bank": Out(range(max(banks for banks, _, _ in self.limits.values()))),
                "addr": Out(longest),
                "words": Out(min((longest.stop - 1).bit_length(), 16), init=IDENTITY_WORDS),
                "inside": Out(1),
                "readable": Out(1),
                "exhausted": Out(1),
                "lane_last": Out(range(max(g.width // 8, 8))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        space, bank, addr, words, stray = self.space, self.bank, self.addr, self.words, Signal()
        with m.Switch(space):
            for value, (banks, depth, size) in self.limits.items():
                with m.Case(value):
                    m.d.sync += self.inside.eq(~(at_least(bank, banks) | at_least(addr, depth) | stray))
                    m.d.comb += self.lane_last.eq(size - 1)
            if stored_spaces(self.config):
                with m.Default():
                    m.d.sync += self.inside.eq(0)
        readable = [Space.PROGRAM, Space.ACTIVATIONS, *stored_spaces(self.config)]
        m.d.sync += [self.readable.eq(space.matches(*readable)), self.exhausted.eq((words == 0) & ~stray)]
        puts = [self.put & (self.number == index) for index in range(6)]
        for put, place in zip(puts, (space, bank, addr[:8], addr[8:], words[:8], words[8:]), strict=True):
            with m.If(put):
                m.d.sync += stray.eq(stray | self.data[len(place) :].any())
        for put, place in zip(puts, (space, bank, addr[:8], addr[8:]), strict=False):
            with m.If(put):
                m.d.sync += place.eq(self.data)
        # Whether a word is done is known late: it is no part of what the carries depend on.
        fewer = down_or_load(~self.put, words, self.data.replicate(2))
        for put, part in zip(puts[4:], (slice(0, 8), slice(8, None)), strict=True):
            with m.If(put | self.next_word):
                m.d.sync += words[part].eq(fewer[part])
        with m.If(self.to_identity):
            m.d.sync += addr.eq(self.config.program_depth)
        if self.config.counters:
            with m.If(self.to_counters):
                m.d.sync += words.eq(len(counters_of(self.config)))
        with m.If(self.next | self.next_word):
            m.d.sync += addr.eq(Mux(self.to_network, HEADER.fields["id_low"].word, addr + 1))
        with m.If(self.clear):
            m.d.sync += [space.eq(0), bank.eq(0), addr.eq(0), stray.eq(0), words.eq(IDENTITY_WORDS)]
        return m
