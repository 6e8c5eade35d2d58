"""Devices that take images one after the other through the first layers: results, and the cycles expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw import roundnets
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import fitted, largest
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.bench.held import held
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .slow_store import SlowTop

SMALL = {"threshold_depth": 16, "act_depth": 2048, "store_words": 1 << 14, "program_depth": 512}
DEVICES = [
    DeviceConfig(Geometry(1, 8, 16), line_bytes=1000, weight_depth=64, **SMALL),
    DeviceConfig(
        Geometry(3, 8, 8), line_bytes=1000, weight_depth=128, column_group=4, threshold_share=2, **SMALL
    ),
    DeviceConfig(
        Geometry(1, 4, 32), line_bytes=512, weight_depth=64, program_halves=1, fifo_bytes=512,
        whole_windows=1, act_ports=1, **SMALL,
    ),
]  # fmt: skip
NETWORKS = roundnets.cnv(), roundnets.strided(), roundnets.joined(), roundnets.twice()


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_every_image_has_its_own_results(number: int) -> None:
    """Calls of any number one after the other, of a store as irregular as any."""
    options, seen = SimOptions(DEVICES[number], link="uart" if number == 2 else "direct"), 0
    engine = CompiledEngine(options.config, options.clock_hz, top=SlowTop, link=options.link)
    with Accelerator(Session(SimTransport(options, engine))) as device:
        for network in NETWORKS:
            program = compile_network(network, device.info.config, per_row=3)
            rows = program.batch
            device.load_program(program, verify=False)
            for count in (3 * rows, 1, 5 * rows + 1):
                images = random_images(np.random.default_rng(count), network, count)
                np.testing.assert_array_equal(device.infer(images), golden.run(network, images))
                assert device.running
                seen += len(device.running.turns)
                assert device.running.identifier == fitted(program, count).identifier
    assert seen >= 4 * len(NETWORKS)


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_cycles_are_those_expected(number: int) -> None:
    """Of every cause; waits for weights have a bound."""
    with held(DEVICES[number]) as device:
        for network in NETWORKS:
            program = largest(compile_network(network, device.info.config, per_row=2))
            assert len(program.turns) == 2
            # No more images per row than it has.
            device.load_program(replace(program, most=2), verify=False)
            device.clear_counters()
            device.infer(random_images(np.random.default_rng(0), network, program.batch))
            counters = device.counters
            assert counters and counters["active"] - counters["wait_output"] <= program.cycles
            assert counters["busy"] == program.beats + len(program.turns)
            tiles = sum(one.nest.count("tile") for one in program.sections[0].descriptors)
            assert program.cycles <= counters["active"] - counters["wait_output"] + 12 * tiles
