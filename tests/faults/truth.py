"""What a simulated device with a fault does, found without `verify`; and what `verify` says of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError, LinkError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.model.layers import Conv2d, MaxPool2d
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify import Device, verify
from xnorcore.verify.ask import machine_url, sim_url
from xnorcore.verify.case import Case, draw

__all__ = ["CONFIG", "SAME", "SILENT", "STUCK", "WRONG", "Verdict", "judge", "samples"]

CONFIG = DeviceConfig(
    Geometry(2, 4, 8), acc_width=14, weight_depth=256, threshold_depth=64, act_depth=512, program_depth=128,
    fifo_bytes=1024, column_group=4, line_bytes=256, counters=0,
)  # fmt: skip
"""Small, so that its simulator is built in seconds, and with every part of the data path."""
TIMEOUT = 0.01
"""Seconds of the device's time: many times what a sample takes."""
MOST_CYCLES = 3000
SAME, SILENT, STUCK, WRONG = "same circuit", "no score differs", "no scores", "wrong scores"


@dataclass(frozen=True)
class Verdict:
    """A fault, and what `verify` says of it.

    Attributes
    ----------
    kind : str
        `SAME`, `SILENT`, `STUCK` or `WRONG`.
    truth : tuple of int
        The first layer that is wrong in the device's memory, and its channels that are.
    side, layer, channel : str or int or None
        As `verify` says.
    errors : int
        Of the device, that `verify` reports.
    seconds : float
        `verify` took.
    said : str
        The first thing that it says.
    """

    kind: str
    truth: tuple[int, ...] = ()
    side: str | None = None
    layer: int | None = None
    channel: int | None = None
    errors: int = 0
    seconds: float = 0.0
    said: str = ""

    @property
    def named(self) -> bool:
        """Whether layer and channel are right."""
        return bool(self.truth) and self.layer == self.truth[0] and self.channel in self.truth[1:]

    def as_dict(self) -> dict[str, object]:
        """Return everything for the record."""
        return {**asdict(self), "named": self.named}


def samples(seed: int) -> list[Case]:
    """Return random networks of a seed: one with pooled maps, one with maps, one of vectors."""
    wanted = {"pooled": 1, "maps": 1, "vectors": 1}
    found: list[Case] = []
    for index in range(1000):
        case = draw(seed, index, CONFIG)
        network = case.network
        layers = [type(layer) for layer in network.layers]
        kind = "pooled" if MaxPool2d in layers else "maps" if Conv2d in layers else "vectors"
        program = compile_network(network, CONFIG, case.at_once)
        small = program.cycles <= MOST_CYCLES and program.passes == 1 and len(program.stops) > 1
        if wanted.get(kind) and small and len(case.images) > 1:
            wanted[kind] -= 1
            flat = case.images.reshape(len(case.images), -1)
            found.append(replace(case, images=flat, link="direct"))
        if not any(wanted.values()):
            return found
    raise AssertionError(f"seed {seed} gives no such networks: {wanted}")


def first_wrong(case: Case, program: Program, url: str) -> tuple[bool, tuple[int, ...]]:
    """Return whether scores differ, and the first layer that does in the device's memory, and its channels.

    The network is written, and nothing is read back. It runs as a whole, then anew up to each layer whose
    bits stay in memory, in the order in which the device computes them.
    """
    expected = golden.layers(case.network, case.images)
    found: dict[int, NDArray] = {}
    with Accelerator.open(url, timeout=TIMEOUT) as device:
        device.load_program(program, verify=False)
        scores = device.infer(case.images)
        for stop in program.stops[:-1]:
            device.stop_after(stop.index)
            found[stop.index] = device.infer(case.images)
    found[program.stops[-1].index] = scores
    for index, values in found.items():
        places = np.flatnonzero((values != expected[index]).any(axis=0))
        if len(places):
            channels = case.network.shapes[index + 1][-1]
            return bool((scores != expected[-1]).any()), (index, *sorted({int(p) % channels for p in places}))
    return False, ()


def judge(cases: Sequence[Case]) -> Verdict:
    """Run samples on the gateware that is imported, until one has wrong scores; return what is said of that.

    If none has, but one ends with an error, that is the one.
    """
    url = sim_url(CONFIG)
    stuck: Case | None = None
    for case in cases:
        program = compile_network(case.network, CONFIG, case.at_once)
        try:
            wrong, truth = first_wrong(case, program, url)
        except (LinkError, EngineError):
            stuck = stuck or case
            continue
        if wrong:
            return _say(case, WRONG, truth)
    return Verdict(SILENT) if stuck is None else _say(stuck, STUCK, ())


def _say(case: Case, kind: str, truth: tuple[int, ...]) -> Verdict:
    begun = time.perf_counter()
    devices = [
        Device("machine", machine_url(CONFIG), keep_on=True),
        Device("rtl", sim_url(CONFIG), timeout=TIMEOUT, keep_on=True),
    ]
    report = verify(case.network, case.images, devices, source="random", seed=case.seed, at_once=case.at_once)
    place = report.place
    said = [*report.errors.get("rtl", ()), *map(str, report.differences)]
    return Verdict(
        kind, truth, report.side,
        None if place is None else place.index,
        None if place is None or place.first is None else place.first.channel,
        len(report.errors.get("rtl", ())),
        round(time.perf_counter() - begun, 2),
        str(place) if place else said[0] if said else "",
    )  # fmt: skip
