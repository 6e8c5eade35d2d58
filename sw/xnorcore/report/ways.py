"""The nearest devices that run a network which a device does not run, or only in passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..compiler.compile import compile_network
from ..compiler.obstacles import obstacles
from ..errors import CompileError, GeometryError
from ..isa.device import MAX_DEPTH, DeviceConfig, options
from ..isa.program import Program
from ..model.network import Network

__all__ = ["ways"]

Fits = Callable[[DeviceConfig], str | None]


def ways(network: Network, config: DeviceConfig, fits: Fits) -> list[dict[str, Any]]:
    """Return changes to a device with which it runs a network: one with weights in passes, and one without.

    Rows are given up where the rest would not fit; columns and width stay.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    fits : callable
        Returns why a device does not fit where it shall be, or None.

    Returns
    -------
    list of dict
        For each: ``changes``, fields and values; ``passes``, ``cycles_per_batch``, ``images_per_batch``;
        ``refusal``: what `fits` said, None if it does. Of devices that do not fit only the first is
        there. Empty if there is none.
    """
    found: dict[bool, dict[str, Any]] = {}
    most = config.geometry.rows
    # What does not fit with one row does not with any number of them.
    alone: list[tuple[bool, dict[str, Any]]] | None = None
    for rows in range(most, 0, -1):
        for whole, way in alone if alone and rows == 1 else _found(network, config, fits, rows):
            if whole not in found or (found[whole]["refusal"] is not None and way["refusal"] is None):
                found[whole] = way
        fitting = {whole for whole, way in found.items() if way["refusal"] is None}
        if True in fitting:
            break
        if alone is None:
            alone = list(_found(network, config, fits, 1)) if most > 1 else []
        if {whole for whole, way in alone if way["refusal"] is None} <= fitting:
            break
    return [found[key] for key in (True, False) if key in found]


def _found(
    network: Network, config: DeviceConfig, fits: Fits, rows: int
) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Find changes that leave so many rows; say with each whether all weights are there at once."""
    for program in _programs(network, replace(config, geometry=replace(config.geometry, rows=rows))):
        yield program.passes == 1, _way(program, config, fits(program.config))


def _programs(network: Network, config: DeviceConfig) -> Iterator[Program]:
    """Compile for the least changes to a device, and for those with which all weights are there at once."""
    lacking = obstacles(network, config)
    if any(not lack.field for lack in lacking):
        return
    least = replace(config, **{lack.field: lack.needed for lack in lacking})
    program = compile_network(network, least)
    if program.config != config:
        yield program
    if program.passes == 1:
        return
    try:
        most = compile_network(network, replace(least, weight_depth=MAX_DEPTH, threshold_depth=MAX_DEPTH))
        sizes = {
            field: max(getattr(least, field), most.used[field])
            for field in ("weight_depth", "threshold_depth", "act_depth", "program_depth")
        }
        yield compile_network(network, replace(least, **sizes))
    except (CompileError, GeometryError):
        return


def _way(program: Program, config: DeviceConfig, refusal: str | None) -> dict[str, Any]:
    own = options(config)
    changed = {name: value for name, value in options(program.config).items() if own[name] != value}
    return {
        "changes": changed,
        "passes": program.passes,
        "cycles_per_batch": program.cycles,
        "images_per_batch": program.batch,
        "refusal": refusal,
    }
