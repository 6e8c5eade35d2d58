"""What a nest needs to know of a layer's loops, and with how many bits."""

from __future__ import annotations

from amaranth.lib import data

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, levels_of

from ..interfaces import code_size
from ..parts.sizes import bits_for_depth

__all__ = ["LoopLayout", "loop_bits"]


def loop_bits(config: DeviceConfig) -> dict[str, int]:
    """Return the bits of all that a nest needs to know of a layer, by the names in its descriptor.

    No loop is longer than the memory that it walks through.
    """
    fields = DESCRIPTOR.fields
    raddr, waddr = bits_for_depth(config.act_depth), bits_for_depth(config.weight_depth)
    levels = levels_of(config)
    longest = dict.fromkeys(levels, raddr) | dict.fromkeys(("run", "tile"), waddr)
    bits = {f"{loop}_last": min(fields[f"{loop}_last"].width, longest[loop]) for loop in levels}
    bases = {"weight_base": waddr, "threshold_base": bits_for_depth(config.threshold_depth)}
    codes = {"code_last": code_size(config)} if config.code_bits > 1 else {}
    if "copy" in levels:
        codes["single_last"] = bits["copy_last"]
    if config.row_sums:
        codes["near"] = bits["copy_last"]
    stream = {"stream": 1} if config.store_words else {}
    edges = dict.fromkeys(("edge_left", "edge_right"), 1) if config.packed_rows else {}
    return bits | {"double": 1, "read_base": raddr} | bases | stream | codes | edges


class LoopLayout(data.StructLayout):
    """The loops of a layer.

    Members
    -------
    <loop>_last
        Count of each loop, minus one.
    read_base
        Region that is read; the first address is `BASE` further on.
    weight_base, threshold_base
        First addresses.
    double
        The accumulator doubles between planes, and every plane takes a part of the start value.
    single_last
        Copies that count once, minus one: in front of these the accumulator doubles, but for a position's
        first beat. Where weights may have several bits.
    near
        If it is not 0, all copies but so many of the last ones count four times. With `config.row_sums`.
    stream
        Weights and start values go on where those of the layer before have ended. On a device with a store.
    code_last
        A tile has a start value for each threshold of codes of so many bits and one more. Where there are
        codes.
    edge_left, edge_right
        The first (last) position along x has weights of its own. With `config.packed_rows`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(loop_bits(config))
