"""The command ``import``: networks of other frameworks become .xnor files."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..boards import find_device
from ..errors import UsageError
from ..files import xnorfile
from ..importers.outcome import Imported
from .console import Console, table
from .files import check_output, read_array
from .models import describe
from .options import Parser
from .plan import plan, plan_lines
from .sizes import host_facts, host_lines


def add_import(parser: Parser) -> None:
    """Add the arguments of ``import``."""
    parser.set_defaults(call=_import)
    parser.add_argument("source", metavar="SOURCE", help="a .onnx file, or a folder of BNN-PYNQ weights")
    parser.add_argument(
        "-o", "--output", metavar="NET.xnor", required=True, help="where the network goes; written last"
    )
    parser.add_argument("--report", action="store_true", help="say what was found and folded in each layer")
    parser.add_argument("--name", metavar="NAME", help="name of the network; default from SOURCE")
    parser.add_argument(
        "--inputs", metavar="KIND",
        help="what the images of an ONNX graph hold: pixels (bytes / 255), pixels/127.5-1, uint8 (bytes), "
        "mean=0.5,0.4,0.3:std=0.2 (of bytes / 255, for each channel or for all); without a quantiser in the "
        "graph also bipolar, uint1 to uint7, int2 to int8",
    )  # fmt: skip
    parser.add_argument(
        "--no-host", action="store_true",
        help="refuse a first or last layer of a graph whose weights are real; else the host computes it",
    )  # fmt: skip
    parser.add_argument(
        "--round-steps", metavar="SHARE", type=float,
        help="where an ONNX graph adds values whose steps are in no small ratio, change that ratio by this "
        "share at most, and say how many classes that changes; else such a graph is refused",
    )  # fmt: skip
    parser.add_argument(
        "--fixed-point", metavar="BITS", type=int,
        help="where an ONNX graph adds real numbers, as shortcuts do, quantise the sums to 8 bits and what "
        "is added to them to so many, 2 to 8, and say what that changes; else such a graph is refused",
    )  # fmt: skip
    parser.add_argument(
        "--compare", metavar="FILE.npy",
        help="pixels for these comparisons, and to choose the step of fixed point; default random ones",
    )  # fmt: skip
    parser.add_argument("--board", metavar="BOARD", help="say also what this board does with the network")
    parser.add_argument("--force", action="store_true", help="replace an existing output file")


def _import(arguments: argparse.Namespace, console: Console) -> int:
    check_output(arguments.output, arguments.source)
    if Path(arguments.output).exists() and not arguments.force:
        raise UsageError(f"{arguments.output} exists; give another name, or --force to replace it")
    board: str | None = arguments.board
    device = None if board is None else find_device(board, unfit=True)
    from .. import importers  # the formats need much that other commands do not

    images = None
    if arguments.compare is not None:
        if arguments.round_steps is None and arguments.fixed_point is None:
            raise UsageError("--compare is for --round-steps and --fixed-point; leave it out")
        images = read_array(arguments.compare, "biu")
    started = time.perf_counter()
    imported = importers.load(
        arguments.source, name=arguments.name, inputs=arguments.inputs, host=not arguments.no_host,
        round_steps=arguments.round_steps, fixed_point=arguments.fixed_point, images=images,
    )  # fmt: skip
    wall_s = time.perf_counter() - started
    xnorfile.save(imported.network, arguments.output)
    value = {
        "command": "import",
        **describe(imported.network),
        "output": arguments.output,
        "wall_s": wall_s,
        "report": imported.report.as_json(),
        "board": None if board is None or device is None else plan(imported.network, board, device),
    }
    lines = [imported.report.human(), ""] if arguments.report else []
    lines += [*_summary(imported, value), *host_lines(host_facts(imported.network))]
    if value["board"] is not None:
        lines += ["", *plan_lines(arguments.output, [value["board"]])]
    console.result(value, lines)
    return 0


def _summary(imported: Imported, value: dict[str, object]) -> list[str]:
    network, report = imported.network, imported.report
    check = report.check
    rows = [
        ("network", f"{network.name}, {value['sizes']}, {network.input.bits}-bit inputs"),
        ("from", f"{report.source}, {report.format}"),
        ("weight bits", f"{network.weight_bits:,}"),
        ("classes", f"{network.class_count}, by {network.output_kind}"),
        ("check", f"{check.differ}" if check.rounded else f"{check.differ} from the source"),
        ("  executed by", check.executor),
        *[("not exact", note) for note in report.rounded],
        ("written to", str(value["output"])),
        ("wall time", f"{value['wall_s']:.1f} s"),
    ]
    return table(rows)
