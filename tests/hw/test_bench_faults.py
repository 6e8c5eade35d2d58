"""A slice of ``bench link-faults``, and what it finds where the driver is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.campaigns import examples
from xnorcore.cli.console import Console
from xnorcore.errors import UsageError
from xnorcore.isa.protocol import CRC_BYTES, RESPONSE
from xnorcore.link import cobs, flight
from xnorcore_hw.bench import link_faults as bench_faults
from xnorcore_hw.campaigns.runs import Outcome, run
from xnorcore_hw.campaigns.wire import Wire

NETWORKS = bench_faults.networks()


@pytest.fixture(scope="module")
def uart() -> Iterator[Wire]:
    with closing(bench_faults.open_device("uart", False)) as transport:
        yield Wire(transport)


@pytest.fixture(scope="module")
def direct() -> Iterator[Wire]:
    with closing(bench_faults.open_device("direct", False)) as transport:
        yield Wire(transport)


@pytest.fixture(scope="module")
def baked_uart() -> Iterator[Wire]:
    with closing(bench_faults.open_device("uart", True)) as transport:
        yield Wire(transport)


@pytest.fixture(scope="module")
def baked_direct() -> Iterator[Wire]:
    with closing(bench_faults.open_device("direct", True)) as transport:
        yield Wire(transport)


def faults() -> Iterator[Any]:
    """Yield kinds of faults and links; the UART takes longest."""
    for number, kind in enumerate(bench_faults.KINDS):
        yield kind, "direct"
        yield pytest.param(kind, "uart", marks=[pytest.mark.campaign] * (number > 0))


@pytest.mark.parametrize(("kind", "link"), list(faults()))
def test_kinds(kind: str, link: str, request: pytest.FixtureRequest) -> None:
    fault = bench_faults.KINDS[kind]
    outcome = Outcome()
    wire: Wire = request.getfixturevalue(f"baked_{link}" if fault.baked else link)
    if link == "direct" and not fault.of_bytes:
        with pytest.raises(UsageError, match="use a device with link=uart"):
            wire.begin(fault, 0, cycles=1, span=1)
        return
    troubled = fault.cuts or fault.seconds
    runs = 2 if not troubled else 3 if link == "uart" else examples(12)
    for seed in range(runs):
        outcome.add(run(wire, fault, seed, NETWORKS))
    assert outcome.good, vars(outcome)
    assert outcome.runs == runs and outcome.frames > 0
    assert outcome.damaged or kind == "baud off by 2 %"
    assert outcome.recovered + outcome.errors.total() <= runs
    assert outcome.restarts > 0 or "restarts" not in kind
    assert outcome.refused > 0 or not troubled


def test_a_driver_that_checks_no_crc_is_found_out(direct: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(data: bytes) -> tuple[int, int, bytes, int] | None:
        body = cobs.decode_reverse(data)
        if body is None or len(body) < 8 or not body[0] & RESPONSE:
            return None
        content = body[:-CRC_BYTES]
        return content[0] & ~RESPONSE, int.from_bytes(content[1:3], "little"), content[3:-1], content[-1]

    monkeypatch.setattr(flight, "decode_response", trusting)
    outcome = Outcome()
    for seed in range(8):
        outcome.add(run(direct, bench_faults.KINDS["bit flips"], seed, NETWORKS))
    assert not outcome.good and (outcome.wrong or outcome.failed)


def test_a_driver_without_an_end_is_found_out(uart: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorcore_hw.campaigns.wire._READS", 2)
    outcome = run(uart, bench_faults.KINDS["drops"], 0, NETWORKS)
    assert outcome.hung and not outcome.good and "seed 0" in outcome.hung[0]


@pytest.mark.campaign
def test_goodput_of_a_good_wire() -> None:
    clean = bench_faults.goodput(Console(), 0, count=50)
    assert clean["share"] > 0.8 and clean["repeated"] == clean["timeouts"] == 0
