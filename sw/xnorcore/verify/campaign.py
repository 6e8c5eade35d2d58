"""Random networks, one after the other, on golden, fast and RTL; what fails is shrunk and written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..compiler.compile import compile_network
from ..isa.device import DeviceConfig
from .case import Case, check, differences, draw, save
from .features import features
from .planted import random_fault
from .shrink import shrink

__all__ = ["Campaign", "Failure", "run"]


@dataclass(frozen=True)
class Failure:
    """A network that failed.

    Attributes
    ----------
    index : int
        Its number in the run.
    found, shrunk : str
        How it failed, and how the smaller network does that is written down.
    stem : str
        Path of its files, without the ending.
    command : str
        Runs the smaller network again.
    """

    index: int
    found: str
    shrunk: str
    stem: str
    command: str


@dataclass
class Campaign:
    """What was run.

    Attributes
    ----------
    seed, first, count : int
        Networks `first` to ``first + count - 1`` of this seed.
    devices : int
    images, layers, values : int
        Run and compared, over all networks.
    features : Counter
        Networks that exercise each feature.
    refused : Counter
        Networks that were drawn, did not fit the device, and were drawn again; by error.
    failures : list of Failure
    planted, named : Counter
        Faults that were planted, and those of them that were found and named, by kind.
    missed : list of str
        Those that were not.
    """

    seed: int
    first: int
    count: int
    devices: int
    images: int = 0
    layers: int = 0
    values: int = 0
    features: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    planted: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        return {
            **vars(self),
            "features": dict(sorted(self.features.items())),
            "refused": dict(self.refused),
            "failures": [vars(failure) for failure in self.failures],
            "planted": dict(self.planted),
            "named": dict(self.named),
        }


def run(
    seed: int,
    count: int,
    configs: Sequence[DeviceConfig],
    *,
    first: int = 0,
    total: int = 0,
    keep: str = ".",
    faults: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Campaign:
    """Run random networks.

    Parameters
    ----------
    seed : int
    count : int
        Networks.
    configs : sequence of DeviceConfig
        Devices: each runs an equal share of the `total`, one device after the other.
    first : int
        Number of the first network, to go on with a run or repeat a part of it.
    total : int, optional
        Networks of the whole run; default: `first` and `count` together.
    keep : str
        Folder for what fails.
    faults : bool
        Plant a random fault in every device, and see whether it is found.
    progress : callable, optional
        Called with (networks done, `count`).
    say : callable, optional
        Called with a line of text for each failure.

    Raises
    ------
    UsageError
        A device that no network fits, or a file that cannot be written.
    """
    total = max(total, first + count)
    result = Campaign(seed, first, count, len(configs))
    for index in range(first, first + count):
        config = configs[index * len(configs) // total]
        case = draw(seed, index, config, result.refused)
        found = _plant(case, index, result) if faults else check(case)
        result.features.update(features(case))
        result.images += len(case.images)
        result.layers += len(case.network.layers)
        result.values += len(case.images) * sum(map(prod, case.network.shapes[1:]))
        if found:
            small, shrunk = shrink(case, check)
            stem, command = save(small, keep)
            result.failures.append(Failure(index, found, shrunk, stem, command))
            if say:
                say(f"network {index} fails: {found}; shrunk to {stem}.xnor: {shrunk}; run: {command}")
        if progress:
            progress(index - first + 1, count)
    return result


def _plant(case: Case, index: int, result: Campaign) -> None:
    """Plant a fault in a case, and count whether the first difference is where the fault is."""
    program = compile_network(case.network, case.config, case.at_once)
    fault = random_fault(np.random.default_rng([case.seed, 4, index]), program)
    if fault is None:
        return
    found = differences(replace(case, fault=fault))
    result.planted[fault.kind] += 1
    columns = case.config.geometry.columns
    firsts = [one for one in found if one.engine.startswith("rtl")]
    engines = {one.engine: one for one in reversed(firsts)}
    if any(fault.named_by(one, columns, case.network) for one in engines.values()):
        result.named[fault.kind] += 1
    else:
        result.missed.append(f"network {index}, {fault}: {found[0] if found else 'nothing differs'}")
