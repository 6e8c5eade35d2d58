"""``train FOLDER``: a recipe is made up, and all the rest done: training, export, simulation, a page."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..boards import BoardDevice
from ..datasets import csvfile
from ..datasets.folders import gather
from ..errors import UsageError
from ..files import xnorfile
from ..files.userfile import write_file
from ..isa.device import DeviceConfig
from ..model.network import Network, prepare
from ..pages.html import document, pairs, section, tab
from ..reference import fast
from ..report.gather import command_line, provenance
from ..runtime.accelerator import Accelerator
from ..runtime.measure import Measurement, first_mismatch, measure
from ..runtime.rates import rates
from ..verify.ask import sim_url
from .console import Console, table
from .files import check_output

SIMULATED = 100
"""Held-out images that the board's device is simulated with."""


def is_data(name: str | None) -> bool:
    """Return whether what ``train`` was given is data, and no recipe."""
    return name is not None and (Path(name).is_dir() or Path(name).suffix.lower() == ".csv")


def train_folder(arguments: argparse.Namespace, console: Console, device: BoardDevice, show: Any) -> int:
    """Make a classifier of a folder or a file of values.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of ``train``.
    console : Console
    device : BoardDevice
        What the network must fit.
    show : callable
        Called with a `Progress` after every epoch.

    Raises
    ------
    UsageError
        If an option is for recipes only, or nothing fits.
    """
    from ..train.automatic import choose
    from ..train.loop import train
    from ..train.run import values as read

    source = Path(arguments.recipe)
    for option in ("data", "folder", "resume", "finish", "images"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is for a recipe; {str(source)!r} is the data itself")
    name = _name(source)
    output = Path(arguments.output or f"{name}.xnor")
    html = output.with_suffix(".html")
    for path in (output, html):
        check_output(str(path), None if source.is_dir() else str(source), regular=True)
    started = time.monotonic()
    options = _options(source, device.config, arguments, console)
    rate = arguments.rate or 0
    choice = choose(
        options, device.config, name=name, dataset=str(source), seed=arguments.seed,
        threads=arguments.threads, say=lambda text: console.say(f"xnorcore: {text}"),
        fast_enough=lambda program: rates(program, device).images_per_s >= rate,
    )  # fmt: skip
    recipe = choice.recipe
    if arguments.epochs is not None:
        recipe = replace(recipe, epochs=arguments.epochs)
    network = train(
        recipe,
        choice.data,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        progress=show,
    )
    xnorfile.save(network, output)
    values = prepare(network, read(recipe, choice.data.test_images))
    labels = choice.data.test_labels
    results = fast.run(network, values)
    measured, mismatches = _simulate(network, device.config, values[:SIMULATED], results[:SIMULATED], console)
    value = _value(arguments, network, choice, output, measured, mismatches)
    value |= {"expected_images_per_s": round(rates(choice.program, device).images_per_s, 1)}
    value |= {"clock_hz": device.clock_hz, "baud": device.baud}
    value["page"], value["wall_s"] = str(html), round(time.monotonic() - started, 1)
    rows = _rows(value)
    write_file(html, _page(network, rows, value["classes"], labels, network.classify(results)).encode())
    console.result(value, table(rows))
    return 1 if mismatches else 0


def _name(source: Path) -> str:
    name = source.resolve().stem if source.suffix else source.resolve().name
    kept = "".join(letter if letter.isprintable() else "-" for letter in name)[:60]
    return kept or "network"


def _options(
    source: Path, config: DeviceConfig, arguments: argparse.Namespace, console: Console
) -> list[tuple[Any, Any]]:
    """Candidates, each with the data as it sees them."""
    from ..train.automatic import VALUES, candidates

    if not source.is_dir():
        return [(VALUES, csvfile.load(source, arguments.label, arguments.seed))]
    options = candidates(config)
    rules = [each.rule for each in options if each.rule is not None]
    folder = gather(source, rules, arguments.seed, console.counting("pictures"))
    return [
        (each, None if folder.pixels[index] is None else folder.dataset(index, rules[index]))
        for index, each in enumerate(options)
    ]


def _page(
    network: Network, rows: list[tuple[str, str]], classes: list[str], labels: np.ndarray, found: np.ndarray
) -> str:
    confusion = np.zeros((len(classes),) * 2, int)
    np.add.at(confusion, (labels, found), 1)
    table = [
        (name, *((f"{count:,}", "equal" if at == number else "differs" if count else "hidden")
                 for at, count in enumerate(row)))
        for number, (name, row) in enumerate(zip(classes, confusion.tolist(), strict=True))
    ]  # fmt: skip
    parts = [pairs(rows), section("Is, and what the network says", tab(("", *classes), table))]
    return document(f"{network.name}: training", parts, provenance(network, None, command_line()))


def _simulate(
    network: Network, config: DeviceConfig, values: np.ndarray, expected: np.ndarray, console: Console
) -> tuple[Measurement, int]:
    with Accelerator.open(sim_url(config, link="direct"), progress=console.progress) as accelerator:
        accelerator.load(network)
        results, measured = measure(accelerator, values)
    mismatch = first_mismatch(results, expected)
    if mismatch:
        console.say(f"xnorcore: check failed: {mismatch}")
    return measured, int(np.count_nonzero(results != expected))


def _value(
    arguments: argparse.Namespace,
    network: Network,
    choice: Any,
    output: Path,
    measured: Measurement,
    mismatches: int,
) -> dict[str, Any]:
    recipe = choice.recipe
    keys = ("accuracy", "held_out_images", "validation_accuracy", "best_epoch", "epochs_done", "split")
    return {
        "command": "train",
        "network": network.name,
        "file": str(output),
        "board": arguments.board,
        "seed": arguments.seed,
        "inputs": choice.candidate.name,
        "tried": choice.tried,
        "classes": list(choice.data.classes),
        "training_images": len(choice.data.train_labels),
        "hidden": list(recipe.hidden),
        "channels": [conv.channels for conv in recipe.convs],
        **{key: network.metadata[key] for key in keys if key in network.metadata},
        "simulated": measured.images,
        "mismatches": mismatches,
        "cycles_per_image": round((measured.device_cycles or 0) / measured.images, 1),
    }


def _rows(value: dict[str, Any]) -> list[tuple[str, str]]:
    layers = "-".join(map(str, value["channels"] or value["hidden"]))
    return [
        ("network", f"{value['network']}, {layers}, in {value['file']}"),
        ("inputs", value["inputs"]),
        ("trained with", f"{value['training_images']:,} images of {len(value['classes'])} classes"),
        ("held out", f"{value['held_out_images']:,} images {value['split']}"),
        ("integer network", f"{value['accuracy']:.2%} of these right (epoch {value['best_epoch']})"),
        ("simulated", f"{value['simulated']} images on {value['board'] or 'the device'}"),
        ("mismatches", f"{value['mismatches']:,} scores against fast"),
        ("cycles per image", f"{value['cycles_per_image']:,}, link included"),
        (
            "images per second",
            f"{value['expected_images_per_s']:,.0f} at {value['clock_hz'] / 1e6:g} MHz, "
            f"{value['baud']:,} baud",
        ),
        ("page", value["page"]),
        ("wall time", f"{value['wall_s']:.1f} s"),
        ("now", f"xnorcore classify {value['file']} PICTURE"),
    ]
