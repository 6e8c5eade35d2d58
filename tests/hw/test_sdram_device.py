"""Devices with a store in SDRAM: every network right, with the chip's model beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError, GeometryError, NotLoadedError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space
from xnorcore.isa.timing import alone
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.random_networks import dense_network
from xnorcore_hw.bench.held import held
from xnorcore_hw.memory.stores import kinds
from xnorcore_hw.memory.stores.sdram_chips import ULX3S
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.engine import standard_top
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .test_cycles import counted
from .test_store import DEVICES, SMALLEST, check_flips, programs, some_images

SDRAMS = [replace(config, store_kind=1) for config in DEVICES]
CLOCKS = {1: 87_500_000, 3: 81_000_000}
"""By kind of store: SDRAM of 16 bits, and of 32."""


def opened(config: DeviceConfig, clock_hz: int) -> Accelerator:
    options = SimOptions(config, clock_hz=clock_hz, clocks_per_bit=8)
    return Accelerator(Session(SimTransport(options, options.open_engine())))


@pytest.fixture(scope="module", params=some(CLOCKS, 1))
def device(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    with opened(replace(SDRAMS[0], store_kind=request.param), CLOCKS[request.param]) as device:
        yield device


def check_networks(device: Accelerator, seed: int, count: int) -> None:
    """Compare networks one after the other, each called twice."""
    for index, program in enumerate(programs(device.info.config, seed, count)):
        images = some_images(program.network)
        wanted = golden.run(program.network, images)
        device.load_program(program, verify=index == 0)
        for _ in range(2):
            np.testing.assert_array_equal(device.infer(images), wanted)


def test_random_networks(device: Accelerator) -> None:
    assert CLOCKS[device.info.config.store_kind] == device.info.clock_hz
    check_networks(device, 70, 6)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("number", "clock_hz"),
    [(1, 133_000_000), (2, 25_000_000), (3, 12_000_000), (4, 5_000_000), (5, 133_000_000)],
)
def test_other_devices(number: int, clock_hz: int) -> None:
    with opened(SDRAMS[number], clock_hz) as other:
        check_networks(other, 80 + number, 6)


def test_a_reset_between_any_two_words(device: Accelerator) -> None:
    """What is loaded behind it is right, whatever the store was at."""
    transport = device.session.transport
    assert isinstance(transport, SimTransport)
    images = some_images(SMALLEST, 2)
    program, wanted = compile_network(SMALLEST, device.info.config), golden.run(SMALLEST, images)
    for cycles in (0, 3, 50, 333, 1001):
        device.load_program(program, verify=False)
        np.testing.assert_array_equal(device.infer(images[:1]), wanted[:1])
        transport.read(cycles / transport.clock_hz)
        device.reset()
        with pytest.raises(NotLoadedError):
            device.infer(images)
        device.load_program(program, verify=True)
        np.testing.assert_array_equal(device.infer(images), wanted)


def test_a_flipped_bit_is_an_error_and_never_a_score(device: Accelerator) -> None:
    check_flips(device, 4)


def test_the_array_waits_for_a_store_that_is_busy(device: Accelerator) -> None:
    """Of what the data lines could carry while beats wait, batches get more than 0.96, or 0.92 of 32."""
    network = dense_network(np.random.default_rng(9), (700, 200, 200, 10))
    # A load of the weights for each image.
    program = replace(compile_network(network, device.info.config), most=1)
    device.load_program(program, verify=False)
    words = (
        sum(len(block.data) // 4 for block in program.sections[0].buffers if block.space == Space.STORE) - 1
    )
    assert words > 3000
    active = []
    for count in (4, 24):
        device.clear_counters()
        device.infer(some_images(network, count))
        counters = device.counters
        assert counters is not None and not counters["wait_output"]
        active.append(counters["active"])
    beats, least = {1: (2, 0.96), 3: (1, 0.92)}[device.info.config.store_kind]
    assert least <= 20 * words * beats / (active[1] - active[0]) <= 1


@pytest.mark.campaign
@pytest.mark.parametrize("kind", CLOCKS)
def test_cycles_are_those_expected(kind: int) -> None:
    """All exact but the waits for weights: an even pace does not know where rows and refreshes fall."""
    with held(replace(SDRAMS[0], store_kind=kind)) as device:
        config = device.info.config
        for program in programs(config, 40, 5):
            found, expected = counted(device, program, 2), alone(program.timed[0], config, 2)
            assert replace(found, wait_weights=expected.wait_weights) == expected
            assert abs(found.wait_weights - expected.wait_weights) <= 48


@pytest.mark.campaign
def test_a_violation_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the rule."""
    hasty = replace(ULX3S, rcd=0)
    real = kinds.SdramStore
    monkeypatch.setattr(kinds, "SdramStore", lambda config, chip, hz: real(config, hasty, hz))
    config = SDRAMS[0]
    engine = CompiledEngine(config, 100_000_000, top=standard_top)
    with pytest.raises(EngineError, match="READ or WRITE earlier than tRCD"):
        with Accelerator(Session(SimTransport(SimOptions(config), engine))) as device:
            device.load(SMALLEST)


@pytest.mark.parametrize("clock_hz", [4_999_999, 142_000_001])
def test_clocks_that_are_refused(clock_hz: int) -> None:
    message = f"clock_hz is {clock_hz}, but must be 5000000 to 142000000 on a device with a store in SDRAM"
    with pytest.raises(GeometryError, match=message):
        SimOptions(SDRAMS[0], clock_hz=clock_hz, clocks_per_bit=8)


def test_more_words_than_there_are() -> None:
    with pytest.raises(GeometryError, match="store_words is 16777216, but must be 1024 to 8388608"):
        DeviceConfig(store_words=1 << 24, store_kind=1)
    assert DeviceConfig(store_words=1 << 24).store_words == 1 << 24
