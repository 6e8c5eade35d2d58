"""From a design to its bitstream: synthesize, place and route, pack."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xnorcore.cli.phases import Phases
from xnorcore.errors import BuildError
from xnorcore.files.userfile import write_file
from xnorcore.isa.device import options
from xnorcore.workers import Pool
from xnorcore_hw.sim.workplace import alone

from ..board import Board
from ..families.family import Part, Usage
from ..measure.usage import count_cells, usage
from .design import Design
from .progress import placing, reader, synthesizing
from .seeds import Place, place_all
from .timing import Timing, read_timing
from .tools import HopelessError, Tool, first_starts, require_tools, run_tool

__all__ = ["Built", "build", "building", "find_array", "synthesis_script", "synthesize"]

ARRAY = ".core.array"
"""End of the path of the module whose look-up tables are counted by themselves."""
# No word is used that was read in the cycle in which it was written: layers read what earlier ones wrote, the
# link writes weights and programs between runs, the receive buffer is read up to the last good frame. Without
# this, Yosys adds about 16 look-up tables and as many registers to each iCE40 memory.
NO_COLLISION = (
    "weights*", "thresholds*", "memory*", "values*", "factors*", "words*", "program", "buffer",
)  # fmt: skip
"""Names of memories."""

_TRIES = 3
_SILENT = Phases()


@dataclass
class Built:
    """A finished build.

    Attributes
    ----------
    folder, bitstream : Path
    usage : Usage
    timing : Timing
        Of the seed that was kept.
    seed : int
    fmax : dict of int to float
        Clock in MHz that each seed reached.
    steps : dict of str to float
        Seconds by program.
    """

    folder: Path
    bitstream: Path
    usage: Usage
    timing: Timing
    seed: int
    fmax: dict[int, float]
    steps: dict[str, float] = field(default_factory=dict)


@contextmanager
def building(folder: Path, otherwise: str = "") -> Iterator[None]:
    """Keep other builds out of a folder, which is made.

    Parameters
    ----------
    folder : Path
    otherwise : str
        What one can do besides waiting, for the message.

    Raises
    ------
    BuildError
        If another process builds there, or the folder cannot be written.
    """

    def busy() -> None:
        raise BuildError(f"another build is at work in {folder}; wait until it is done{otherwise}")

    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(folder / ".lock", busy))
        except OSError as error:
            raise BuildError(f"cannot write the build folder {folder}: {error.strerror or error}") from None
        yield


def build(
    design: Design,
    folder: Path,
    seeds: int = 0,
    phases: Phases = _SILENT,
    likely: int | None = None,
    pool: Pool | None = None,
) -> Built:
    """Build a board's bitstream.

    Parameters
    ----------
    design : Design
    folder : Path
        Everything is written here: RTLIL, scripts, logs, reports, the bitstream, ``build.json``.
    seeds : int
        Placements to try; the one with the highest clock is kept. 0: until one is fast enough, at most 3.
    phases : Phases, optional
        Takes what is said of the progress.
    likely : int, optional
        The seed that was fast enough when this was built before: tried first.
    pool : Pool, optional
        Places with all of the `seeds`, several at once; default: one after the other, here.

    Raises
    ------
    MissingDependencyError
        If a program of the flow is not installed.
    ClusterError
        If the pool's workers are gone.
    BuildError
        If a program fails, no placement can be routed, or the folder cannot be written.
    """
    board = design.board
    family, mhz = board.part.family, board.true_hz / 1e6
    yosys, nextpnr, packer = require_tools(family.tools)
    first_starts([yosys, nextpnr, packer], phases)
    array = find_array(design.modules)
    steps = {"yosys": synthesize(design, folder, yosys, phases)}

    timings: dict[int, Timing] = {}
    best = 0
    failed: BuildError | None = None
    tries = list(range(1, seeds + 1)) if seeds else _tries(likely)
    single = _one_by_one(board, folder, nextpnr, phases)
    place = place_all(board, folder, tries, nextpnr, pool, phases) if pool else single
    for number, seed in enumerate(tries):
        which = f", seed {seed} of {seeds or ', '.join(map(str, tries))}" if seeds > 1 or number else ""
        try:
            steps[f"nextpnr {seed}"] = place(seed, which)
        except BuildError as error:
            failed = error
            phases.say(f"{board.name}: seed {seed}: {error}")
            continue
        timings[seed] = read_timing(folder / f"seed{seed}.report.json", mhz, design.modules)
        if seeds != 1:
            phases.say(f"{board.name}: seed {seed} reaches {timings[seed].fmax_mhz:.1f} MHz of {mhz:g} MHz")
        best = max(timings, key=lambda seed: timings[seed].fmax_mhz)
        for other in timings.keys() - {best}:
            # A large one has hundreds of megabytes.
            (folder / family.netlist(f"seed{other}")).unlink(missing_ok=True)
        if not seeds and timings[seed].met:
            break
    if failed and not timings and not isinstance(failed, HopelessError):
        raise failed
    if not timings:
        raise BuildError(
            f"{board.name}: no placement of {seed} can be routed at {mhz:g} MHz; ask for a lower --clock-hz, "
            "or for a smaller --geometry"
        )

    stem = f"seed{best}"
    bitstream, steps[packer.name] = _pack(board, folder, stem, packer, phases)
    cells = count_cells(folder / "stat.json")
    used = usage(family, folder, stem, cells, array)
    fmax = {seed: timing.fmax_mhz for seed, timing in timings.items()}
    built = Built(folder, bitstream, used, timings[best], best, fmax, steps)
    _record(design, built, [yosys, nextpnr, packer], dict(cells[array]) if array else {})
    return built


def _pack(board: Board, folder: Path, stem: str, packer: Tool, phases: Phases) -> tuple[Path, float]:
    """Make the bitstream of a placement; return it, and the seconds that took."""
    family = board.part.family
    name = f"{board.name}.{family.bitstream}"
    arguments = family.pack_arguments(board.part, stem, name) + list(board.pack)
    with phases.phase(f"{board.name}: packing the bitstream"):
        return folder / name, run_tool(packer, arguments, folder, "pack.log")


def _one_by_one(board: Board, folder: Path, nextpnr: Tool, phases: Phases) -> Place:
    family, mhz = board.part.family, board.true_hz / 1e6

    def place(seed: int, which: str) -> float:
        stem = f"seed{seed}"
        log = f"{stem}.log"
        arguments = family.place_arguments(board.part, stem, seed, mhz)
        with phases.phase(f"{board.name}: placing and routing{which}", reader(folder / log, placing)):
            return run_tool(nextpnr, arguments, folder, log, family.hopeless)

    return place


def _tries(likely: int | None) -> list[int]:
    others = [seed for seed in range(1, _TRIES + 1) if seed != likely]
    return [*([likely] if likely else []), *others][:_TRIES]


def synthesize(design: Design, folder: Path, yosys: Tool, phases: Phases = _SILENT) -> float:
    """Synthesize a design, and return the seconds it took; the netlist is ``top.json`` in the folder.

    Raises
    ------
    BuildError
        If Yosys fails or the folder cannot be written.
    """
    board = design.board
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # What an earlier build left must not pass for this one's.
        for name in ("build.json", "top.json", f"{board.name}.{board.part.family.bitstream}"):
            (folder / name).unlink(missing_ok=True)
        (folder / "top.il").write_text(design.rtlil)
        (folder / f"top.{board.part.family.constraints}").write_text(design.constraints)
        multiplies, array = design.config.result_lanes > 0, find_array(design.modules)
        (folder / "synth.ys").write_text(synthesis_script(board.part, array, multiplies=multiplies))
    except OSError as error:
        raise BuildError(f"cannot write the build folder {folder}: {error.strerror or error}") from None
    (folder / "yosys.log").unlink(missing_ok=True)
    with phases.phase(f"{board.name}: synthesizing", reader(folder / "yosys.log", synthesizing)):
        seconds = run_tool(yosys, ["-q", "-l", "yosys.log", "synth.ys"], folder, "yosys.out")
    board.part.family.prepare(folder / "top.json")
    return seconds


def find_array(modules: Iterable[str]) -> str | None:
    """Return the name of the array's module; None if there is none."""
    return next((name for name in modules if name.partition("$")[0].endswith(ARRAY)), None)


