"""What is assumed about a design's inputs, and what is to be proved about it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal, Value

from ..yosys import prove_always, refute, unreached
from .models import MODELS, Platform


class Scenario:
    """A design under proof, its free inputs, assumptions and claims.

    Attributes
    ----------
    m : Module
        Holds the design, and whatever the claims need besides.
    inside : dict
        Signals that the design drives, by name, those of its parts as ``part.name``; a second one of a
        name is ``name#1``. Invariants speak about registers.
    """

    def __init__(self, design: Any, platform: object = None) -> None:
        self.m = Module()
        fragment = Fragment.get(design, platform)
        self.m.submodules.dut = fragment
        self.inside: dict[str, Signal] = {}
        for name, signal in _driven(fragment, ""):
            names = (f"{name}#{number}" if number else name for number in count())
            free = next(n for n in names if self.inside.get(n, signal) is signal)
            self.inside[free] = signal
        self._inputs: list[Signal] = []
        self._assumed: list[Value] = []
        self._claimed: dict[str, Value] = {}
        self._reached: dict[str, Value] = {}
        self._text = ""

    def free(self, shape: Any, name: str) -> Signal:
        """Return an input that may be anything in every cycle."""
        signal = Signal(shape, name=name)
        self._inputs.append(signal)
        return signal

    def drive(self, *signals: Signal) -> None:
        """Let inputs of the design be free."""
        for number, signal in enumerate(signals):
            value = Value.cast(signal)
            free = self.free(len(value), f"free{len(self._inputs)}_{number}")
            self.m.d.comb += value.eq(free)

    def constant(self, shape: Any, name: str) -> Value:
        """Return a value that is anything, but the same in all cycles."""
        given, kept = self.free(shape, f"{name}_given"), Signal(shape, name=f"{name}_kept")
        started, value = Signal(name=f"{name}_started"), Signal(shape, name=name)
        self.m.d.sync += [started.eq(1), kept.eq(value)]
        with self.m.If(started):
            self.m.d.comb += value.eq(kept)
        with self.m.Else():
            self.m.d.comb += value.eq(given)
        return value

    def past(self, value: Any, name: str, init: int = 0) -> Signal:
        """Return the value of the cycle before."""
        value = Value.cast(value)
        before = Signal(len(value), name=name, init=init)
        self.m.d.sync += before.eq(value)
        return before

    def assume(self, value: Any) -> None:
        """Consider only runs in which `value` is 1 in every cycle up to the one that is looked at."""
        self._assumed.append(Value.cast(value).bool())

    def claim(self, value: Any, name: str = "") -> None:
        """Add to what is to be proved: `value` is 1."""
        name = name or str(len(self._claimed))
        assert name not in self._claimed, name
        self._claimed[name] = Value.cast(value).bool()

    def reach(self, value: Any, name: str) -> None:
        """Add to what has to be reached from power-up, with all that is assumed: `value` is 1.

        Without it, a claim about what never happens would be proved as well.
        """
        assert name not in self._reached, name
        self._reached[name] = Value.cast(value).bool()

    def rtlil(self, platform: object = None) -> str:
        """Return the module ``top`` with the output ``ok``, and one for each state that is to be reached."""
        if self._text:
            return self._text
        m, ok = self.m, Signal(name="ok")
        held, holds, right = Signal(name="held", init=1), Signal(name="holds"), Signal(name="right")
        m.d.comb += [holds.eq(held), right.eq(1)]
        for assumption in self._assumed:
            with m.If(~assumption):
                m.d.comb += holds.eq(0)
        for name, claimed in self._claimed.items():
            shown = Signal(name=f"claim_{name}", attrs={"keep": 1})  # although it may be all that is left
            m.d.comb += shown.eq(claimed)
            with m.If(~shown):
                m.d.comb += right.eq(0)
        m.d.sync += held.eq(holds)
        m.d.comb += ok.eq(right | ~holds)
        outputs = [ok]
        for name, reached in self._reached.items():
            outputs.append(Signal(name=f"reach_{name}"))
            m.d.comb += outputs[-1].eq(reached & holds)
        ports = [*self._inputs, *outputs]
        self._text = rtlil.convert(m, ports=ports, name="top", platform=platform)
        return self._text

    def prove(self, folder: Path, steps: int, within: int, family: str = "") -> None:
        """Fail unless all claims hold for ever, and what is to be reached is, `within` so many cycles.

        Parameters
        ----------
        steps : int
            Of induction.
        family : str
            Of an FPGA, whose cells are seen through.
        """
        prove_always(self.rtlil(Platform(family)), folder, steps, MODELS.get(family, ""))
        self.check_reached(folder, within, family)

    def check_reached(self, folder: Path, within: int, family: str = "", anywhere: bool = False) -> None:
        """Fail unless each state that is to be reached is, from power-up or from `anywhere`."""
        assert self._reached, "nothing is to be reached"
        names = [f"reach_{name}" for name in self._reached]
        text = self.rtlil(Platform(family))
        missing = unreached(text, folder, names, within, MODELS.get(family, ""), anywhere)
        assert not missing, f"not reached within {within} cycles: {', '.join(missing)}"

    def refuted(self, folder: Path, cycles: int, family: str = "", after: int = 0) -> set[str]:
        """Return the claims that a counterexample from power-up refutes in its last cycle.

        Fail if there is none of more than `after` and at most `cycles` cycles.
        """
        last = refute(self.rtlil(Platform(family)), folder, cycles, MODELS.get(family, ""), after)[-1]
        assert not last["ok"]
        return {name for name in self._claimed if not last[f"claim_{name}"]}


def _driven(fragment: Fragment, prefix: str) -> Iterator[tuple[str, Signal]]:
    for statements in fragment.statements.values():
        for statement in statements:
            for signal in statement._lhs_signals():
                yield prefix + signal.name, signal
    for part, name, _ in fragment.subfragments:
        yield from _driven(part, f"{prefix}{name}.")
