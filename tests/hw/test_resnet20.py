"""CIFAR-10's ResNet-20 of one-bit weights and activations, with a shortcut of 8 bits around each layer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.resnets import resnet20, work
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import sim_url
from xnorcore.verify.random_networks import random_images

# Rows, columns and width, lanes, kernel rows, and the least share of the array's peak.
DEVICES = (
    ((1, 16, 16), 1, 0, 0.60), ((1, 16, 16), 2, 0, 0.80), ((1, 32, 64), 4, 0, 0.20),
    ((1, 32, 64), 8, 0, 0.20), ((1, 32, 64), 4, 1, 0.36), ((1, 32, 64), 8, 1, 0.45),
)  # fmt: skip


def device(shape: tuple[int, int, int], lanes: int, packed: int) -> DeviceConfig:
    # Values of the first layers, of 16 channels: with kernel rows, nothing for other columns.
    depth = 32 * 32 * (16 if packed else shape[1]) // lanes
    memories = {"weight_depth": 2048, "act_depth": 13000, "program_depth": 512, "value_depth": depth}
    options = {"code_bits": 8, "result_lanes": lanes, "packed_rows": packed}
    return DeviceConfig(Geometry(*shape), 24, **options, **memories)


@pytest.mark.campaign
@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_efficiency(number: int) -> None:
    shape, lanes, packed, least = DEVICES[number]
    one, config = resnet20(), device(shape, lanes, packed)
    program = compile_network(one, config)
    adding = [d.adding for d in program.sections[0].descriptors]
    assert sum(one is not None for one in adding) == 19
    assert work(one) / program.cycles / config.geometry.peak >= least
    images = random_images(np.random.default_rng(2), one, 2)
    with Accelerator.open(sim_url(config)) as opened:
        opened.load(one)
        opened.clear_counters()
        assert np.array_equal(opened.infer(images), fast.run(one, images))
        counters = opened.counters
    assert counters is not None
    spent = counters["active"] - counters["wait_output"]
    # The link takes longer for an image than the array: one is done when the next one is there.
    assert counters["wait_input"] and spent == 2 * program.latency
