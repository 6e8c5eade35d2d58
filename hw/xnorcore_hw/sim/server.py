"""A simulated device behind a pseudo-terminal, which any serial program can open."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable

from xnorcore.errors import UsageError

from .engine import Engine, Progress
from .transport import SimOptions

QUIET_CYCLES = 10_000_000
"""Cycles without a byte in either direction after which the simulation pauses until one comes."""
_IN_LIMIT = 1 << 16
_OUT_LIMIT = 1 << 20
_SLICE = {"compiled": 20_000, "amaranth": 100, "cxxrtl": 5_000}
_BLOCK_S = 0.25


class PtyServer:
    """Passes bytes between an engine and the master side of a pseudo-terminal.

    Nothing is dropped: while the client does not read, the device is not run, and while the device
    does not take, the client's writes block. The slave side stays open here, so that clients may
    close and open it again.

    Parameters
    ----------
    engine : Engine
        Closed by `close`.
    slice_cycles : int
        Cycles between two looks at the terminal.
    quiet_cycles : int
        See `QUIET_CYCLES`. A computation that is silent for longer goes on with the next byte.

    Attributes
    ----------
    path : str
        What a client opens.

    Raises
    ------
    UsageError
        If the operating system has no pseudo-terminals.
    """

    def __init__(
        self, engine: Engine, *, slice_cycles: int = 20_000, quiet_cycles: int = QUIET_CYCLES
    ) -> None:
        if not hasattr(os, "openpty"):
            raise UsageError("serve-sim needs pseudo-terminals, which this operating system lacks; use sim:")
        import tty

        self._engine = engine
        self._slice = slice_cycles
        self._quiet_limit = quiet_cycles
        self._quiet = quiet_cycles
        self._out = bytearray()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)

    @property
    def busy(self) -> bool:
        """Whether the simulation has anything to do."""
        return self._engine.pending > 0 or self._quiet < self._quiet_limit

    def step(self, block_s: float = _BLOCK_S) -> None:
        """Pass on what is there and run one slice; with nothing to do, wait for a byte for `block_s` seconds.

        Raises
        ------
        EngineError
            If the simulation fails.
        """
        engine = self._engine
        runnable = self.busy and len(self._out) < _OUT_LIMIT
        readers = [self._master] if engine.pending < _IN_LIMIT else []
        writers = [self._master] if self._out else []
        readable, writable, _ = select.select(readers, writers, [], 0 if runnable else block_s)
        if readable:
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._master, _IN_LIMIT)
                engine.write(data)
                self._quiet = 0
        if writable:
            with contextlib.suppress(BlockingIOError):
                del self._out[: os.write(self._master, self._out)]
        if self.busy and len(self._out) < _OUT_LIMIT:
            before, pending = engine.cycles, engine.pending
            data = engine.run(self._slice)
            self._out += data
            moved = bool(data) or engine.pending != pending
            self._quiet = 0 if moved else self._quiet + engine.cycles - before

    def close(self) -> None:
        """Hang up on the client and stop the simulation; closing twice is harmless."""
        if self._master >= 0:
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
            self._engine.close()

    def __enter__(self) -> PtyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    options: SimOptions,
    *,
    announce: Callable[[str], None],
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Run a simulated device behind a pseudo-terminal until Ctrl-C.

    Parameters
    ----------
    options : SimOptions
    announce : callable
        Called once with the path that clients open, when they can.
    progress : callable, optional
        Called with one line of text while the simulator is built.
    stop : threading.Event, optional
        Ends the call when set, within a quarter of a second; Ctrl-C does too.

    Raises
    ------
    EngineError
        If the simulator cannot be built, or fails.
    UsageError
        If the operating system has no pseudo-terminals.
    """
    engine = options.open_engine(progress)
    try:
        with (
            contextlib.suppress(KeyboardInterrupt),
            PtyServer(engine, slice_cycles=_SLICE[options.engine]) as server,
        ):
            announce(server.path)
            while stop is None or not stop.is_set():
                server.step()
    finally:
        engine.close()
