"""The command ``listing``: a network's program as people read it."""

from __future__ import annotations

import argparse

from .console import Console
from .options import Parser, add_geometry, add_network, device_config, integer

__all__ = ["add_listing"]


def add_listing(parser: Parser) -> None:
    """Add the arguments of ``listing``."""
    parser.set_defaults(call=_listing)
    add_network(parser)
    add_geometry(parser)
    parser.add_argument(
        "--batch", type=integer(1), metavar="N", help="images at a time; with few, rows share an image"
    )


def _listing(arguments: argparse.Namespace, console: Console) -> int:
    from .. import zoo
    from ..compiler.compile import compile_network
    from ..isa.listing import listing, listing_lines

    program = compile_network(zoo.load(arguments.network), device_config(arguments), arguments.batch)
    value = listing(program)
    console.result({"command": "listing", **value}, listing_lines(value))
    return 0
