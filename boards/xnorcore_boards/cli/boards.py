"""The command ``boards``."""

from __future__ import annotations

import argparse
from pathlib import Path

from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Commands, command, integer
from xnorcore.errors import UsageError

__all__ = ["add_boards"]


def add_boards(commands: Commands) -> None:
    """Add the command ``boards`` to the parser."""
    text = "List the boards, what was measured on them, and what they run."
    parser = command(commands, "boards", text, _boards, example="--json")
    parser.add_argument("--markdown", action="store_true", help="print the table of builds in docs/boards.md")
    fit = "synthesize a spread of configurations of a family, and fit the area estimate to them"
    parser.add_argument(
        "--choose", metavar="BOARD", help="search this board's configurations, and propose the best one"
    )
    parser.add_argument(
        "--networks", metavar="A,B", help="with --choose: for these networks (default: all packaged ones)"
    )
    parser.add_argument(
        "--images", metavar="N", type=integer(1), help="with --choose: of a call in passes (default: as plan)"
    )
    parser.add_argument("--fit", choices=("ice40", "ecp5", "gowin", "gatemate"), help=fit)


def _fit(family: str, console: Console) -> int:
    from ..measure.sweep import sweep

    points = sweep(family, Path("build/fit") / family, console.say)
    rows = [
        {"geometry": str(config.geometry), "logic_cells": cells, "estimate": estimate}
        for config, cells, estimate in points
    ]
    cells = [
        (
            row["geometry"],
            f"{row['logic_cells']:,}",
            f"{row['estimate']:,}",
            f"{row['estimate'] / row['logic_cells'] - 1:+.1%}",
        )
        for row in rows
    ]
    value = {"command": "boards", "family": family, "points": rows}
    console.result(value, table(cells, ("array", "logic cells", "estimate", "error")))
    return 0


def _boards(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.fit:
        return _fit(arguments.fit, console)
    if arguments.choose:
        from .choose import choose

        return choose(arguments.choose, arguments.networks, arguments.images, console)
    if arguments.networks is not None or arguments.images is not None:
        raise UsageError("--networks and --images go with --choose BOARD")
    from ..board import all_boards
    from ..measure.table import describe_board, markdown

    rows = [describe_board(board) for board in all_boards().values()]
    if arguments.markdown:
        console.result({"command": "boards", "boards": rows}, markdown(rows))
        return 0
    cells = []
    for row in rows:
        g, result = row["geometry"], row["measured"]
        available, bram = f"{row['lut4_available']:,}", f"{row['bram_available']}"
        cells.append(
            (
                row["board"],
                row["device"],
                f"{result['logic_cells']:,} of {available}" if result else available,
                f"{result['bram']} of {bram}" if result else bram,
                f"{g['rows']}x{g['columns']}x{g['width']}" if row["fits"] else "none fits",
                f"{row['macs_per_cycle']:,}" if row["fits"] else "-",
                f"{row['clock_mhz']:g}",
                f"{row['peak_gmacs_per_s']:.1f}" if row["fits"] else "-",
                row["largest_network"] or "-",
            )
        )
    cells.append(("sim", "simulator", "", "", "any", "", "", "", "any"))
    head = (
        "board",
        "device",
        "logic cells",
        "block RAM",
        "array",
        "MACs/cycle",
        "MHz",
        "GMAC/s",
        "largest network",
    )
    lines = table(cells, head, drop=("device", "GMAC/s", "block RAM", "logic cells"))
    console.result({"command": "boards", "boards": rows}, lines)
    return 0
