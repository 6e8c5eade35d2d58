"""A network in the memories from power-up on: nothing is written, scores equal golden."""

import numpy as np

from tests.hw.networks import random_images, random_network
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

CONFIG = DeviceConfig(
    Geometry(2, 8, 8), acc_width=16, weight_depth=64, threshold_depth=32, act_depth=128, line_bytes=0
)


def test_baked_network_needs_no_load():
    rng = np.random.default_rng(4)
    network, other = (random_network(rng, sizes, bits=2) for sizes in ((21, 19, 5), (9, 7)))
    program = compile_network(network, CONFIG)
    engine = CompiledEngine(
        CONFIG, 1_000_000, link="uart", top=lambda config, hz: SimTop(config, hz, program)
    )
    transport = SimTransport(SimOptions(CONFIG, "uart", clock_hz=1_000_000), engine)
    images = random_images(rng, network, 5)
    with Accelerator(Session(transport, seed=0)) as device:
        assert device.info.armed and device.info.network_id == program.identifier
        assert not device.load(network)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))
        # Another network takes its place; after that, power is what brings it back.
        assert device.load(other)
        more = random_images(rng, other, 3)
        np.testing.assert_array_equal(device.infer(more), golden.run(other, more))
        engine.reset()
        assert not device.load(network)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))
