"""Values beside the results unit: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.layers import check_layers
from tests.hw.test_cycles import check
from tests.sw import evennets
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import MaxPool2d, Network
from xnorcore.verify.random_chains import chain_network
from xnorcore_hw.bench.held import held

SMALL = {"weight_depth": 1024, "act_depth": 4096, "program_depth": 512}
# Several column groups, and channels that share a tile's columns with new ones; one port and sums of rows; a
# lane for each column, and codes of 3 bits; more columns than bits in a word.
DEVICES = (
    DeviceConfig(
        Geometry(1, 16, 16), 22, code_bits=8, result_lanes=2, value_depth=1024, column_group=8, **SMALL
    ),
    DeviceConfig(
        Geometry(2, 8, 16), 20, code_bits=8, result_lanes=4, value_depth=512, act_ports=1, whole_windows=1,
        row_sums=1, **SMALL,
    ),
    DeviceConfig(Geometry(2, 16, 8), 20, code_bits=3, result_lanes=16, value_depth=128, **SMALL),
    DeviceConfig(
        Geometry(1, 32, 16), 22, code_bits=8, result_lanes=1, value_depth=4096, program_halves=1, **SMALL
    ),
)  # fmt: skip


def networks(config: DeviceConfig) -> list[Network]:
    """Halved once or twice, on maps of odd size, or not; padded with ones; and layers that add nothing."""
    rng = np.random.default_rng(config.geometry.columns)
    found = [
        chain_network(rng), chain_network(rng, (16, 16, 32, 32), size=(6, 5), end="dense", pad=1),
        chain_network(rng, (7, 16, 33), size=(9, 7), bits=(2, 3), image=1),
        evennets.maps(min(config.code_bits, 4), pool=MaxPool2d()),
    ]  # fmt: skip
    if config.code_bits == 8:
        found.append(chain_network(rng, (12, 12, 24), bits=(5, 4), end="values"))
        found.append(chain_network(rng, (9, 9, 20), bits=(8, 4), end="values", image=8, saturates=True))
        options: dict[str, Any] = {"saturates": True, "projects": 15, "size": (8, 5)}
        found.append(chain_network(rng, (9, 9, 20, 20), bits=(8, 3), image=8, **options))
    return found


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
def test_layers_and_cycles(number: int) -> None:
    config = DEVICES[number]
    added = 0
    with held(config) as device:
        for network in networks(config):
            program = compile_network(network, device.info.config)
            check(device, program)
            added += any(one.adding for one in program.sections[0].descriptors)
    assert added >= 3
    check_layers(config, networks(config))
