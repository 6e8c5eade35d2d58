"""Who has the activation memories: the array's beats, results, a readout or a byte from the link."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadoutArbiter"]


class ReadoutArbiter(wiring.Component):
    """Give cycles to readouts: those without a beat, and after 16 cycles one all the same.

    A cycle without a beat promises the next one to the readout: the grant does not wait for the decision
    whether a beat issues, which is late. Memories of one port are given to bytes from the link in the same
    way, but not in cycles that write a result, in which nothing is read.

    Parameters
    ----------
    ports : int
        Of each activation memory.

    Members
    -------
    valid : In(1)
        A readout is asked for; stays until the `grant`.
    reads : In(1)
        A beat reads in this cycle; not if `barred`, or if `writes`.
    bar : In(1)
        There is to be no beat in the next cycle, for a reason of the beats' own.
    result : In(1)
        Only with one port: a result is written in the next cycle.
    grant : Out(1)
        The readout reads in this cycle.
    barred : Out(1)
        No beat may issue in this cycle.
    writes : Out(1)
        Only with one port: none that reads may, since a result is written.
    """

    def __init__(self, ports: int = 2) -> None:
        self.ports = ports
        single = {"result": In(1), "writes": Out(1)} if ports == 1 else {}
        super().__init__(
            {"valid": In(1), "reads": In(1), "bar": In(1), **single, "grant": Out(1), "barred": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        age, promised, promises = Signal(4, name="age"), Signal(), Signal()
        free = self.valid & ~promised & (~self.reads | age.all())
        if self.ports == 1:
            free &= ~self.result
            m.d.sync += self.writes.eq(self.result)
        m.d.comb += [
            promises.eq(free),
            self.grant.eq(promised),
        ]
        m.d.sync += [promised.eq(promises), self.barred.eq(promises | self.bar)]
        with m.If(promised | ~self.valid):
            m.d.sync += age.eq(0)
        with m.Elif(~age.all()):
            m.d.sync += age.eq(age + 1)
        return m
