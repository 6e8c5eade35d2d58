"""Scores are those of the loaded program or none: power lost at any moment, a second host, baked networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.campaigns import examples, some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import NotLoadedError, VerifyError
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore_hw.bench import link_faults as bench_faults
from xnorcore_hw.campaigns.hosts import random_images
from xnorcore_hw.campaigns.wire import Fault, Wire

KNOWN = bench_faults.networks()
BAKED, SAME_SIZE = KNOWN[0], KNOWN[2]
PARTS, PASSES, OTHER_PASSES = KNOWN[-3:]
LOST = r"^the device has lost its network \(power loss or reset\?\); load it again$"


@pytest.fixture(scope="module", params=[False, True], ids=["empty", "baked"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with closing(bench_faults.open_device("direct", request.param)) as transport:
        wire = Wire(transport)
        wire.baked = request.param  # type: ignore[attr-defined]
        yield wire


def is_baked(wire: Wire) -> bool:
    return wire.baked  # type: ignore[attr-defined]


def open_host(wire: Wire) -> Accelerator:
    return Accelerator(Session(wire, timeout=0.000_5, seed=7))


def good(wire: Wire) -> None:
    """Lose power no more, even if the moment has not come."""
    wire.begin(Fault(), 0, cycles=10**12, span=1)


def power_on(wire: Wire) -> Accelerator:
    """Return a host on a device that has just been switched on, and a good wire."""
    good(wire)
    wire.engine.reset()
    return open_host(wire)


def lost(wire: Wire, network: Network, device: Accelerator) -> str:
    """Return what the error says after a loss of power."""
    if not is_baked(wire):
        return LOST
    baked = compile_network(BAKED, device.info.config).identifier.hex()
    held = rf"^the device has lost its network \(program [0-9a-f]{{16}}\) and holds another one \({baked}\): "
    # Weights that came after the loss have taken the baked network's place.
    return f"{held}|{LOST}" if network is PASSES else held


class Case:
    """What runs on the device, and what it gives."""

    def __init__(self, network: Network, count: int, stop: int | None = None, sums: bool = False) -> None:
        self.network, self.stop, self.sums = network, stop, sums
        self.images = random_images(network, count, 5)
        whole = golden.run(network, self.images)
        self.wanted = whole if stop is None else golden.layers(network, self.images)[stop]

    def load(self, device: Accelerator) -> None:
        device.load(self.network, verify=False)
        if self.stop is not None:
            device.stop_after(self.stop, sums=self.sums)

    def check(self, found: NDArray) -> None:
        if not self.sums:
            np.testing.assert_array_equal(found, self.wanted)


CASES = {
    "one pass": Case(SAME_SIZE, 61),
    "in parts": Case(PARTS, 5),
    "in passes": Case(PASSES, 5),
    "stopped": Case(SAME_SIZE, 5, 0),
    "the baked one stopped": Case(BAKED, 5, 0),
    "passes stopped": Case(PASSES, 5, 1),
}


def sweep(wire: Wire, places: int, work: Callable[[], object]) -> Iterator[int]:
    """Do the work on good power to see how long it takes, then yield moments at which to lose it."""
    before = wire.engine.cycles
    work()
    whole = wire.engine.cycles - before
    yield from (0, 1, *(whole * place // places + place % 7 for place in range(1, places)), whole - 1)


@pytest.mark.parametrize("name", some(CASES, 1))
def test_power_is_lost_at_any_moment_of_a_call(name: str, wire: Wire) -> None:
    case = CASES[name]
    device = power_on(wire)
    case.load(device)
    refused, places = 0, examples(40)
    for moment in sweep(wire, places, lambda: case.check(device.infer(case.images))):
        wire.cut(moment)
        try:
            case.check(device.infer(case.images))
        except NotLoadedError as error:
            refused += 1
            assert re.search(lost(wire, case.network, device), str(error))
        good(wire)
        # Nobody believes that the baked network is there if its weights are not.
        if is_baked(wire) and moment % 3 == 0:
            other = open_host(wire)
            other.load(BAKED, verify=False)
            np.testing.assert_array_equal(
                other.infer(CASES["stopped"].images), golden.run(BAKED, CASES["stopped"].images)
            )
        case.load(device)
        case.check(device.infer(case.images))
    assert refused > 3 * places // 4


def test_the_baked_network_itself_survives() -> None:
    """What the device brings along is the network that was asked for: its scores are right."""
    images = random_images(BAKED, 61, 6)
    with closing(bench_faults.open_device("direct", True)) as transport:
        wire = Wire(transport)
        device = power_on(wire)
        assert device.load(BAKED) is False
        for moment in sweep(wire, 20, lambda: device.infer(images)):
            wire.cut(moment)
            np.testing.assert_array_equal(device.infer(images), golden.run(BAKED, images))
        assert wire.resets >= 20


@pytest.mark.parametrize("verify", some([False, True], 1))
@pytest.mark.parametrize(
    "network", [SAME_SIZE, BAKED, PASSES], ids=["one pass", "the baked one", "in passes"]
)
def test_power_is_lost_at_any_moment_of_a_load(network: Network, verify: bool, wire: Wire) -> None:
    images = random_images(network, 3, 7)
    wanted = golden.run(network, images)
    device = power_on(wire)
    said = 0
    for moment in sweep(wire, 25, lambda: device.load(network, verify=verify, force=True)):
        wire.cut(moment)
        try:
            device.load(network, verify=verify, force=True)
        except (VerifyError, NotLoadedError) as error:
            said += 1
            assert "lost its" in str(error) or "wrote" in str(error)
        good(wire)
        device.load(network, verify=False)
        np.testing.assert_array_equal(device.infer(images), wanted)
    assert said > 10 or (network is BAKED and is_baked(wire))


@pytest.mark.parametrize("name", some(["stopped", "the baked one stopped", "passes stopped"], 1))
def test_power_is_lost_at_any_moment_of_a_stop(name: str, wire: Wire) -> None:
    case = CASES[name]
    device = power_on(wire)
    stop = case.stop or 0
    device.load(case.network, verify=False)
    for moment in sweep(wire, 40, lambda: device.stop_after(stop)):
        device.load(case.network, verify=False)
        wire.cut(moment)
        try:
            device.stop_after(stop)
            case.check(device.infer(case.images))
        except NotLoadedError as error:
            assert "has lost its network" in str(error)
        good(wire)
        case.load(device)
        case.check(device.infer(case.images))


@pytest.mark.parametrize(
    "other", [SAME_SIZE, BAKED, OTHER_PASSES, PARTS], ids=["same", "baked", "passes", "parts"]
)
@pytest.mark.parametrize("name", CASES)
def test_a_second_host_loads_another_network(name: str, other: Network, wire: Wire) -> None:
    case, images = CASES[name], random_images(other, 5, 8)
    device = power_on(wire)
    case.load(device)
    case.check(device.infer(case.images))
    second = open_host(wire)
    second.load(other, verify=False)
    if other is case.network and case.stop is None:
        case.check(device.infer(case.images))
    else:
        with pytest.raises(NotLoadedError, match="has lost its network"):
            device.infer(case.images)
        with pytest.raises(NotLoadedError, match=r"call load\(network\) first"):
            device.infer(case.images)
    # What the second host has loaded is still there.
    np.testing.assert_array_equal(second.infer(images), golden.run(other, images))
    case.load(device)
    case.check(device.infer(case.images))
    if other is not case.network or case.stop is not None:
        with pytest.raises(NotLoadedError, match="has lost its network"):
            second.infer(images)


def test_another_host_stops_the_program_early(wire: Wire) -> None:
    """The weights are the same, the scores are not: that, too, is another program."""
    first, second = power_on(wire), open_host(wire)
    case = CASES["one pass"]
    case.load(first)
    CASES["stopped"].load(second)
    with pytest.raises(NotLoadedError, match="holds another one"):
        first.infer(case.images)
    case.load(first)
    with pytest.raises(NotLoadedError, match="holds another one"):
        second.stop_after(0, sums=True)
    case.check(first.infer(case.images))
