"""What ``bench link-faults`` measures: the driver and the device over wires that are bad in many ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from xnorcore.cli.console import Console, table
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError
from xnorcore.link.session import Session
from xnorcore.link.transport import BITS_PER_BYTE
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator

from ..campaigns.runs import Outcome, run
from ..campaigns.wire import LOST_MEMORY, Fault, Wire
from ..shells.sim import SimTop
from ..sim.compiled import CompiledEngine
from ..sim.transport import SimOptions, SimTransport, open_sim
from .figure import Figure
from .workload import SMALL, random_images, random_network

__all__ = ["FRAMES", "KINDS", "campaign", "goodput", "link_faults", "networks", "open_device"]

FRAMES = 2000
"""Damaged frames of a short campaign."""
URL = (
    "rows=2,columns=4,width=8,act_depth=1024,weight_depth=512,threshold_depth=32,program_depth=64,"
    "fifo_bytes=512,line_bytes=0"
)
UART_SHARE = 0.1
"""Part of the damaged frames that goes through the device's UART, in all kinds."""
KINDS = {
    "bit flips": Fault(flips=2e-4),
    "many bit flips": Fault(flips=6e-4),
    "drops": Fault(drops=0.15),
    "insertions": Fault(inserts=0.15),
    "duplications": Fault(duplicates=0.2),
    "truncations": Fault(truncates=0.15),
    "breaks": Fault(breaks=1e-4, longest=300),
    "baud off by 2 %": Fault(offset=0.02),
    "baud off, bit flips": Fault(offset=0.02, flips=2e-4),
    "device resets": Fault(flips=2e-5, resets=3, errors=LOST_MEMORY),
    "host restarts": Fault(flips=1e-4, restarts=3),
    "everything": Fault(
        1e-4, 2e-5, 100, 0.02, 0.02, 0.02, 0.02, 0.02, resets=1, restarts=1, errors=LOST_MEMORY
    ),
    "power loss": Fault(flips=2e-5, cuts=4, errors=LOST_MEMORY),
    "second host": Fault(flips=1e-4, seconds=3),
    "baked, power loss": Fault(flips=2e-5, cuts=4, baked=True, errors=LOST_MEMORY),
    "baked, device resets": Fault(flips=2e-5, resets=3, baked=True, errors=LOST_MEMORY),
    "baked, second host, power loss": Fault(flips=5e-5, seconds=2, cuts=2, baked=True, errors=LOST_MEMORY),
}
"""All kinds of damage by name."""
_BEST_SHARE = 0.6
_GOODPUT_FLIPS, _GOODPUT_TIMEOUT = 1e-4, 0.1


def networks() -> list[Network]:
    """Return what the runs load: small, of bytes, now and then with images in parts or weights in passes."""
    # Pairs of the same sizes: one's scores could be taken for the other's.
    sizes = {1: (160, 12, 4), 8: (24, 8, 3)}
    small = [_network(sizes[bits], seed, bits) for seed, bits in ((1, 1), (2, 8), (5, 1), (6, 8))] * 5
    parts, passes = (1600, 8, 3), (64, 64, 64, 64, 64, 64, 3)
    return [*small, _network(parts, 3, 1), _network(passes, 4, 1), _network(passes, 7, 1)]


def open_device(link: str, baked: bool, say: Callable[[str], None] | None = None) -> SimTransport:
    """Open the device that the runs use; `baked`: it brings the first of their networks along."""
    if not baked:
        return open_sim(f"{URL},link={link}", progress=say)
    options = SimOptions.parse(f"{URL},link={link}")
    program = compile_network(networks()[0], options.config)
    engine = CompiledEngine(
        options.config,
        options.clock_hz,
        link=link,
        divisor=options.divisor,
        top=lambda config, clock_hz: SimTop(config, clock_hz, program),
        progress=say,
    )
    return SimTransport(options, engine)


