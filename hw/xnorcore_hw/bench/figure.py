"""One measured figure, what it is held against, and all that the documentation claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry

__all__ = ["CLAIMS", "Claim", "Figure"]


@dataclass(frozen=True)
class Figure:
    """One measured figure and its limit.

    Attributes
    ----------
    bench : str
        Name of the benchmark.
    what : str
    value : float
    limit : float
    at_least : bool
        Whether `limit` is the least allowed value; else the most.
    unit : str
    detail : dict
        What else was measured, for ``--json``.
    lines : tuple of str
        The same for people.
    causes : mapping of str to float
        Cycles of one image by cause; empty where nothing is run on a device.
    claim : str
        Which of `CLAIMS` it is, or ``""``.
    """

    bench: str
    what: str
    value: float
    limit: float
    at_least: bool
    unit: str
    detail: dict[str, Any]
    lines: tuple[str, ...] = ()
    causes: Mapping[str, float] = field(default_factory=dict)
    claim: str = ""

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Claim:
    """A figure of the documentation, before it is measured; attributes as of `Figure`."""

    key: str
    bench: str
    what: str
    limit: float
    at_least: bool
    unit: str = ""

    def figure(
        self,
        value: float,
        detail: dict[str, Any],
        lines: tuple[str, ...] = (),
        causes: Mapping[str, float] | None = None,
    ) -> Figure:
        """Return the figure with its measured value."""
        return Figure(
            self.bench, self.what, value, self.limit, self.at_least, self.unit, detail, lines, causes or {},
            self.key,
        )  # fmt: skip


def _claims() -> dict[str, Claim]:
    lfc, cnv = "784-1024-1024-1024-10", "CNV, one image"
    # From the last beat of a layer to its last bits: what a layer that needs them must wait in any case.
    depth = DeviceConfig(Geometry(1, 32, 32)).latency
    idle = "one image: idle cycles between two layers, at most the pipeline"
    board = "on the device of board ulx3s-25f"
    most, least = False, True
    rows = (
        Claim("lfc-one", "lfc", f"{lfc}, one image", 3200, most, "cycles"),
        Claim("lfc-stream", "lfc", f"{lfc}, images back to back: efficiency", 0.95, least),
        Claim("lfc-batch", "lfc", f"{lfc}, rows 4, one batch of 4: efficiency", 0.93, least),
        Claim("lfc-batches", "lfc", f"{lfc}, rows 4, batches of 4 back to back: efficiency", 0.93, least),
        Claim("cnv-one", "cnn", cnv, 80_000, most, "cycles"),
        Claim("cnv-first", "cnn", f"{cnv}: its first layer's share of these cycles", 0.25, most),
        Claim("cnv-wide", "cnn", f"{cnv}, columns 64, width 64", 24_000, most, "cycles"),
        Claim("cnv-strips", "cnn", f"{cnv} at a time, rows 4", 26_000, most, "cycles"),
        Claim("cnv-fast", "cnn", "CNV on the fast model, 32 images, one core", 10, most, "ms per image"),
        Claim("fashion", "cnn", "`fashion`, images back to back: efficiency; no board is so", 0.8, least),
        Claim("fashion-board", "cnn", f"`fashion` {board}, images back to back: efficiency", 0.65, least),
        Claim("small-64", "small", f"64-64-64-10, {idle}", depth, most, "cycles"),
        Claim("small-784", "small", f"784-64-64-64-10, {idle}", depth, most, "cycles"),
        Claim(
            "link", "link", "784-64-64-64-10, UART at 4 clocks per bit, 1,000 images: link utilisation",
            0.97, least,
        ),
        Claim(
            "engine", "engine", "compiled engine against Amaranth's simulator: cycles per second",
            500, least, "times",
        ),
        Claim("fast", "fast", f"{lfc} on the fast model, 10,000 images, one core", 5, most, "s"),
        Claim("compile", "compile", f"{lfc} compiled for the device", 2, most, "s"),
        Claim("demo", "demo", "`xnorcore demo`, first run, simulator built", 60, most, "s"),
        Claim("demo-mismatches", "demo", "`xnorcore demo`: mismatches with the golden model", 0, most),
    )  # fmt: skip
    return {row.key: row for row in rows}


CLAIMS = _claims()
"""All figures of docs/measurements.md by key; 1 row, 32 columns, 32-bit words, if not named otherwise."""
