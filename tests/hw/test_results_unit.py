"""The results unit: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.test_cycles import check
from tests.sw import codenets
from tests.sw.evennets import dense, maps
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.session import Session
from xnorcore.model.network import MaxPool2d, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, observe, sim_url
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.bench.held import held
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

SMALL = {"weight_depth": 1024, "act_depth": 4096}
# Several column groups and offsets into words; one port and passes; sums of rows, and 3 lanes' columns; no
# convolution; as many lanes as columns; more columns than bits in a word.
DEVICES = (
    DeviceConfig(Geometry(2, 8, 16), 22, code_bits=4, result_lanes=2, column_group=4, **SMALL),
    DeviceConfig(
        Geometry(3, 16, 8), 20, weight_depth=128, act_depth=8192, code_bits=8, result_lanes=4, act_ports=1,
        whole_windows=1,
    ),
    DeviceConfig(Geometry(2, 12, 24), 20, code_bits=3, result_lanes=4, column_group=12, row_sums=1,
                 whole_windows=1, **SMALL),
    DeviceConfig(Geometry(1, 8, 32), 22, code_bits=5, result_lanes=1, line_bytes=0, convolution=0, **SMALL),
    DeviceConfig(Geometry(1, 16, 16), 22, code_bits=6, result_lanes=16, program_halves=1, **SMALL),
    DeviceConfig(Geometry(1, 32, 8), 18, code_bits=2, result_lanes=8, **SMALL),
)  # fmt: skip


def networks(config: DeviceConfig) -> list[Network]:
    """Of codes of most bits, which end in them, too; of fewer; of some that are compared, and of bits."""
    most, fewer = config.code_bits, max(config.code_bits - 2, 2)
    found = [dense(most, 1), dense(fewer, 3, ends=fewer), codenets.dense(3, 2)]
    if config.convolution:
        found += [
            maps(most, pool=MaxPool2d()), maps(fewer, pad=(1 << fewer) - 1, end="sum"),
            maps(most, image=1, end=""), codenets.maps(3, pad=2), codenets.maps(1),
        ]  # fmt: skip
    if config.row_sums:
        found.append(dense(3, 3, weight=2))
    return found


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
def test_layers_and_cycles(number: int) -> None:
    config = DEVICES[number]
    multiplied = 0
    with held(config) as device:
        for index, network in enumerate(networks(config)):
            program = compile_network(network, device.info.config, 1 if index % 2 else None)
            check(device, program)
            multiplied += sum(one.rescaled for section in program.sections for one in section.descriptors)
    assert multiplied >= 2
    with Accelerator.open(sim_url(config)) as device:
        assert device.info.config == config
        for index, network in enumerate(networks(config)):
            images = random_images(np.random.default_rng(index), network, 2 * config.geometry.rows)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "rtl", seen, flat, golden.layers(network, images))
            assert {one.verdict for one in found} <= {"equal", "-"}, found


@pytest.mark.campaign
def test_its_words_are_there_from_power_up_on() -> None:
    config = DeviceConfig(
        Geometry(2, 8, 8), 18, weight_depth=64, threshold_depth=32, act_depth=256, line_bytes=0, code_bits=5,
        result_lanes=2,
    )  # fmt: skip
    network = dense(5, 2)
    program = compile_network(network, config)
    engine = CompiledEngine(
        config, 1_000_000, link="uart", top=lambda config, hz: SimTop(config, hz, program)
    )
    options = SimOptions(config, "uart", clock_hz=1_000_000)
    with Accelerator(Session(SimTransport(options, engine), seed=0)) as device:
        assert device.info.armed and not device.load(network)
        images = random_images(np.random.default_rng(0), network, 5)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))
