"""Writing a bitstream to a board, with whatever programmer is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from xnorcore.errors import ProgramError
from xnorcore.files.userfile import refuse_special

from ..board import BAUD_TOLERANCE, Board
from ..process import why_not_started
from .complaint import explain, unconfigured
from .usb import may_open

__all__ = ["baud_of", "program", "program_command"]

_FLASH = {
    "dfu-util": (),
    "iceprog": (),
    "icesprog": (),
    "openFPGALoader": ("-f",),
    "fujprog": ("-j", "flash"),
}
"""What a programmer needs to be told to write the flash memory; those without it write nothing else."""
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
    built = _built(bitstream)
    try:
        rate = int(built["clock_hz"]) / int(built["divisor"])
        return board.baud if abs(board.baud / rate - 1) <= BAUD_TOLERANCE else round(rate)
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        return board.baud


def _built(bitstream: Path) -> dict[str, Any]:
    """Return what the build of a bitstream wrote beside it; nothing if that is not there."""
    try:
        value = json.loads((bitstream.parent / "build.json").read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def program(board: Board, bitstream: Path, flash: bool = False) -> list[str]:
    """Program a board and return the command that did it.

    Raises
    ------
    UsageError
        If the bitstream is a pipe or device.
    ProgramError
        If there is no bitstream, it is of another board, there is no programmer, it fails, or the FPGA does
        not take the bitstream.
    """
    refuse_special(bitstream)
    if not bitstream.is_file():
        raise ProgramError(f"no bitstream {bitstream}; run: xnorcore build {board.name}")
    if not os.access(bitstream, os.R_OK):
        raise ProgramError(f"no permission to read {bitstream}")
    made_for = _built(bitstream).get("board", board.name)
    if made_for != board.name:
        raise ProgramError(
            f"{bitstream} was built for the board {made_for!r}, not for {board.name!r}; "
            f"run: xnorcore build {board.name}"
        )
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
        raise ProgramError(f"{name} does not start: {why_not_started(command[0], error)}") from None
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode:
        there = may_open(*board.usb)
        raise ProgramError(explain(board, name, done.returncode, said, there))
    if unconfigured(said):
        raise ProgramError(explain(board, name, done.returncode, said))
    return command
