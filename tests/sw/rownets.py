"""Networks whose maps of few channels are written as kernel rows, and devices that do it."""

from __future__ import annotations

import numpy as np

from tests.sw import evennets
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Network
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_rows import rows_network

SMALL = {"weight_depth": 1024, "act_depth": 4096, "program_depth": 512, "packed_rows": 1}
# With a unit, where values leave it early, in several column groups; plain ones with several rows and one
# port; words of the program in halves; codes that are compared.
DEVICES = (
    DeviceConfig(
        Geometry(1, 16, 32), 22, code_bits=8, result_lanes=2, value_depth=2048, column_group=8, **SMALL
    ),
    DeviceConfig(Geometry(2, 8, 32), 20, act_ports=1, whole_windows=1, **SMALL),
    DeviceConfig(Geometry(1, 32, 64), 20, program_halves=1, **SMALL),
    DeviceConfig(
        Geometry(2, 32, 64), 22, code_bits=8, result_lanes=8, value_depth=1024, program_halves=1,
        whole_windows=1, **SMALL,
    ),
    DeviceConfig(Geometry(1, 32, 32), 20, code_bits=3, row_sums=1, **SMALL),
)  # fmt: skip


def networks(config: DeviceConfig) -> list[Network]:
    """Rows of one word and of two; padding of every kind, strides, pooling in front of and behind rows."""
    rng = np.random.default_rng(config.geometry.width + config.geometry.columns)
    few, more = config.geometry.width // 4, config.geometry.columns // 2
    found = [
        rows_network(rng, (few, few, 6)),
        rows_network(rng, (few - 2, more, 2 * more, 5), (9, 8), strides=(1, 2, 1)),
        rows_network(rng, (few - 1, few + 1, 3), (8, 9), pads=((1, -1), (0, 0)), strides=(2, 1)),
        rows_network(rng, (more, few, 4), (8, 12), pads=((1, 0), (1, -1)), pool=True),
        rows_network(rng, (4, few, 6), (5, 5), kernel=1),
    ]
    if config.code_bits > 1:
        found.append(rows_network(rng, (few, few, 6), most=3))
    if config.value_depth:
        found += [
            chain_network(rng, (few, few, 2 * few, 2 * few), bits=(4, 3)),
            chain_network(rng, (few, few), size=(5, 6), end="values", bits=(4, 3)),
            chain_network(rng, (few - 1, 2 * few + 1, 3 * few), size=(7, 9), end="dense", pad=-1),
            # Whose results fill the unit, which none leave early.
            evennets.dense(4, 1),
        ]
    return found
