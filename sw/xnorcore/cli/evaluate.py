"""The command ``eval``: accuracy of the integer network, by a model or on the simulated device."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets, zoo
from ..datasets import TestPart
from ..errors import UsageError
from ..files.userfile import write_file
from ..model.network import Network
from ..reference import fast, golden
from ..runtime.accelerator import Accelerator
from ..runtime.measure import Measurement, first_mismatch, measure
from .console import Console, table
from .data import add_folder
from .files import check_output
from .inputs import add_fit, add_inputs, held_out, network_inputs
from .options import Parser, add_geometry, add_network, device_config, given_options, integer, sim_spec
from .sizes import sizes

SAMPLE = 500
"""Images on the simulated device, if not told otherwise."""


def add_eval(parser: Parser) -> None:
    """Add the arguments of ``eval``."""
    parser.set_defaults(call=_eval)
    add_network(parser)
    parser.add_argument(
        "--data",
        metavar="NAME",
        help=f"{', '.join(sorted(datasets.DATASETS))}, or the path of your own data set; default what the "
        "network was trained with",
    )
    add_folder(parser)
    add_inputs(parser)
    add_fit(parser)
    parser.add_argument(
        "--limit", type=integer(1), metavar="N", help=f"the first N images; default all, {SAMPLE} with sim"
    )
    parser.add_argument(
        "--engine",
        choices=("fast", "golden", "sim"),
        dest="model",
        help="bit-packed model, reference model, or the simulated device, compared with the model; default "
        "sim if a board or a part of a device is given, else fast",
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write accuracy and the worst examples as one HTML page"
    )
    add_geometry(parser)
    parser.set_defaults(engine="compiled", link="direct", baud=None, clock_hz=None)


def _eval(arguments: argparse.Namespace, console: Console) -> int:
    # A wrong option is told before the work.
    device_config(arguments)
    if arguments.model is None:
        device = arguments.board is not None or given_options(arguments)
        arguments.model = "sim" if device else "fast"
    if arguments.html:
        from ..pages.plots import require

        require()
        check_output(arguments.html, arguments.network)
    network = zoo.load(arguments.network)
    name = arguments.data or _trained_on(network)
    part = held_out(network, name, arguments.folder, arguments.fit, arguments.invert)
    limit = arguments.limit or (SAMPLE if arguments.model == "sim" else len(part.labels))
    images, rule = network_inputs(network, part, limit, arguments.inputs)
    labels = part.labels[: len(images)]
    started = time.perf_counter()
    results, measured, compared = _results(arguments, console, network, images)
    wall_s = time.perf_counter() - started
    correct = int((network.classify(results) == labels).sum())
    recorded = _recorded(network, name, len(labels), part)
    value = {
        "command": "eval",
        "network": network.name,
        "data": datasets.canonical(name) or name,
        "split": part.split,
        "pixels": rule.text,
        "inputs": rule.reads,
        "largest": part.maximum,
        "images": len(labels),
        "of": len(part.labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "recorded_accuracy": recorded,
        "reproduced": None if recorded is None else round(recorded * len(labels)) == correct,
        "engine": arguments.model,
        **compared,
        "cycles_per_image": measured.cycles_per_image if measured else None,
        "efficiency": measured.efficiency if measured else None,
        "wall_s": wall_s,
    }
    if arguments.html:
        value |= _page(arguments, network, value, results, part)
    console.result(value, table(_rows(network, value)))
    return 1 if value["mismatches"] or value["reproduced"] is False else 0


def _page(
    arguments: argparse.Namespace,
    network: Network,
    value: dict[str, Any],
    results: NDArray[Any],
    part: TestPart,
) -> dict[str, Any]:
    """Write the page; return what it says beyond `value`."""
    from ..pages.html import document, pairs
    from ..report.gather import accuracy, command_line, provenance
    from ..report.page import accuracy_parts, worst_pictures

    found = accuracy(network, results, part.labels[: len(results)])
    pictures = worst_pictures(found, part.images, part.maximum)
    parts = [pairs(_rows(network, value)), accuracy_parts(found, pictures)]
    about = provenance(network, None, command_line())
    write_file(arguments.html, document(f"{network.name} on {value['data']}", parts, about).encode())
    return {key: found[key] for key in ("classes", "confusion", "worst")} | {"html": arguments.html}


def trained_on(network: Network) -> str | None:
    """Return the name of the published data set that a network was trained with, if its file says so."""
    recipe = network.metadata.get("recipe")
    name = recipe.get("dataset") if isinstance(recipe, dict) else None
    return name if isinstance(name, str) and datasets.canonical(name) is not None else None


def _trained_on(network: Network) -> str:
    name = trained_on(network)
    if name is None:
        raise UsageError(
            f"network {network.name!r} does not name a published data set that it was trained with; give "
            f"--data, one of {', '.join(sorted(datasets.DATASETS))}, or a path"
        )
    return name


def _results(
    arguments: argparse.Namespace, console: Console, network: Network, images: NDArray[np.uint8]
) -> tuple[NDArray[Any], Measurement | None, dict[str, Any]]:
    compared: dict[str, Any] = dict.fromkeys(("scores", "mismatches", "first_mismatch", "geometry"))
    if arguments.model != "sim":
        model = golden if arguments.model == "golden" else fast
        return model.run(network, images, progress=console.counting("images")), None, compared
    with Accelerator.open(f"sim:{sim_spec(arguments)}", progress=console.progress) as accelerator:
        accelerator.load(network)
        results, measured = measure(accelerator, images)
        g = accelerator.info.config.geometry
    expected = fast.run(network, images, progress=console.counting("reference"))
    mismatch = first_mismatch(results, expected)
    if mismatch:
        console.say(f"xnorcore: check failed: {mismatch}")
    compared = {
        "scores": int(results.size),
        "mismatches": int(np.count_nonzero(results != expected)),
        "first_mismatch": mismatch,
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
    }
    return results, measured, compared


def _recorded(network: Network, name: str, count: int, part: TestPart) -> float | None:
    """Accuracy that the network's own file says, if this run measures the same thing."""
    stored = network.metadata
    recipe, key = stored.get("recipe"), datasets.canonical(name)
    same = key is not None and isinstance(recipe, dict) and recipe.get("dataset") == key
    accuracy = stored.get("accuracy")
    whole = count == len(part.labels) == stored.get("held_out_images")
    return accuracy if same and whole and isinstance(accuracy, float) and 0 <= accuracy <= 1 else None


