"""A simulated device as a transport of the driver, whose waveform goes into a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xnorcore.errors import UsageError

from ..engine import Progress
from ..transport import SimOptions, SimTransport
from .engine import RecordingEngine, Window
from .vcdfile import VcdFile, view_files

__all__ = ["Recording", "open_recording"]

_AT_ONCE = 20_000
TAIL = 4
"""Cycles kept after a layer's last result is on its way: until it is in memory."""


@dataclass
class Recording:
    """A simulated device that is being recorded.

    Attributes
    ----------
    transport : SimTransport
    engine : RecordingEngine
    file : VcdFile
    path : Path
    windowed : bool
        Not all of the run is kept.
    """

    transport: SimTransport
    engine: RecordingEngine
    file: VcdFile
    path: Path
    windowed: bool = False

    def start(self, descriptors: tuple[int, int] | None = None) -> None:
        """Start the record: of everything, or of some of the descriptors that run from now on.

        Parameters
        ----------
        descriptors : (int, int), optional
            The first one, counted from now, and the one behind the last.
        """
        window: Window | None = None if descriptors is None else (*descriptors, TAIL)
        self.windowed = window is not None
        self.engine.record(window)

    def close(self) -> None:
        """End the file."""
        self.file.close(self.file.last + 1 if self.windowed else self.engine.recorded)

    def finish(self) -> dict[str, Any]:
        """End the file and write what opens it; return what was recorded, in the form of ``--json``."""
        self.close()
        others = view_files(self.path, self.engine.signals)
        return {
            "file": str(self.path),
            "views": [str(path) for path in others],
            "signals": len(self.engine.signals),
            "changes": self.file.changes,
            "first_cycle": self.file.first,
        }


def open_recording(spec: str, path: str, pattern: str, *, progress: Progress | None = None) -> Recording:
    """Open a simulated device whose changes go into a VCD file.

    Parameters
    ----------
    spec : str
        As `xnorcore_hw.sim.transport.open_sim` takes it.
    path : str
        Of the file; replaced if it is there.
    pattern : str
        Signals, as `xnorcore_hw.sim.waves.choose.choose` takes them.
    progress : callable, optional
        Called with a line of text while the simulator is built.

    Raises
    ------
    UsageError
        If an option is wrong, no signal has such a name, or the file cannot be written.
    EngineError
        If the simulator cannot be built.
    """
    options = SimOptions.parse(spec)
    if options.engine != "compiled":
        raise UsageError(f"--vcd needs the compiled engine, not {options.engine!r}; leave --engine out")
    place = Path(path)
    waves: list[VcdFile] = []
    engine = RecordingEngine(
        options.config, options.clock_hz, pattern, lambda *changes: waves[0].changed(*changes),
        link=options.link, divisor=options.divisor, progress=progress,
    )  # fmt: skip
    try:
        file = place.open("w", encoding="ascii")
    except OSError as error:
        engine.close()
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    waves.append(VcdFile(file, engine.signals))
    transport = SimTransport(options, engine, f"sim:{spec}", at_once=_AT_ONCE)
    return Recording(transport, engine, waves[0], place)
