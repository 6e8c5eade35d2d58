"""Sums of rows, and signs that count four times: the gateware against the golden model, and its cycles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw import test_copies
from tests.hw.test_cycles import check
from tests.sw.codenets import dense, maps, redrawn
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, observe, sim_url
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.bench.held import held

# Two rows and one port, three rows and column groups, one row, and a store.
DEVICES = tuple(replace(config, row_sums=1) for config in test_copies.DEVICES)


def networks(config: DeviceConfig) -> list[Network]:
    """Results of bits, codes and scores; windows; sums with and without signs that count four times."""
    top = (1 << config.code_bits) - 1
    return [
        redrawn(dense(top, 8), -3, 3), redrawn(dense(1, 1, ends=top), -2, 1),
        redrawn(maps(top, pad=1), -4, 3), redrawn(maps(1, image=1, pad=-1, end="sum"), -3, 3),
        dense(top, 3, weight=7), dense(top, 2, weight=2),
    ]  # fmt: skip


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
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


def test_other_weights_take_no_cycle_more() -> None:
    for config in DEVICES:
        without = replace(config, row_sums=0)
        for network in (dense(3, 1), maps(1), dense(3, 2, weight=3), maps(1, image=1, weight=5, end="sum")):
            assert compile_network(network, config).busy == compile_network(network, without).busy
