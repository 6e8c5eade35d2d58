"""What carries the bytes of the link: one contract, and the table of URL schemes that provide it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from typing import Any, Protocol, runtime_checkable

from ..errors import MissingDependencyError, UsageError
from ..extras import install_extra
from ..nearest import did_you_mean

GROUP = "xnorcore.transports"
"""Entry-point group of the URL schemes; each entry is called as ``open(rest_of_url, progress=...)``."""

PORT = re.compile(r"[/\\.]|(?i:COM\d+($|\?))")
"""How the name of a serial port starts, given in place of a URL: a path, or ``COM3``."""

_PORT_ALONE = re.compile(r"(?:(?:tty|cu\.)[\w.-]+|serial\d+)(?:\?.*)?")
_OTHERS = {
    "loop": "sim:", "hwgrep": "/dev/ttyUSB1", "spy": "", "alt": "", "socket": "", "rfc2217": "", "cp2110": "",
}  # fmt: skip
"""Schemes of pyserial's, and what does here what they are for."""

DEFAULT_BAUD = 3_000_000
"""Bits per second of a serial port whose URL does not say."""
BITS_PER_BYTE = 10
"""Of a byte on a serial line: start, eight, stop."""

Progress = Callable[[str], None]
"""Receives one line of text at a time while something slow goes on."""


@runtime_checkable
class Transport(Protocol):
    """A two-way stream of bytes with its own clock.

    Time is whatever the bytes live in: seconds of the wall for a port, device cycles divided by the
    clock frequency for a simulated device. Whoever waits on a transport uses this clock and no other.

    Attributes
    ----------
    name : str
        The URL it was opened with, for messages.
    """

    name: str

    def write(self, data: bytes) -> None:
        """Send all of `data`; may block until it is queued.

        Raises
        ------
        DisconnectedError
            If the other end is gone.
        LinkTimeoutError
            If the other end has stopped taking bytes.
        """
        ...

    def read(self, timeout: float) -> bytes:
        """Return the bytes that have arrived, as soon as there are any.

        Parameters
        ----------
        timeout : float
            Seconds of `now` to wait for the first byte; 0 takes only what is there.

        Returns
        -------
        bytes
            At least one byte, or ``b""`` after `timeout`.

        Raises
        ------
        DisconnectedError
            If the other end is gone.
        """
        ...

    def now(self) -> float:
        """Return the transport's own time in seconds; never goes back."""
        ...

    def discard(self) -> None:
        """Drop the bytes that have arrived and were not read."""
        ...

    def close(self) -> None:
        """Give the port back; a second call does nothing."""
        ...


def schemes() -> list[str]:
    """Return the names of the known URL schemes, sorted."""
    return sorted({entry.name for entry in metadata.entry_points(group=GROUP)})


def baud_of(transport: Any, clock_hz: int) -> float | None:
    """Return the bits per second of a wire; None, if there is none, or nobody knows.

    Parameters
    ----------
    transport : Transport
    clock_hz : int
        Of the device, whose cycles a simulated wire counts.
    """
    if getattr(transport, "link", None) == "uart":
        return clock_hz / transport.divisor
    return getattr(transport, "baud", None)


def byte_cycles(transport: Any, clock_hz: int) -> float:
    """Return the cycles of a device's clock that a byte takes on a wire; 0, if nobody knows."""
    baud = baud_of(transport, clock_hz)
    return BITS_PER_BYTE * clock_hz / baud if baud else 0


def open_transport(url: str, *, progress: Progress | None = None) -> Transport:
    """Open the device that a URL names, as in ``serial:/dev/ttyUSB1?baud=3000000`` or ``sim:``.

    Parameters
    ----------
    url : str
        ``SCHEME:REST``. The scheme picks an entry point of the group ``xnorcore.transports``; what
        follows the first colon is handed to it. A bare path, ``/dev/ttyUSB1`` or ``COM3``, is a serial port
        at the usual baud rate, which `progress` is told.
    progress : callable, optional
        Told what is going on while the device is being opened.

    Returns
    -------
    Transport

    Raises
    ------
    UsageError
        If the URL has no scheme or an unknown one, or an option is wrong.
    MissingDependencyError
        If the scheme's package, or something it needs, is not installed.
    PortError
        If the port cannot be opened.
    """
    if not isinstance(url, str):
        raise UsageError(f"a device URL is text such as 'sim:', not {type(url).__name__}")
    if url == "auto":
        url = "auto:"
    if PORT.match(url):
        url = _serial(url, progress)
    scheme, colon, rest = url.partition(":")
    known = ", ".join(f"{name}:" for name in schemes())
    if not colon:
        raise UsageError(
            f"device {url!r} has no scheme; write SCHEME:REST with one of {known}{_meant(url, '')}"
        )
    entries = [entry for entry in metadata.entry_points(group=GROUP) if entry.name == scheme]
    if not entries:
        meant = _meant(scheme, rest)
        raise UsageError(
            f"unknown device scheme {scheme + ':'!r} in {url!r}; known: {known or 'none'}{meant}"
        )
    try:
        opener = entries[0].load()
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise MissingDependencyError(
            f"{scheme}: needs the Python package {missing!r}, which cannot be imported ({error}); "
            f"run: {install_extra('')}"
        ) from error
    return opener(rest, progress=progress)


def _meant(word: str, rest: str) -> str:
    """The end of a refusal: what was likely meant by a word that is no scheme, in front of `rest`."""
    if word.lower() in _OTHERS:
        port = rest.removeprefix("//").partition("?")[0]
        meant = port if PORT.match(port) else _OTHERS[word.lower()]
    elif _PORT_ALONE.fullmatch(word):
        meant = f"/dev/{word}"
    else:
        return did_you_mean(word + ":", [name + ":" for name in schemes()])
    return f'; did you mean "{meant}"?' if meant else ""


def _serial(path: str, progress: Progress | None) -> str:
    """Return the URL of a port that was named alone; its baud rate is in it, and so in every message."""
    if "?" in path:
        return f"serial:{path}"
    url = f"serial:{path}?baud={DEFAULT_BAUD}"
    if progress:
        progress(f"{path}: serial, {DEFAULT_BAUD} baud; for another rate write serial:{path}?baud=N")
    return url
