"""Placements of a design with several seeds at once, by workers that see the build folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xnorcore.cli.phases import Phases
from xnorcore.errors import BuildError
from xnorcore.workers import Pool

from ..board import Board, find_board
from .tools import Tool, require_tools, run_tool

__all__ = ["Place", "Placed", "place", "place_all"]

Place = Callable[[int, str], float]
"""Places with a seed, which is called so in a title; returns the seconds, or raises `BuildError`."""


@dataclass(frozen=True)
class Placed:
    """What became of a seed; its files are in the build folder.

    Attributes
    ----------
    seconds : float
    error : BuildError or None
    """

    seconds: float
    error: BuildError | None = None


def place(board: str, folder: str, seed: int, mhz: float, version: str, digest: str) -> Placed:
    """Place and route what is in a build folder.

    Parameters
    ----------
    board : str
        Its name.
    folder : str
    seed : int
    mhz : float
        Clock.
    version : str
        Of nextpnr, where the netlist was made.
    digest : str
        Of the netlist, by `netlist_digest`: so that no other folder of that name is taken for this one.

    Raises
    ------
    BuildError
        If the folder, or nextpnr, is not the same here.
    """
    part, there = find_board(board).part, Path(folder)
    if netlist_digest(there) != digest:
        raise BuildError(
            f"a worker does not see {folder} as it is here; take --workers, or a file system that all share"
        )
    (nextpnr,) = require_tools([name for name in part.family.tools if name.startswith("nextpnr")])
    if nextpnr.version != version:
        raise BuildError(
            f"a worker has {nextpnr.name} {nextpnr.version}, not {version}; install the same there"
        )
    stem = f"seed{seed}"
    arguments = part.family.place_arguments(part, stem, seed, mhz)
    try:
        return Placed(run_tool(nextpnr, arguments, there, f"{stem}.log", part.family.hopeless))
    except BuildError as error:
        return Placed(0.0, error)


def netlist_digest(folder: Path) -> str:
    """Return a hash of the netlist of a build folder; of none, nothing."""
    path = folder / "top.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def place_all(
    board: Board, folder: Path, seeds: Sequence[int], nextpnr: Tool, pool: Pool, phases: Phases
) -> Place:
    """Place with all seeds, as many at once as the pool has workers.

    Returns
    -------
    callable
        Gives what came of each seed, as if it placed only now.

    Raises
    ------
    BuildError, ClusterError
        If workers lack what is needed, or are gone.
    """
    here = str(folder.resolve())
    digest, mhz = netlist_digest(folder), board.true_hz / 1e6
    pieces = [(board.name, here, seed, mhz, nextpnr.version, digest) for seed in seeds]
    done: list[int] = []

    def ready(index: int, placed: Placed) -> None:
        done.append(index)

    def far() -> str:
        return f"{len(done)} of {len(seeds)} done"

    with phases.phase(f"{board.name}: placing and routing, {len(seeds)} seeds", far):
        found = dict(zip(seeds, pool.run(place, pieces, ready), strict=True))

    def one(seed: int, which: str) -> float:
        placed = found[seed]
        if placed.error is not None:
            raise placed.error
        return placed.seconds

    return one
