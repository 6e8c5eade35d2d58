"""Codes between layers: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw import test_results_unit
from tests.hw.test_cycles import check
from tests.sw.codenets import added, branches, dense, maps, residual
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, UsageError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Layer, has_weights
from xnorcore.model.network import Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, observe, sim_url
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.bench.cnn import random_cnv
from xnorcore_hw.bench.held import held
from xnorcore_hw.web.bundle import bundle

SMALL = {"weight_depth": 1024, "act_depth": 4096}
# Tiles that share a word, that fill several, one port, strips; with and without loops for convolution.
DEVICES = (
    (DeviceConfig(Geometry(2, 16, 8), 18, code_bits=2, whole_windows=1, act_ports=1, **SMALL), 3),
    (DeviceConfig(Geometry(1, 8, 32), 18, code_bits=2, line_bytes=0, convolution=0, **SMALL), 2),
    (DeviceConfig(Geometry(3, 4, 16), 20, code_bits=3, column_group=4, **SMALL), 7),
    (DeviceConfig(Geometry(1, 32, 8), 18, code_bits=3, program_halves=1, **SMALL), 6),
    (DeviceConfig(Geometry(2, 8, 24), 18, code_bits=2, whole_windows=1, **SMALL), 3),
)


def networks(config: DeviceConfig, steps: int) -> list[Network]:
    found = [dense(steps, config.code_bits), dense(steps, 1, ends=steps)]
    found.append(added(steps))
    if config.convolution:
        found += [residual(steps), maps(steps), maps(steps, pad=2, end="sum"), maps(1), branches(steps)]
    return found


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
def test_layers_and_cycles(number: int) -> None:
    config, steps = DEVICES[number]
    with held(config) as device:
        for index, network in enumerate(networks(device.info.config, steps)):
            check(device, compile_network(network, device.info.config, 1 if index % 2 else None))
    with Accelerator.open(sim_url(config)) as device:
        for index, network in enumerate(networks(config, steps)):
            images = random_images(np.random.default_rng(index), network, 2 * config.geometry.rows)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "rtl", seen, flat, golden.layers(network, images))
            assert {one.verdict for one in found} <= {"equal", "-"}, found


def test_the_page_does_not_show_codes(tmp_path: Path) -> None:
    path = str(tmp_path / "dense.xnor")
    xnorfile.save(dense(3, 2), path)
    with pytest.raises(
        UsageError, match=r"has values of 2 bits, 'layer0', and the page .* `xnorcore sim` runs"
    ):
        bundle(path, DEVICES[0][0])


@pytest.mark.campaign
def test_cnv_with_codes_of_two_bits() -> None:
    """FINN's CNV 1W2A with weights at random, one image at a time: the threshold beats cost it 7 %."""
    rng, bits = np.random.default_rng(0), random_cnv()

    def coded(layer: Layer) -> Layer:
        if not has_weights(layer) or layer.thresholds is None:
            return layer
        spread = rng.integers(-90, 91, (len(layer.thresholds), 3))
        return layer.with_arrays(thresholds=np.sort(layer.thresholds[:, None] + spread))

    network = replace(bits, layers=[coded(layer) for layer in bits.layers])
    sizes = {"act_depth": 16384, "weight_depth": 2048, "code_bits": 2, "threshold_share": 1}
    images = random_images(rng, network, 2)
    with held(DeviceConfig(Geometry(1, 32, 32), 18, **sizes)) as device:
        config = device.info.config
        program = compile_network(network, config, at_once=1)
        assert compile_network(bits, config, at_once=1).latency < 71_500
        assert 130_000 < program.latency < 140_000
        check(device, program)
        np.testing.assert_array_equal(device.infer(images), fast.run(network, images))


def test_networks_of_bits_take_no_cycle_more() -> None:
    """Whatever a device has for codes, a network without them has the cycles that it always had."""
    for config in (*(config for config, _ in DEVICES), *test_results_unit.DEVICES):
        for network in (dense(1, 1), dense(1, 3), maps(1), maps(1, pad=1, end="sum")):
            try:
                program = compile_network(network, replace(config, code_bits=1, result_lanes=0, row_sums=0))
            except CompileError:
                continue
            found = compile_network(network, config)
            assert found.busy == program.busy and found.cycles <= 1.01 * program.cycles
