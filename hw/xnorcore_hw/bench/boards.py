"""What ``bench boards`` measures: networks on every board's own device, cycle by cycle, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xnorcore.boards import BoardDevice
from xnorcore.cli.devices import efficiency
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import largest
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CompileError
from xnorcore.isa.program import Program
from xnorcore.model.network import Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.rates import CALL, of_use, rates

from .held import held
from .workload import random_images

__all__ = ["BoardRow", "expected", "measure_board"]

Say = Callable[[str], None]
_FEW = 0.005
"""What an even pace, for the rows and refreshes of an SDRAM, may be away from them."""


@dataclass(frozen=True)
class BoardRow:
    """What a network does on a board.

    Attributes
    ----------
    board, network : str
    runs : str
        ``resident``, ``stream`` (weights from the store), ``passes`` or ``no``.
    passes : int or None
        Times that weights are loaded for the images of a call.
    call_images : int or None
        Those images, which share the weights; None in one pass that answers with the results.
    rounds : int
        Images of a row that share the weights of the last layers alone (`xnorcore.compiler.rounds`); 0, none.
    images_per_batch : int or None
    cycles : int or None
        Of a batch, as the device counts them: between others; in passes, of all of them, one after the other.
    model_cycles : int or None
        Of the same batch by computation.
    waited : int
        Cycles in which the device waited for the link meanwhile: its store went on, for which the next batch
        takes less.
    clock_hz, baud : int
    fmax_mhz : float or None
        The clock that the recorded build of this device reaches after routing; None without one.
    device_images_per_s, wire_images_per_s, images_per_s : float or None
        As of `xnorcore.runtime.rates`.
    wire_share : float or None
        The part of the wire's images that come through.
    efficiency : float or None
        Useful work as a share of what the array could do in `cycles`.
    images : int
        Simulated.
    mismatches : int
        Among their scores.
    missing : tuple of str
        What the board lacks, where the network does not run.
    streams : bool
        Weights come from the store, also in passes.
    """

    board: str
    network: str
    runs: str
    clock_hz: int
    baud: int
    fmax_mhz: float | None
    passes: int | None = None
    call_images: int | None = None
    images_per_batch: int | None = None
    cycles: int | None = None
    model_cycles: int | None = None
    device_images_per_s: float | None = None
    wire_images_per_s: float | None = None
    images_per_s: float | None = None
    wire_share: float | None = None
    efficiency: float | None = None
    images: int = 0
    mismatches: int = 0
    missing: tuple[str, ...] = ()
    streams: bool = False
    rounds: int = 0
    waited: int = 0

    @property
    def clock_met(self) -> bool:
        """Whether a build of this device is known that meets its clock."""
        return self.fmax_mhz is not None and self.fmax_mhz * 1e6 >= self.clock_hz

    @property
    def passed(self) -> bool:
        """Whether every score was right, and every cycle as computed: with a store, but for few of them."""
        cycles, computed = self.cycles or 0, self.model_cycles or 0
        few = _FEW * computed if self.streams else 0
        # Where each RUN begins the stream anew, the store does not go on.
        ahead = self.waited if self.streams and not self.call_images else 0
        fewest = computed - few - ahead
        return fewest <= cycles <= computed + few and not self.mismatches

    @property
    def cycles_per_image(self) -> float | None:
        """`cycles` of a batch by its images."""
        return self.cycles / self.images_per_batch if self.cycles and self.images_per_batch else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        more = {name: getattr(self, name) for name in ("cycles_per_image", "clock_met", "passed")}
        return {**vars(self), "missing": list(self.missing), **more}


def measure_board(
    name: str, device: BoardDevice, networks: Mapping[str, Network], say: Say = lambda text: None
) -> Iterator[BoardRow]:
    """Run networks on the simulated device of a board.

    Parameters
    ----------
    name : str
    device : BoardDevice
    networks : mapping of str to Network
    say : callable, optional
        Takes lines about the progress.

    Raises
    ------
    EngineError
        If the simulator cannot be built.
    """
    rows = {network: expected(name, device, network, networks[network]) for network in networks}
    if all(row.runs == "no" for row in rows.values()):
        yield from rows.values()
        return
    say(f"{name}: {device.config.geometry}")
    with held(device.config, say) as accelerator:
        for network, row in rows.items():
            yield row if row.runs == "no" else _measured(row, accelerator, networks[network], say)


def expected(name: str, device: BoardDevice, network: str, graph: Network) -> BoardRow:
    """Return what a network does on a board by computation alone; `cycles` is None."""
    config, size = device.config, device.size
    row = BoardRow(name, network, "no", device.clock_hz, device.baud, size.fmax_mhz if size else None)
    if device.refusal:
        return replace(row, missing=(device.refusal,))
    try:
        program = of_use(compile_network(graph, config), device)
    except CompileError:
        return replace(row, missing=tuple(_said(lack) for lack in obstacles(graph, config)))
    found, passes = rates(program, device), program.passes > 1
    return replace(
        row,
        runs="passes" if passes else "stream" if program.streams else "resident",
        streams=program.streams,
        passes=program.passes,
        call_images=CALL if program.results_read else None,
        rounds=len(program.turns),
        images_per_batch=program.batch,
        model_cycles=program.cycles,
        device_images_per_s=round(found.device_images_per_s, 3),
        wire_images_per_s=round(found.wire_images_per_s, 3),
        images_per_s=round(found.images_per_s, 3),
        wire_share=round(found.images_per_s / found.wire_images_per_s, 4),
        efficiency=round(efficiency(program, program.cycles), 4),
    )


def _said(lack: Any) -> str:
    return f"{lack.field} is {lack.there:,}, needed {lack.needed:,}" if lack.field else lack.reason


def _measured(row: BoardRow, accelerator: Accelerator, network: Network, say: Say) -> BoardRow:
    config = accelerator.info.config
    assert row.images_per_batch
    # As many images per row as with the board's own buffer of requests.
    per_row = max(row.images_per_batch // config.geometry.rows, 1)
    program = largest(compile_network(network, config, per_row=per_row))
    say(f"{row.board}: {row.network}")
    accelerator.load_program(program, verify=False)
    cycles, waited, wrong = _counted(accelerator, program, 1)
    images = program.batch
    if not program.results_read:
        # One batch ends before anything follows: the next one adds what a batch takes between others.
        both, later, more = _counted(accelerator, program, 2)
        cycles, waited, wrong, images = both - cycles, later - waited, wrong + more, 3 * images
    row = replace(row, cycles=cycles, waited=waited, images=images, mismatches=wrong)
    computed = cycles == row.model_cycles or row.runs == "passes"
    return row if computed else _counted_rates(row, program)


def _counted_rates(row: BoardRow, program: Program) -> BoardRow:
    """Return the rates by the cycles that were counted, where those that were computed are others."""
    assert row.cycles and row.wire_images_per_s is not None
    array = row.clock_hz / row.cycles * program.batch
    # In rounds, an image and its array take turns on the wire: what is computed for that stays.
    found = row.images_per_s if row.rounds else min(array, row.wire_images_per_s)
    assert found is not None
    return replace(
        row,
        device_images_per_s=round(array, 3),
        images_per_s=round(found, 3),
        wire_share=round(found / row.wire_images_per_s, 4),
        efficiency=round(efficiency(program, row.cycles), 4),
    )


def _counted(accelerator: Accelerator, program: Program, batches: int) -> tuple[int, int, int]:
    """Return the cycles of batches right after each other, those of waits for the link, and wrong scores."""
    images = random_images(program.network, batches * program.batch)
    accelerator.clear_counters()
    results = accelerator.infer(images)
    counters = accelerator.counters
    assert counters is not None
    wrong = int(np.count_nonzero(results != fast.run(program.network, images)))
    output = counters["wait_output"]
    return counters["active"] - output, counters["wait_input"] + output, wrong
