"""Devices whose rows work on several images at once: each has its own results, in the cycles expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import grouped, most_per_row
from xnorcore.errors import CompileError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.isa.stores import StoreKind
from xnorcore.isa.timing import alone
from xnorcore.link.session import Session
from xnorcore.model.layers import InputSpec
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.random_networks import dense_network, random_images
from xnorcore_hw.bench.held import held
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .slow_store import SlowTop
from .test_cycles import counted
from .test_driver import Noisy

SMALL = {"weight_depth": 64, "threshold_depth": 16, "act_depth": 2048, "store_words": 1 << 14}
SMALL |= {"program_depth": 512}  # as the tests of stores and of rounds have it: they share simulators
WHOLE = {"whole_windows": 1, "act_ports": 1}
DEVICES = [
    DeviceConfig(Geometry(1, 8, 16), line_bytes=1000, **SMALL),
    DeviceConfig(Geometry(3, 8, 8), line_bytes=1000, column_group=4, threshold_share=2, **SMALL),
    DeviceConfig(Geometry(1, 4, 32), line_bytes=512, program_halves=1, fifo_bytes=512, **WHOLE, **SMALL),
]
SHAPES = ((400, 60, 40, 10), (90, 130, 33, 7), (33, 70, 70, 9))


def programs(config: DeviceConfig) -> Iterator[Program]:
    """Yield programs of which several images per row are of use, of images of 1 and of 3 bits."""
    for number, shape in enumerate(SHAPES):
        network = dense_network(np.random.default_rng(number), shape)
        bits = 3 if number % 2 else 1
        network = replace(network, input=InputSpec((shape[0],), bits))
        try:
            program = compile_network(network, config)
        except CompileError:
            continue
        if most_per_row(program) > 1:
            yield program


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_every_image_has_its_own_results(number: int) -> None:
    """Calls of any number one after the other, of batches one after the other, from an irregular store."""
    options, seen = SimOptions(DEVICES[number]), 0
    engine = CompiledEngine(options.config, options.clock_hz, top=SlowTop)
    with Accelerator(Session(SimTransport(options, engine))) as device:
        rows = options.config.geometry.rows
        for program in programs(device.info.config):
            seen += 1
            most = most_per_row(program)
            device.load_program(program, verify=False)
            for count in (1, rows * most, 2 * rows * most + 1):
                images = random_images(np.random.default_rng(count), program.network, count)
                wanted = golden.run(program.network, images)
                assert count == 1 or len(np.unique(wanted, axis=0)) > 1
                np.testing.assert_array_equal(device.infer(images), wanted)
    assert seen


@pytest.mark.campaign
def test_no_frame_is_lost_where_bytes_come_without_bits() -> None:
    """Into memories of one port, and through a buffer that is smaller than a batch."""
    config = replace(DEVICES[2], act_depth=8192, store_kind=StoreKind.FLASH)
    options = SimOptions(config)
    network = dense_network(np.random.default_rng(0), SHAPES[0])
    program = compile_network(network, config)
    most = most_per_row(program)
    assert most * program.image_bytes > 2 * config.fifo_bytes
    with Accelerator(Session(SimTransport(options, CompiledEngine(config, options.clock_hz)))) as device:
        device.load_program(program, verify=False)
        images = random_images(np.random.default_rng(1), network, 2 * most)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))
        counters = device.counters
    assert counters and counters["frames_bad"] == 0


@pytest.mark.campaign
def test_on_a_wire_that_loses_bytes() -> None:
    """Requests are sent ahead of answers, and some of them again."""
    options = SimOptions(DEVICES[0])
    engine = CompiledEngine(options.config, options.clock_hz, top=SlowTop)
    noisy = Noisy(SimTransport(options, engine), 1, 1e-12)
    program = next(programs(options.config))
    with Accelerator(Session(noisy)) as device:
        device.load_program(program, verify=False)
        noisy.rate = 1 / 1500
        images = random_images(np.random.default_rng(1), program.network, 5 * most_per_row(program))
        for _ in range(3):
            np.testing.assert_array_equal(device.infer(images), golden.run(program.network, images))
        assert noisy.damaged > 3 and device.session.stats.resent


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_cycles_are_those_expected(number: int) -> None:
    """All exact but the waits for weights, for which there is a bound."""
    with held(DEVICES[number]) as device:
        config, seen = device.info.config, 0
        for single in programs(config):
            for per_row in {2, min(5, most_per_row(single))}:
                program, seen = grouped(single, per_row), seen + 1
                found, expected = counted(device, program, 2), alone(program.timed[0], config, 2)
                # Results of the first batch may be read out while the second computes.
                assert 0 <= found.port - expected.port <= program.readouts
                assert replace(found, wait_weights=expected.wait_weights, port=expected.port) == expected
                tiles = sum(one.nest.count("tile") for one in program.sections[0].descriptors)
                assert found.wait_weights <= expected.wait_weights <= found.wait_weights + 12 * tiles
        assert seen
