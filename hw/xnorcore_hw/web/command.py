"""The command ``web``. Amaranth is imported when a device is built."""

from __future__ import annotations

import argparse
import re
import shlex
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorcore.boards import CLOCK_HZ, user_device
from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Parser, add_geometry, device_config, integer
from xnorcore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnorcore.isa.device import DeviceConfig

__all__ = ["DEFAULT_NETWORKS", "ENDING", "contents", "fill"]

DEFAULT_NETWORKS = ("digits", "mnist-sfc", "fashion")
ENDING = ".page.json"
"""Of the file of one network, which the page takes."""


def fill(parser: Parser) -> None:
    """Add the arguments of ``web``."""
    parser.set_defaults(call=_web)
    parser.add_argument(
        "networks", metavar="NET", nargs="*",
        help=f"packaged networks or .xnor files; default {', '.join(DEFAULT_NETWORKS)}",
    )  # fmt: skip
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="xnorcore-web",
        help="folder for the files; default xnorcore-web",
    )
    parser.add_argument(
        "--port", type=integer(0, 65535), default=8000, metavar="N",
        help="of this computer to serve them at; default 8000, 0 picks a free one",
    )  # fmt: skip
    parser.add_argument("--no-serve", action="store_true", help="write the files and stop")
    parser.add_argument(
        "--clock-hz", type=integer(1, 1_000_000_000), metavar="N",
        help=f"of the simulated device; default {CLOCK_HZ}, or the board's",
    )  # fmt: skip
    add_geometry(parser)


def contents(
    networks: Sequence[Mapping[str, Any]],
    config: DeviceConfig,
    clock_hz: int,
    wasm: bytes,
    made: str,
    originals: Sequence[bytes] = (),
) -> dict[str, bytes]:
    """Return the files of the folder by name.

    Parameters
    ----------
    networks : sequence of mapping
        As `xnorcore_hw.web.bundle.bundle` gives them.
    config : DeviceConfig
    clock_hz : int
    wasm : bytes
        The simulated device.
    made : str
        The command, for the page.
    originals : sequence of bytes
        The ``.xnor`` file of each network, if they shall be there, too.
    """
    from xnorcore.isa.device import options

    from .bundle import sealed
    from .page import page

    files = {"index.html": page(wasm, clock_hz, options(config), networks, made).encode()}
    for network, original in zip_longest(networks, originals):
        # A network's name may be anything, a file's may not.
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", network["name"]).strip(".-") or "network"
        name = next(
            name for name in (f"{plain}{more}{ENDING}" for more in ("", *map("-{}".format, range(2, 1000))))
            if name not in files
        )  # fmt: skip
        files[name] = sealed(network)
        if original is not None:
            files[f"{name.removesuffix(ENDING)}.xnor"] = original
    files["device.wasm"] = wasm
    return files


def _web(arguments: argparse.Namespace, console: Console) -> int:
    config = device_config(arguments)
    from xnorcore import zoo
    from xnorcore.files import xnorfile

    from ..export.folder import make_folder
    from .bundle import bundle
    from .serve import Server, serve
    from .wasm import device_wasm

    clock_hz = arguments.clock_hz or user_device(arguments.board, config).clock_hz
    if clock_hz < 1:
        raise UsageError(f"board {arguments.board!r} says no clock ({clock_hz} Hz): give --clock-hz N")
    names: list[str] = arguments.networks or list(DEFAULT_NETWORKS)
    if len(set(names)) < len(names):
        raise UsageError(f"a network is named twice: {' '.join(names)}")
    networks = [bundle(name, config) for name in names]
    wasm = device_wasm(config, clock_hz, console.say).read_bytes()
    folder = Path(arguments.output)
    originals = [xnorfile.dumps(zoo.load(name)) for name in names]
    files = contents(networks, config, clock_hz, wasm, _command(arguments, names), originals)
    # The port first: without it there is nothing to write for.
    server = None if arguments.no_serve else Server(files, arguments.port)
    make_folder(folder)
    write(folder, files)
    value: dict[str, Any] = {
        "command": "web",
        "folder": arguments.output,
        "files": {name: len(data) for name, data in sorted(files.items())},
        "networks": [network["name"] for network in networks],
        "clock_hz": clock_hz,
        "geometry": {name: getattr(config.geometry, name) for name in ("rows", "columns", "width")},
        "url": server.url if server else None,
    }

    def announce() -> None:
        console.result(value, _lines(value))

    if server is None:
        announce()
        return 0
    serve(server, announce)
    console.say("xnorcore: stopped")
    return 0


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of the folder."""
    from xnorcore.files.userfile import write_file

    for name, data in files.items():
        write_file(folder / name, data)


def _command(arguments: argparse.Namespace, names: list[str]) -> str:
    """Return a command that makes the same page, without what is of this computer alone."""
    words = ["xnorcore", "web", *(Path(name).name for name in names)]
    for name in ("rows", "columns", "width", "board"):
        if getattr(arguments, name) is not None:
            words += [f"--{name}", str(getattr(arguments, name))]
    for item in arguments.set:
        words += ["--set", item]
    if arguments.clock_hz is not None:
        words += ["--clock-hz", str(arguments.clock_hz)]
    return shlex.join(words)


def _lines(value: dict[str, Any]) -> list[str]:
    g = value["geometry"]
    rows = [
        ("networks", ", ".join(value["networks"])),
        ("device", f"{g['rows']} x {g['columns']} x {g['width']}, the gateware as WebAssembly"),
        ("folder", value["folder"]),
        ("page", f"index.html, {value['files']['index.html']:,} bytes, which needs none of the other files"),
    ]
    if value["url"]:
        rows.append(("open", f"{value['url']}; Ctrl-C stops it"))
    return table(rows)
