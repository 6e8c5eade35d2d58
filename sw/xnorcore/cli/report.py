"""The command ``report``: a network on a device, as one page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets, zoo
from ..boards import BoardDevice, user_device
from ..compiler.compile import Program, compile_network
from ..compiler.obstacles import obstacles
from ..errors import CompileError, MissingDependencyError, UsageError
from ..files.userfile import write_file
from ..isa.device import DeviceConfig
from ..model.network import Network
from ..pages import plots
from ..reference import fast
from ..report import gather
from ..report.board import build_command, way_text
from ..report.page import page, worst_pictures
from ..report.ways import ways
from ..runtime.rates import Rates, of_use, rates
from .console import Console
from .data import add_folder
from .evaluate import trained_on
from .files import check_output
from .inputs import add_fit, add_inputs, held_out, network_inputs
from .models import describe, device_facts, kind_of, layer_facts, without_limits
from .options import Parser, add_geometry, add_network, device_config, given_options, integer, sim_spec

__all__ = ["add_report"]

PROFILES = "xnorcore.profiles"
"""Entry-point group of what counts cycles by layer, called as ``profile(spec, network, images)``."""
BUILDS = "xnorcore.builds"
"""Entry-point group of builds; each entry is called with a board's name, a folder or None, and a device."""

_BATCHES = 4


def add_report(parser: Parser) -> None:
    """Add the arguments of ``report``."""
    parser.set_defaults(call=_report)
    add_network(parser)
    parser.add_argument("-o", "--output", metavar="PAGE.html", required=True, help="where the page goes")
    parser.add_argument(
        "--data", metavar="NAME",
        help=f"{', '.join(sorted(datasets.DATASETS))}, or the path of your own data set; default what is "
        "packaged with the network, else what it was trained with",
    )  # fmt: skip
    add_folder(parser)
    add_inputs(parser)
    add_fit(parser)
    parser.add_argument("--limit", type=integer(1), metavar="N", help="the first N images; default all")
    parser.add_argument(
        "--build",
        metavar="DIR",
        help="build folder of the board, whose device it is; default build/BOARD-RxCxW, if "
        "that is of this device",
    )
    parser.add_argument("--no-sim", action="store_true", help="count no cycles on the simulated device")
    add_geometry(parser)
    parser.set_defaults(engine="compiled", link="direct", baud=None, clock_hz=None)


def _report(arguments: argparse.Namespace, console: Console) -> int:
    plots.require()
    check_output(arguments.output, arguments.network)
    config, build = _built(arguments)
    network = zoo.load(arguments.network)
    device = _device(arguments, config, build)
    program, refusal = _program(network, device)
    if build is not None:
        build["command"] = build_command(arguments.board, config)
        build["default_folder"] = f"build/{arguments.board}-{config.geometry}"
    value: dict[str, Any] = {
        "command": "report",
        **describe(network),
        "graph": gather.graph(network),
        "layers": [{**layer, "what": kind_of(layer)} for layer in layer_facts(network, program)],
        **device_facts(config, program),
        "refusal": refusal,
        "ways": _ways(arguments, network, config, program, refusal),
        "device": {"board": arguments.board},
        "regions": gather.where_it_lies(program) if program else [],
        "build": build,
        "clock_hz": device.clock_hz,
        "baud": device.baud,
    }
    images = _images(arguments, network)
    value["accuracy"], pictures = _accuracy(network, images, console)
    whole = None if refusal else program
    reached = rates(program, device) if program else None
    value["measured"] = _measure(arguments, console, network, whole, images, device, reached)
    expected = gather.layers_expected(program) if program else []
    layers = value["measured"]["layers"][:-1] if value["measured"] else expected
    value["expected"] = expected
    value["roofline"] = gather.roofline(program, layers, device, reached) if program and reached else None
    value["made_by"] = gather.provenance(network, whole, gather.command_line())
    value["output"] = arguments.output
    write_file(arguments.output, page(value, pictures).encode())
    said = [f"{network.name}: {arguments.output}"]
    if refusal:
        said.append(f"does not fit: {refusal}")
    for way in value["ways"]:
        said.append(f"{'would run' if refusal else 'in one pass'}: {way_text(way)}")
    console.result(value, said)
    return 1 if refusal or (value["measured"] and value["measured"]["mismatches"]) else 0


def _built(arguments: argparse.Namespace) -> tuple[DeviceConfig, dict[str, Any] | None]:
    """Return the device, and what is known of its build on a board; with ``--build`` it is what was built."""
    config = device_config(arguments)
    if not arguments.board:
        if arguments.build:
            raise UsageError("--build is of a board; give --board, too")
        return config, None
    if arguments.build:
        if not Path(arguments.build).is_dir():
            raise UsageError(f"--build {arguments.build!r} is no folder; xnorcore build BOARD makes one")
        if given := given_options(arguments):
            raise UsageError(f"--build says what the device is; leave {', '.join(given)} out")
    found = _facts(arguments.board, arguments.build, config)
    if arguments.build and found:
        arguments.set = [f"{name}={number}" for name, number in found["device"].items()]
        config = device_config(arguments)
    return config, found


