"""Which signals of a design are recorded: by their names in the source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from xnorcore.errors import UsageError
from xnorcore.nearest import did_you_mean

from .. import adapter
from ..fast.lanes import find_loops
from ..fast.netlist import LIMB, Bits, Nets

__all__ = ["BEGIN", "END", "Traced", "choose", "dumps", "loads"]

CORE = (
    "sequencer.turns.*", "sequencer.hazards.*", "sequencer.arbiter.*",
    "sequencer.fetch.pc", "sequencer.fetch.last", "sequencer.fetch.load", "sequencer.fetch.go",
    "sequencer.issue.beat", "sequencer.issue.draining", "sequencer.ctl.*", "sequencer.emit",
    "sequencer.operand.*", "sequencer.stalls", "sequencer.fault", "sequencer.layer_done",
    "writer.o.*", "writer.addr", "writer.mask", "writer.bits", "writer.writing", "writer.o__*",
    "writer.layer_done", "writer.batch_done",
    "rows.x", "rows.row0.waddr", "rows.row0.wdata", "rows.row0.wmask",
    "batches.*", "control.*.fsm_state", "responder.fsm_state", "responder.addr", "input.loader.fsm_state",
)  # fmt: skip
"""What ``core`` stands for, below the core: who does what in a cycle, and what is read and written."""

BEGIN, END = "sequencer.fetch.last", "sequencer.layer_done"
"""A pulse for every descriptor that begins, and for every one whose last result is written."""


@dataclass(frozen=True)
class Traced:
    """A value that is recorded.

    Attributes
    ----------
    names : list of list of str
        Paths by which the source knows it, the shortest first; modules, signal, field.
    width : int
    words : dict of int to str
        What values are called, if it is an enumeration.
    """

    names: list[list[str]]
    width: int
    words: dict[int, str]

    @property
    def name(self) -> str:
        """The first of its names, dotted."""
        return ".".join(self.names[0])


def _matches(path: Sequence[str], patterns: Sequence[str]) -> bool:
    dotted = ".".join(path)
    below = dotted.partition(".core.")[2]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in (dotted, below) if name)


def choose(netlist: adapter.Netlist, nets: Nets, pattern: str) -> list[tuple[Traced, Bits]]:
    """Return what a pattern selects.

    Parameters
    ----------
    netlist, nets
        Of the design.
    pattern : str
        ``core``, ``all``, or patterns as file names have them, with commas between: of whole names, or of
        what follows ``core.``. ``all`` leaves out what lies between the registers of processing elements.

    Returns
    -------
    list of (Traced, nets)

    Raises
    ------
    UsageError
        If there is no such signal.
    """
    patterns = {"core": list(CORE), "all": ["*"]}.get(pattern) or pattern.split(",")
    inner = _inner(nets) if pattern == "all" else frozenset()
    found: dict[tuple[Bits, tuple[tuple[int, str], ...]], list[list[str]]] = {}
    known: list[str] = []
    for path, value, words in adapter.named_values(netlist):
        known.append(".".join(path).rpartition(".core.")[2])
        if not _matches(path, patterns):
            continue
        resolved = nets.resolve(value)
        if not any(net >> 16 in inner for net in resolved if net > 1):
            names = found.setdefault((resolved, tuple(words.items())), [])
            if list(path) not in names:
                names.append(list(path))
    if not found:
        meant = did_you_mean(pattern, known)
        raise UsageError(f"no signal is called {pattern!r}{meant}; core and all are possible, too")
    return [
        (Traced(sorted(names, key=lambda name: (len(name), name)), len(value), dict(words)), value)
        for (value, words), names in found.items()
    ]


def _inner(nets: Nets) -> frozenset[int]:
    """Cells whose values exist only inside of a loop over lanes."""
    cells = [index for loop in find_loops(nets) for lane in loop.lanes for index in lane]
    return frozenset(index for index in cells if not nets.is_state(index))


def pulse(netlist: adapter.Netlist, nets: Nets, name: str) -> Bits:
    """Return the nets of a signal below the core; constant 0 if the design has none of that name."""
    for path, value, _ in adapter.named_values(netlist):
        if ".".join(path).endswith(f".core.{name}"):
            return nets.resolve(value)
    return (0,)


def dumps(signals: Sequence[Traced]) -> str:
    """Return signals as JSON."""
    return json.dumps([asdict(signal) for signal in signals])


def loads(text: str) -> list[Traced]:
    """Return the signals that `dumps` wrote."""
    return [
        Traced(each["names"], each["width"], {int(value): word for value, word in each["words"].items()})
        for each in json.loads(text)
    ]


def slots(signals: Sequence[Traced]) -> list[tuple[int, int]]:
    """Return (signal, limb) of each place in which the simulator keeps a last value."""
    return [
        (number, limb) for number, signal in enumerate(signals) for limb in range(-(-signal.width // LIMB))
    ]
