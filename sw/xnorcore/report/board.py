"""The parts of a report that are of the board: what is built for it, and what device would run a network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ..boards import board_config
from ..isa.device import DeviceConfig, options
from ..pages import plots
from ..pages.html import Markup, figure, pairs, paragraph, section, tab

__all__ = ["build_command", "build_part", "percent", "roofline_parts", "way_text", "ways_part"]


def percent(value: float | None) -> str:
    """Return a share as text; nothing of None."""
    return "" if value is None else f"{value:.1%}"


def roofline_parts(roof: Mapping[str, Any] | None, name: str) -> list[Markup]:
    """Return a roofline as `gather.roofline` gives it, drawn and as a table; nothing of None.

    Parameters
    ----------
    roof : mapping or None
    name : str
        Of the plot, once in a page.
    """
    if not roof:
        return []
    points = [(p["name"], p["macs_per_byte"], p["macs_per_cycle"]) for p in roof["points"]]
    plot = plots.roofline(name, "MACs per cycle over MACs per byte", roof["peak"], roof["slopes"], points)
    rows = [
        (p["name"], p["fed_by"], f"{p['macs_per_byte']:,.1f}", f"{p['macs_per_cycle']:,.1f}")
        for p in roof["points"]
    ]
    return [figure(plot), tab(("what", "fed by", "MACs per byte", "MACs per cycle"), rows)]


def way_text(way: Mapping[str, Any]) -> str:
    """Return what a way of `ways.ways` is, as options of the command line."""
    changes = dict(way["changes"])
    rows = [f"--rows {changes.pop('rows')}"] if "rows" in changes else []
    return " ".join([*rows, *(f"--set {name}={number}" for name, number in changes.items())])


def ways_part(value: Mapping[str, Any]) -> Markup:
    """Return what would run a network that the device does not run as it is."""
    if not value["refusal"] and not value["ways"]:
        return Markup()
    board = value["device"]["board"]
    rows = [
        (
            way_text(way), way["passes"], way["images_per_batch"], way["cycles_per_batch"],
            ("yes, by estimate" if way["refusal"] is None else way["refusal"]) if board else "simulated",
        )
        for way in value["ways"]
    ]  # fmt: skip
    if not rows:
        return section("What would run it", paragraph("No device of this array: choose another one."))
    titles = ("options", "passes", "images per batch", "expected cycles per batch", "fits the board")
    g = value["geometry"] | value["ways"][0]["changes"]
    geometry = f"{g['rows']}x{g['columns']}x{g['width']}"
    said = f"xnorcore build {board} --geometry {geometry} and the same --set make the first." if board else ""
    note = f"By an estimate before synthesis. {said}" if board else "The simulated device has them at once."
    title = "What would run it" if value["refusal"] else "What would run it in one pass"
    return section(title, tab(titles, rows), paragraph(note, "soft"))


_SOURCES = {
    "build": "This device was built, placed and routed.",
    "record": "The board's own design, as it was built, placed and routed for this release.",
    "estimate": "Not built: an estimate before synthesis. xnorcore build makes it.",
}


def build_command(board: str, config: DeviceConfig) -> str:
    """Return the command that builds a device for a board."""
    own, wanted = options(board_config(board, {})), options(config)
    sizes = ("rows", "columns", "width")
    words = ["xnorcore", "build", board]
    if any(own[name] != wanted[name] for name in sizes):
        words += ["--geometry", str(config.geometry)]
    for name, number in wanted.items():
        if name not in sizes and own[name] != number:
            words += ["--set", f"{name}={number}"]
    return shlex.join(words)


def _no_floorplan(value: Mapping[str, Any]) -> str:
    """Return why there is no floorplan, and what brings it."""
    if value["refusal"]:
        return "No floorplan: this device does not fit the board."
    if value["source"] == "build":
        lacks = f"{value['folder']} has no placed netlist"
    else:
        lacks = f"there is no build of this device in {value['default_folder']}"
    return f"No floorplan: {lacks}. {value['command']} makes one; then make this page again."


def build_part(value: Mapping[str, Any] | None) -> Markup:
    """Return usage, clock, critical path and floorplan of what is known of a board's build."""
    if not value:
        return Markup()
    f = value["figures"]
    used = [
        (name, f[key], f[there], percent(f[key] / f[there]))
        for name, key, there in (
            ("logic cells", "logic_cells", "lut4_available"),
            ("logic cells, estimated", "logic_cells_estimated", "lut4_available"),
            ("memory blocks", "bram", "bram_available"),
        )
        if key in f
    ]
    rows: list[tuple[str, object]] = [("clock", f"{f['clock_mhz']:g} MHz")]
    if "fmax_mhz" in f:
        rows.append(("clock that it reaches", f"{f['fmax_mhz']:g} MHz"))
        rows += [("look-up tables", f["lut4"]), ("flip-flops", f["ff"])]
        rows.append(("critical path", value["critical_path"]))
        rows.append(("seed", value["seed"]))
        rows.append(("tools", ", ".join(f"{name} {version}" for name, version in value["tools"].items())))
    if value["folder"]:
        rows.append(("folder", value["folder"]))
    if value["refusal"]:
        rows.append(("does not fit", value["refusal"]))
    parts = [paragraph(_SOURCES[value["source"]])]
    parts += [tab(("utilisation", "used", "there is", "share"), used), pairs(rows)]
    if value["floorplan"]:
        plan = value["floorplan"]
        plot = plots.grid("floorplan", "where each module lies on the chip", plan["cells"], plan["modules"])
        parts.append(figure(plot, "Placed cells by module, as the place and route tool left them."))
    else:
        parts.append(paragraph(_no_floorplan(value), "soft"))
    return section("Build", *parts)
