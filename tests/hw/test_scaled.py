"""XNOR-Net's K beside the results unit: gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.colliding import CollidingMemory
from tests.hw.layers import check_layers
from tests.hw.test_cycles import check
from tests.sw import evennets
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import UsageError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scaling import Scaling
from xnorcore.model.network import MaxPool2d, Network
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_scaled import scaled_network
from xnorcore_hw.bench.held import held
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.web.bundle import bundle

SMALL = {"weight_depth": 1024, "act_depth": 4096, "program_depth": 512}
# Several column groups; one port and sums of rows, lanes for half of the columns; a lane for each column, and
# codes of 3 bits; more columns than bits in a word, and values in place beside K.
DEVICES = (
    DeviceConfig(
        Geometry(1, 16, 16), 20, code_bits=8, result_lanes=2, scale_depth=64, column_group=8, **SMALL
    ),
    DeviceConfig(
        Geometry(2, 8, 16), 20, code_bits=8, result_lanes=4, scale_depth=128, act_ports=1, whole_windows=1,
        row_sums=1, **SMALL,
    ),
    DeviceConfig(Geometry(2, 16, 8), 16, code_bits=3, result_lanes=16, scale_depth=64, **SMALL),
    DeviceConfig(
        Geometry(1, 32, 16), 22, code_bits=8, result_lanes=1, scale_depth=256, value_depth=4096,
        program_halves=1, **SMALL,
    ),
)  # fmt: skip


def networks(config: DeviceConfig) -> list[Network]:
    """Padded, pooled, strided; vectors; two bits; layers that have nothing to do with K."""
    rng = np.random.default_rng(config.geometry.columns)
    most = config.code_bits
    found = [
        scaled_network(rng, bits=min(most, 6)), scaled_network(rng, bits=most, pool=True, image=8),
        scaled_network(rng, (9, 7, 16, 5), size=(20,), bits=most),
        scaled_network(rng, (5, 21), bits=2, pad=False, stride=(2, 1)),
        scaled_network(rng, (5, 9, 7), size=(4, 5, 3), bits=2, chain=2, ends=True),
        scaled_network(rng, (9,), size=(20,), bits=min(most, 5), chain=0, ends=True, classes=20),
        evennets.maps(min(most, 4), pool=MaxPool2d()),
    ]  # fmt: skip
    if config.value_depth:
        found.append(chain_network(rng, (7, 16, 33), size=(9, 7), bits=(2, 3), image=1))
    return found


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
def test_layers_and_cycles(number: int) -> None:
    config = DEVICES[number]
    multiplied = 0
    with held(config) as device:
        for network in networks(config):
            program = compile_network(network, device.info.config)
            check(device, program)
            multiplied += any(one.scaling == Scaling.MULTIPLIED for one in program.sections[0].descriptors)
    assert multiplied == 5
    check_layers(config, networks(config))


@pytest.mark.parametrize("where", ["factors", "unit", "values"])
def test_no_word_is_used_that_was_read_while_it_was_written(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards leave out what would give it (`xnorcore_boards.build.flow.NO_COLLISION`)."""
    monkeypatch.setattr(f"xnorcore_hw.array.{where}.Memory", CollidingMemory)
    config = DEVICES[3]
    check_layers(config, networks(config), SimTop)


def test_the_page_has_no_K_at_the_end(tmp_path: Path) -> None:
    network = scaled_network(np.random.default_rng(1), (9,), size=(20,), chain=0, ends=True)
    xnorfile.save(network, tmp_path / "k.xnor")
    with pytest.raises(UsageError, match=r"ends with XNOR-Net's K, .* not the page; `xnorcore sim` runs it"):
        bundle(str(tmp_path / "k.xnor"), DEVICES[0])
