"""The command ``zoo``: the packaged networks, what they were trained with, and the boards that hold them."""

from __future__ import annotations

import argparse
from typing import Any

from .. import zoo
from ..compiler.compile import compile_network
from ..errors import CompileError, UsageError
from ..isa.device import DeviceConfig
from ..model.network import Network
from .console import Console, table
from .devices import configurations
from .models import describe
from .options import Parser

_LEAST = ("seed", "memory bits", "data", "input bits", "weight bits")
"""Columns that a narrow terminal does without, the least important one first."""


def add_zoo(parser: Parser) -> None:
    """Add the arguments of ``zoo``."""
    parser.set_defaults(call=_zoo)


def _zoo(arguments: argparse.Namespace, console: Console) -> int:
    boards = configurations()
    networks = [_entry(name, boards) for name in zoo.names()]
    rows = []
    for entry in networks:
        data = "" if entry["data"] is None else f"{entry['data']}, {entry['held_out_images']:,} held out"
        cells = [
            entry["name"],
            entry["sizes"],
            str(entry["input"]["bits"]),
            f"{entry['weight_bits']:,}",
            f"{entry['memory_bits']:,}",
            data,
            "" if entry["seed"] is None else str(entry["seed"]),
            "" if entry["accuracy"] is None else f"{entry['accuracy']:.2%}",
        ]
        holding = [name for name, passes in (entry["boards"] or {}).items() if passes == 1]
        rows.append((*cells, *([", ".join(holding) or "none at once"] if boards else [])))
    header = ("name", "layers", "input bits", "weight bits", "memory bits", "data", "seed", "accuracy")
    header = (*header, *(["boards"] if boards else []))
    lines = table(rows, header, drop=_LEAST) if rows else ["no networks"]
    console.result({"networks": networks}, lines)
    return 0


def _entry(name: str, boards: dict[str, DeviceConfig]) -> dict[str, Any]:
    network = zoo.load(name)
    try:
        count = len(zoo.test_images(name)[0])
    except UsageError:
        count = 0
    stored = network.metadata
    recipe = stored.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else None
    held_out = stored.get("held_out_images")
    return {
        **describe(network),
        "name": name,
        "memory_bits": _memory(network),
        "test_images": count,
        "data": recipe.get("dataset") if recipe and isinstance(held_out, int) else None,
        "held_out_images": held_out,
        "split": stored.get("split"),
        "seed": stored.get("seed"),
        "recipe": recipe,
        "boards": {board: _passes(network, config) for board, config in boards.items()} if boards else None,
    }


def _memory(network: Network) -> int:
    """Weight bits, and 32 for each threshold."""
    thresholds = (getattr(layer, "thresholds", None) for layer in network.layers)
    return network.weight_bits + 32 * sum(values.size for values in thresholds if values is not None)


def _passes(network: Network, config: DeviceConfig) -> int | None:
    """Passes that a device needs: 1 holds the network, more is weights in parts, None cannot run it."""
    try:
        return compile_network(network, config).passes
    except CompileError:
        return None
