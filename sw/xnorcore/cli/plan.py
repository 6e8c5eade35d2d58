"""The command ``plan``: which boards run a network, how fast, and what the others lack."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from .. import zoo
from ..boards import BoardDevice, board_devices, find_device
from ..compiler.compile import compile_network
from ..compiler.obstacles import Obstacle, obstacles
from ..errors import CompileError, GeometryError, UsageError
from ..files.userfile import write_file
from ..isa.program import Program
from ..isa.stores import StoreKind
from ..model.network import Network
from ..pages import plots
from ..report.board import way_text
from ..report.gather import command_line, graph, layers_expected, provenance, roofline
from ..report.narrowing import narrowing
from ..report.planned import plan_page
from ..report.ways import ways
from ..runtime.rates import CALL, Rates, of_use, rates
from .console import Console, table
from .devices import lacking_lines
from .files import check_output
from .models import describe
from .options import Parser, add_network, integer

_RATES = tuple(Rates.__dataclass_fields__)


def add_plan(parser: Parser) -> None:
    """Add the arguments of ``plan``."""
    parser.set_defaults(call=_plan)
    add_network(parser)
    parser.add_argument("--board", metavar="BOARD", help="only this one; default all that are installed")
    parser.add_argument(
        "--html", metavar="FILE", help="write all of it as one page, with a roofline for each board"
    )
    parser.add_argument(
        "--images", metavar="N", type=integer(1), default=CALL,
        help="images of a call, which share the weights where they come in passes; default %(default)s",
    )  # fmt: skip


def plan(network: Network, board: str, device: BoardDevice, images: int = CALL) -> dict[str, Any]:
    """Return what a board does with a network, in the form of ``--json``.

    Returns
    -------
    dict
        ``board``; ``runs``: ``resident``, ``stream``, ``passes`` or ``no``; the rates of `Rates`, None
        where it does not run; ``store``: where weights come from that the buffers do not hold;
        ``passes``; ``call_images``: images of the call that rates are of, where the host reads the results;
        ``cycles_per_batch``, ``images_per_batch`` as of ``info``; what its design takes of the FPGA as of
        `BoardSize`, None where that is not known, as ``size``; ``missing``: everything that the device lacks,
        each with ``field``, ``there``, ``needed`` and ``reason``; ``ways``: the nearest devices that run it
        where it does not, as of ``report``; ``larger_store``: the ``store_words`` with which it has no
        passes, where its own are fewer and the board's chip has as many; ``narrower``: the layers with which
        it would run there if they were narrower, as of `narrowing`; ``roofline`` as of ``report``, by
        computation.
    """
    value: dict[str, Any] = {"board": board, "runs": "no", **dict.fromkeys(_RATES), "store": None}
    value |= {"clock_hz": device.clock_hz, "baud": device.baud}
    value["size"] = None if device.size is None else asdict(device.size)
    value |= dict.fromkeys(
        ("passes", "call_images", "rounds", "cycles_per_batch", "readout_cycles_per_batch")
    )
    value |= {**dict.fromkeys(("images_per_batch", "roofline", "narrower", "larger_store")), "ways": []}
    if device.refusal:
        return value | {"missing": [asdict(_too_large(device, device.refusal))]}
    try:
        program = of_use(compile_network(network, device.config), device)
    except CompileError:
        lacking = obstacles(network, device.config)
        return value | {
            "missing": [asdict(lack) for lack in lacking],
            "ways": ways(network, device.config, device.refuses),
            "narrower": narrowing(network, device.config, lacking),
        }
    reached = rates(program, device, images)
    return value | {
        "runs": "passes" if program.passes > 1 else "stream" if program.streams else "resident",
        **asdict(reached),
        "store": "wire" if program.passes > 1 else _store(program) if program.streams else None,
        "passes": program.passes,
        "call_images": images if program.results_read else None,
        "rounds": len(program.turns),
        "cycles_per_batch": program.cycles,
        "readout_cycles_per_batch": program.readouts,
        "images_per_batch": program.batch,
        "missing": [],
        "larger_store": _larger_store(network, device) if program.passes > 1 else None,
        "roofline": roofline(program, layers_expected(program), device, reached),
    }


def _too_large(device: BoardDevice, refusal: str) -> Obstacle:
    size = device.size
    if size is None or size.logic_cells <= size.logic_cells_available:
        return Obstacle("", 0, 0, refusal)
    return Obstacle("logic_cells", size.logic_cells_available, size.logic_cells, refusal)


def _larger_store(network: Network, device: BoardDevice) -> int | None:
    """Return the least size of a board's store, above its own, with which a network has no passes."""
    config = device.config
    while config.store_words:
        try:
            config = replace(config, store_words=2 * config.store_words)
            if device.refuses(config) is not None:
                return None
            if compile_network(network, config).passes == 1:
                return config.store_words
        except (CompileError, GeometryError):
            return None
    return None


