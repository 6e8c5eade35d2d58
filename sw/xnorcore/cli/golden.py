"""``golden``: scores of the reference model, which need no device."""

from __future__ import annotations

import argparse
import time

from .. import zoo
from ..reference import fast, golden
from .console import Console
from .files import check_output, write_results
from .inputs import add_reading, user_images
from .options import Parser, add_network, add_output


def add_golden(parser: Parser) -> None:
    """Add the arguments of ``golden``."""
    parser.set_defaults(call=_golden)
    add_network(parser, images=True)
    add_reading(parser)
    add_output(parser, required=True)
    parser.add_argument(
        "--fast", action="store_true", help="use the bit-packed model, which gives the same results"
    )


def _golden(arguments: argparse.Namespace, console: Console) -> int:
    check_output(arguments.output, arguments.images)
    network = zoo.load(arguments.network)
    images = user_images(arguments, console, network)
    started = time.perf_counter()
    model = fast if arguments.fast else golden
    results = model.run(network, images, progress=console.counting("images"))
    wall_s = time.perf_counter() - started
    write_results(arguments, network, results)
    name = "fast" if arguments.fast else "golden"
    value = {
        "command": "golden",
        "network": network.name,
        "model": name,
        "images": len(images),
        "outputs": network.outputs,
        "output_kind": network.output_kind,
        "output": arguments.output,
        "wall_s": wall_s,
    }
    kind = "classes" if arguments.classes else network.output_kind
    console.result(value, [f"{len(images):,} images, {name}: {kind} in {arguments.output}, {wall_s:.2f} s"])
    return 0
