"""What the operating system says about a serial port, in words that name what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from serial.tools import list_ports

try:
    from termios import error as TermiosError
except ImportError:  # Windows
    TermiosError = OSError

__all__ = ["PORT_ERRORS", "TermiosError", "code_of", "explain", "found_ports", "reason"]

PORT_ERRORS = (OSError, TermiosError, TypeError, ValueError)
"""What pyserial's calls raise. SerialException is an OSError; termios.error is none, and comes through.
TypeError: another thread closed the port. ValueError: a rate or a file number out of range."""

_GONE = "no device answers there, or it was unplugged"
_LOST = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EPIPE, errno.EPROTO, errno.ETIMEDOUT)
_WORDS = {
    errno.EIO: _GONE,
    errno.ENXIO: _GONE,
    errno.ENODEV: _GONE,
    errno.EPIPE: _GONE,
    errno.ENOENT: _GONE,
    errno.EPROTO: "the device's USB link failed",
    errno.ETIMEDOUT: "the device's USB link does not answer",
    errno.EBADF: "the port was closed",
    errno.ENOTTY: "it is not a serial port",
    errno.EISDIR: "it is a directory",
    errno.EINVAL: "the driver refuses the settings",
    errno.EBUSY: "it is in use by another program",
    errno.EAGAIN: "it is in use by another program",
    errno.EMFILE: "this program has too many files open",
    errno.ENFILE: "the system has too many files open",
    errno.ENOMEM: "the system is out of memory",
}
_STEPS = 5


def code_of(error: BaseException | None) -> int | None:
    """Return the system's error number that an exception stands for, if it has one.

    pyserial hides some in text: those are in the exception that was being handled.
    """
    for _ in range(_STEPS):
        if error is None:
            return None
        number = getattr(error, "errno", None)
        if number is None and isinstance(error, TermiosError) and error.args:
            number = error.args[0]
        if isinstance(number, int):
            return number
        error = error.__cause__ or error.__context__
    return None


def reason(error: Exception) -> str:
    """Say in words what an exception of pyserial's means."""
    code = code_of(error)
    if code is None:
        return "the port was closed" if isinstance(error, TypeError) else str(error) or type(error).__name__
    name = errno.errorcode.get(code, str(code))
    return f"{_WORDS[code]} ({name})" if code in _WORDS else f"{os.strerror(code)} ({name})"


def explain(path: str, baud: int, error: Exception) -> str:
    """Say why a port cannot be opened, and what to do."""
    code = code_of(error)
    if code == errno.ENOENT:
        return f"serial port {path} does not exist; ports found: {found_ports()}"
    if code in (errno.EACCES, errno.EPERM):
        group = _group(path)
        return (
            f"no permission to open {path}; add yourself to the group that owns it ({group}), as in "
            f"sudo usermod -aG {group.removeprefix('often ')} $USER, and log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN):
        return f"serial port {path} is in use by another program; close that program first"
    if code in _LOST:
        return f"{path} cannot be opened as a serial port: {reason(error)}; plug it in again"
    if code == errno.EINVAL or isinstance(error, ValueError):
        return f"serial port {path} cannot run at {baud} baud; choose another ?baud="
    return f"{path} cannot be opened as a serial port: {reason(error)}"


def found_ports() -> str:
    """Return the names of the serial ports that there are, for a message."""
    try:
        return ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
    except (OSError, ValueError):  # a device that goes while it is listed
        return "none"


def _group(path: str) -> str:
    try:
        import grp

        # Nobody should be told to join the group of root.
        return grp.getgrgid(Path(path).stat().st_gid or -1).gr_name
    except (ImportError, OSError, KeyError, ValueError, OverflowError):
        return "often dialout"
