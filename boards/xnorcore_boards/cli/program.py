"""The command ``program``."""

from __future__ import annotations

import argparse
from pathlib import Path

from xnorcore.cli.console import Console
from xnorcore.cli.options import Commands, command
from xnorcore.errors import UsageError

__all__ = ["add_program"]


def add_program(commands: Commands) -> None:
    """Add the command ``program`` to the parser."""
    parser = command(
        commands, "program", "Write a bitstream to a board.", _program, example="icebreaker --flash"
    )
    parser.add_argument("board", metavar="BOARD", help="name of a board (xnorcore boards)")
    parser.add_argument(
        "--bitstream", metavar="FILE", help="default: of the build with the board's own geometry"
    )
    parser.add_argument(
        "--flash", action="store_true", help="into the flash memory, to stay there without power"
    )


def _program(arguments: argparse.Namespace, console: Console) -> int:
    from ..board import find_board
    from ..build.flash import baud_of, program

    if arguments.board == "sim":
        raise UsageError("the simulated device needs no programming; use --port sim:")
    board = find_board(arguments.board)
    default = Path(f"build/{board.name}-{board.config.geometry}/{board.name}.{board.part.family.bitstream}")
    bitstream = Path(arguments.bitstream) if arguments.bitstream else default
    done = program(board, bitstream, arguments.flash)
    baud = baud_of(board, bitstream)
    value = {"command": "program", "board": board.name, "baud": baud, "programmer": done}
    port = f'"serial:PORT?baud={baud}"'
    console.result(
        value, [f"{board.title} is programmed; try: xnorcore run NET IN.npy --port {port} -o OUT.npy"]
    )
    return 0
