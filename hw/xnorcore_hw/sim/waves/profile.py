"""Where the cycles of a run go: every cycle's cause, counted for each descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator, Callback
from xnorcore.runtime.measure import measure
from xnorcore.runtime.upload import Progress

from ...sequence.sequencer import stalls
from ..transport import SimOptions, SimTransport
from .engine import RecordingEngine

__all__ = ["profile"]

_AT_ONCE = 100_000
_CAUSES, _ISSUED = "sequencer.stalls", "sequencer.issue.last"
BETWEEN = ("tail", "wait_output", "wait_input")
"""Causes of cycles in which no descriptor is at work."""


class _Count:
    """Adds up cycles by descriptor and cause."""

    def __init__(self, descriptors: int, causes: Sequence[str]) -> None:
        self.cycles = np.zeros((descriptors, len(causes)), np.int64)
        self.between = np.zeros(len(causes), np.int64)
        self._idle = [causes.index(name) for name in BETWEEN]
        self._cause, self._since, self._done, self._at = -1, 0, False, 0
        self.causes = self.issued = 0

    def _upto(self, cycle: int) -> None:
        """Count the cycles before this one, in which nothing changed."""
        passed, self._since = cycle - self._since, cycle
        if not passed:
            return
        if self._cause in self._idle:
            self.between[self._cause] += passed
        elif self._cause >= 0:
            self.cycles[self._at % len(self.cycles), self._cause] += passed
        # The pulse takes one cycle, which belongs to the descriptor that it ends; it may stand for several.
        if self._done:
            self._at += passed

    def changed(self, cycles: Sequence[int], signals: Sequence[int], values: Sequence[int]) -> None:
        for cycle, signal, value in zip(cycles, signals, values, strict=True):
            self._upto(cycle)
            if signal == self.causes:
                self._cause = value.bit_length() - 1
            else:
                self._done = bool(value)

    def finish(self, cycle: int) -> None:
        self._upto(cycle + 1)


def profile(
    spec: str, network: Network, images: NDArray[np.uint8], *, progress: Callback | None = None
) -> dict[str, Any]:
    """Run images on a simulated device, and say for each descriptor what its cycles went to.

    Parameters
    ----------
    spec : str
        As `xnorcore_hw.sim.transport.open_sim` takes it.
    network : Network
        That runs in one pass.
    images : array of uint8, shape (n, values)
        All in one call.
    progress : callable, optional
        As for `Accelerator.open`.

    Returns
    -------
    dict
        ``descriptors``, in their order: cycles by cause, of the whole run; ``between``: those in which no
        descriptor is at work; ``measurement``: as `Measurement.as_dict`; ``results``: array of the outputs.

    Raises
    ------
    EngineError
        If the simulator cannot be built.
    LinkError
        As `Accelerator.infer`.
    """
    options = SimOptions.parse(spec)
    counts: list[_Count] = []

    def say(text: str) -> None:
        if progress is not None:
            progress(Progress("build", message=text))

    engine = RecordingEngine(
        options.config, options.clock_hz, f"{_CAUSES},{_ISSUED}", lambda *c: counts[0].changed(*c),
        link=options.link, divisor=options.divisor, progress=say,
    )  # fmt: skip
    transport = SimTransport(options, engine, f"sim:{spec}", at_once=_AT_ONCE)
    with Accelerator(Session(transport, timeout=1.0, retries=5), progress) as accelerator:
        accelerator.load(network)
        causes = stalls(options.config)
        count = _Count(len(accelerator.program.sections[0].parts), causes)
        names = [[name for path in signal.names for name in [".".join(path)]] for signal in engine.signals]
        count.causes = next(at for at, own in enumerate(names) if any(n.endswith(_CAUSES) for n in own))
        counts.append(count)
        engine.record()
        results, measured = measure(accelerator, images)
        count.finish(engine.recorded)
    rows = [dict(zip(causes, map(int, row), strict=True)) for row in count.cycles]
    between = {
        name: int(number) for name, number in zip(causes, count.between, strict=True) if name in BETWEEN
    }
    return {"descriptors": rows, "between": between, "measurement": measured.as_dict(), "results": results}
