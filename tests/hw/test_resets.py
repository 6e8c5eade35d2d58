"""A RESET while an image is computed: nothing of it is left in what is computed behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw import codenets, evennets
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Command
from xnorcore.link.frames import encode_request
from xnorcore.link.session import Session
from xnorcore.model.bits import pack_images
from xnorcore.model.network import MaxPool2d
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import infer_head
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_networks import random_images
from xnorcore.verify.random_scaled import scaled_network
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

RNG = np.random.default_rng(0)
UNIT = DeviceConfig(
    Geometry(1, 8, 16), 20, weight_depth=256, act_depth=1024, program_depth=512, code_bits=3, result_lanes=2
)
CASES = {
    "values": (replace(UNIT, value_depth=256), chain_network(RNG, (5, 8, 8), size=(4, 3))),
    "unit": (UNIT, evennets.maps(3, pool=MaxPool2d())),
    "factors": (replace(UNIT, scale_depth=64), scaled_network(RNG, (5, 12), size=(4, 3, 2), bits=3)),
    "codes": (replace(UNIT, result_lanes=0, row_sums=1), codenets.maps(3, pad=2)),
    "rows": (
        replace(UNIT, geometry=Geometry(1, 16, 32), value_depth=512, packed_rows=1),
        chain_network(RNG, (8, 8, 16), size=(4, 3), bits=(3, 2)),
    ),
}


@pytest.mark.parametrize("case", some(CASES, always=1))
def test_a_reset_in_the_middle_of_an_image(case: str) -> None:
    config, network = CASES[case]
    program, images = compile_network(network, config), random_images(np.random.default_rng(1), network, 2)
    wanted = golden.run(network, images)
    options = SimOptions(config)
    transport = SimTransport(options, CompiledEngine(config, options.clock_hz))
    wire = encode_request(
        Command.INFER, 0x7777, infer_head(program) + pack_images(network, images[:1]).tobytes()
    )
    with Accelerator(Session(transport)) as device:
        device.load_program(program, verify=False)
        before = transport.engine.cycles
        np.testing.assert_array_equal(device.infer(images), wanted)
        whole = transport.engine.cycles - before
        for cycles in np.linspace(0, whole, 100).astype(int):
            device.load_program(program, verify=False)
            transport.write(wire)
            transport.read(int(cycles) / transport.clock_hz)
            device.reset()
            device.load_program(program, verify=False)
            np.testing.assert_array_equal(device.infer(images), wanted, f"{cycles} cycles of {whole}")