def _rows(network: Network, value: dict[str, Any]) -> list[tuple[str, str]]:
    share = "" if value["images"] == value["of"] else f", the first of {value['of']:,}"
    rows = [
        ("network", f"{network.name}, {sizes(network)}, {network.input.bits}-bit inputs"),
        ("data", f"{value['data']}: {value['images']:,} images{share}"),
        ("inputs", value["pixels"]),
        ("correct", f"{value['correct']:,} ({value['accuracy']:.2%})"),
    ]
    if value["reproduced"] is not None:
        said = f"{value['recorded_accuracy']:.2%} is what the network's file says"
        rows.append(("recorded", said + (": the same" if value["reproduced"] else ": NOT the same")))
    rows.append(("engine", value["engine"]))
    if value["geometry"]:
        g = value["geometry"]
        rows.append(("array", f"{g['rows']} x {g['columns']} x {g['width']}"))
        rows.append(("mismatches", f"{value['mismatches']:,} of {value['scores']:,} outputs against fast"))
    if value["cycles_per_image"]:
        rows.append(("cycles per image", f"{value['cycles_per_image']:,.1f}"))
        rows.append(("efficiency", f"{value['efficiency']:.1%}"))
    rows.append(("wall time", f"{value['wall_s']:.1f} s"))
    return rows
