"""An engine in a shared library, which ``harness.cc`` and a generated ``design.h`` make up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Self

from xnorcore.errors import EngineError

from .engine import check_link


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    device, u64 = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("xc_open", device, [ctypes.c_int, u64]),
        ("xc_close", None, [device]),
        ("xc_reset", None, [device]),
        ("xc_write", ctypes.c_int, [device, ctypes.c_char_p, u64]),
        ("xc_run", u64, [device, u64]),
        ("xc_collect", None, [device, ctypes.c_char_p]),
        ("xc_cycles", u64, [device]),
        ("xc_pending", u64, [device]),
        ("xc_framing_errors", u64, [device]),
        ("xc_memory", ctypes.c_int, [device]),
        ("xc_failed", ctypes.c_char_p, [device]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class NativeEngine:
    """Engine that runs a compiled simulator.

    Parameters
    ----------
    build : callable
        Returns the shared library, building it if it is not there.
    link : str
        ``direct`` or ``uart``.
    divisor : int
        Clock cycles per UART bit.

    Raises
    ------
    UsageError
        If `link` or `divisor` is illegal.
    EngineError
        If the simulator cannot be built or loaded.
    """

    def __init__(self, build: Callable[[], Path], link: str, divisor: int) -> None:
        self._device: int | None = None
        check_link(link, divisor)
        path = build()
        try:
            self._lib = _load(path)
        except (OSError, AttributeError):
            # Damaged, or of another machine that shares the folder: build it again, once.
            path.unlink(missing_ok=True)
            path = build()
            try:
                self._lib = _load(path)
            except (OSError, AttributeError) as error:
                raise EngineError(f"cannot load the compiled simulator {path}: {error}") from error
        self._device = self._lib.xc_open(link == "direct", divisor)
        if not self._device:
            raise EngineError("out of memory: cannot open the simulated device; choose smaller depths")

    @property
    def cycles(self) -> int:
        """Clock cycles run since the engine was opened."""
        return self._lib.xc_cycles(self._open())

    @property
    def pending(self) -> int:
        """Bytes written that are not yet on the wire."""
        return self._lib.xc_pending(self._open())

    @property
    def framing_errors(self) -> int:
        """Bytes from the device without a stop bit, since power-on."""
        return self._lib.xc_framing_errors(self._open())

    def reset(self) -> None:
        """Switch the device off and on."""
        self._lib.xc_reset(self._open())

    def write(self, data: bytes) -> None:
        """Queue bytes towards the device.

        Raises
        ------
        EngineError
            If the engine is closed or the queue does not fit the memory.
        """
        data = bytes(data)
        if not self._lib.xc_write(self._open(), data, len(data)):
            raise EngineError(f"out of memory: cannot queue {len(data)} bytes for the simulated device")

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock until a zero byte arrives, but at most `max_cycles`; return what arrived.

        Raises
        ------
        EngineError
            If an assertion in the gateware fails, or the engine is closed.
        """
        device = self._open()
        size = self._lib.xc_run(device, max(max_cycles, 0))
        place = self._lib.xc_failed(device)
        if place is not None:
            raise EngineError(f"an assertion in the gateware failed in cycle {self.cycles}: {place.decode()}")
        if not self._lib.xc_memory(device):
            raise EngineError("out of memory: the simulated device's output does not fit")
        data = ctypes.create_string_buffer(size)
        if size:
            self._lib.xc_collect(device, data)
        return data.raw

    def close(self) -> None:
        """Release the simulation; closing twice is harmless."""
        if self._device is not None:
            self._lib.xc_close(self._device)
            self._device = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _open(self) -> int:
        if self._device is None:
            raise EngineError("the simulation engine is closed; open a new one")
        return self._device
