"""``bench boards``: its options, its record, and the table of docs/boards.md made of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from xnorcore import zoo
from xnorcore.boards import BoardDevice, board_devices
from xnorcore.cli.console import Console, table
from xnorcore.errors import UsageError
from xnorcore.files.userfile import write_file
from xnorcore.nearest import did_you_mean

from .boards import BoardRow, measure_board

__all__ = ["RECORD", "bench_boards", "load", "markdown", "print_record", "store"]

RECORD = Path(__file__).with_name("boards.json")
"""The rows as ``bench boards --record`` left them, packaged networks only."""

_HEAD = (
    "board", "network", "runs", "cycles", "clock", "array", "wire", "images/s", "of the wire", "efficiency",
)  # fmt: skip


def bench_boards(arguments: argparse.Namespace, console: Console) -> int:
    """Measure networks on boards, and print a row for each."""
    devices = _boards(arguments.boards)
    names = _names(arguments.networks, "--networks") or zoo.names()
    networks = {name: zoo.load(name) for name in names}
    rows = [
        row
        for board, device in devices.items()
        for row in measure_board(board, device, networks, console.say)
    ]
    passed = all(row.passed for row in rows)
    if arguments.record and passed:
        store(row for row in rows if row.network in zoo.names())
    elif arguments.record:
        console.say("bench: a row is not as computed, so nothing is recorded")
    value = {"command": "bench", "passed": passed, "boards": [row.as_dict() for row in rows]}
    console.result(value, _lines(rows))
    return 0 if passed else 1


def print_record(console: Console) -> int:
    """Print the table of docs/boards.md from the record."""
    rows = load()
    value = {"command": "bench", "boards": [row.as_dict() for row in rows]}
    console.result(value, markdown(rows))
    return 0


def _names(text: str | None, option: str) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise UsageError(f"{option} names none")
    return list(dict.fromkeys(names))


def _boards(text: str | None) -> dict[str, BoardDevice]:
    devices, names = board_devices(unfit=True), _names(text, "--boards")
    for name in names:
        if name not in devices:
            known = ", ".join(devices) or "none is installed"
            raise UsageError(f"unknown board {name!r}; known: {known}{did_you_mean(name, devices)}")
    if not devices:
        raise UsageError("no board is installed")
    return {name: devices[name] for name in names or devices}


def load(path: Path = RECORD) -> list[BoardRow]:
    """Return the recorded rows."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text())
    return [BoardRow(**{**row, "missing": tuple(row["missing"])}) for row in rows]


def store(rows: Iterable[BoardRow], path: Path = RECORD) -> None:
    """Put rows into the record, in place of older ones of the same board and network."""
    kept = {(row.board, row.network): row for row in [*load(path), *rows]}
    plain = [{**vars(kept[place]), "missing": list(kept[place].missing)} for place in sorted(kept)]
    text = ",\n".join(f" {json.dumps(row)}" for row in plain)
    write_file(path, f"[\n{text}\n]\n".encode())


def markdown(rows: Iterable[BoardRow]) -> list[str]:
    """Return the table of docs/boards.md."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    return [*lines, *("| " + " | ".join(_cells(row)) + " |" for row in rows)]


def _lines(rows: list[BoardRow]) -> list[str]:
    lines = table([_cells(row) for row in rows], _HEAD, drop=("efficiency", "array", "wire"))
    for row in rows:
        if not row.passed:
            lines.append(
                f"{row.board}, {row.network}: {row.mismatches} wrong scores of {row.images} images; "
                f"{row.cycles:,} cycles a batch, computed {row.model_cycles:,}"
            )
    return lines


def _cells(row: BoardRow) -> tuple[str, ...]:
    if row.runs == "no":
        return row.board, row.network, "no: " + "; ".join(row.missing), *[""] * (len(_HEAD) - 3)
    ways = {"resident": "one pass", "stream": "one pass, weights from the store"}
    how = ways.get(row.runs) or f"{row.passes} passes with {row.call_images:,} images"
    if row.rounds:
        how += f", rounds of {row.rounds} images"
    elif row.passes == 1 and row.call_images:
        how += ", a batch at a time"
    met = "" if row.clock_met else ", not built"
    cycles, share, used = row.cycles_per_image, row.wire_share, row.efficiency
    assert cycles is not None and share is not None and used is not None
    rates = (row.device_images_per_s, row.wire_images_per_s, row.images_per_s)
    return (
        row.board, row.network, how, _number(cycles), f"{row.clock_hz / 1e6:g} MHz{met}",
        *("" if rate is None else _number(rate) for rate in rates),
        f"{share:.1%}", f"{used:.3f}",
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
