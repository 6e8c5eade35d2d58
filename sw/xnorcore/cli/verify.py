"""The command ``verify``: every engine against the golden model, layer by layer."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from .. import zoo
from ..errors import UsageError, XnorcoreError
from ..files.userfile import write_file
from ..model.network import Network
from ..verify import Device, Fault, Report, verify
from ..verify.first_light import first_light
from ..verify.planted import FORMS
from ..verify.random_networks import random_images
from .console import Console, table
from .devices import configurations
from .files import check_output
from .inputs import add_reading, user_images
from .options import Parser, add_simulator, device_config, given_options, integer, seconds, sim_spec
from .working import add_workers

_SIDES = {
    "model": "one of the models: golden and fast disagree",
    "compiler": "the compiler: its program, interpreted, does not give what golden gives",
    "gateware": "the gateware: the same program, interpreted, gives the right values",
    "device": "the device, its bitstream or memories: the same program gives the right values elsewhere",
    None: "",
}
COUNT = 16
"""Random images, if nothing else is asked for."""


def add_verify(parser: Parser) -> None:
    """Add the arguments of ``verify``."""
    parser.set_defaults(call=_verify)
    parser.add_argument(
        "network", metavar="NET", nargs="?", help="packaged network, or .xnor file; without: random networks"
    )
    parser.add_argument("--port", metavar="URL", help="also a device: /dev/ttyUSB1, netlist:FOLDER")
    add_reading(parser)
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument("--images", metavar="IN", help="images for NET, as of sim; default random ones")
    inputs.add_argument(
        "--random",
        type=integer(1),
        metavar="N",
        help=f"random images, default {COUNT}; without NET: networks",
    )
    parser.add_argument(
        "--seed", type=integer(0), default=0, metavar="S", help="of everything random; default 0"
    )
    parser.add_argument("--batch", type=integer(1), metavar="B", help="images at a time, as for sim")
    parser.add_argument("--html", metavar="FILE", help="write the report as one HTML page")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write what became of the board as JSON to send back, without names, paths or serial numbers",
    )
    parser.add_argument(
        "--plant",
        metavar="FAULT",
        help=f"plant a fault in the last device, to see it found: {FORMS}; random, without NET",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=1.0, metavar="S", help="of an answer, 0.01 to 3600; default 1"
    )
    group = parser.add_argument_group("random networks")
    group.add_argument(
        "--devices",
        type=integer(1, 1000),
        default=0,
        metavar="K",
        help="random devices; default N / 64, at least 4",
    )
    group.add_argument(
        "--geometry", metavar="RxCxW", default="random", help="random (default), or one array, as 1x32x32"
    )
    group.add_argument("--first", type=integer(0), default=0, metavar="I", help="number of the first network")
    group.add_argument(
        "--total", type=integer(1), metavar="T", help="networks of a run that is done in parts; default I + N"
    )
    group.add_argument(
        "--keep", metavar="DIR", default=".", help="folder for networks that fail; default here"
    )
    add_workers(parser)
    add_simulator(parser, link="direct")


def _verify(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.network is None:
        from .verify_random import run

        return run(arguments, console)
    if arguments.workers is not None or arguments.scheduler is not None:
        raise UsageError("--workers and --scheduler are for random networks; leave NET out")
    if arguments.geometry != "random" or arguments.devices:
        raise UsageError("--geometry and --devices are for random networks; use --rows, --columns, --width")
    check_output(arguments.html, arguments.images)
    check_output(arguments.report, arguments.images)
    if arguments.report and not arguments.port:
        raise UsageError("--report is of a board; say where it is with --port")
    fault = Fault.parse(arguments.plant) if arguments.plant else None
    network = zoo.load(arguments.network)
    if arguments.images:
        images, source = user_images(arguments, console, network), arguments.images
    else:
        count = arguments.random or COUNT
        images = random_images(np.random.default_rng(arguments.seed), network, count).reshape(count, -1)
        source = "random"
    try:
        report = verify(
            network,
            images,
            _devices(arguments, console, fault),
            source=source,
            seed=arguments.seed,
            at_once=arguments.batch,
            progress=console.progress,
        )
    except XnorcoreError as error:
        # That a board does not answer is what its owner would want to send, above all.
        _report(arguments, network, error)
        raise
    _report(arguments, network, report)
    if arguments.html:
        from ..report.gather import command_line, provenance
        from ..verify.page import page

        write_file(arguments.html, page(report, provenance(network, None, command_line())).encode())
    value = {"command": "verify", **report.as_dict(), "html": arguments.html, "report": arguments.report}
    console.result(value, _lines(report))
    return 0 if report.equal else 1


def _report(arguments: argparse.Namespace, network: Network, result: Report | XnorcoreError) -> None:
    if arguments.report:
        value = first_light(network, arguments.port, result, configurations())
        write_file(arguments.report, (json.dumps(value, indent=1) + "\n").encode())


def _devices(arguments: argparse.Namespace, console: Console, fault: Fault | None) -> list[Device]:
    """Return the interpreter, the simulated device and, with ``--port``, the real one, all three alike."""
    from ..runtime.accelerator import Accelerator
    from ..verify.ask import machine_url, sim_url

    spec, config = sim_spec(arguments), device_config(arguments)
    if not arguments.port:
        machine = Device("machine", machine_url(config), keep_on=True)
        return [machine, Device("rtl", f"sim:{spec}", fault, arguments.timeout, True)]

    if arguments.board is None and not given_options(arguments):
        with Accelerator.open(
            arguments.port, timeout=arguments.timeout, progress=console.progress
        ) as accelerator:
            config = accelerator.info.config
        spec = sim_url(config, link=arguments.link, engine=arguments.engine).removeprefix("sim:")
    machine = Device("machine", machine_url(config), keep_on=True)
    rtl = Device("rtl", f"sim:{spec}", None, arguments.timeout, True)
    name = "netlist" if arguments.port.startswith("netlist:") else "board"
    return [machine, rtl, Device(name, arguments.port, fault, arguments.timeout)]


def _lines(report: Report) -> list[str]:
    inputs = report.inputs
    rows: list[tuple[str, str]] = [
        ("network", f"{report.network}, sha256 {report.network_sha256}"),
        (
            "images",
            f"{inputs['count']:,} ({inputs['source']}, seed {inputs['seed']}), sha256 {inputs['sha256']}",
        ),
    ]
    for name, about in report.devices.items():
        shape = "{rows} x {columns} x {width}".format(**about["config"])
        rows.append((name, f"{about['url']}"))
        rows.append(("", f"array {shape}, build {about['build']}, program {about['program']}"))
        if about["passes"] > 1:
            rows.append(("", f"{about['passes']} passes"))
        if about["planted"]:
            rows.append(("", f"planted fault: {about['planted']}"))
    lines = [*table(rows), "", *table(_grid(report), ("layer", "kind", "result", *report.engines)), ""]
    if report.equal:
        return [*lines, f"equal: {', '.join(report.engines)} and the golden model"]
    lines += [f"FAILED: {name}, {line}" for name, said in report.errors.items() for line in said]
    lines += [f"DIFFERS: {check}" for check in report.differences]
    return [*lines, f"at fault: {_SIDES[report.side]}"]


def _grid(report: Report) -> list[tuple[str, ...]]:
    checks: dict[tuple[int, str], Any] = {(check.index, check.engine): check for check in report.checks}
    rows = []
    for index in sorted({check.index for check in report.checks}):
        some = checks[index, report.engines[0]]
        cells = [f"{index} {some.name}", some.kind, "x".join(map(str, some.shape))]
        for engine in report.engines:
            check = checks.get((index, engine))
            cells.append("" if check is None else check.verdict)
        rows.append(tuple(cells))
    return rows
