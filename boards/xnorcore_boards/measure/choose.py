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
from .needs import needs
from .space import cells_limit, least_depths, smallest_arrays

__all__ = ["CALL", "RULE", "Choice", "chosen", "judge", "obstacle", "reached"]

RULE = (
    "most networks that run; then most in one pass; then the geometric mean of images/s end to end, "
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
        return self.runs, self.resident, round(speed / _STEP), round(array / _STEP), -self.cells

    def beats(self, other: Choice) -> bool:
        """Tell whether this one, which comes first by `RULE`, is as good in everything, as far as known."""
        return (
            self.key[:3] >= other.key[:3]
            and self.resident >= other.resident
            and self.cells <= other.cells * (1 + _ERROR)
        )

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
    device = replace(board.device, config=config)
    return chosen(
        board, config, {name: reached(network, device, images) for name, network in networks.items()}
    )


def chosen(board: Board, config: DeviceConfig, found: Mapping[str, tuple[int, Rates | None]]) -> Choice:
    """Return a configuration with the passes of each network, 0 if it does not run, and its rates."""
    family = board.part.family
    return Choice(
        config,
        estimate_area(family.name, config),
        config_blocks(config, family),
        config_single_blocks(config, family),
        {name: passes for name, (passes, _) in found.items()},
        {name: rate for name, (_, rate) in found.items() if rate is not None},
    )


def reached(
    network: Network, device: BoardDevice, images: int, by: Callable[..., Rates] = rates
) -> tuple[int, Rates | None]:
    """Return the passes of a network on a device, 0 if it does not run, and its rates.

    Parameters
    ----------
    network : Network
    device : BoardDevice
    images : int
        Of a call in passes.
    by : callable
        `rates`, or what takes less time.
    """
    try:
        program = compile_network(network, device.config)
    except CompileError:
        return 0, None
    return program.passes, by(program, device, images)


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