def _network(sizes: tuple[int, ...], seed: int, bits: int) -> Network:
    """Return a random network whose hidden bits are balanced."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = rng.integers(0, 2, (outputs, inputs), dtype=np.int8) * np.int8(2) - np.int8(1)
        top = (1 << bits) - 1 if index == 0 and bits > 1 else 1
        middle = top * weights.sum(axis=1, dtype=np.int64) // 2 if top > 1 else 0
        hidden = index < len(sizes) - 2
        layers.append(
            Dense(weights, middle + rng.integers(-4 * top, 4 * top + 1, outputs) if hidden else None)
        )
    return Network("-".join(map(str, sizes)), InputSpec((sizes[0],), bits), layers)


def campaign(console: Console, frames: int, seed: int) -> dict[str, Outcome]:
    """Run all kinds in turn until `frames` frames have been damaged; each kind gets its share.

    All kinds run over the UART, then those of bytes, for most of the frames, without it. Run number n of a
    kind has the seed ``seed + n``.

    Returns
    -------
    dict
        By kind; those without UART are called ``kind, no UART``.
    """
    outcomes: dict[str, Outcome] = {}
    # What does no damage ends with as many frames as the others damage.
    parts = {"uart": list(KINDS), "direct": [name for name, fault in KINDS.items() if fault.of_bytes]}
    left = frames
    for link, names in parts.items():
        part = round(frames * UART_SHARE) if link == "uart" else left
        share = -(-part // (len(names) - (link == "uart")))
        for baked in (False, True):
            with closing(open_device(link, baked, console.say)) as transport:
                for name in names:
                    if KINDS[name].baked != baked:
                        continue
                    title = name if link == "uart" else f"{name}, no UART"
                    outcomes[title] = outcome = Outcome()
                    _repeat(console, title, KINDS[name], Wire(transport), share, seed, outcome)
                    left -= outcome.damaged
    return outcomes


def _repeat(
    console: Console, title: str, fault: Fault, wire: Wire, share: int, seed: int, outcome: Outcome
) -> None:
    """Run one kind until `share` frames have been damaged, or without damage, sent."""
    known, number = networks(), 0
    harmless = fault == KINDS["baud off by 2 %"]
    while (outcome.frames if harmless else outcome.damaged) < share:
        bad = len(outcome.stuck) + len(outcome.hung) + len(outcome.failed)
        outcome.add(run(wire, fault, seed + number, known))
        number += 1
        if len(outcome.stuck) + len(outcome.hung) + len(outcome.failed) > bad:
            wire.engine.reset()  # else the next run would find the same again
        console.count(f"{title}: damaged frames", outcome.damaged, share)
    console.say(
        f"{title}: {outcome.damaged:,} of {outcome.frames:,} frames damaged in {outcome.runs:,} runs, "
        f"seeds {seed} to {seed + number - 1}"
    )


def goodput(console: Console, flips: float, count: int = 1000, seed: int = 0) -> dict[str, float]:
    """Measure how much of the wire carries images at a bit error rate, and what the driver did for it.

    The wire is as bad while the network is loaded, so that the driver knows it when the images come.

    Returns
    -------
    dict
        ``share``: image bytes times 10 bit times, of the device's time; ``load_s``: seconds of the load;
        ``best_payload``; ``repeated`` and ``timeouts``, of the images.

    Raises
    ------
    EngineError
        If a score is wrong.
    """
    network = random_network(SMALL[1])
    images = random_images(network, count)
    with closing(open_sim("rows=1,columns=32,width=32,link=uart", progress=console.say)) as transport:
        wire = Wire(transport)
        wire.begin(Fault(flips=flips), seed, cycles=10**12, span=1)
        device = Accelerator(Session(wire, timeout=_GOODPUT_TIMEOUT, retries=20, seed=seed))
        device.load(network, verify=False)
        first, stats = transport.cycles, replace(device.session.stats)
        scores = device.infer(images)
        cycles = transport.cycles - first
    if not np.array_equal(scores, fast.run(network, images)):
        raise EngineError(f"{network.name} at a bit error rate of {flips:g}: wrong scores")
    size = -(-network.input.size // 8)
    return {
        "share": count * size * BITS_PER_BYTE * transport.divisor / cycles,
        "load_s": first / transport.clock_hz,
        "best_payload": device.session.best_payload,
        "repeated": device.session.stats.resent - stats.resent,
        "timeouts": device.session.stats.timeouts - stats.timeouts,
    }


def link_faults(console: Console, frames: int = FRAMES, seed: int = 0) -> Iterator[Figure]:
    """Wrong scores, hangs and undocumented errors over all kinds of damage; goodput on a bad wire."""
    outcomes = campaign(console, frames, seed)
    total = Outcome()
    for outcome in outcomes.values():
        total.add(outcome)
    rows = [_row(name, outcome) for name, outcome in [*outcomes.items(), ("total", total)]]
    heads = ("", "runs", "frames", "damaged", "repeated", "recovered", "gone", "resets", "restarts", "errors")
    lines = (*table(rows, heads, "  "), *(f"  {line}" for line in _failures(total)))
    detail: dict[str, Any] = {
        name: {**vars(outcome), "errors": dict(outcome.errors)} for name, outcome in outcomes.items()
    }
    yield Figure(
        "link-faults", f"frames damaged, seeds from {seed}", total.damaged, frames, True, "", detail, lines
    )
    for what, count in (
        ("runs with a wrong score", len(total.wrong)),
        ("runs without an end", len(total.hung)),
        ("runs with an undocumented error", len(total.failed)),
        ("runs after which the device had to be switched off and on", len(total.stuck)),
    ):
        yield Figure("link-faults", what, count, 0, False, "", {})
    clean = goodput(console, 0)["share"]
    noisy = goodput(console, _GOODPUT_FLIPS)
    what = f"goodput at a bit error rate of {_GOODPUT_FLIPS:g}, of the wire"
    yield Figure("link-faults", what, noisy["share"], _BEST_SHARE, True, "", {"clean": clean, **noisy})


def _row(name: str, outcome: Outcome) -> tuple[str, ...]:
    counts = (outcome.runs, outcome.frames, outcome.damaged, outcome.repeated, outcome.recovered)
    counts += (outcome.refused, outcome.resets, outcome.restarts)
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.errors.items()))
    return (name, *(f"{count:,}" for count in counts), errors or "none")


def _failures(total: Outcome) -> list[str]:
    kinds = (
        ("wrong score", total.wrong),
        ("no end", total.hung),
        ("failed", total.failed),
        ("stuck", total.stuck),
    )
    return [f"{kind}: {case}" for kind, cases in kinds for case in cases[:10]]
