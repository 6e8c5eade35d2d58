"""``verify`` without a network: random networks on random devices."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from ..isa.device import DeviceConfig, Geometry
from ..verify.campaign import Campaign
from ..verify.campaign import run as run_campaign
from ..verify.random_devices import random_configs
from .console import Console, table
from .options import device_config, given_options
from .working import workers

COUNT = 50
"""Networks, if nothing else is asked for."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the command."""
    if arguments.plant not in (None, "random"):
        raise UsageError(f"--plant {arguments.plant} is for a network; --plant random is for random networks")
    for name in ("port", "images", "html", "batch"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} is for a network; name one: xnorcore verify NET")
    if not Path(arguments.keep).is_dir():
        raise UsageError(f"--keep {arguments.keep}: no such folder; create it first")
    count = arguments.random or COUNT
    total = max(arguments.first + count, arguments.total or 0)
    configs = _configs(arguments, total)
    with workers(arguments, console, packages=("xnorcore", "xnorcore_hw")) as pool:
        result = run_campaign(
            arguments.seed,
            count,
            configs,
            first=arguments.first,
            total=total,
            keep=arguments.keep,
            faults=arguments.plant is not None,
            pool=pool,
            progress=console.counting("networks"),
            say=console.say,
        )
    console.result({"command": "verify", **result.as_dict()}, _lines(result))
    return 1 if result.failures or result.missed else 0


def _configs(arguments: argparse.Namespace, total: int) -> list[DeviceConfig]:
    if arguments.board is not None or given_options(arguments):
        return [device_config(arguments)]
    geometry = None if arguments.geometry == "random" else Geometry.parse(arguments.geometry)
    return random_configs(arguments.seed, arguments.devices or max(4, total // 64), geometry)


def _lines(result: Campaign) -> list[str]:
    rows = [
        ("networks", f"{result.count:,}, number {result.first} on, seed {result.seed}"),
        ("devices", f"{result.devices:,}"),
        ("images", f"{result.images:,}"),
        ("layers", f"{result.layers:,}"),
        ("values compared", f"{result.values:,}"),
        ("drawn again", ", ".join(f"{n:,} {name}" for name, n in result.refused.items()) or "0"),
        ("failures", f"{len(result.failures):,}"),
        *(
            (f"{kind} faults named", f"{result.named[kind]:,} of {count:,}")
            for kind, count in sorted(result.planted.items())
        ),
    ]
    features = [(name, f"{count:,}") for name, count in sorted(result.features.items())]
    lines = [*table(rows), "", *table(features, ("feature", "networks"))]
    for failure in result.failures:
        lines += ["", f"network {failure.index}: {failure.found}", f"  shrunk: {failure.shrunk}"]
        lines.append(f"  again: {failure.command}")
    return [*lines, *(f"missed: {text}" for text in result.missed)]
