"""Weights of several bits: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.test_cycles import check
from tests.sw.codenets import dense, maps
from tests.sw.importers.fewbit_graphs import Net
from tests.sw.importers.onnx_graphs import save
from xnorcore.compiler.compile import compile_network
from xnorcore.importers import onnx
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
def test_layers(number: int) -> None:
    config = DEVICES[number]
    with Accelerator.open(sim_url(config)) as device:
        for index, network in enumerate(networks(config)):
            images = random_images(np.random.default_rng(index), network, config.geometry.rows + 1)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "rtl", seen, flat, golden.layers(network, images))
            assert {one.verdict for one in found} <= {"equal", "-"}, found


@pytest.mark.campaign
@pytest.mark.parametrize("config", DEVICES, ids=lambda config: str(config.geometry))
def test_cycles(config: DeviceConfig) -> None:
    with held(config) as device:
        for index, network in enumerate(networks(config)):
            check(device, compile_network(network, device.info.config, 1 if index % 2 else None))


@pytest.mark.parametrize("narrow", some([0, 1], 1))
def test_what_an_exporter_gives(narrow: int, tmp_path: Path) -> None:
    """Weights and activations of 2 bits, with pooling: the scores are those of an executor in rationals."""
    images = np.random.default_rng(1).integers(0, 4, (12, 2, 10, 8))
    net = Net((2, 10, 8), images)

    def quantised(layer: Callable[..., None], outputs: int, **options: int) -> None:
        layer(outputs, 2, narrow, **options)
        net.norm(falls=False)
        net.quant(2, narrow=1)

    quantised(net.conv, 6, pads=1)
    net.pool()
    quantised(net.conv, 7)
    quantised(net.dense, 11)
    net.dense(4, 3)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    with Accelerator.open(sim_url(DEVICES[0])) as device:
        device.load(network)
        scores = device.infer(np.moveaxis(images, 1, -1))
    assert (scores == golden.run(network, np.moveaxis(images, 1, -1))).all()
    assert np.allclose(network.affine(scores), net.v.astype(np.float64), rtol=1e-6, atol=1e-4)
