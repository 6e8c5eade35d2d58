"""Networks whose values leave no room for a second batch: one region of images and results, in one pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.boards import BoardDevice
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CapacityError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.bound import most_rates
from xnorcore.runtime.rates import rates
from xnorcore.verify.random_networks import dense_network, random_images
from xnorcore_hw.shells.baked import bake
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .cnns import random_cnn

MEMORIES = {"weight_depth": 2048, "threshold_depth": 256, "line_bytes": 1000}
NETWORKS = {
    "dense": (
        dense_network(np.random.default_rng(5), (900, 40, 30, 10)),
        DeviceConfig(Geometry(2, 8, 8), **MEMORIES),
    ),
    "store": (
        dense_network(np.random.default_rng(6), (1200, 90, 60, 10)),
        DeviceConfig(Geometry(1, 8, 16), **{**MEMORIES, "weight_depth": 256, "store_words": 1 << 14}),
    ),
    "maps": (random_cnn(3, size=16), DeviceConfig(Geometry(1, 8, 16), **MEMORIES)),
    "maps on one port": (
        random_cnn(3, size=16),
        DeviceConfig(Geometry(1, 8, 16), whole_windows=1, act_ports=1, **MEMORIES),
    ),
}


def tight(network: Network, config: DeviceConfig) -> tuple[Program, Program]:
    """Return the program with two regions of each, and that on a device with a word less than it takes."""
    paired = compile_network(network, config)
    single = compile_network(network, replace(config, act_depth=paired.used["act_depth"] - 1))
    return paired, single


CASES = [
    (name, link) for link in ("direct", "uart") for name in ("maps on one port", "dense", "store", "maps")
]


@pytest.mark.parametrize("case", some(CASES, 1), ids=" over ".join)
def test_scores_and_cycles(case: tuple[str, str]) -> None:
    name, link = case
    network, config = NETWORKS[name]
    paired, program = tight(network, config)
    assert program.passes == 1 and program.results_read and not paired.results_read
    assert program.used["act_depth"] < paired.used["act_depth"] and program.streams == (name == "store")
    # As little as there is, so that nothing lies beside what counts.
    config = replace(program.config, act_depth=program.used["act_depth"])
    count = 4 * config.geometry.rows + 1
    images = random_images(np.random.default_rng(1), network, count)
    options = SimOptions(config, link=link)
    engine = CompiledEngine(config, options.clock_hz, link=link)
    with Accelerator(Session(SimTransport(options, engine))) as device:
        device.load(network)
        assert device.program.identifier == compile_network(network, config).identifier
        for number in (count, 1):
            np.testing.assert_array_equal(device.infer(images[:number]), golden.run(network, images[:number]))
        device.clear_counters()
        device.infer(images[: config.geometry.rows])
        counters = device.counters
    assert counters is not None and counters["batches"] == 1
    if not program.streams:
        assert counters["active"] - counters["wait_output"] == program.cycles


def test_what_it_takes_is_said() -> None:
    network, config = NETWORKS["dense"]
    _, program = tight(network, config)
    least = program.used["act_depth"]
    short = replace(config, act_depth=least - 1)
    with pytest.raises(CapacityError, match=f"needs {least} words of activation memory"):
        compile_network(network, short)
    (lack,) = obstacles(network, short)
    assert (lack.field, lack.there, lack.needed) == ("act_depth", least - 1, least)
    assert obstacles(network, replace(config, act_depth=least)) == []


def test_what_needs_two_regions_says_so() -> None:
    network, config = NETWORKS["dense"]
    _, program = tight(network, config)
    with pytest.raises(CapacityError, match="room for one batch"):
        bake(network, program.config)


def test_rates_are_less_than_with_two() -> None:
    network, config = NETWORKS["dense"]
    paired, program = tight(network, config)
    one, two = (
        rates(each, BoardDevice(each.config, 48_000_000, 3_000_000, {3_000_000: 16}), 40)
        for each in (program, paired)
    )
    assert one.images_per_s < two.images_per_s and one.device_images_per_s < two.device_images_per_s
    most = most_rates(program, BoardDevice(program.config, 48_000_000, 3_000_000, {3_000_000: 16}), 40)
    assert one.images_per_s <= most.images_per_s and one.wire_images_per_s <= most.wire_images_per_s
