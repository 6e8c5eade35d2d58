"""The command ``explore``: networks for data and a board, and what each costs."""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..boards import find_device
from ..errors import UsageError
from ..files.userfile import write_file
from .console import Console, table
from .files import check_output
from .options import Parser, integer
from .working import add_workers, workers

if TYPE_CHECKING:
    from ..explore.search import Found, Search

EPOCHS, CANDIDATES = 27, 48
"""Of the last round, and of the first, if nothing else is asked for."""
_PACKAGES = ("xnorcore", "xnorcore_boards")


def add_explore(parser: Parser) -> None:
    """Add the arguments of ``explore``."""
    parser.set_defaults(call=_explore)
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of pictures by class, a .csv file, or the name or path of a data set",
    )
    parser.add_argument("--board", metavar="BOARD", required=True, help="that the networks are for")
    parser.add_argument("--rate", type=integer(1), metavar="N", help="images/s that a device must reach")
    parser.add_argument("--bits", type=integer(1, 8), default=8, metavar="N", help="most of an input value")
    parser.add_argument(
        "--epochs",
        type=integer(1, 100_000),
        default=EPOCHS,
        metavar="N",
        help=f"of the last round; default {EPOCHS}",
    )
    parser.add_argument(
        "--candidates", type=integer(1, 10_000), default=CANDIDATES, metavar="N",
        help=f"of the first round, at most; default {CANDIDATES}",
    )  # fmt: skip
    parser.add_argument("--seed", type=integer(0, (1 << 32) - 1), default=0, metavar="N", help="default 0")
    parser.add_argument("--label", metavar="NAME", help="column of a .csv file; default label, or the last")
    parser.add_argument(
        "--out", metavar="DIR", help="folder, gone on with if it is there; default explore-DATA-BOARD"
    )
    parser.add_argument("--html", metavar="FILE", help="write the result as one HTML page")
    add_workers(parser, "one for each core, if Dask is there")


def _explore(arguments: argparse.Namespace, console: Console) -> int:
    from ..explore.point import points
    from ..explore.record import Record
    from ..explore.search import Search
    from ..explore.source import forms
    from ..train.surroundings import version
    from ..workers.pool import cores
    from ..workers.task import sources

    device = find_device(arguments.board)
    check_output(arguments.html)
    started = time.monotonic()
    folder = Path(arguments.out or f"explore-{_name(arguments.data)}-{arguments.board}")
    _make(folder)
    read = forms(
        arguments.data, folder, bits=arguments.bits, seed=arguments.seed, label=arguments.label,
        progress=console.counting("pictures"),
    )  # fmt: skip
    key = {
        "board": arguments.board,
        "data": {form.name: form.data.digest for form in read},
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "torch": version(),
        "xnorcore": sources(_PACKAGES),
    }
    record = Record(folder, key)
    candidates = points(read, epochs=arguments.epochs, most=arguments.candidates, seed=arguments.seed)
    several = cores() if find_spec("distributed") else 1
    if several == 1 and arguments.workers is None and arguments.scheduler is None:
        console.say("xnorcore: without Dask one training after the other; the extra [cluster] has it")
    with workers(arguments, console, several, _PACKAGES) as pool:
        search = Search(
            candidates, arguments.board, folder, record, pool, rate=arguments.rate or 0, seed=arguments.seed,
            progress=console.count,
        )  # fmt: skip
        found = search.run(arguments.epochs)
    value = _value(arguments, search, found)
    value |= {"clock_hz": device.clock_hz, "wall_s": round(time.monotonic() - started, 1)}
    if arguments.html is not None:
        write_file(arguments.html, _page(value).encode())
        value["html"] = arguments.html
    console.result(value, _lines(value))
    return 0


def _name(data: str) -> str:
    path = Path(data)
    name = path.resolve().name if path.exists() else data
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name.partition(".")[0])
    return kept[:60] or "data"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {str(folder)!r}: {error.strerror or error}") from None


def _value(arguments: argparse.Namespace, search: Search, found: list[Found]) -> dict[str, Any]:
    return {
        "command": "explore",
        "data": arguments.data,
        "board": arguments.board,
        "folder": str(search.folder),
        "seed": arguments.seed,
        "rounds": [{"epochs": epochs, "candidates": count} for epochs, count in search.tried],
        "frontier": [
            {
                "name": each.point.name,
                "network": str(search.file(each.point, ".xnor")),
                "input_bits": each.point.form.bits,
                "hidden": list(each.point.recipe.hidden),
                "channels": [conv.channels for conv in each.point.recipe.convs],
                "validation_accuracy": each.validation,
                "accuracy": each.accuracy,
                **each.place.plain(),
                "train": f"xnorcore train {search.file(each.point, '.toml')} --seed {arguments.seed}",
            }
            for each in found
        ],
    }


_HEAD = ("network", "held out", "validation", "images/s", "cells", "array", "passes")


def _rows(value: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            each["name"],
            f"{each['accuracy']:.2%}",
            f"{each['validation_accuracy']:.2%}",
            f"{each['images_per_s']:,.0f}",
            "" if each["logic_cells"] is None else f"{each['logic_cells']:,}",
            "{rows}x{columns}x{width}".format(**each["config"]["geometry"]),
            str(each["passes"]),
        )
        for each in value["frontier"]
    ]


def _lines(value: dict[str, Any]) -> list[str]:
    tried = ", ".join(f"{each['candidates']:,} for {each['epochs']:,} epochs" for each in value["rounds"])
    best = value["frontier"][0]
    return [
        f"{value['data']} for {value['board']}: trained {tried}; {value['wall_s']:,.0f} s",
        "networks that no other one beats in accuracy (of the validation part), images/s and cells:",
        "",
        *table(_rows(value), _HEAD, drop=("passes", "validation", "array")),
        "",
        f"networks and recipes are in {value['folder']}; the most accurate one:",
        f"  {best['network']}",
        f"  again: {best['train']}",
        f"  device: {best['build']}",
    ]


def _page(value: dict[str, Any]) -> str:
    from ..pages.html import document, pairs, section, tab
    from ..report.gather import command_line

    tried = [(each["epochs"], each["candidates"]) for each in value["rounds"]]
    again = [(each["name"], each["train"], each["build"]) for each in value["frontier"]]
    rows = [("data", value["data"]), ("board", value["board"]), ("seed", value["seed"])]
    parts = [
        pairs(rows),
        section("Networks that no other one beats", tab(_HEAD, _rows(value))),
        section("Rounds", tab(("epochs", "candidates"), tried)),
        section("To have them again", tab(("network", "training", "device"), again)),
    ]
    return document(f"{value['data']} for {value['board']}", parts, {"command": command_line()})
