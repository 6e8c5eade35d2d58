"""What the boards can do: the rows of `xnorcore boards`, and the table of builds in docs/boards.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xnorcore import zoo
from xnorcore.boards import BoardDevice
from xnorcore.cli.devices import efficiency
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.runtime.rates import of_use, rates

from ..board import Board
from .estimate import may_fit
from .recorded import measured

__all__ = ["describe_board", "markdown", "throughput"]

_ENTRY = ("macs", "passes", "efficiency", "images_per_s", "uart_images_per_s")


def throughput(device: BoardDevice) -> dict[str, dict[str, Any]]:
    """Return what the packaged networks do on a device, by name.

    Returns
    -------
    dict
        ``macs``: useful work of an image. ``passes``: 1 if all weights fit at once, None if the network
        cannot run. ``images_per_s``: of the array, with all its rows at work; ``uart_images_per_s``:
        what the wire lets through of them; ``efficiency``: useful work of the array's. None where weights
        cross the wire with each call.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in zoo.names():
        network = zoo.load(name)
        entry: dict[str, Any] = dict.fromkeys(_ENTRY)
        entry["macs"] = network.macs
        try:
            program = of_use(compile_network(network, device.config), device)
        except CompileError:
            program = None
        if program:
            entry["passes"] = program.passes
        if program and program.passes == 1:
            reached = rates(program, device)
            entry["efficiency"] = round(efficiency(program, program.cycles), 3)
            entry["images_per_s"] = round(reached.device_images_per_s)
            entry["uart_images_per_s"] = round(reached.images_per_s)
        found[name] = entry
    return found


def describe_board(board: Board) -> dict[str, Any]:
    """Return one board's row: what it is, what was measured, what networks it runs."""
    part, config, g = board.part, board.config, board.config.geometry
    result = measured(board.name, config, board.true_hz)
    fits = may_fit(part.family.name, config, part.lut4)
    networks = throughput(replace(board.device, baud=board.best_baud))
    if not fits:
        networks = {name: {**dict.fromkeys(entry), "macs": entry["macs"]} for name, entry in networks.items()}
    fitting = [name for name, entry in networks.items() if entry["passes"] == 1]
    largest = max(fitting, key=lambda name: networks[name]["macs"], default=None)
    keys = (
        "lut4", "logic_cells", "ff", "bram", "fmax_mhz", "timing_met", "lut4_per_mac", "array_lut4_per_mac",
        "array_logic_cells_per_mac", "seconds",
    )  # fmt: skip
    return {
        "board": board.name,
        "title": board.title,
        "device": part.name,
        "lut4_available": part.lut4,
        "bram_available": part.bram,
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "macs_per_cycle": g.peak,
        "fits": fits,
        "clock_mhz": round(board.true_hz / 1e6, 3),
        "peak_gmacs_per_s": round(g.peak * board.true_hz / 1e9, 2),
        "baud": board.baud,
        "best_baud": board.best_baud,
        "largest_network": largest,
        "networks": networks,
        "measured": {key: result[key] for key in keys} if result else None,
    }


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of builds in docs/boards.md."""
    head = [
        "board",
        "array",
        "MACs/cycle",
        "LUT4",
        "LUT4/MAC",
        "of the array",
        "logic cells",
        "block RAM",
        "clock",
        "Fmax",
        "GMAC/s",
        "best baud",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        result, g = row["measured"], row["geometry"]
        cells = [row["board"], f"{g['rows']} x {g['columns']} x {g['width']}", f"{row['macs_per_cycle']:,}"]
        if result:
            cells += [
                f"{result['lut4']:,}",
                f"{result['lut4_per_mac']:.2f}",
                f"{result['array_lut4_per_mac']:.2f}",
                f"{result['logic_cells']:,} of {row['lut4_available']:,}",
                f"{result['bram']} of {row['bram_available']}",
                f"{row['clock_mhz']:g} MHz",
                f"{result['fmax_mhz']:.1f} MHz",
            ]
        else:
            cells += [
                "not measured" if row["fits"] else "too large",
                "",
                "",
                "",
                f"of {row['bram_available']}",
                f"{row['clock_mhz']:g} MHz",
                "",
            ]
        peak = f"{row['peak_gmacs_per_s']:.1f}" if row["fits"] else ""
        lines.append("| " + " | ".join([*cells, peak, f"{row['best_baud']:,}"]) + " |")
    return lines
