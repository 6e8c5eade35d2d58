"""The gateware against the golden model, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from xnorcore.isa.device import DeviceConfig
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, observe, sim_url
from xnorcore.verify.random_networks import random_images
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.engine import Factory
from xnorcore_hw.sim.transport import SimOptions, SimTransport


def check_layers(config: DeviceConfig, networks: Iterable[Network], top: Factory | None = None) -> None:
    """Fail unless a simulated device gives what golden does in every layer, of two images per row.

    `top` makes another device of the configuration.
    """
    if top is None:
        device = Accelerator.open(sim_url(config))
    else:
        options = SimOptions(config)
        engine = CompiledEngine(config, options.clock_hz, top=top)
        device = Accelerator(Session(SimTransport(options, engine)))
    with device:
        assert device.info.config == config
        for index, network in enumerate(networks):
            images = random_images(np.random.default_rng(index), network, 2 * config.geometry.rows)
            flat = images.reshape(len(images), -1)
            found = checks(
                network, "rtl", observe(device, network, flat), flat, golden.layers(network, images)
            )
            assert {one.verdict for one in found} <= {"equal", "-"}, (index, found)
