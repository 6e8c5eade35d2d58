"""What the sequencer tells the results unit of sums."""

from __future__ import annotations

from amaranth.lib import data

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.scales import VALUE_BITS, unit_words
from xnorcore.isa.scaling import Scaling

from .interfaces import Emission, bits_for_depth, code_size

__all__ = ["ChangeLayout", "GivenLayout", "unit_place_bits"]


def unit_place_bits(config: DeviceConfig) -> int:
    """Return the bits of a number of cycles in which a part of a position passes the lanes."""
    return max((unit_words(config) - 1).bit_length(), 1)


class ChangeLayout(data.StructLayout):
    """How codes are added to values.

    Members
    -------
    valued : 1
        They are.
    last
        Bits of the codes, minus one; where they are added, `code_last` is that of the result.
    offset : 8
        What they are less.
    adds : 1
        To the values of the layer before, not to 0.
    kept : 1
        The sums are kept.
    short, fresh
        With `config.packed_rows`: words of a position that do not go through the unit, its last ones; first
        ones for which there are no values. 0 where codes are not added.
    """

    def __init__(self, config: DeviceConfig) -> None:
        places = dict.fromkeys(("short", "fresh"), unit_place_bits(config)) if config.packed_rows else {}
        fields = {"valued": 1, "last": code_size(config), "offset": VALUE_BITS, "adds": 1, "kept": 1}
        super().__init__(fields | places)


class GivenLayout(data.StructLayout):
    """What goes with a beat whose sums the results unit takes.

    Members
    -------
    emit : Emission
        Of the beat; `Emission.NONE`, it is none of these.
    code_last
        Bits of its codes, minus one.
    taddr
        Place of the tile's start value.
    change : ChangeLayout
        What becomes of values; only with `config.value_depth`.
    scaling : Scaling
        What its layer has to do with K; only with `config.scale_depth`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        taddr = bits_for_depth(config.threshold_depth)
        change = {"change": ChangeLayout(config)} if config.value_depth else {}
        scaling = {"scaling": Scaling} if config.scale_depth else {}
        super().__init__(
            {"emit": Emission, "code_last": code_size(config), "taddr": taddr, **change, **scaling}
        )
