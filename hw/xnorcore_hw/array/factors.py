"""XNOR-Net's K beside the results unit: signs and magnitudes of codes, and a number for each position."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.scaling import FACTOR_BITS, Scaling

from ..parts.delay import delayed
from ..parts.sizes import bits_for_depth

__all__ = ["FactorMemory", "signs_and_magnitudes"]


def signs_and_magnitudes(m: Module, code: Value, code_last: Value, turns: Value) -> Value:
    """Return a code of so many bits and one more, which `turns` into a sign and a magnitude or stays."""
    bits = len(code)
    top = Cat(code_last == place for place in range(bits))
    below = Cat(code_last > place for place in range(bits))
    negative = Signal(name="below_zero")
    m.d.comb += negative.eq(turns & ~(code & top).any())
    return code ^ (below & negative.replicate(bits))


class FactorMemory(wiring.Component):
    """Keep a number for each position of a layer, and give it at the same position of another one.

    Positions are counted in the order in which they come, from 0 on in each tile.

    Parameters
    ----------
    config : DeviceConfig
        With `scale_depth`.
    late : int
        Cycles from sums to what is kept of them, and one less than to their codes.

    Members
    -------
    begins : In(1)
        A position; its sums pass by from the next cycle on.
    ends : In(1)
        It is the last one of a tile.
    scaling : In(Scaling)
        What the layer of the sums that pass by has to do with K.
    last : In(1)
        They are the last ones of their position.
    numbers : In(rows * 16)
        What is kept of them, `late` cycles later.
    factors : Out(rows * 16)
    multiplied : Out(1)
        A cycle after sums: they are multiplied by these.
    folded : Out(1)
        As late as codes: they are signs and magnitudes.
    """

    def __init__(self, config: DeviceConfig, late: int) -> None:
        self.config, self.late = config, late
        size = config.geometry.rows * FACTOR_BITS
        super().__init__(
            {
                **dict.fromkeys(("begins", "ends", "last"), In(1)),
                "scaling": In(Scaling),
                "numbers": In(size),
                "factors": Out(size),
                **dict.fromkeys(("multiplied", "folded"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, late = self.config, self.late
        following, place = (
            Signal(bits_for_depth(config.scale_depth), name=n) for n in ("following", "place")
        )
        with m.If(self.begins):
            m.d.sync += [following.eq(Mux(self.ends, 0, following + 1)), place.eq(following)]
        written = delayed(m, place, late, "written")
        keeps = delayed(m, self.last & (self.scaling == Scaling.KEPT), late, "keeps")
        m.d.comb += [
            self.multiplied.eq(delayed(m, self.scaling == Scaling.MULTIPLIED, 1, "multiplied")),
            self.folded.eq(delayed(m, self.scaling == Scaling.FOLDED, late + 1, "folded")),
        ]
        for row in range(config.geometry.rows):
            memory = Memory(shape=FACTOR_BITS, depth=config.scale_depth, init=[])
            m.submodules[f"factors{row}"] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(following),
                read.en.eq(self.begins),
                write.addr.eq(written),
                write.data.eq(self.numbers.word_select(row, FACTOR_BITS)),
                write.en.eq(keeps),
                self.factors.word_select(row, FACTOR_BITS).eq(delayed(m, read.data, 1, f"factor{row}")),
            ]
        return m
