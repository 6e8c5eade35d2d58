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
from ..workers import Pool, Serial
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

    def add(self, other: Campaign) -> None:
        """Add up what was counted in another part."""
        for name in ("images", "layers", "values"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("features", "refused", "planted", "named"):
            getattr(self, name).update(getattr(other, name))
        self.missed += other.missed

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


@dataclass
class _Trial:
    """What became of one network.

    Attributes
    ----------
    part : Campaign
        With what there is to add up.
    found, shrunk : str or None
        How it failed, and how the smaller case does.
    small : Case or None
        The smaller case.
    """

    part: Campaign
    found: str | None = None
    shrunk: str = ""
    small: Case | None = None


def run(
    seed: int,
    count: int,
    configs: Sequence[DeviceConfig],
    *,
    first: int = 0,
    total: int = 0,
    keep: str = ".",
    faults: bool = False,
    pool: Pool | None = None,
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
    pool : Pool, optional
        Runs the networks; default: one after the other, here.
    progress : callable, optional
        Called with (networks done, `count`).
    say : callable, optional
        Called with a line of text for each failure.

    Raises
    ------
    UsageError
        A device that no network fits, or a file that cannot be written.
    ClusterError
        If the pool's workers are gone.
    """
    total = max(total, first + count)
    pieces = [
        (seed, index, configs[index * len(configs) // total], faults) for index in range(first, first + count)
    ]
    failures: dict[int, Failure] = {}
    done = 0

    def ready(place: int, trial: _Trial) -> None:
        nonlocal done
        done += 1
        index = first + place
        if trial.found is not None and trial.small is not None:
            stem, command = save(trial.small, keep)
            failures[index] = Failure(index, trial.found, trial.shrunk, stem, command)
            if say:
                say(
                    f"network {index} fails: {trial.found}; shrunk to {stem}.xnor: {trial.shrunk}; "
                    f"run: {command}"
                )
        if progress:
            progress(done, count)

    trials = (pool or Serial()).run(_trial, pieces, ready)
    result = Campaign(seed, first, count, len(configs))
    for trial in trials:
        result.add(trial.part)
    result.failures = [failures[index] for index in sorted(failures)]
    return result


def _trial(seed: int, index: int, config: DeviceConfig, faults: bool) -> _Trial:
    """Draw a network, run it, and shrink it if it fails: the same wherever it is done."""
    part = Campaign(seed, index, 1, 1)
    case = draw(seed, index, config, part.refused)
    found = _plant(case, index, part) if faults else check(case)
    part.features.update(features(case))
    part.images += len(case.images)
    part.layers += len(case.network.layers)
    part.values += len(case.images) * sum(map(prod, case.network.shapes[1:]))
    if not found:
        return _Trial(part)
    small, shrunk = shrink(case, check)
    return _Trial(part, found, shrunk, small)


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
