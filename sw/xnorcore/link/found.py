"""Boards that are plugged in: serial ports by the USB numbers that boards have, and asked who is there."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from urllib.parse import parse_qsl

from serial.tools import list_ports

from ..errors import LinkError, PortError, UsageError
from ..isa.protocol import DeviceInfo
from .serial_port import open_serial
from .session import Session
from .transport import DEFAULT_BAUD, Progress, Transport

__all__ = ["GROUP", "Found", "ask", "open_auto", "ports"]

GROUP = "xnorcore.usb"
"""Entry-point group: an entry is called and returns (board, vendor, product, baud) of all boards."""
TIMEOUT_S = 0.3
"""Of an answer to INFO; whoever has not answered by then is somebody else."""


@dataclass(frozen=True)
class Found:
    """A serial port.

    Attributes
    ----------
    path : str
    usb : str
        Vendor and product, as ``0403:6010``; empty if it is not on USB.
    serial : str
        Serial number of the USB device, printable; empty if it has none.
    boards : tuple of str
        Boards whose bridge has these numbers.
    bauds : tuple of int
        Rates of these boards.
    info : DeviceInfo or None
        What answered; None if nothing did, or nobody asked.
    baud : int or None
        The rate at which it did.
    obstacle : str
        Why nothing answered.
    """

    path: str
    usb: str
    serial: str
    boards: tuple[str, ...]
    bauds: tuple[int, ...]
    info: DeviceInfo | None = None
    baud: int | None = None
    obstacle: str = ""


def ports(serial: str | None = None) -> list[Found]:
    """Return the serial ports on USB, those of known boards first.

    Parameters
    ----------
    serial : str, optional
        Only those of the USB device with this serial number.
    """
    known: dict[str, list[tuple[str, int]]] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        for board, vendor, product, baud in entry.load()():
            known.setdefault(f"{vendor}:{product}".lower(), []).append((board, baud))
    found = []
    for port in list_ports.comports():
        if port.vid is None or port.pid is None:
            continue
        usb = f"{port.vid:04x}:{port.pid:04x}"
        boards = known.get(usb, [])
        number = "".join(letter for letter in port.serial_number or "" if letter in _SHOWN)
        names = tuple(board for board, _ in boards)
        bauds = tuple(dict.fromkeys([*(baud for _, baud in boards), DEFAULT_BAUD]))
        if serial is None or number == serial:
            found.append(Found(port.device, usb, number, names, bauds))
    return sorted(found, key=lambda port: (not port.boards, port.path))


_SHOWN = string.ascii_letters + string.digits + string.punctuation


def ask(port: Found) -> Found:
    """Return a port with what answers there, at the first of its rates that gets an answer."""
    obstacle = ""
    for baud in port.bauds:
        try:
            session = Session(open_serial(f"{port.path}?baud={baud}"), timeout=TIMEOUT_S, retries=1)
        except PortError as error:
            return replace(port, obstacle=str(error))
        try:
            return replace(port, info=session.synchronise(), baud=baud)
        except LinkError as error:
            obstacle = str(error)
        finally:
            session.close()
    return replace(port, obstacle=obstacle)


def open_auto(spec: str, progress: Progress | None = None) -> Transport:
    """Open the one device that is plugged in; ``auto:``, or ``auto:serial=N`` where there are several.

    Only ports of boards that are known by their USB numbers are asked.

    Raises
    ------
    UsageError
        If an option is unknown, or several devices answer.
    PortError
        If none does.
    """
    options = dict(parse_qsl(spec.removeprefix("?"), keep_blank_values=True))
    unknown = sorted(set(options) - {"serial"})
    if unknown or (spec and not options):
        raise UsageError(f"unknown option {(unknown or [spec])[0]!r} in 'auto:{spec}'; known: serial=NUMBER")
    asked = [ask(port) for port in ports(options.get("serial")) if port.boards]
    answering = [port for port in asked if port.info is not None]
    if len(answering) > 1:
        numbers = ", ".join(f"{port.path} (serial={port.serial})" for port in answering)
        raise UsageError(f"{len(answering)} devices answer: {numbers}; give auto:serial=NUMBER or a path")
    if not answering:
        what = "; ".join(f"{port.path}: {port.obstacle}" for port in asked)
        what = what or "no port has the USB numbers of a board"
        raise PortError(
            f"no device found ({what}); plug it in, program it, or name its port; xnorcore devices lists them"
        )
    (port,) = answering
    if progress:
        progress(f"{port.path}: {' or '.join(port.boards)}, {port.baud} baud")
    return open_serial(f"{port.path}?baud={port.baud}")


def asked(found: list[Found], say: Callable[[int, int], None]) -> Iterator[Found]:
    """Yield ports with what answers there; `say` is told how many are done."""
    for number, port in enumerate(found):
        say(number, len(found))
        yield ask(port)
