"""The netlist of a finished build as a device: the ``netlist:`` URL."""

from __future__ import annotations

import json
import math
from pathlib import Path

from xnorcore.errors import UsageError

from ..board import find_board
from .core import netlist_circuit
from .engine import NetlistEngine, Say, read_top

__all__ = ["NetlistTransport", "open_netlist"]

SLICE = 20_000
"""Cycles between two looks at Ctrl-C."""


class NetlistTransport:
    """A `Transport` to a netlist, in its time; the clock runs while `read` waits.

    Parameters
    ----------
    engine : NetlistEngine
    clock_hz : int
        Cycles per second.
    name : str
        What messages call it.

    Attributes
    ----------
    cycles : int
        Clock cycles that have run.
    """

    def __init__(self, engine: NetlistEngine, clock_hz: int, name: str = "netlist:") -> None:
        self.engine, self.clock_hz, self.name = engine, clock_hz, name
        self.cycles = engine.cycles

    def write(self, data: bytes) -> None:
        """Queue `data`; it moves while `read` waits."""
        self.engine.write(data)

    def read(self, timeout: float) -> bytes:
        """Run the device until something arrives, for at most `timeout` seconds of its time."""
        end = self.cycles + math.ceil(timeout * self.clock_hz)
        while (left := end - self.cycles) > 0:
            data = self.engine.run(min(left, SLICE))
            self.cycles = self.engine.cycles
            if data:
                return data
        return b""

    def now(self) -> float:
        """Return seconds of device time."""
        return self.cycles / self.clock_hz

    def discard(self) -> None:
        """Drop what has arrived; nothing has, because bytes arrive only while `read` waits."""

    def close(self) -> None:
        """Stop the simulation."""
        self.engine.close()


def open_netlist(folder: str, *, progress: Say | None = None) -> NetlistTransport:
    """Open the netlist of a build; entry point of ``netlist:FOLDER``.

    Parameters
    ----------
    folder : str
        Build folder of ``xnorcore build``.
    progress : callable, optional
        Called with one line of text before slow work.

    Raises
    ------
    UsageError
        If it is not the folder of a finished build.
    EngineError
        If the netlist cannot be simulated.
    """
    path = Path(folder)
    try:
        build = json.loads((path / "build.json").read_text())
        board, clock_hz, divisor = build["board"], int(build["clock_hz"]), int(build["divisor"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{folder or 'netlist:'} is not the folder of a finished build; run xnorcore build BOARD and "
            "write netlist:FOLDER"
        ) from None
    circuit = netlist_circuit(read_top(path / "top.json"), find_board(board))
    engine = NetlistEngine(circuit, clock_hz, divisor, progress)
    return NetlistTransport(engine, clock_hz, f"netlist:{folder}")
