"""Whose device a figure is of: the boards that are installed, and what each says to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..boards import board_devices
from ..compiler.compile import compile_network
from ..compiler.group import largest
from ..errors import CompileError
from ..isa.device import DeviceConfig, Geometry
from ..isa.program import Program
from ..model.network import Network

Answer = dict[str, Any]


def configurations() -> dict[str, DeviceConfig]:
    """Return the configuration of every board that is installed."""
    return {name: board.config for name, board in board_devices().items()}


def ask(network: Network, devices: Mapping[str, DeviceConfig]) -> dict[str, Answer]:
    """Return what each device says to a network, by name, in the form of ``--json``.

    Returns
    -------
    dict of str to dict
        ``geometry``; ``fits``, ``passes``, ``refusal`` as of ``info``; ``efficiency`` of a batch, None where
        weights cross the link with each call, or nothing runs.
    """
    return {name: _answer(network, config) for name, config in devices.items()}


def _answer(network: Network, config: DeviceConfig) -> Answer:
    g = config.geometry
    value: Answer = {"geometry": {"rows": g.rows, "columns": g.columns, "width": g.width}}
    try:
        program = largest(compile_network(network, config))
    except CompileError as error:
        return value | {"fits": False, "passes": None, "efficiency": None, "refusal": str(error)}
    used = efficiency(program, program.cycles) if program.passes == 1 else None
    return value | {"fits": True, "passes": program.passes, "efficiency": used, "refusal": None}


def efficiency(program: Program, cycles: int) -> float:
    """Return the part of an array's multiply-accumulates, over so many cycles, that a batch needs."""
    return program.macs * program.batch / (cycles * program.config.geometry.peak)


def board_lines(answers: Mapping[str, Answer], geometry: Geometry) -> list[str]:
    """Return what boards say: those with this array one by one, with their reasons, then the others."""
    shape = {"rows": geometry.rows, "columns": geometry.columns, "width": geometry.width}
    same = {name: answer for name, answer in answers.items() if answer["geometry"] == shape}
    lines = [f"board {name}, of this array: {_verdict(answer)}" for name, answer in same.items()]
    if answers and not same:
        lines.append(f"no board has an array of {geometry}")
    rest = {name: answer for name, answer in answers.items() if name not in same}
    groups: dict[str, list[str]] = {}
    for name, answer in rest.items():
        kind = _kind(answer)
        groups.setdefault(kind, []).append(name)
    kinds = ("fits", "runs in passes on", "does not fit")
    lines += [f"{kind}: {', '.join(groups[kind])}" for kind in kinds if kind in groups]
    return [*lines, *(["why, and at what efficiency: xnorcore info NET --board BOARD"] if rest else [])]


def _kind(answer: Answer) -> str:
    if answer["passes"] == 1:
        return "fits"
    return "runs in passes on" if answer["fits"] else "does not fit"


def _verdict(answer: Answer) -> str:
    if answer["refusal"]:
        return f"does not fit: {answer['refusal']}"
    return "fits" if answer["passes"] == 1 else f"runs in {answer['passes']} passes"


def lacking_lines(missing: list[dict[str, Any]]) -> list[str]:
    """Return what a device lacks, as of `plan`, for people: fields of a configuration with their numbers."""
    return [
        f"  {lack['field']} is {lack['there']:,}, needed {lack['needed']:,}"
        if lack["field"] in DeviceConfig.__dataclass_fields__
        else f"  {lack['reason']}"
        for lack in missing
    ]
