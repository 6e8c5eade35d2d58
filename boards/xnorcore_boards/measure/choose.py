"""The best configuration of a board for some networks, by search: what can be known before synthesis.

Block RAM is counted exactly, logic cells are estimated, cycles are the compiler's. Whether it routes at the
board's clock, only a build says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any

from xnorcore.boards import BoardDevice
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.device import DeviceConfig
from xnorcore.model.network import Network
from xnorcore.runtime.rates import CALL, Rates, rates

from ..board import Board
from .estimate import estimate_area
from .inventory import config_blocks, config_single_blocks
from .space import arrays, cells_limit, depths, least_depths, needs, smallest_arrays

__all__ = ["CALL", "RULE", "Choice", "Search", "judge", "obstacle"]

RULE = (
    "most networks in one pass; then most that run at all; then the geometric mean of images/s end to end, "
    "in steps of 5 %; then that of the array alone; then fewer logic cells"
)
_STEP = log(1.05)
_ERROR = 0.05
"""Of the estimate of logic cells, at the least."""


@dataclass(frozen=True)
class Choice:
    """A configuration, and what networks do on it.

    Attributes
    ----------
    config : DeviceConfig
    cells, blocks, single_blocks : int
        Logic cells, estimated; memory blocks, exact, and those of one port besides.
    passes : dict of str to int
        Of each network; 0, it does not run.
    rates : dict of str to Rates
        Of those that run.
    """

    config: DeviceConfig
    cells: int
    blocks: int
    single_blocks: int
    passes: Mapping[str, int]
    rates: Mapping[str, Rates]

    @property
    def runs(self) -> int:
        """Networks that run."""
        return len(self.rates)

    @property
    def resident(self) -> int:
        """Networks that run in one pass."""
        return sum(passes == 1 for passes in self.passes.values())

    @property
    def images_per_s(self) -> float:
        """Geometric mean of the images per second end to end, over the networks that run."""
        return _mean([rate.images_per_s for rate in self.rates.values()])

    @property
    def device_images_per_s(self) -> float:
        """Geometric mean of the array's own images per second."""
        return _mean([rate.device_images_per_s for rate in self.rates.values()])

    @property
    def key(self) -> tuple[float, ...]:
        """What `RULE` compares; the largest is the best."""
        if not self.rates:
            return (0,)
        speed, array = log(self.images_per_s), log(self.device_images_per_s)
        return self.resident, self.runs, round(speed / _STEP), round(array / _STEP), -self.cells

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        from dataclasses import asdict

        return {
            "config": asdict(self.config),
            "logic_cells": self.cells,
            "bram": self.blocks,
            "spram": self.single_blocks,
            "runs": self.runs,
            "resident": self.resident,
            "images_per_s": self.images_per_s,
            "device_images_per_s": self.device_images_per_s,
            "networks": {
                name: {"passes": passes or None, **(asdict(self.rates[name]) if passes else {})}
                for name, passes in self.passes.items()
            },
        }


def _mean(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values)) if values else 0.0


def judge(board: Board, config: DeviceConfig, networks: Mapping[str, Network], images: int = CALL) -> Choice:
    """Return what networks do on a configuration, with so many images of a call in passes."""
    family, device = board.part.family, replace(board.device, config=config)
    passes, found = dict[str, int](), dict[str, Rates]()
    for name, network in networks.items():
        rate = _rate(network, device, images)
        passes[name] = rate[0]
        if rate[1] is not None:
            found[name] = rate[1]
    cells, blocks = estimate_area(family.name, config), config_blocks(config, family)
    return Choice(config, cells, blocks, config_single_blocks(config, family), passes, found)


def _rate(network: Network, device: BoardDevice, images: int) -> tuple[int, Rates | None]:
    try:
        program = compile_network(network, device.config)
    except CompileError:
        return 0, None
    return program.passes, rates(program, device, images)


class Search:
    """Go through a board's arrays; what is found is there all along.

    Parameters
    ----------
    board : Board
    networks : mapping of str to Network
    images : int
        Of a call, which share the weights where they come in passes.

    Attributes
    ----------
    choices : list of Choice
        All that were judged.
    done, total : int
        Arrays.
    """

    def __init__(self, board: Board, networks: Mapping[str, Network], images: int = CALL) -> None:
        self.board, self.networks, self.images = board, networks, images
        self._arrays = arrays(board, networks.values())
        self.choices: list[Choice] = []
        self.done, self.total = 0, len(self._arrays)

    def run(
        self, progress: Callable[[int, int], None] = lambda done, total: None, *, any_: bool = False
    ) -> None:
        """Judge the arrays that are left; with `any_` only until something runs."""
        for array in self._arrays[self.done :]:
            for config in depths(self.board, array, needs(self.networks, array)):
                self.choices.append(judge(self.board, config, self.networks, self.images))
            self.done += 1
            progress(self.done, self.total)
            if any_ and self.best:
                return

    @property
    def best(self) -> Choice | None:
        """The one that `RULE` proposes; None if nothing runs."""
        found = [choice for choice in self.choices if choice.rates]
        return max(found, key=lambda choice: choice.key, default=None)

    @property
    def frontier(self) -> list[Choice]:
        """Those of which no other one runs as many networks as fast with as few logic cells, best first."""
        kept: list[Choice] = []
        for choice in sorted(self.choices, key=lambda choice: choice.key, reverse=True):
            if choice.rates and not any(_beats(one, choice) for one in kept):
                kept.append(choice)
        return kept


def _beats(one: Choice, other: Choice) -> bool:
    """Tell whether `one`, which comes first by `RULE`, is as good in everything, as far as one can tell."""
    return (
        one.key[:3] >= other.key[:3]
        and one.runs >= other.runs
        and (one.images_per_s >= other.images_per_s and one.cells <= other.cells * (1 + _ERROR))
    )


def obstacle(board: Board, network: Network) -> str:
    """Return what a board lacks for a network that no configuration of it runs."""
    name, part = network.name, board.part
    nearest: tuple[float, str] | None = None
    for array in smallest_arrays(board, network):
        needed = needs({name: network}, array)
        if not needed:
            continue
        config = least_depths(array, needed[name])
        cells, taken = estimate_area(part.family.name, config), config_blocks(config, part.family)
        if config_single_blocks(config, part.family) > part.spram:
            continue
        worst = max(cells / cells_limit(board), taken / part.bram)
        text = (
            f"the least that could run it, {config.geometry}, takes about {cells:,} logic cells of "
            f"{cells_limit(board):,} that there is room for, and {taken:,} memory blocks of {part.bram:,}"
        )
        if nearest is None or worst < nearest[0]:
            nearest = worst, text
    if nearest:
        return nearest[1]
    try:
        compile_network(network, replace(board.config, convolution=1))
    except CompileError as error:
        return str(error)
    return "no array that the compiler has a program for is small enough"
