"""What ``bench hostile`` measures: anything at all sent to the device, and to the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from xnorcore.cli.console import Console, table

from ..campaigns import babble, hostile
from ..sim.transport import open_sim
from .figure import Figure
from .link_faults import networks

__all__ = ["BYTES", "attack_device", "attack_driver", "hostile_peers"]

BYTES = 200_000
"""Bytes that a short run sends to the devices."""
_BURST = 20_000
_MEMORIES = "act_depth=1024,weight_depth=512,threshold_depth=32,fifo_bytes=512"
DEVICES = {
    "2x4x8": (f"rows=2,columns=4,width=8,program_depth=64,line_bytes=0,{_MEMORIES},link=direct", 0.5),
    "1x8x16, small": (
        f"rows=1,columns=8,width=16,program_depth=100,line_bytes=256,{_MEMORIES},"
        "threshold_share=2,program_halves=1,link=direct",
        0.4,
    ),
    "2x4x8, UART": (f"rows=2,columns=4,width=8,program_depth=64,line_bytes=0,{_MEMORIES},link=uart", 0.1),
}
"""Simulated devices, and each one's share of the bytes."""


def attack_device(console: Console, url: str, size: int, seed: int) -> hostile.Outcome:
    """Send at least `size` bytes of all kinds to one device, in bursts.

    Burst number n has the seed ``seed + n``; over a UART, every other one comes on a disturbed line.
    """
    outcome, number = hostile.Outcome(), 0
    with closing(open_sim(url, progress=console.say)) as transport:
        target = hostile.Target(transport, networks()[1], seed)
        while outcome.bytes.total() < size:
            kind = list(hostile.KINDS)[number % len(hostile.KINDS)]
            burst = min(_BURST, size // len(hostile.KINDS) + 1)
            noisy = transport.link == "uart" and number % 2 == 1
            outcome.add(target.attack(kind, burst, seed + number, noisy=noisy))
            number += 1
            console.count("bytes to a device", outcome.bytes.total(), size)
    return outcome


def attack_driver(console: Console, runs: int, seed: int) -> dict[str, babble.Outcome]:
    """Let `runs` drivers meet each kind of babble, run number n with the seed ``seed + n``."""
    outcomes = {kind: babble.Outcome() for kind in babble.KINDS}
    for done, (kind, outcome) in enumerate(outcomes.items()):
        for number in range(runs):
            outcome.add(babble.meet(kind, seed + number, networks()[1]))
        console.count("kinds of babble", done + 1, len(outcomes))
    return outcomes


def hostile_peers(console: Console, size: int = BYTES, seed: int = 0) -> Iterator[Figure]:
    """Hangs, crashes and changed memories of the device, and of the driver."""
    found: dict[str, hostile.Outcome] = {}
    for name, (url, share) in DEVICES.items():
        found[name] = attack_device(console, url, round(size * share), seed)
    total = hostile.Outcome()
    for outcome in found.values():
        total.add(outcome)
    rows = [
        (name, kind, *(f"{count[kind]:,}" for count in (outcome.bytes, outcome.frames, outcome.bursts)))
        for name, outcome in found.items()
        for kind in hostile.KINDS
    ]
    lines = (*table(rows, ("device", "", "bytes", "frames", "bursts"), "  "), *_first(total.wrong))
    detail: dict[str, Any] = {name: _plain(outcome) for name, outcome in found.items()}
    what = f"bytes to devices, seeds from {seed}"
    yield Figure("hostile", what, total.bytes.total(), size, True, "", detail, lines)
    yield Figure(
        "hostile", "bursts after which a device was not as before", len(total.wrong), 0, False, "", {}
    )

    drivers = attack_driver(console, max(2, size // 100_000), seed)
    everything = babble.Outcome()
    for outcome in drivers.values():
        everything.add(outcome)
    rows = [
        (
            kind,
            f"{outcome.runs.total():,}",
            f"{outcome.bytes.total():,}",
            f"{outcome.peak / (1 << 20):.1f}",
            ", ".join(f"{count} {end}" for end, count in sorted(outcome.ends.items())),
        )
        for kind, outcome in drivers.items()
    ]
    lines = (*table(rows, ("", "runs", "bytes", "MiB", "ends"), "  "), *_first(everything.wrong))
    detail = {kind: _plain(outcome) for kind, outcome in drivers.items()}
    what = f"runs of the driver, seeds from {seed}"
    yield Figure("hostile", what, everything.runs.total(), 2 * len(drivers), True, "", detail, lines)
    what = "runs of the driver without a documented end"
    yield Figure("hostile", what, len(everything.wrong), 0, False, "", {})
    most = everything.peak / (1 << 20)
    what = "memory of the driver"
    yield Figure("hostile", what, most, babble.MOST_MEMORY >> 20, False, "MiB", {})


def _plain(outcome: hostile.Outcome | babble.Outcome) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(outcome).items()}


def _first(wrong: list[str]) -> list[str]:
    return [f"  wrong: {text}" for text in wrong[:10]]
