"""The command ``build``. Amaranth is imported when it runs."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Commands, command, integer
from xnorcore.cli.phases import Phases
from xnorcore.cli.working import add_workers, workers
from xnorcore.errors import UsageError

if TYPE_CHECKING:
    from xnorcore.isa.device import DeviceConfig
    from xnorcore.workers import Pool

    from ..board import Board
    from ..build.design import Design
    from ..build.flow import Built
    from ..gates.check import Checked

__all__ = ["add_build"]

MAX_SEEDS = 100


def add_build(commands: Commands) -> None:
    """Add the command ``build`` to the parser."""
    text = "Make the bitstream of a board; exit 1 if it misses its clock."
    parser = command(commands, "build", text, _build, example="icebreaker --bake mnist-tfc")
    parser.add_argument("board", metavar="BOARD", help="name of a board (xnorcore boards), or sim")
    parser.add_argument("--geometry", metavar="RxCxW", help="rows x columns x width of the array")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=N",
        help="any other field of DeviceConfig, for instance act_depth=512",
    )
    parser.add_argument("--for", metavar="NET", help="the configuration that is best for this network")
    parser.add_argument("--bake", metavar="NET", help="put a network into the bitstream, ready at power-up")
    parser.add_argument(
        "--seeds",
        type=integer(1, MAX_SEEDS),
        default=0,
        metavar="N",
        help="placements to try, the fastest is kept (default: up to 3, until one is fast enough)",
    )
    add_workers(parser)
    parser.add_argument("--baud", type=integer(1), metavar="N", help="of the UART")
    parser.add_argument("--clock-hz", type=integer(1), metavar="N", help="of the accelerator")
    parser.add_argument("--out", metavar="DIR", help="build folder; default build/BOARD-RxCxW")
    parser.add_argument(
        "--check-netlist",
        action="store_true",
        help="simulate the netlist: load networks over its UART, compare scores; exit 1 if they differ",
    )
    parser.add_argument(
        "--record", action="store_true", help="keep the figures as the board's, for xnorcore boards"
    )


def _build(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.board == "sim":
        return _build_sim(arguments, console)
    with _pool(arguments, console) as pool:
        return _build_board(arguments, console, pool)


def _build_board(arguments: argparse.Namespace, console: Console, pool: Pool | None) -> int:
    from xnorcore.isa.device import Geometry

    from ..board import find_board
    from ..build.flow import build, building
    from ..build.tools import require_tools
    from ..measure.recorded import measured
    from .choose import for_network

    network = getattr(arguments, "for")
    if network and arguments.set:
        raise UsageError("--for chooses the memories; leave --set out")
    other = (arguments.geometry, arguments.set, arguments.clock_hz, arguments.baud, arguments.bake)
    other += (network,)
    if arguments.record and any(other):
        raise UsageError("--record keeps figures of the board's own design; leave the other options out")
    board = find_board(arguments.board)
    if arguments.clock_hz:
        board = replace(board, clock_hz=arguments.clock_hz)
    require_tools(board.part.family.tools)
    if network:
        geometry = Geometry.parse(arguments.geometry) if arguments.geometry else None
        config = for_network(board, network, console, geometry)
    else:
        config = _config(board.config, arguments)
    started = time.monotonic()
    phases = Phases(console)
    with phases.phase(f"{board.name}: elaborating {config.geometry}"):
        design = _design(board, config, arguments, console)
    folder = Path(arguments.out or f"build/{board.name}-{design.config.geometry}")
    with building(folder, ", or choose another folder with --out DIR"):
        before = measured(board.name, design.config, board.clock_hz)
        likely = before["seed"] if before else None
        built = build(design, folder, arguments.seeds, phases, likely, pool)
        return _finish(design, built, time.monotonic() - started, arguments, console)


def _pool(arguments: argparse.Namespace, console: Console) -> AbstractContextManager[Pool | None]:
    """Return the workers that were asked for, or none."""
    if arguments.workers is None and arguments.scheduler is None:
        return nullcontext()
    if not arguments.seeds:
        raise UsageError(
            "--workers and --scheduler place with several seeds at once; say how many with --seeds"
        )
    return workers(arguments, console, packages=("xnorcore", "xnorcore_boards"))


def _finish(
    design: Design, built: Built, seconds: float, arguments: argparse.Namespace, console: Console
) -> int:
    """Check, record and print a build; return the exit status."""
    from ..measure.records import record, report

    board = design.board
    value = report(board, design.config, built, seconds)
    if not built.timing.met:
        console.say(
            f"xnorcore: check failed: {built.timing.fmax_mhz:.2f} MHz of {built.timing.clock_mhz:g} MHz; "
            f"critical path {built.timing.critical}"
        )
    checks = _check(design, built, console) if arguments.check_netlist else {}
    for name, check in checks.items():
        value |= {f"{name}_scores": check.scores, f"{name}_mismatches": check.mismatches}
    passed = built.timing.met and all(check.passed for check in checks.values())
    if arguments.record and passed:
        record(board, design.config, built, value)
    console.result(value, _lines(value, built.timing.critical, board))
    return 0 if passed else 1


def _check(design: Design, built: Built, console: Console) -> dict[str, Checked]:
    """Run the UART test on the netlist, and on the bitstream where IceStorm can turn it back."""
    from ..families.ice40_bitstream import bitstream_circuit, find_icebox
    from ..gates.check import check_engine
    from ..gates.core import netlist_circuit
    from ..gates.engine import NetlistEngine, read_top

    board, family = design.board, design.board.part.family.name
    top = built.folder / "top.json"
    sources: dict[str, Any] = {"netlist": lambda: netlist_circuit(read_top(top), board, design.config)}
    if design.spram:
        console.say(f"{board.name}: icebox_vlog leaves out SPRAM, so that only the netlist is simulated")
    elif family == "ice40" and find_icebox():
        pcf = built.folder / "top.pcf"
        sources["bitstream"] = lambda: bitstream_circuit(built.bitstream, pcf, board)
    elif family == "ice40":
        console.say(f"{board.name}: no icebox_vlog on the PATH, so that only the netlist is simulated")
    checks = {}
    for name, circuit in sources.items():
        with Phases(console).phase(f"{board.name}: simulating the {name}"):
            engine = NetlistEngine(circuit(), board.true_hz, design.divisor)
            checks[name] = check_engine(engine, design.config, board.true_hz, design.divisor, design.bake)
        if not checks[name].passed:
            wrong = f"{checks[name].mismatches} of {checks[name].scores} scores differ from golden"
            console.say(f"xnorcore: check failed: {name}: {checks[name].failure or wrong}")
    return checks


def _config(default: DeviceConfig, arguments: argparse.Namespace) -> DeviceConfig:
    from dataclasses import asdict

    from xnorcore.isa.device import DeviceConfig, Geometry

    options = asdict(default)
    g = Geometry.parse(arguments.geometry) if arguments.geometry else default.geometry
    options.pop("geometry")
    # The board's own choice suits its own array; another one may allow less.
    while g.columns % options["threshold_share"] or options["threshold_share"] >= g.width.bit_length():
        options["threshold_share"] //= 2
    for item in arguments.set:
        name, _, text = item.partition("=")
        if not text.isdecimal() or not text.isascii() or len(text) > 18:
            raise UsageError(f"--set {item!r} is not NAME=N, for instance act_depth=512")
        if name in ("rows", "columns", "width"):
            raise UsageError(f"--set {item!r}: the array is chosen with --geometry ROWSxCOLUMNSxWIDTH")
        options[name] = int(text)
    return DeviceConfig.parse(rows=g.rows, columns=g.columns, width=g.width, **options)


def _design(board: Board, config: DeviceConfig, arguments: argparse.Namespace, console: Console) -> Design:
    from ..build.design import elaborate, fit_memories
    from ..measure.size import check_size

    check_size(board, config)  # elaborating what is far too large takes minutes
    design = elaborate(board, config, arguments.baud, _bake(arguments, config))
    given = any(item.startswith("weight_depth=") for item in arguments.set)
    smaller = design.config if given else fit_memories(design)
    if smaller != design.config:
        depth = smaller.weight_depth
        console.say(
            f"{board.name}: weight_depth is {depth}, not {config.weight_depth}, for want of block RAM"
        )
        design = elaborate(board, smaller, arguments.baud, _bake(arguments, smaller))
    design.check()
    return design


def _bake(arguments: argparse.Namespace, config: DeviceConfig) -> Any:
    if not arguments.bake:
        return None
    from xnorcore import zoo
    from xnorcore_hw.shells.baked import bake

    return bake(zoo.load(arguments.bake), config)


def _build_sim(arguments: argparse.Namespace, console: Console) -> int:
    from xnorcore.isa.device import DeviceConfig
    from xnorcore_hw.sim.transport import open_sim

    names = (
        "bake",
        "for",
        "seeds",
        "workers",
        "scheduler",
        "baud",
        "clock_hz",
        "out",
        "check_netlist",
        "record",
    )
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]
    if given:
        raise UsageError(f"build sim takes --geometry and --set, not {', '.join(given)}")
    started = time.monotonic()
    config = _config(DeviceConfig(), arguments)
    g = config.geometry
    spec = ",".join([f"rows={g.rows},columns={g.columns},width={g.width}", *arguments.set])
    open_sim(spec, progress=console.say).close()
    value: dict[str, Any] = dict.fromkeys(_FIELDS)
    value |= {
        "board": "sim",
        "device": "simulator",
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "macs_per_cycle": g.peak,
        "seconds": round(time.monotonic() - started, 1),
    }
    console.result(
        value, [f"simulator of {g} is ready; try: xnorcore run NET IN.npy --port sim:{spec} -o OUT.npy"]
    )
    return 0


_FIELDS = (
    "board", "device", "geometry", "macs_per_cycle", "lut4", "lut4_available", "logic_cells", "ff", "bram",
    "bram_available", "spram", "spram_available", "clock_mhz", "fmax_mhz", "timing_met", "lut4_per_mac",
    "array_lut4_per_mac", "array_logic_cells_per_mac", "bitstream", "seconds",
)  # fmt: skip


def _lines(value: dict[str, Any], critical: str, board: Board) -> list[str]:
    g = value["geometry"]
    rows = [
        ("board", f"{board.title}, {value['device']}"),
        ("array", f"{g['rows']} x {g['columns']} x {g['width']}: {value['macs_per_cycle']:,} MACs/cycle"),
        ("LUT4", f"{value['lut4']:,}; {value['lut4_per_mac']:.2f} per MAC/cycle"),
        ("  of the array", f"{value['array_lut4_per_mac']:.2f} per MAC/cycle"),
        ("logic cells", f"{value['logic_cells']:,} of {value['lut4_available']:,}"),
        ("flip-flops", f"{value['ff']:,}"),
        ("block RAM", f"{value['bram']} of {value['bram_available']}"),
        *([("SPRAM", f"{value['spram']} of {value['spram_available']}")] if value["spram_available"] else []),
        ("clock", f"{value['clock_mhz']:g} MHz; reaches {value['fmax_mhz']:.2f} MHz"),
        ("critical path", critical),
        *_checked(value),
        ("bitstream", value["bitstream"]),
        ("to program", f"xnorcore program {board.name} --bitstream {value['bitstream']}"),
        ("time", f"{value['seconds']:.0f} s"),
    ]
    return table(rows)


def _checked(value: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name in ("netlist", "bitstream"):
        if f"{name}_scores" in value:
            scores, wrong = value[f"{name}_scores"], value[f"{name}_mismatches"]
            rows.append((f"{name} simulated", f"{scores - wrong:,} of {scores:,} scores equal golden"))
    return rows
