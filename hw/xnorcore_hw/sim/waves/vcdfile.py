"""A VCD file of recorded changes, and what GTKWave and Surfer open it with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from vcd import VCDWriter
from vcd.gtkw import GTKWSave

from .choose import Traced

__all__ = ["VcdFile", "view_files"]

_FIRST = (
    "sequencer.turns.fsm_state", "sequencer.fetch.last", "sequencer.issue.beat", "sequencer.stalls",
    "sequencer.operand.addr", "rows.x", "sequencer.ctl", "sequencer.emit", "writer.o", "writer.layer_done",
    "writer.batch_done", "batches.loaded", "batches.ready", "responder.fsm_state", "control.infer.fsm_state",
)  # fmt: skip
_MOST_SHOWN = 60


class VcdFile:
    """Writes changes as they come; one unit of time is one clock cycle.

    Parameters
    ----------
    file : text file
        Open for writing; closed by `close`.
    signals : sequence of Traced
    """

    def __init__(self, file: IO[str], signals: Sequence[Traced]) -> None:
        self._file, self._signals = file, signals
        self._writer: VCDWriter | None = None
        self._variables: list[Any] = []
        self._words = [signal.words for signal in signals]
        self.changes = 0
        self.first: int | None = None
        self.last = 0

    def changed(self, cycles: Sequence[int], signals: Sequence[int], values: Sequence[int]) -> None:
        """Write changes.

        Parameters
        ----------
        cycles : sequence of int
            Never falling, from call to call neither.
        signals, values : sequence of int
            Which signal, and its value from that cycle on.
        """
        if self._writer is None:
            self._begin(cycles[0])
        assert self._writer is not None
        change, variables, words = self._writer.change, self._variables, self._words
        for cycle, number, value in zip(cycles, signals, values, strict=True):
            said = words[number]
            change(variables[number], cycle, said.get(value, str(value)) if said else value)
        self.changes += len(cycles)
        self.last = cycles[-1]

    def _begin(self, cycle: int) -> None:
        comment = "xnorcore; one unit of time is one clock cycle"
        self._writer = VCDWriter(
            self._file, timescale="1 ns", comment=comment, date="", init_timestamp=cycle, check_values=False
        )
        self.first = cycle
        for signal in self._signals:
            kind = "string" if signal.words else "wire"
            (*scope, name), *others = signal.names
            start: Any = signal.words.get(0, "0") if signal.words else 0
            variable = self._writer.register_var(
                scope, name, kind, size=1 if signal.words else signal.width, init=start
            )
            for *where, alias in others:
                self._writer.register_alias(where, alias, variable)
            self._variables.append(variable)

    def close(self, cycle: int) -> None:
        """End the file at a cycle, or at the last change if that comes later; twice is harmless."""
        if self._file.closed:
            return
        if self._writer is None:
            self._begin(cycle)
        assert self._writer is not None
        self._writer.close(max(cycle, self.last))
        self._file.close()


def _shown(signals: Sequence[Traced]) -> dict[str, list[tuple[str, int]]]:
    """Signals to open with: by group, (path, width), width 0 for words."""
    rank = {name: place for place, name in enumerate(_FIRST)}

    def place(signal: Traced) -> int:
        below = [".".join(name).rpartition(".core.")[2] for name in signal.names]
        ranks = [rank[name] for path in below for name in (path, path.rpartition(".")[0]) if name in rank]
        return min(ranks, default=len(rank))

    chosen = sorted(signals, key=place)
    useful = [signal for signal in chosen if place(signal) < len(rank)] or chosen
    groups: dict[str, list[tuple[str, int]]] = {}
    for signal in useful[:_MOST_SHOWN]:
        path = min(
            (name for name in signal.names),
            key=lambda name: (".".join(name).rpartition(".core.")[2] not in rank, len(name)),
        )
        below = ".".join(path[:-1]).rpartition(".core.")[2] or path[0]
        width = 0 if signal.words else signal.width
        groups.setdefault(below.partition(".")[0], []).append((".".join(path), width))
    return groups


def view_files(vcd: Path, signals: Sequence[Traced]) -> list[Path]:
    """Write what opens a VCD file with its useful signals, beside it.

    Returns
    -------
    list of Path
        A save file of GTKWave, and a command file of Surfer.
    """
    groups = _shown(signals)
    save, commands = vcd.with_suffix(".gtkw"), vcd.with_suffix(".sucl")
    with save.open("w", encoding="utf-8") as file:
        gtkw = GTKWSave(file)
        gtkw.dumpfile(vcd.name, abspath=False)
        gtkw.treeopen("top.")
        for group, members in groups.items():
            with gtkw.group(group):
                for path, width in members:
                    name = f"{path}[{width - 1}:0]" if width > 1 else path
                    gtkw.trace(name, datafmt="hex" if width else "ascii")
    lines: list[str] = []
    for group, members in groups.items():
        lines += [f"divider_add {group}", *(f"variable_add {path}" for path, _ in members)]
    commands.write_text("\n".join([*lines, "zoom_fit", ""]), encoding="utf-8")
    return [save, commands]
