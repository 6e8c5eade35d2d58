"""The compiled engine with a record of changes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.errors import EngineError
from xnorcore.isa.device import DeviceConfig

from ..compiled import library
from ..engine import Factory, Progress
from ..native import NativeEngine
from .build import recording_backend
from .choose import Traced, loads, slots

__all__ = ["RecordingEngine", "Window"]

Window = tuple[int, int, int]
"""First descriptor of the recorded ones, the one behind the last, counted from the start of the record; and
cycles that are kept after the last result is on its way."""

_TIME = 20
_WHOLE: Window = (0, 0, 0)


class RecordingEngine(NativeEngine):
    """A compiled engine that hands over every change of chosen signals.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
    pattern : str
        As `xnorcore_hw.sim.waves.choose.choose` takes it.
    changed : callable
        ``changed(cycles, signals, values)``: cycle of each change, counted from the start of the record;
        index of the signal; its value. Cycles never fall.
    link, divisor, top, progress
        As for `CompiledEngine`.

    Attributes
    ----------
    signals : list of Traced

    Raises
    ------
    UsageError
        If no signal has such a name.
    EngineError
        As `CompiledEngine`.
    """

    def __init__(
        self,
        config: DeviceConfig,
        clock_hz: int,
        pattern: str,
        changed: Callable[[Sequence[int], Sequence[int], Sequence[int]], None],
        *,
        link: str = "direct",
        divisor: int = 4,
        top: Factory | None = None,
        progress: Progress | None = None,
    ) -> None:
        backend = recording_backend(pattern)
        build = partial(library, backend, config, clock_hz, top=top, progress=progress)
        super().__init__(build, link, divisor, progress)
        lib = self._lib
        device, u64 = ctypes.c_void_p, ctypes.c_uint64
        signatures: tuple[tuple[str, Any, list[Any]], ...] = (
            ("xc_signals", ctypes.c_char_p, []),
            ("xc_record", None, [device, u64, u64, u64]),
            ("xc_changes", u64, [device]),
            ("xc_recorded", u64, [device]),
            ("xc_lost", ctypes.c_int, [device]),
            ("xc_take", None, [device, device]),
        )
        for name, result, arguments in signatures:
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self.signals: list[Traced] = loads(lib.xc_signals().decode())
        places = slots(self.signals)
        self._signal = np.array([signal for signal, _ in places], np.int64)
        self._limb = np.array([limb for _, limb in places], np.int64)
        self._wide = {number for number, limb in places if limb}
        self._values = [[0] * -(-signal.width // 64) for signal in self.signals]
        self._changed = changed

    @property
    def recorded(self) -> int:
        """Cycles since the record was started."""
        return self._lib.xc_recorded(self._open())

    def record(self, window: Window | None = None) -> None:
        """Start the record: of all cycles from now on, or those in which some descriptors run."""
        self._lib.xc_record(self._open(), *(window or _WHOLE))

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock as `NativeEngine.run`, or until many changes wait; hand those over.

        Raises
        ------
        EngineError
            As `NativeEngine.run`, and if the changes do not fit the memory.
        """
        try:
            return super().run(max_cycles)
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        device = self._open()
        if self._lib.xc_lost(device):
            raise EngineError("out of memory: the recorded changes do not fit; record fewer --signals")
        count = self._lib.xc_changes(device)
        if not count:
            return
        data: NDArray[np.uint64] = np.empty((count // 2, 2), np.uint64)
        self._lib.xc_take(device, data.ctypes.data)
        places = (data[:, 0] & np.uint64((1 << _TIME) - 1)).astype(np.int64)
        cycles = (data[:, 0] >> np.uint64(_TIME)).tolist()
        signals, values = self._signal[places].tolist(), data[:, 1].tolist()
        if self._wide:
            self._join(signals, self._limb[places].tolist(), values)
        self._changed(cycles, signals, values)

    def _join(self, signals: list[int], limbs: list[int], values: list[int]) -> None:
        """Make whole numbers of limbs; a signal of several comes once for each limb that changed."""
        for at, number in enumerate(signals):
            if number in self._wide:
                kept = self._values[number]
                kept[limbs[at]] = values[at]
                values[at] = sum(limb << 64 * place for place, limb in enumerate(kept))
