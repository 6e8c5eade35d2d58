"""One random network on one random device: how it is drawn, checked, and written down."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..compiler.compile import compile_network
from ..compiler.group import most_per_row
from ..errors import CompileError, UsageError
from ..files import npyfile, xnorfile
from ..files.userfile import write_file
from ..isa.device import DeviceConfig, Geometry
from ..isa.kept import may_keep
from ..isa.program import Program
from ..model.network import Network
from ..reference import golden
from ..runtime.accelerator import Accelerator
from .ask import checks, machine_url, observe, options, sim_url
from .compare import LayerCheck, compare, compare_fast
from .planted import Fault
from .random_chains import random_chain
from .random_codes import coded
from .random_networks import Bounds, random_images, random_network
from .random_rows import random_rows
from .random_scaled import random_scaled
from .starts import started_values

__all__ = ["Case", "check", "differences", "draw", "save", "starts_with"]

MOST_CYCLES = 100_000
"""Cycles of a batch above which a network is drawn again: a run has to end some day."""
MOST_BYTES = 100_000
"""Likewise, bytes of weights that cross the link with each call."""
ATTEMPTS = 200
_CODED = 0.7
"""Share of networks that have codes, on a device that has them."""
_CHAINS = 0.5
"""Share of residual networks, on a device that adds in place."""
_SCALED = 0.4
"""Share of networks with XNOR-Net's K, on a device that has a memory for it."""
_UART = 1 / 16
_PER_ROW = 6
"""Images per row and batch, at most, so that runs end."""
_SMALL = Bounds(side=5, channels=8, convs=2, dense=2, values=24)


@dataclass(frozen=True, eq=False)
class Case:
    """What is run.

    Attributes
    ----------
    network : Network
    images : array of uint8, shape (n, *input shape)
    config : DeviceConfig
    at_once : int or None
        As for `Accelerator.load`.
    link : str
        ``direct`` or ``uart``.
    seed : int
        Of what the device's memories hold beforehand.
    fault : Fault or None
        Planted in the device.
    """

    network: Network
    images: NDArray[np.uint8]
    config: DeviceConfig
    at_once: int | None
    link: str
    seed: int
    fault: Fault | None = None

    @property
    def url(self) -> str:
        """The simulated device."""
        return sim_url(self.config, link=self.link)

    def command(self, stem: str) -> str:
        """Return the command that runs the case again, from the files that `save` writes."""
        words = ["xnorcore", "verify", f"{stem}.xnor", "--images", f"{stem}.npy", "--seed", str(self.seed)]
        shape = [f.name for f in fields(Geometry)]
        for name, value in options(self.config).items():
            words += [f"--{name}", str(value)] if name in shape else ["--set", f"{name}={value}"]
        if self.at_once is not None:
            words += ["--batch", str(self.at_once)]
        if self.link != "direct":
            words += ["--link", self.link]
        if self.fault is not None:
            words += ["--plant", str(self.fault)]
        return shlex.join(words)


def draw(seed: int, index: int, config: DeviceConfig, refused: Counter[str] | None = None) -> Case:
    """Draw network number `index` of a run, and images; the same for the same arguments.

    Parameters
    ----------
    seed, index : int
    config : DeviceConfig
        The network is one that this device can run.
    refused : Counter, optional
        Counts networks that it cannot, by the error's class.

    Raises
    ------
    UsageError
        If none can be found.
    """
    rng = np.random.default_rng([seed, 3, index])
    maps = config.reads_windows
    large = Bounds(maps=maps)
    small = Bounds(**{**vars(_SMALL), "maps": maps})
    for attempt in range(ATTEMPTS):
        name = f"random-{seed}-{index}"
        network = random_network(rng, large if attempt < ATTEMPTS // 2 else small, name)
        if config.scale_depth and rng.random() < _SCALED:
            network = random_scaled(rng, config, name)
        elif config.value_depth and maps and rng.random() < _CHAINS:
            network = random_chain(rng, config, name)
        elif config.packed_rows and maps and rng.random() < _CHAINS:
            network = random_rows(rng, config, name)
        elif config.code_bits > 1 and rng.random() < _CODED:
            network = coded(rng, network, config)
        rows = config.geometry.rows
        at_once = [None, 1, max(rows - 1, 1)][int(rng.integers(3))]
        try:
            program = compile_network(network, config, at_once)
        except CompileError as error:
            if refused is not None:
                refused[type(error).__name__] += 1
            continue
        if program.cycles > MOST_CYCLES or program.bytes_per_call > MOST_BYTES:
            continue
        count = int(rng.integers(1, 2 * rows + 2))
        if (most := most_per_row(program)) > 1:
            count *= int(rng.integers(1, min(most, _PER_ROW) + 1))
        images = random_images(rng, network, count)
        images[rng.random(len(images)) < 0.1] = rng.choice([0, network.input.maximum])
        link = "uart" if rng.random() < _UART else "direct"
        return Case(network, images, config, at_once, link, seed)
    raise UsageError(
        f"no random network fits a device of {config} after {ATTEMPTS} attempts; give it more memory"
    )


def starts_with(case: Case, program: Program) -> bool:
    """Return whether the device of a case is also let start with its network, which its flash can keep."""
    return case.fault is None and may_keep(program)


def differences(case: Case) -> list[LayerCheck]:
    """Run a case on golden, fast, the interpreter and a simulated device that is switched on for it.

    If it can keep the network, it is switched off and on again, and starts with that.

    Returns
    -------
    list of LayerCheck
        Those that differ, engine by engine.

    Raises
    ------
    XnorcoreError
        As `xnorcore.verify.verify`.
    """
    network, images = case.network, case.images
    expected = golden.layers(network, images)
    found = compare_fast(network, images, expected)
    # Reading everything back takes longer than the rest: one network in four.
    read_back = len(images) % 4 == 1
    for name, url, fault in (("machine", machine_url(case.config), None), ("rtl", case.url, case.fault)):
        with Accelerator.open(url) as device:
            seen = observe(
                device,
                network,
                images,
                seed=case.seed,
                at_once=case.at_once,
                fault=fault,
                read_back=read_back,
            )
            found += checks(network, name, seen, images, expected)
            if starts_with(case, seen.program):
                last = len(network.layers) - 1
                values = started_values(device, seen.program, images)
                found += compare(network, f"{name}, started", {last: values}, {last: expected[last]})
    return [one for one in found if one.mismatches]


def check(case: Case) -> str | None:
    """Run a case; return the first difference, or the error that ended the run, or None if all is equal."""
    try:
        found = differences(case)
    except Exception as error:
        # Whatever goes wrong here is the finding; Ctrl-C is none.
        return f"{type(error).__name__}: {error}"
    return str(found[0]) if found else None


def save(case: Case, folder: str) -> tuple[str, str]:
    """Write network and images of a case.

    Returns
    -------
    stem : str
        Path of both files, without the ending.
    command : str
        Runs the case again.

    Raises
    ------
    UsageError
        If they cannot be written.
    """
    stem = str(Path(folder) / case.network.name)
    xnorfile.save(case.network, f"{stem}.xnor")
    write_file(f"{stem}.npy", npyfile.dumps(case.images))
    return stem, case.command(stem)
