"""Who reads the activation memories: the array's beats or a readout."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadoutArbiter"]


class ReadoutArbiter(wiring.Component):
    """Give cycles to readouts: those without a beat, and after 16 cycles one all the same.

    A cycle without a beat promises the next one to the readout: the grant does not wait for the decision
    whether a beat issues, which is late.

    Members
    -------
    valid : In(1)
        A readout is asked for; stays until the `grant`.
    reads : In(1)
        A beat reads in this cycle; not if `barred`.
    bar : In(1)
        There is to be no beat in the next cycle, for a reason of the beats' own.
    grant : Out(1)
        The readout reads in this cycle.
    barred : Out(1)
        No beat may issue in this cycle.
    """

    def __init__(self) -> None:
        super().__init__({"valid": In(1), "reads": In(1), "bar": In(1), "grant": Out(1), "barred": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        age, promised, promises = Signal(4, name="age"), Signal(), Signal()
        m.d.comb += [
            promises.eq(self.valid & ~promised & (~self.reads | age.all())),
            self.grant.eq(promised),
        ]
        m.d.sync += [promised.eq(promises), self.barred.eq(promises | self.bar)]
        with m.If(promised | ~self.valid):
            m.d.sync += age.eq(0)
        with m.Elif(~age.all()):
            m.d.sync += age.eq(age + 1)
        return m
