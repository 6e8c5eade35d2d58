"""Transports over a serial port or the slave side of a pseudo-terminal, with pyserial."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from urllib.parse import parse_qsl

import serial

from ..errors import DisconnectedError, LinkTimeoutError, PortError, UsageError
from .system_words import PORT_ERRORS, explain, reason
from .transport import DEFAULT_BAUD, Progress

BAUD = (300, 100_000_000)
WRITE_TIMEOUT = 10.0
"""Seconds without progress after which a port that takes no bytes is given up."""
_SLICE = 0.05


class SerialTransport:
    """A `Transport` over a port that pyserial can open; time is that of the wall.

    Parameters
    ----------
    path : str
        Device name, as in ``/dev/ttyUSB1`` or ``COM3``.
    baud : int
        Bits per second.
    name : str
        What messages call it.

    Raises
    ------
    PortError
        If the port is absent, busy, not permitted or not a serial port.
    """

    def __init__(self, path: str, baud: int, name: str) -> None:
        self.name = name
        self.baud = baud
        try:
            self._port = serial.Serial(
                path, baud, timeout=_SLICE, write_timeout=WRITE_TIMEOUT, exclusive=True
            )
        except PORT_ERRORS as error:
            raise PortError(explain(path, baud, error)) from error

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        try:
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkTimeoutError(
                f"{self.name} took no bytes for {WRITE_TIMEOUT:g} s; is the other end running?"
            ) from error
        except PORT_ERRORS as error:
            raise self._gone(error) from error

    def read(self, timeout: float) -> bytes:
        """Return the bytes that have arrived; see `Transport.read`."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                waiting = self._port.in_waiting
                if waiting or time.monotonic() < deadline:
                    data = self._port.read(waiting or 1)
                    if data:
                        return data
                else:
                    return b""
        except PORT_ERRORS as error:
            raise self._gone(error) from error

    def now(self) -> float:
        """Return seconds of the wall."""
        return time.monotonic()

    def discard(self) -> None:
        """Drop what the port holds unread."""
        try:
            self._port.reset_input_buffer()
        except PORT_ERRORS as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Give the port back; one that is gone has nothing to give."""
        with contextlib.suppress(*PORT_ERRORS):
            self._port.close()

    def _gone(self, error: Exception) -> DisconnectedError:
        return DisconnectedError(
            f"{self.name} is gone ({reason(error)}); check the cable and reopen the device"
        )


def open_serial(spec: str, progress: Progress | None = None) -> SerialTransport:
    """Open ``PATH`` or ``PATH?baud=N``, the part of a ``serial:`` URL after the scheme.

    Parameters
    ----------
    spec : str
        Device name and options; `baud` is 300 to 100,000,000 and defaults to 3,000,000.
    progress : callable, optional
        Not used: opening a port is quick.

    Raises
    ------
    UsageError
        If there is no path, or an option is unknown or out of range.
    PortError
        If the port cannot be opened.
    """
    path, _, query = spec.partition("?")
    options = _options(query, spec, ("baud",))
    text = options.get("baud", str(DEFAULT_BAUD))
    if not (text.isascii() and text.isdigit() and BAUD[0] <= int(text) <= BAUD[1]):
        raise UsageError(f"baud is {text!r} in serial:{spec}, but must be an integer {BAUD[0]} to {BAUD[1]}")
    if not path:
        raise UsageError("serial: names no port; write for instance serial:/dev/ttyUSB1?baud=3000000")
    return SerialTransport(path, int(text), f"serial:{spec}")


def open_pty(spec: str, progress: Progress | None = None) -> SerialTransport:
    """Open the pseudo-terminal ``PATH``, the part of a ``pty:`` URL after the scheme; it has no baud rate.

    Raises
    ------
    UsageError
        If there is no path, or there are options.
    PortError
        If the path cannot be opened.
    """
    path, _, query = spec.partition("?")
    _options(query, spec, ())
    if not path:
        raise UsageError("pty: names no path; write what xnorcore serve-sim prints, as pty:/dev/pts/3")
    if not Path(path).exists():
        raise PortError(f"pseudo-terminal {path} does not exist; is xnorcore serve-sim running?")
    return SerialTransport(path, 115_200, f"pty:{spec}")


def _options(query: str, spec: str, known: tuple[str, ...]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option {name!r} in {spec!r}; known: {', '.join(known) or 'none'}")
    return options
