"""Writing a bitstream to a board, with whatever programmer is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from xnorcore.errors import ProgramError

from .board import Board

__all__ = ["program", "program_command"]

# What programmers print when they find no board, and when another program has it.
_ABSENT = (
    "can't find",
    "not found",
    "no such device",
    "unable to open",
    "can't open",
    "no device",
    "found 0",
)
_BUSY = ("busy", "resource temporarily", "claim interface")
_PERMISSION = ("permission", "access denied", "insufficient permissions", "access")
TIMEOUT_S = 300


def program_command(board: Board, bitstream: Path) -> list[str]:
    """Return the command that programs a board: its first programmer that is installed.

    Raises
    ------
    ProgramError
        If none is installed, with the names of those that would do.
    """
    names = [words[0] for words in board.programmers]
    for words in board.programmers:
        if path := shutil.which(words[0]):
            return [path, *(str(bitstream) if word == "{}" else word for word in words[1:])]
    raise ProgramError(
        f"{board.name}: no programmer found on the PATH; install {' or '.join(names)} "
        f"(from your system's packages, or the OSS CAD Suite), then: {describe(board, bitstream)}"
    )


def describe(board: Board, bitstream: Path) -> str:
    """Return the command of the board's own programmer, whether or not it is installed."""
    return " ".join(str(bitstream) if word == "{}" else word for word in board.programmers[0])


def program(board: Board, bitstream: Path) -> list[str]:
    """Program a board and return the command that did it.

    Raises
    ------
    ProgramError
        If there is no bitstream or no programmer, or the programmer fails: no board, port busy.
    """
    if not bitstream.is_file():
        raise ProgramError(f"no bitstream {bitstream}; run: xnorcore build {board.name}")
    command = program_command(board, bitstream)
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"{name} did not finish within {TIMEOUT_S} s; check the cable") from None
    except OSError as error:
        raise ProgramError(f"{name} does not start: {error.strerror or error}") from None
    if done.returncode:
        raise ProgramError(_explain(board, name, done.returncode, f"{done.stdout}\n{done.stderr}"))
    return command


def _explain(board: Board, name: str, code: int, output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "no message"
    low = output.lower()
    if any(text in low for text in _BUSY):
        return f"{board.title}: its port is busy; close the program that uses it ({name}: {last})"
    if any(text in low for text in _PERMISSION):
        return f"{board.title}: no permission for its port; add a udev rule for it ({name}: {last})"
    if any(text in low for text in _ABSENT):
        return f"{board.title}: not found on USB; plug it in ({name}: {last})"
    return f"{name} failed (exit status {code}): {last}"
