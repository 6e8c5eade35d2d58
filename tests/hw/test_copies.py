"""Weights of several bits: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.test_cycles import check
from tests.sw.codenets import dense, maps
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, observe, sim_url
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.bench.held import held

SMALL = {"weight_depth": 2048, "act_depth": 4096}
STORE = {"store_words": 1 << 14, "weight_depth": 128, "threshold_depth": 16}
DEVICES = (
    DeviceConfig(Geometry(2, 16, 8), 22, code_bits=2, whole_windows=1, act_ports=1, **SMALL),
    DeviceConfig(Geometry(3, 4, 16), 22, code_bits=3, column_group=4, **SMALL),
    DeviceConfig(Geometry(1, 32, 8), 22, code_bits=3, program_halves=1, **SMALL),
    DeviceConfig(Geometry(1, 8, 16), 22, code_bits=3, **SMALL | STORE),
)


def networks(config: DeviceConfig) -> list[Network]:
    """Images of 1 and of 8 bits, which double once more than a device without such weights ever does."""
    top = (1 << config.code_bits) - 1
    return [
        dense(top, 8, weight=3), dense(1, 1, weight=2, ends=top), maps(top, weight=2, pad=1),
        maps(1, weight=3, image=1, end="sum"),
    ]  # fmt: skip


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_layers_and_cycles(number: int) -> None:
    config = DEVICES[number]
    with held(config) as device:
        for index, network in enumerate(networks(config)):
            check(device, compile_network(network, device.info.config, 1 if index % 2 else None))
    with Accelerator.open(sim_url(config)) as device:
        for index, network in enumerate(networks(config)):
            images = random_images(np.random.default_rng(index), network, config.geometry.rows + 1)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "rtl", seen, flat, golden.layers(network, images))
            assert {one.verdict for one in found} <= {"equal", "-"}, found