def synthesis_script(part: Part, array: str | None, *, multiplies: bool = False) -> str:
    """Return the Yosys script: the array stays a module until its cells are counted."""
    keep = f"setattr -mod -set keep_hierarchy 1 {array}" if array else ""
    return "\n".join(
        [
            "read_rtlil top.il",
            *(_no_collision(name) for name in NO_COLLISION),
            keep,
            part.family.synthesis(part, "top", multiplies=multiplies),
            "tee -q -o stat.json stat -json",
            "setattr -mod -unset keep_hierarchy *",
            "flatten",
            "opt_clean",
            "tee -q -o stat.txt stat",
            "write_json top.json",
            "",
        ]
    )


def _no_collision(name: str) -> str:
    return f"setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:MEMID=?{name} %i"


def _record(design: Design, built: Built, tools: list[Tool], array: dict[str, int]) -> None:
    board = design.board
    value: dict[str, Any] = {
        "board": board.name,
        "part": board.part.name,
        "clock_hz": board.true_hz,
        "divisor": design.divisor,
        "config": options(design.config),
        "usage": asdict(built.usage),
        "tools": {tool.name: tool.version for tool in tools},
        "seed": built.seed,
        "fmax_mhz": {str(seed): round(mhz, 2) for seed, mhz in built.fmax.items()},
        "place": board.part.family.place_arguments(
            board.part, f"seed{built.seed}", built.seed, board.true_hz / 1e6
        ),
        "seconds": {name: round(seconds, 1) for name, seconds in built.steps.items()},
        "critical_path": built.timing.critical,
        "array_cells": dict(sorted(array.items())),
    }
    write_file(built.folder / "build.json", (json.dumps(value, indent=2) + "\n").encode())
