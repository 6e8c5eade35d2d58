"""The command ``listing``: a network's program as people read it."""

from __future__ import annotations

import argparse

from .console import Console
from .parser import Commands, add_geometry, add_network, command, device_config, device_options

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = command(commands, "listing", "Print a network's program: loops, addresses, beats.", _listing)
    add_network(parser)
    add_geometry(parser)
    parser.add_argument("--board", metavar="B", help="for this board's device, in place of a geometry")
    parser.add_argument(
        "--batch", type=int, metavar="N", help="images at a time; with few, rows share an image"
    )


def _listing(arguments: argparse.Namespace, console: Console) -> int:
    from .. import zoo
    from ..compiler.compile import compile_network
    from ..errors import UsageError
    from ..isa.listing import listing, listing_lines
    from .boards import configuration

    if arguments.board is not None and device_options(arguments):
        raise UsageError("give --board or a geometry, not both")
    if arguments.batch is not None and arguments.batch < 1:
        raise UsageError(f"--batch is {arguments.batch}, but must be at least 1")
    config = device_config(arguments) if arguments.board is None else configuration(arguments.board)
    value = listing(compile_network(zoo.load(arguments.network), config, arguments.batch))
    console.result({"command": "listing", **value}, listing_lines(value))
    return 0
