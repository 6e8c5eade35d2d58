"""How far the read address moves as a layer begins and its loops advance: a small memory, not registers."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DENSE_LOOPS, DESCRIPTOR, LOOPS, levels_of

from ..parts.sizes import bits_for_depth, place_bits

__all__ = ["BASE", "DELTAS", "ONE_WORD", "PLACES", "MoveLayout", "Moves"]

DELTAS = tuple(loop for loop in LOOPS if f"delta_{loop}" in DESCRIPTOR.fields)
"""Loops that change the read address by a distance of the descriptor's; the others go on by one word."""
BASE = DESCRIPTOR.fields["in_base"].word
"""Place of the distance from the region that a layer reads to its first word."""
PLACES = {loop: DESCRIPTOR.fields[f"delta_{loop}"].word for loop in DELTAS}
"""Place of each loop's distance: the number of the descriptor's word that it is in."""
ONE_WORD = 0
"""Place of a distance that is always there."""


class MoveLayout(data.StructLayout):
    """A distance, on its way out of the descriptor.

    Members
    -------
    valid : 1
    place
        `BASE`, or one of `PLACES`.
    distance
        Words and, below them, units of an offset.
    """

    def __init__(self, config: DeviceConfig) -> None:
        distance = bits_for_depth(config.act_depth) + config.offset_bits
        super().__init__({"valid": 1, "place": place_bits(), "distance": distance})

    @staticmethod
    def taken(word: Signal, number: Signal, config: DeviceConfig) -> dict:
        """Return the members for a descriptor's word; `valid` says whether a distance is in it."""
        k, words = config.offset_bits, bits_for_depth(config.act_depth)
        with_bits = [PLACES[loop] for loop in DELTAS if f"bits_{loop}" in DESCRIPTOR.fields]
        has_bits = Cat(number == place for place in with_bits).any()
        low = 16 + config.column_align.bit_length() - 1
        distance = Cat(Mux(has_bits, word[low : low + k], 0), word[:words]) if k else word[:words]
        places = [PLACES[loop] for loop in levels_of(config) if loop in DELTAS]
        valid = Cat(number == place for place in (BASE, *places)).any()
        return {"valid": valid, "place": number, "distance": distance}


class Moves(wiring.Component):
    """Keep a layer's distances, and give them one at a time.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    write : In(MoveLayout)
        Not in a cycle that reads.
    en : In(1)
    place : In
        The distance to read: `BASE`, one of `PLACES`, or `ONE_WORD`.
    distance : Out
        Since the cycle after `en`, until the next one.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        layout = MoveLayout(config)
        super().__init__(
            {
                "write": In(layout),
                "en": In(1),
                "place": In(place_bits()),
                "distance": Out(layout.members["distance"]),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        write, one = self.write, 1 << self.config.offset_bits
        if self.config.convolution:
            init = [one if place == ONE_WORD else 0 for place in range(1 << place_bits())]
            m.submodules.memory = memory = Memory(shape=len(self.distance), depth=len(init), init=init)
            read, port = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.place),
                read.en.eq(self.en),
                self.distance.eq(read.data),
                port.addr.eq(write.place),
                port.data.eq(write.distance),
                port.en.eq(write.valid),
            ]
            return m
        # Of few loops, registers: a small device has no memory block to spare.
        following = Mux(self.place == ONE_WORD, one, 0)
        for place in (BASE, *(PLACES[loop] for loop in DENSE_LOOPS if loop in DELTAS)):
            kept = Signal.like(self.distance, name=f"kept{place}", reset_less=True)
            following = following | Mux(self.place == place, kept, 0)
            with m.If(write.valid & (write.place == place)):
                m.d.sync += kept.eq(write.distance)
        with m.If(self.en):
            m.d.sync += self.distance.eq(following)
        return m