def _store(program: Program) -> str:
    return StoreKind(program.config.store_kind).memory


def _plan(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.html:
        plots.require()
        check_output(arguments.html, arguments.network)
    network = zoo.load(arguments.network)
    devices = board_devices(unfit=True)
    if arguments.board is not None:
        devices = {arguments.board: find_device(arguments.board, unfit=True)}
    if not devices:
        raise UsageError("no board is installed; xnorcore info NET describes the simulated device")
    rows = [plan(network, board, device, arguments.images) for board, device in devices.items()]
    value = {"command": "plan", **describe(network), "boards": rows}
    lines = [*_network(value), "", *plan_lines(arguments.network, rows)]
    if arguments.html:
        text = plan_page(value, graph(network), provenance(network, None, command_line()))
        write_file(arguments.html, text.encode())
        lines += ["", f"page: {arguments.html}"]
    console.result(value, lines)
    return 0 if any(row["runs"] != "no" for row in rows) else 1


def _network(value: dict[str, Any]) -> list[str]:
    accuracy = "" if value["accuracy"] is None else f"; accuracy {value['accuracy']:.2%}"
    return [
        f"{value['network']}: {value['sizes']}, {value['input']['bits']}-bit inputs; "
        f"{value['weight_bits']:,} weight bits, {value['macs_per_image']:,} MACs per image{accuracy}"
    ]


def plan_lines(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Return what rows of `plan` say of the network of that name or path, for people."""
    cells = []
    for row in rows:
        runs = f"{row['passes']} passes" if row["runs"] == "passes" else row["runs"]
        figures = ["" if row[rate] is None else _figure(row[rate]) for rate in _RATES]
        batch = row["cycles_per_batch"]
        cycles = "" if batch is None else _figure(batch / row["images_per_batch"])
        cells.append((row["board"], runs, cycles, *figures, row["store"] or "", *_size(row["size"])))
    head = (
        "board", "runs", "cycles", "device images/s", "wire images/s", "images/s", "latency, us", "store",
        "logic cells", "block RAM",
    )  # fmt: skip
    drop = ("store", "cycles", "wire images/s", "device images/s", "block RAM", "logic cells")
    lines = table(cells, head, drop=drop)
    if any(row["size"] and row["size"]["logic_cells_built"] is None for row in rows):
        lines.append("about: logic cells by estimate, of a design that was not built")
    lines += [
        f"{row['board']}: {row['rounds']} images of a call share the weights of its last layers"
        for row in rows
        if row["rounds"]
    ]
    one = [row["board"] for row in rows if row["passes"] == 1 and row["call_images"] and not row["rounds"]]
    if one:
        lines.append(f"{', '.join(one)}: room for one batch of images at a time: nothing overlaps")
    calls = {row["call_images"] for row in rows if row["passes"] != 1} - {None}
    lines += [
        f"in passes: of a call of {images:,} images, which share the weights"
        for images in calls
        if images > 1
    ]
    lines += ["in passes: of a call of one image" for images in calls if images == 1]
    lines += [
        f"{row['board']}: without passes: xnorcore build {row['board']} --set store_words={words}"
        for row in rows
        if (words := row["larger_store"])
    ]
    lacking = [row for row in rows if row["missing"]]
    for row in lacking:
        lines += ["", f"{row['board']} does not run it:"]
        lines += lacking_lines(row["missing"])
        lines += _ways(name, row)
        if less := row["narrower"]:
            passes = f", in {less['passes']} passes" if less["passes"] > 1 else ""
            said = [f"{one['layer']} from {one['outputs']:,} to {one['needed']:,}" for one in less["layers"]]
            lines.append(f"  a narrower network would run{passes}: {', '.join(said)} outputs")
    able = [row["board"] for row in rows if row["runs"] != "no"]
    if lacking and able:
        lines += ["", f"boards that run it as they are: {', '.join(able)}"]
    return lines


def _ways(name: str, row: dict[str, Any]) -> list[str]:
    """What changes to a board's device would do, first what the board holds, by estimate."""
    board, found = row["board"], sorted(row["ways"], key=lambda way: way["refusal"] is not None)
    lines = []
    for way in found:
        passes = f", in {way['passes']} passes" if way["passes"] > 1 else ""
        if way["refusal"] is None:
            lines.append(f"  would run{passes}: xnorcore info {name} --board {board} {way_text(way)}")
        else:
            lines.append(f"  not with {way_text(way)}{passes}: {way['refusal']}")
    if found and all(way["refusal"] for way in found):
        lines.append(f"  whether another array runs it: xnorcore build {board} --for {name} searches for one")
    return lines


def _size(size: dict[str, Any] | None) -> tuple[str, str]:
    if size is None:
        return "", ""
    built, there = size["logic_cells_built"], size["logic_cells_available"]
    cells = f"{built:,}" if built is not None else f"about {size['logic_cells']:,}"
    return f"{cells} of {there:,}", f"{size['bram']} of {size['bram_available']}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
