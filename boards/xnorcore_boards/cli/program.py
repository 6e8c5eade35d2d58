"""The command ``program``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorcore.cli.console import Console
from xnorcore.cli.options import Commands, command, seconds
from xnorcore.errors import BuildError, UsageError

if TYPE_CHECKING:
    from xnorcore.model.network import Network

    from ..board import Board

__all__ = ["add_program", "keeps_network"]


def add_program(commands: Commands) -> None:
    """Add the command ``program`` to the parser."""
    parser = command(
        commands,
        "program",
        "Write a bitstream, or the network that it starts with, to a board.",
        _program,
        example="icebreaker --flash",
    )
    parser.add_argument("board", metavar="BOARD", help="name of a board (xnorcore boards)")
    parser.add_argument(
        "--bitstream", metavar="FILE", help="default: of the build with the board's own geometry"
    )
    parser.add_argument(
        "--flash", action="store_true", help="into the flash memory, to stay there without power"
    )
    parser.add_argument(
        "--network",
        metavar="NET",
        help="network, by name or as an .xnor file, that the board keeps in its flash, and starts with "
        "(after the bitstream, with --flash or --bitstream)",
    )
    parser.add_argument(
        "--port", metavar="URL", default="auto:", help="of the board, for --network; default auto:"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=3.0, metavar="S", help="of an answer, 0.01 to 3600; default 3"
    )


def _program(arguments: argparse.Namespace, console: Console) -> int:
    from ..board import find_board

    if arguments.board == "sim":
        raise UsageError("the simulated device needs no programming; use --port sim:")
    board, value = find_board(arguments.board), {"command": "program", "board": arguments.board}
    lines: list[str] = []
    network = None
    if arguments.network is not None:
        from xnorcore import zoo

        network = zoo.load(arguments.network)
        keeps_network(board)
    if network is None or arguments.bitstream or arguments.flash:
        more, lines = _bitstream(arguments, board)
        value |= more
    if network is not None:
        more, found = _keep(arguments, console, board, network)
        value, lines = value | more, [*lines, *found]
    console.result(value, lines)
    return 0


def keeps_network(board: Board) -> None:
    """Refuse a board on which no device keeps a network, whatever answers at the port."""
    from xnorcore.isa.regions import flash_words
    from xnorcore.isa.stores import FLASHES

    from ..board import all_boards

    def able(each: Board) -> bool:
        return any(chip.kind in FLASHES for chip in each.chips)

    if not able(board):
        found = {name: each for name, each in all_boards().items() if able(each)}
        own = [name for name, each in found.items() if flash_words(each.config)]
        built = [name for name in found if name not in own]
        raise UsageError(
            f"{board.name} has no flash that its device can write; a network is kept by: {', '.join(own)}; "
            f"and, built with --set kept_words=N, by: {', '.join(built)}. Load it with each start: "
            "xnorcore run NET IN.npy --port URL -o OUT.npy"
        )


def _bitstream(arguments: argparse.Namespace, board: Board) -> tuple[dict[str, Any], list[str]]:
    from ..build.flash import baud_of, program

    default = Path(f"build/{board.name}-{board.config.geometry}/{board.name}.{board.part.family.bitstream}")
    bitstream = Path(arguments.bitstream) if arguments.bitstream else default
    done = program(board, bitstream, arguments.flash)
    baud = baud_of(board, bitstream)
    port = f'"serial:PORT?baud={baud}"'
    line = f"{board.title} is programmed; try: xnorcore run NET IN.npy --port {port} -o OUT.npy"
    wires = [f"its UART has no USB bridge: {board.adapter}"] if board.adapter else []
    return {"baud": baud, "programmer": done}, [line, *wires]


def _keep(
    arguments: argparse.Namespace, console: Console, board: Board, network: Network
) -> tuple[dict[str, Any], list[str]]:
    from xnorcore.runtime.accelerator import Accelerator

    with Accelerator.open(arguments.port, timeout=arguments.timeout, progress=console.progress) as device:
        try:
            board.beside(device.info.config)
        except BuildError as error:
            raise UsageError(
                f"what answers at {arguments.port} is another device: {error}; name its board"
            ) from error
        written = device.load(network, keep=True)
        identifier = device.info.network_id.hex()
    name = network.name or arguments.network
    state = f"keeps {name}" if written else f"keeps {name} already; nothing was written"
    line = f"{board.title} {state}; it starts with it (network {identifier})"
    return {"network": name, "identifier": identifier, "written": written}, [line]