def _facts(board: str, folder: str | None, config: DeviceConfig) -> dict[str, Any] | None:
    for entry in sorted(metadata.entry_points(group=BUILDS), key=lambda entry: entry.name):
        if (found := entry.load()(board, folder, config)) is not None:
            return found
    return None


def _device(arguments: argparse.Namespace, config: DeviceConfig, build: dict[str, Any] | None) -> BoardDevice:
    """Return clock and wire: those of the build, the board's, or those of a simulated device."""
    device = user_device(arguments.board, config)
    if build is None or build["divisor"] is None:
        return device
    clock, divisor = build["clock_hz"], build["divisor"]
    return BoardDevice(config, clock, clock // divisor, {clock // divisor: divisor})


def _ways(
    arguments: argparse.Namespace, network: Network, config: DeviceConfig, program: Program | None,
    refusal: str | None,
) -> list[dict[str, Any]]:  # fmt: skip
    if program is not None and program.passes == 1 and not refusal:
        return []

    def fits(device: DeviceConfig) -> str | None:
        found = _facts(arguments.board, None, device) if arguments.board else None
        return found["refusal"] if found else None

    return ways(network, config, fits)


def _program(network: Network, device: BoardDevice) -> tuple[Program | None, str | None]:
    """Return the program, or why there is none, and one for the same array that lacks nothing."""
    config = device.config
    try:
        return of_use(compile_network(network, config), device), None
    except CompileError as error:
        refusal = str(error)
    program = without_limits(network, config)
    if program is None:
        lacking = obstacles(network, config)
        if all(lack.field for lack in lacking):
            changes = {lack.field: lack.needed for lack in lacking}
            program = compile_network(network, replace(config, **changes))
    return program, refusal


def _images(
    arguments: argparse.Namespace, network: Network
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.int64], int] | None:
    """Return pixels, inputs, labels and the largest pixel of the held-out images; None if there are none."""
    given = arguments.data is not None or arguments.folder is not None
    if not given:
        try:
            pixels, labels = zoo.test_images(arguments.network)
            count = arguments.limit or len(pixels)
            return pixels[:count], network.encode(pixels[:count]), labels[:count], int(max(pixels.max(), 1))
        except UsageError:
            pass
    name = arguments.data or trained_on(network)
    if name is None:
        if given:
            raise UsageError(f"network {network.name!r} names no data set to look for; give --data as well")
        return None
    try:
        part = held_out(network, name, arguments.folder, arguments.fit, arguments.invert)
    except MissingDependencyError:
        if given:
            raise
        return None
    count = arguments.limit or len(part.labels)
    inputs, _ = network_inputs(network, part, count, arguments.inputs)
    return part.images[:count], inputs, part.labels[:count].astype(np.int64), part.maximum


def _accuracy(
    network: Network, images: Any, console: Console
) -> tuple[dict[str, Any] | None, dict[int, Any]]:
    if images is None:
        return None, {}
    pixels, inputs, labels, largest = images
    results = fast.run(network, inputs, progress=console.counting("images"))
    found = gather.accuracy(network, results, labels)
    return found, worst_pictures(found, pixels, largest)


def _measure(
    arguments: argparse.Namespace, console: Console, network: Network, program: Program | None, images: Any,
    device: BoardDevice, reached: Rates | None,
) -> dict[str, Any] | None:  # fmt: skip
    """Count cycles on the simulated device; nothing of a network that runs in passes, or in rounds."""
    entries = metadata.entry_points(group=PROFILES, name="sim")
    if arguments.no_sim or program is None or reached is None or not entries:
        return None
    if program.passes > 1 or program.turns:
        return None
    count = _BATCHES * program.batch
    if images is not None and len(images[1]):
        inputs = np.resize(images[1], (count, images[1].shape[1]))
    else:
        inputs = np.random.default_rng(0).integers(
            0, 1 << network.input.bits, (count, network.input.size), np.uint8
        )
    profile = next(iter(entries)).load()
    found = profile(sim_spec(arguments), network, inputs, progress=console.progress)
    expected = fast.run(network, inputs)
    layers = gather.layers_measured(program, found, _BATCHES)
    cycles = sum(row["cycles_per_batch"] for row in layers[:-1])
    # A device without counters says nothing itself; the simulator has seen every cycle.
    counted = found["measurement"]["cycles_per_image"]
    if counted is None:
        counted = (cycles + layers[-1]["causes"]["tail"]) / program.batch
    return {
        "batches": _BATCHES,
        "layers": layers,
        "cycles_per_image": counted,
        "efficiency": found["measurement"]["macs_per_image"] / (counted * program.config.geometry.peak),
        "array_images_per_s": device.clock_hz * program.batch / cycles,
        "wire_images_per_s": reached.wire_images_per_s,
        "mismatches": int(np.count_nonzero(found["results"] != expected)),
        "scores": int(expected.size),
    }
