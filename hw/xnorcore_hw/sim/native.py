"""An engine in a shared library, which ``harness.cc`` and a generated ``design.h`` make up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Self

from xnorcore.errors import EngineError, UsageError

from . import cache
from .engine import Progress, check_link

TO_DEVICE, TO_HOST = 0, 1


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
        ("xc_restart", None, [device]),
        ("xc_pace", None, [device, u64]),
        ("xc_noise", None, [device, ctypes.c_int, u64, ctypes.c_uint32, ctypes.c_uint32, u64]),
        ("xc_frames", u64, [device, ctypes.c_int]),
        ("xc_damaged", u64, [device, ctypes.c_int]),
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
    progress : callable, optional
        Told in a line of text about a library that cannot be loaded, and is built again.

    Raises
    ------
    UsageError
        If `link` or `divisor` is illegal.
    EngineError
        If the simulator cannot be built or loaded.
    """

    def __init__(
        self, build: Callable[[], Path], link: str, divisor: int, progress: Progress | None = None
    ) -> None:
        self._device: int | None = None
        self._divisor = divisor
        check_link(link, divisor)
        path = build()
        try:
            self._lib = _load(path)
        except (OSError, AttributeError):
            # Of another machine that shares the folder: build it again, once.
            if progress is not None:
                progress(f"simulator {path.name} in the cache cannot be loaded here: building it again")
            cache.discard(path)
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

    def restart(self) -> None:
        """Switch the device off and on as `reset` does, but leave the host and the lines as they are."""
        self._lib.xc_restart(self._open())

    def pace(self, ratio: float) -> None:
        """Let the host's UART run `ratio` times as fast as the device's; link ``uart``.

        Raises
        ------
        UsageError
            If `ratio` is not 0.5 to 2.
        """
        if not 0.5 <= ratio <= 2:
            raise UsageError(f"ratio is {ratio}, but must be 0.5 to 2")
        self._lib.xc_pace(self._open(), round(self._divisor * 65536 / ratio))

    def disturb(
        self, direction: int, seed: int, flips: float = 0, breaks: float = 0, longest: int = 1
    ) -> None:
        """Disturb one of the lines from now on; link ``uart``. `reset` does not end it.

        Parameters
        ----------
        direction : int
            `TO_DEVICE` or `TO_HOST`.
        seed : int
            Of the disturbance, not 0; 0 ends it.
        flips : float
            Chance that the line is inverted for a bit time, whether or not a byte is sent.
        breaks : float
            Chance that a break begins in a bit time: the line is low.
        longest : int
            A break has 1 to this many bit times.

        Raises
        ------
        UsageError
            If a chance is not 0 to 0.5, or `longest` is not positive.
        """
        for name, chance in (("flips", flips), ("breaks", breaks)):
            if not 0 <= chance <= 0.5:
                raise UsageError(f"{name} is {chance}, but must be 0 to 0.5")
        if longest < 1:
            raise UsageError(f"longest is {longest}, but must be at least 1")
        low, high = round(flips * 2**32), round(breaks * 2**32)
        self._lib.xc_noise(self._open(), direction, seed & (2**64 - 1), low, high, longest)

    def frames(self, direction: int) -> tuple[int, int]:
        """Return the frames that passed on a line since `reset`, and how many of them `disturb` hit.

        Those to the host are counted while that line is being disturbed. A frame counts as hit if the line
        was disturbed between the end of the frame before it and its own.
        """
        device = self._open()
        return self._lib.xc_frames(device, direction), self._lib.xc_damaged(device, direction)

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
