"""Amaranth's private modules: a design's fine netlist, its cells, and RTLIL without contents that are zero.

Nothing else touches them: what a new release of Amaranth changes, it changes in this file. RTLIL could come
from the public `amaranth.back.rtlil.convert`, which writes every bit of an empty memory: for an array of
1 x 32 x 32 that takes 20 s in place of 3.5 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import _ir
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._nir import (
    AnyValue,
    AssignmentList,
    AsyncProperty,
    AsyncReadPort,
    FlipFlop,
    Initial,
    Matches,
    Netlist,
    Operator,
    Part,
    PriorityMatch,
    SyncProperty,
    SyncReadPort,
    SyncWritePort,
)  # fmt: skip
from amaranth.lib import wiring

from .models.single import SIMULATED

__all__ = [
    "AnyValue", "AssignmentList", "AsyncProperty", "AsyncReadPort", "FlipFlop", "Initial",
    "Matches", "Netlist", "Operator", "Part", "PriorityMatch",
    "SyncProperty", "SyncReadPort", "SyncWritePort",
    "lower", "named_values", "to_rtlil", "top_ports",
]  # fmt: skip


def top_ports(component: wiring.Component) -> dict[str, tuple[Any, bool]]:
    """Return each port's signal, and whether it is an input; nested names are joined by two underscores."""
    ports: dict[str, tuple[Any, bool]] = {}
    for path, member, value in component.signature.flatten(component):
        signal = value.as_value() if hasattr(value, "as_value") else value
        ports["__".join(str(name) for name in path)] = (signal, member.flow == wiring.In)
    return ports


def _ports(component: wiring.Component) -> dict[str, tuple[Any, _ir.PortDirection]]:
    directions = {True: _ir.PortDirection.Input, False: _ir.PortDirection.Output}
    return {name: (signal, directions[inward]) for name, (signal, inward) in top_ports(component).items()}


def lower(component: wiring.Component) -> Netlist:
    """Elaborate a component into a netlist with its ports, ``clk`` and ``rst`` as top-level ports.

    The checks for combinational loops that Amaranth makes here cost more time than the whole rest
    of the build; `Schedule` finds those loops anyway.
    """
    design = _ir.Fragment.get(component, SIMULATED).prepare(ports=_ports(component), hierarchy=("top",))
    netlist = Netlist()
    _ir._emit_netlist(netlist, design)
    netlist.resolve_all_nets()
    return netlist


def named_values(netlist: Netlist) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], dict[int, str]]]:
    """Yield every signal that has a name in its source, or its fields if it is a structure.

    Yields
    ------
    path : tuple of str
        Modules from the top down, then the signal, then the field. A signal comes once for each module that
        knows it by a name of its own.
    nets : tuple of int
        Lowest bit first.
    words : dict of int to str
        What values are called, of an enumeration and of a state machine's state.
    """
    for module in netlist.modules:
        place = tuple(str(name).partition("$")[0] for name in module.name)
        for signal, name in module.signal_names.items():
            if "$" in name or name in ("clk", "rst") or signal not in netlist.signals or not len(signal):
                continue
            every = netlist.signal_fields.get(signal, {})
            fields = {path: f for path, f in every.items() if path}
            leaves = [path for path in fields if not any(o[: len(path)] == path != o for o in fields)]
            for path in leaves:
                nets = tuple(int(net) for net in netlist.resolve_value(fields[path].value))
                if nets:
                    yield (*place, name, *map(str, path)), nets, dict(fields[path].enum_variants or {})
            if not leaves:
                words = dict(every[()].enum_variants or {}) if () in every else {}
                nets = tuple(int(net) for net in netlist.signals[signal])
                yield (*place, name), nets, words or _words(signal)


def _words(signal: Any) -> dict[int, str]:
    decoder = signal._decoder
    if decoder is None or len(signal) > 8:
        return {}
    words: dict[int, str] = {}
    for value in range(1 << len(signal)):
        with suppress(KeyError, ValueError):
            said = decoder(value)
            words[value] = str(getattr(said, "name", said)).partition("/")[0]
    return words


class _ModuleEmitter(rtlil.ModuleEmitter):
    """Leaves out contents of memories that are all zero, as CXXRTL's are at power-on."""

    def emit_memory(self, cell_idx: int, cell: Any) -> None:
        """Write the contents of a memory."""
        if any(cell.init):
            super().emit_memory(cell_idx, cell)


def to_rtlil(component: wiring.Component) -> str:
    """Return a component as RTLIL text, its top module named ``top``."""
    netlist = _ir.build_netlist(_ir.Fragment.get(component, SIMULATED), ports=_ports(component))
    empty = rtlil.EmptyModuleChecker(netlist)
    names, text = SignalDict(), rtlil.Design(emit_src=True)
    for index, module in enumerate(netlist.modules):
        if not empty.is_empty(index):
            builder = text.module(".".join(module.name), src_loc=module.src_loc)
            if index == 0:
                builder.attribute("top", 1)
            _ModuleEmitter(builder, netlist, module, names, empty_checker=empty).emit()
    return str(text)
