"""The command ``export-verilog``. Amaranth is imported when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorcore.boards import CLOCK_HZ
from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Parser, add_geometry, device_config, integer
from xnorcore.errors import UsageError
from xnorcore.isa.stores import StoreKind

if TYPE_CHECKING:
    from xnorcore.isa.device import DeviceConfig

__all__ = ["fill"]

_MAX_IMAGES = 1000


def fill(parser: Parser) -> None:
    """Add the arguments of ``export-verilog``."""
    parser.set_defaults(call=_export)
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for the files")
    parser.add_argument(
        "--shell",
        choices=("uart", "stream"),
        default="uart",
        help="around the core: what the driver talks to (default), or AXI-Stream for a system of your own",
    )
    parser.add_argument("--geometry", metavar="RxCxW", help="rows x columns x width, in one word")
    parser.add_argument("--bake", metavar="NET", help="a network that is in the memories from the start")
    parser.add_argument(
        "--images",
        type=integer(1, _MAX_IMAGES),
        metavar="N",
        help="that the testbench plays; default two batches and one image",
    )
    parser.add_argument(
        "--clock-hz", type=integer(1), default=CLOCK_HZ, metavar="N", help=f"of aclk; default {CLOCK_HZ}"
    )
    parser.add_argument("--baud", type=integer(1), metavar="N", help="of the UART; default 3000000 or near")
    add_geometry(parser)


def _config(arguments: argparse.Namespace) -> DeviceConfig:
    if arguments.geometry is not None:
        from xnorcore.isa.device import Geometry

        given = [name for name in ("rows", "columns", "width") if getattr(arguments, name) is not None]
        if given or arguments.board is not None:
            other = f"--{given[0]}" if given else "--board"
            raise UsageError(f"--geometry and {other} both choose an array; leave one out")
        geometry = Geometry.parse(arguments.geometry)
        arguments.rows, arguments.columns, arguments.width = geometry.rows, geometry.columns, geometry.width
    return device_config(arguments)


def _export(arguments: argparse.Namespace, console: Console) -> int:
    config = _config(arguments)
    if arguments.shell == "stream" and arguments.baud:
        raise UsageError("--baud is of the UART, which --shell stream has not; leave it out")
    if config.store_kind:
        raise UsageError(
            f"store_kind is {config.store_kind}, but pins of {StoreKind(config.store_kind).title} are no "
            "ports of these modules; leave it out for a store on the chip"
        )

    from xnorcore import zoo
    from xnorcore.compiler.compile import compile_network

    from ..shells.baked import bake
    from ..shells.pins import AxiStreamPins, UartPins
    from ..sim.toolchain import require_yosys
    from ..sim.transport import SimOptions
    from .folder import TOP, contents, make_folder, write_files
    from .vectors import Vectors, sample_images, sample_network
    from .verilog import ports_value, verilog

    require_yosys("boards")  # before the work
    divisor = SimOptions(config, clock_hz=arguments.clock_hz, baud=arguments.baud or 0).divisor
    if arguments.bake:
        network = zoo.load(arguments.bake)
        program = bake(network, config)
    else:
        network = sample_network()
        program = compile_network(network, config)
    count = arguments.images or 2 * config.geometry.rows + 1
    images = sample_images(network, arguments.bake, count)
    vectors = Vectors.of(network, program, images, baked=bool(arguments.bake))
    played = vectors.stream_files() if arguments.shell == "stream" else vectors.uart_files()
    folder = Path(arguments.output)
    make_folder(folder)
    console.say(f"writing {config.geometry} as Verilog; large memories take a minute")
    baked = program if arguments.bake else None
    if arguments.shell == "stream":
        top: Any = AxiStreamPins(config, arguments.clock_hz, baked)
    else:
        top = UartPins(config, arguments.clock_hz, divisor, baked)
    text = verilog(top, TOP)
    texts = contents(arguments.shell, text, top.PORTS, config, vectors, played, divisor, arguments.bake or "")
    write_files(folder, texts)
    g = config.geometry
    value: dict[str, Any] = {
        "command": "export-verilog",
        "folder": arguments.output,
        "files": sorted(texts),
        "module": TOP,
        "shell": arguments.shell,
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "bake": arguments.bake,
        "images": len(images),
        "clock_hz": arguments.clock_hz,
        "baud": arguments.clock_hz // divisor if arguments.shell == "uart" else None,
        "ports": ports_value(top.PORTS),
    }
    console.result(value, _lines(value))
    return 0


def _lines(value: dict[str, Any]) -> list[str]:
    g = value["geometry"]
    rows = [
        ("module", f"{value['module']}, {value['shell']} shell"),
        ("array", f"{g['rows']} x {g['columns']} x {g['width']}"),
        ("network", value["bake"] or "none baked; the testbench loads a small one"),
        ("ports", f"{len(value['ports'])}, in ports.md and ports.json"),
        ("testbench", f"testbench.v, {value['images']} images; README.md says how to run it"),
        ("folder", value["folder"]),
    ]
    return table(rows)
