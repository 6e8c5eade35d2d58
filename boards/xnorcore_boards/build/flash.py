"""Writing a bitstream to a board, with whatever programmer is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from xnorcore.errors import ProgramError

from ..board import BAUD_TOLERANCE, Board

__all__ = ["baud_of", "program", "program_command"]

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
_PERMISSION = ("permission", "access denied", "libusb_error_access")
_FLASH = {"iceprog": (), "openFPGALoader": ("-f",), "fujprog": ("-j", "flash")}
"""What a programmer needs to be told to write the flash memory; IceStorm's writes nothing else."""
TIMEOUT_S = 300


def program_command(board: Board, bitstream: Path, flash: bool = False) -> list[str]:
    """Return the command that programs a board: its first programmer that is installed.

    Parameters
    ----------
    board : Board
    bitstream : Path
    flash : bool
        Write the flash memory: the board starts with the bitstream.

    Raises
    ------
    ProgramError
        If none is installed, with the names of those that would do.
    """
    names = [words[0] for words in board.programmers]
    for name, *words in board.programmers:
        if path := shutil.which(name):
            option = _FLASH[name] if flash else ()
            return [path, *option, *(str(bitstream) if word == "{}" else word for word in words)]
    raise ProgramError(
        f"{board.name}: no programmer found on the PATH; install {' or '.join(names)} "
        f"(from your system's packages, or the OSS CAD Suite), then: {describe(board, bitstream)}"
    )


def describe(board: Board, bitstream: Path) -> str:
    """Return the command of the board's own programmer, whether or not it is installed."""
    return " ".join(str(bitstream) if word == "{}" else word for word in board.programmers[0])


def baud_of(board: Board, bitstream: Path) -> int:
    """Return the baud rate that a bitstream was built for; the board's own if its folder does not tell."""
    try:
        built = json.loads((bitstream.parent / "build.json").read_text())
        rate = int(built["clock_hz"]) / int(built["divisor"])
        return board.baud if abs(board.baud / rate - 1) <= BAUD_TOLERANCE else round(rate)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return board.baud


def program(board: Board, bitstream: Path, flash: bool = False) -> list[str]:
    """Program a board and return the command that did it.

    Raises
    ------
    ProgramError
        If there is no bitstream or no programmer, or the programmer fails: no board, port busy.
    """
    if not bitstream.is_file():
        raise ProgramError(f"no bitstream {bitstream}; run: xnorcore build {board.name}")
    command = program_command(board, bitstream, flash)
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
    # iceprog ends with a word that says nothing.
    told = [line for line in lines if line != "ABORT."]
    last = told[-1][:200] if told else "no message"
    low = output.lower()
    if any(text in low for text in _BUSY):
        return f"{board.title}: its port is busy; close the program that uses it ({name}: {last})"
    if any(text in low for text in _PERMISSION):
        return f"{board.title}: no permission for its port; add a udev rule for it ({name}: {last})"
    if any(text in low for text in _ABSENT):
        return f"{board.title}: not found on USB; plug it in ({name}: {last})"
    return f"{name} failed (exit status {code}): {last}"
