"""``train FOLDER``: a recipe is made up, and all the rest done: training, export, simulation, a page."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import csvfile
from ..datasets.folders import gather
from ..errors import UsageError
from ..files import xnorfile
from ..files.userfile import write_file
from ..isa.device import DeviceConfig
from ..model import pixels
from ..model.network import Network, prepare
from ..reference import fast
from ..runtime.accelerator import Accelerator
from ..runtime.measure import Measurement, first_mismatch, measure
from ..verify.ask import sim_url
from .console import Console, table
from .files import check_output
from .train_page import page

SIMULATED = 100
"""Held-out images that the board's device is simulated with."""
CLOCK_HZ, BAUD = 12_000_000, 3_000_000
"""What a rate is reckoned with: the simulated device's clock, and the wire's."""
_RECKONED = f"at {CLOCK_HZ / 1e6:g} MHz, {BAUD / 1e6:g} Mbaud"


def is_data(name: str | None) -> bool:
    """Return whether what ``train`` was given is data, and no recipe."""
    return name is not None and (Path(name).is_dir() or Path(name).suffix.lower() == ".csv")


def train_folder(arguments: argparse.Namespace, console: Console, config: DeviceConfig, show: Any) -> int:
    """Make a classifier of a folder or a file of values.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of ``train``.
    console : Console
    config : DeviceConfig
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
    options = _options(source, config, arguments, console)
    rate = arguments.rate or 0
    choice = choose(
        options, config, name=name, dataset=str(source), seed=arguments.seed, threads=arguments.threads,
        fast_enough=lambda program: _rate(program) >= rate, say=lambda text: console.say(f"xnorcore: {text}"),
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
    values = _inputs(network, choice.data.test_images)
    labels = choice.data.test_labels
    results = fast.run(network, values)
    found = network.classify(results)
    measured, mismatches = _simulate(network, config, values[:SIMULATED], results[:SIMULATED], console)
    value = _value(arguments, network, choice, output, measured, mismatches)
    value["page"], value["wall_s"] = str(html), round(time.monotonic() - started, 1)
    confusion = np.zeros((len(choice.data.classes),) * 2, int)
    np.add.at(confusion, (labels, found), 1)
    write_file(html, page(value, choice.data.classes, confusion.tolist()).encode())
    console.result(value, table(_rows(value)))
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


def _rate(program: Any) -> float:
    """Images per second, of the device or of the wire, whichever is slower."""
    device = CLOCK_HZ * program.batch / program.cycles
    return min(device, BAUD / 10 / program.image_bytes)


def _inputs(network: Network, images: np.ndarray) -> np.ndarray:
    rule = network.metadata.get(pixels.KEY)
    values = images if rule is None else (images >= rule["threshold"]).astype(np.uint8)
    return prepare(network, values.reshape(len(values), -1))


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
        "expected_images_per_s": round(_rate(choice.program), 1),
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
            f"{value['expected_images_per_s']:,.0f} at {CLOCK_HZ / 1e6:g} MHz, {BAUD / 1e6:g} Mbaud",
        ),
        ("page", value["page"]),
        ("wall time", f"{value['wall_s']:.1f} s"),
        ("now", f"xnorcore classify {value['file']} PICTURE"),
    ]
