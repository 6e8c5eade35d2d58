"""The command ``devices``: which boards are plugged in, and what answers."""

from __future__ import annotations

import argparse
from typing import Any

from ..link.found import Found, asked, ports
from .console import Console, table
from .options import Parser


def add_devices(parser: Parser) -> None:
    """Add the arguments of ``devices``."""
    parser.set_defaults(call=_devices)
    parser.add_argument("--list", action="store_true", help="list the ports, and open none of them")


def _devices(arguments: argparse.Namespace, console: Console) -> int:
    found = ports()
    # A port that is of no board may belong to something that a byte would upset.
    wanted = [port for port in found if port.boards and not arguments.list]
    answers = {port.path: port for port in asked(wanted, console.counting("ports"))}
    found = [answers.get(port.path, port) for port in found]
    value = {"command": "devices", "asked": not arguments.list, "ports": [_value(port) for port in found]}
    rows = [
        (each["port"], each["usb"], each["serial"], ", ".join(each["boards"]), each["answer"])
        for each in value["ports"]
    ]
    lines = table(rows, ("port", "usb", "serial number", "may be", "answer"), drop=("usb", "serial number"))
    if not found:
        lines = ["no serial port on USB; plug a board in, or look at its cable: some carry no data"]
    console.result(value, lines)
    return 0


def _value(port: Found) -> dict[str, Any]:
    info, answer = port.info, port.obstacle
    if info is not None:
        answer = f"{info.config.geometry}, {port.baud} baud: --port {port.path}?baud={port.baud}"
    return {
        "port": port.path,
        "usb": port.usb,
        "serial": port.serial,
        "boards": list(port.boards),
        "answers": info is not None,
        "baud": port.baud,
        "geometry": None if info is None else str(info.config.geometry),
        "answer": answer,
    }
