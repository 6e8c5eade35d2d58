"""How another program ended, and why one does not start, in words."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

from xnorcore.errors import UsageError
from xnorcore.files.userfile import open_regular

__all__ = ["how_it_ended", "signal_of", "why_not_started"]

_SHELL = 128
"""A shell adds this to the signal that ended its program."""
_SIGNALS = 64
_LONGEST = 200


def signal_of(code: int) -> int:
    """Return the signal that an exit status is of, whether the system or a shell says it; 0 if none."""
    number = -code if code < 0 else code - _SHELL
    return number if 0 < number <= _SIGNALS else 0


def how_it_ended(code: int) -> str:
    """Return an exit status in words: ``exit status 1``, ``ended by SIGSEGV: Segmentation fault``."""
    number = signal_of(code)
    if not number:
        return f"exit status {code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"ended by signal {number}"
    text = signal.strsignal(number)
    return f"ended by {name}: {text}" if text else f"ended by {name}"


def why_not_started(program: str, error: OSError) -> str:
    """Return why the system refuses to start a program, which names what is missing.

    Parameters
    ----------
    program : str
        Its path, or its name if it is on no path.
    error : OSError
        What the system said.
    """
    there = Path(program).exists()
    if error.errno == errno.ENOENT and there:
        if interpreter := _interpreter(program):
            return f"the first line of {program} asks for {interpreter!r}, which is not there; install that"
        return f"the loader that {program} asks for is not there: it is of another system; install it anew"
    if error.errno == errno.ENOENT:
        return f"no such program: {program}"
    if error.errno == errno.ENOEXEC:
        return f"{program} is no program for this computer; install it anew"
    if error.errno == errno.EACCES:
        return f"no permission to run {program}, or what its first line asks for"
    return f"{program}: {error.strerror or error}"


def _interpreter(program: str) -> str:
    """Return what the first line of a script asks for; nothing if it is no script."""
    try:
        with open_regular(program) as file:
            line = file.read(_LONGEST).splitlines(keepends=True)[:1]
    except (OSError, ValueError, UsageError):
        return ""
    if not line or not line[0].startswith(b"#!"):
        return ""
    # A carriage return belongs to the name, for the system.
    found = line[0].rstrip(b"\n").removeprefix(b"#!").lstrip(b" \t").split(b" ")[0]
    return found.decode(errors="replace")
