"""The compiled simulator of a design, with the code that finds changes of some of its signals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiled import Backend, Sources, parts_of
from ..engine import Progress
from ..fast.codegen import CHUNK, Emitter
from ..fast.netlist import LIMB, Nets
from ..fast.schedule import Schedule
from .choose import BEGIN, END, choose, dumps, pulse

if TYPE_CHECKING:
    from amaranth.lib import wiring

__all__ = ["recording_backend"]

_HEADER = Path(__file__).with_name("trace.h")


class _Tracing(Emitter):
    """An emitter that ends with the comparison of recorded values."""

    def __init__(
        self, schedule: Schedule, values: list[tuple[int, ...]], pulses: list[tuple[int, ...]]
    ) -> None:
        super().__init__(schedule)
        self._values, self._pulses = values, pulses

    def extra(self) -> None:
        """Add the lines, in functions of their own."""
        begins, ends = (self.take(nets) for nets in self._pulses)
        self.do(f"++trace.time; trace.step({begins}, {ends});")
        slot = 0
        for nets in self._values:
            for limb in range(-(-len(nets) // LIMB)):
                if slot % CHUNK == 0:
                    self.close()
                    self.do("if (!trace.on) return;")
                value = f"const u64 x = {self.take(nets, limb)};"
                self.do(f"{{ {value} if (x != last[{slot}]) {{ last[{slot}] = x; trace.put({slot}, x); }} }}")
                slot += 1
        self.close()
        self.members = ["  Trace trace;", f"  u64 last[{max(slot, 1)}];"]


def _generate(pattern: str, component: wiring.Component, say: Progress) -> Sources:
    from ..adapter import lower

    netlist = lower(component)
    nets = Nets(netlist)
    chosen = choose(netlist, nets, pattern)
    pulses = [pulse(netlist, nets, name) for name in (BEGIN, END)]
    # What is recorded is as alive as an output.
    ports = dict(nets.outputs)
    extra = [*(value for _, value in chosen), *pulses]
    nets.outputs |= {f"_{number}": value for number, value in enumerate(extra)}
    schedule = Schedule(nets)
    nets.outputs = ports
    emitter = _Tracing(schedule, [value for _, value in chosen], pulses)
    files = emitter.sources(parts_of(schedule))
    text = dumps([signal for signal, _ in chosen])
    # Compilers limit the length of one literal.
    pieces = [json.dumps(text[at : at + 4000]) for at in range(0, len(text), 4000)]
    files |= {
        "design.h": files["design.h"].replace(
            "struct S {", '#include "trace.h"\n#define TRACED\nstruct S {', 1
        ),
        "trace.h": _HEADER.read_text(),
        "signals.cc": '#include "design.h"\nextern "C" const char xc_names[] =\n' + "\n".join(pieces) + ";\n",
    }
    return Sources(files, flags={"lanes.cc": ("-O3",)})


def recording_backend(pattern: str) -> Backend:
    """Return the way to C++ that also finds the changes of the signals that a pattern selects."""
    generate: Callable[[wiring.Component, Progress], Sources] = partial(_generate, pattern)
    return Backend("waves", lambda: (f"amaranth {version('amaranth')}", pattern), generate)
