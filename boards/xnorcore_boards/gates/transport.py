"""The netlist of a finished build as a device: the ``netlist:`` URL."""

from __future__ import annotations

import json
from pathlib import Path

from xnorcore.errors import GeometryError, UsageError
from xnorcore.isa.device import DeviceConfig
from xnorcore_hw.sim.engine_transport import EngineTransport

from ..board import find_board
from .core import netlist_circuit
from .engine import NetlistEngine, Say, read_top

__all__ = ["netlist_transport", "open_netlist"]

AT_ONCE = 20_000
"""Cycles between two looks at Ctrl-C."""


def netlist_transport(engine: NetlistEngine, clock_hz: int, name: str = "netlist:") -> EngineTransport:
    """Return a transport to a netlist, in its time, that messages call `name`."""
    return EngineTransport(engine, clock_hz, name, AT_ONCE)


def open_netlist(folder: str, *, progress: Say | None = None) -> EngineTransport:
    """Open the netlist of a build; entry point of ``netlist:FOLDER``, or ``netlist:board=NAME``.

    Parameters
    ----------
    folder : str
        Build folder of ``xnorcore build``; ``board=NAME``: the one of the board's own array.
    progress : callable, optional
        Called with one line of text before slow work.

    Raises
    ------
    UsageError
        If it is not the folder of a finished build, or there is no such board.
    EngineError
        If the netlist cannot be simulated.
    """
    if folder.startswith("board="):
        own = find_board(folder.removeprefix("board="))
        folder = f"build/{own.name}-{own.config.geometry}"
    path = Path(folder)
    try:
        build = json.loads((path / "build.json").read_text())
        board, clock_hz, divisor = build["board"], int(build["clock_hz"]), int(build["divisor"])
        config = DeviceConfig.parse(**build["config"])
    except (OSError, ValueError, KeyError, TypeError, GeometryError):
        raise UsageError(
            f"{folder or 'netlist:'} is not the folder of a finished build; run xnorcore build BOARD and "
            "write netlist:FOLDER"
        ) from None
    circuit = netlist_circuit(read_top(path / "top.json"), find_board(board), config)
    engine = NetlistEngine(circuit, clock_hz, divisor, progress)
    return netlist_transport(engine, clock_hz, f"netlist:{folder}")
