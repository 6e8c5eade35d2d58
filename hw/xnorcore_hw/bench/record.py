"""The figures as they were measured last, and the tables of docs/measurements.md made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xnorcore.files.userfile import write_file

from .figure import CLAIMS, Claim, Figure

__all__ = ["RECORD", "Recorded", "load", "markdown", "store"]

RECORD = Path(__file__).with_name("record.json")
"""Value of every claim, and cycles per image by cause, as ``bench --record`` left them."""


@dataclass(frozen=True)
class Recorded:
    """What was measured of one claim.

    Attributes
    ----------
    value : float
    causes : dict of str to float
        Cycles of one image by cause; empty where nothing was run on a device.
    """

    value: float
    causes: dict[str, float] = field(default_factory=dict)


def load(path: Path = RECORD) -> dict[str, Recorded]:
    """Return the record by the keys of `CLAIMS`."""
    return {key: Recorded(**value) for key, value in json.loads(path.read_text()).items()}


def store(figures: Iterable[Figure], path: Path = RECORD) -> None:
    """Put figures into the record, in place of older ones; those that nothing claims are left out."""
    record = load(path) if path.exists() else {}
    for figure in figures:
        if figure.claim:
            causes = {name: round(cycles, 3) for name, cycles in figure.causes.items()}
            cycles = figure.unit == "cycles"
            value = round(figure.value, 3) if cycles else float(f"{figure.value:.6g}")
            record[figure.claim] = Recorded(value, causes)
    plain = {key: vars(record[key]) for key in CLAIMS if key in record}
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in plain.items())
    write_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def markdown(record: dict[str, Recorded]) -> list[str]:
    """Return the tables of docs/measurements.md: the figures, then their cycles by cause."""
    lines = ["| what | measured | limit | command |", "|---|---|---|---|"]
    for key, recorded in record.items():
        claim = CLAIMS[key]
        sign = ">=" if claim.at_least else "<="
        measured, limit = _number(claim, recorded.value), f"{sign} {claim.limit:,g}"
        unit = f" {claim.unit}" if claim.unit else ""
        lines.append(f"| {claim.what} | {measured}{unit} | {limit}{unit} | `xnorcore bench {claim.bench}` |")
    rows = {key: recorded.causes for key, recorded in record.items() if recorded.causes}
    names = list(next(iter(rows.values()), {}))
    lines += [
        "",
        f"| cycles per image by cause | {' | '.join(names)} | sum |",
        "|---" * (len(names) + 2) + "|",
    ]
    for key, causes in rows.items():
        what = CLAIMS[key].what.partition(":")[0]
        cells = [_tenths(causes[name]) for name in names]
        lines.append(f"| {what} | {' | '.join(cells)} | {_tenths(sum(causes.values()))} |")
    return lines


def _number(claim: Claim, value: float) -> str:
    if claim.unit == "cycles" or value == int(value):
        return _tenths(value)
    return f"{value:.3f}" if not claim.unit else f"{float(f'{value:.2g}'):,g}"


def _tenths(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
