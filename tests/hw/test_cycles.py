"""The cycles that `xnorcore.isa.timing` gives are those that the device counts, cause by cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.boards import find_device
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import KEY_BYTES
from xnorcore.isa.timing import Cycles, alone, total
from xnorcore.model.network import Conv2d, Dense, InputSpec, MaxPool2d, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.measure import measure
from xnorcore.verify.ask import sim_url
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_configs
from xnorcore.verify.random_networks import dense_network, random_images, signs
from xnorcore_hw.bench.held import held

CAUSES = tuple(vars(Cycles()))
SEED, DEVICES, NETWORKS = 7, 8, 10
BOARDS = "icebreaker", "ulx3s-25f"
"""One of each family; the others take minutes, and hold too."""


def counted(device: Accelerator, program: Program, batches: int) -> Cycles:
    """Run batches one right after the other, and return what the device has counted."""
    images = random_images(np.random.default_rng(0), program.network, batches * program.batch)
    # No more images per row than it has: two batches are not to become one.
    device.load_program(replace(program, most=program.per_row), verify=False)
    device.clear_counters()
    device.infer(images)
    counters = device.counters
    assert counters is not None and counters["batches"] == batches
    found = Cycles(**{cause: counters.get(cause, 0) for cause in CAUSES})
    # Held, it takes the array for one that waits for the link.
    assert found.active == counters["active"] - counters["wait_output"]
    return found


def check(device: Accelerator, program: Program) -> None:
    """Compare model and device for one batch, and for two."""
    one = counted(device, program, 1)
    assert bounded(one, total(program.by_itself)) == one and program.latency >= one.active
    if program.passes == 1:
        two = counted(device, program, 2)
        assert bounded(two, alone(program.timed[0], program.config, 2)) == two
        assert program.cycles == two.active - one.active or two.wait_weights


def bounded(found: Cycles, expected: Cycles) -> Cycles:
    """Return what is expected, with the waits for weights that were found if they are not more.

    With memories of one port they are taken together with the waits for that: which comes first is not said.
    """
    most = expected.port + expected.wait_weights
    if expected.wait_weights and found.port + found.wait_weights <= most:
        return replace(expected, port=found.port, wait_weights=found.wait_weights)
    return replace(expected, wait_weights=min(found.wait_weights, expected.wait_weights))


@pytest.mark.parametrize("number", some(range(0, DEVICES, 2), always=1))
def test_random_networks(number: int) -> None:
    with held(random_configs(SEED, DEVICES)[number]) as device:
        config = device.info.config
        for index in range(NETWORKS):
            case = draw(SEED, NETWORKS * number + index, config)
            check(device, compile_network(case.network, config, case.at_once))


def conv(side: int, channels: int, bits: int, kernel: int) -> Network:
    """Return a network of one convolution, which gives bits of more than two tiles."""
    rng = np.random.default_rng(0)
    layer = Conv2d(signs(rng, 130, kernel, kernel, channels), rng.integers(-9, 9, 130))
    return Network("conv", InputSpec((side, side, channels), bits), [layer])


@pytest.mark.campaign
def test_results_of_many_words() -> None:
    """Between positions, before a tile, whose start values take long, and before slices of whole scores."""
    config = DeviceConfig(Geometry(1, 64, 16), acc_width=10, threshold_share=4, weight_depth=256)
    with held(config) as device:
        for network in (conv(4, 16, 3, 1), dense_network(np.random.default_rng(0), (1000, 70))):
            program = compile_network(network, device.info.config)
            check(device, program)
    assert program.timed[0][0].descriptor.slices == config.acc_width


@pytest.mark.campaign
def test_results_of_many_rows_before_the_next_batch() -> None:
    config = DeviceConfig(Geometry(4, 64, 8), acc_width=14)
    with held(config) as device:
        program = compile_network(conv(10, 8, 1, 3), device.info.config, at_once=1)
        assert program.spread
        check(device, program)


def one_port(number: int) -> DeviceConfig:
    """Return one of the random devices with memories of one port."""
    config = random_configs(SEED, DEVICES)[number]
    whole = int(config.line_bytes > 0)
    return replace(config, whole_windows=whole, column_align=1, act_ports=1, counters=1)


@pytest.mark.parametrize("number", some((4, 0, 1, 3, 6), always=0))
def test_random_networks_on_one_port(number: int) -> None:
    """The first one has three words per result."""
    with held(one_port(number)) as device:
        config = device.info.config
        for index in range(NETWORKS):
            case = draw(SEED, NETWORKS * number + index, config)
            check(device, compile_network(case.network, config, case.at_once))


def maps() -> Network:
    """Return a network of convolutions of an image of bytes and of a map, with padding and pooling."""
    rng = np.random.default_rng(0)
    layers = [
        Conv2d(signs(rng, 20, 3, 3, 3), rng.integers(-500, 500, 20)),
        Conv2d(signs(rng, 33, 3, 3, 20), rng.integers(-9, 9, 33), padding=(1, 1, 1, 1)),
        MaxPool2d((2, 2)),
        Dense(signs(rng, 11, 9 * 33)),
    ]
    return Network("maps", InputSpec((8, 8, 3), 8), layers)


@pytest.mark.parametrize(
    "config",
    some(
        [
            DeviceConfig(Geometry(3, 32, 16), 14, threshold_share=2, whole_windows=1, act_ports=1),
            DeviceConfig(Geometry(1, 8, 32), 14, whole_windows=1, act_ports=1),
            DeviceConfig(Geometry(4, 8, 8), 14, column_group=4, whole_windows=1, act_ports=1),
        ],
        always=0,
    ),
)
def test_maps_on_one_port(config: DeviceConfig) -> None:
    with held(config) as device:
        config = device.info.config
        for at_once in (None, 1):
            program = compile_network(maps(), config, at_once)
            assert program.busy.port > 10 and (program.spread or at_once is None or config.geometry.rows == 1)
            check(device, program)
            images = random_images(np.random.default_rng(1), program.network, 2 * program.batch)
            assert (device.infer(images) == golden.run(program.network, images)).all()


ANY = [*(replace(config, counters=1) for config in random_configs(SEED, 2)), one_port(0)]


@pytest.mark.parametrize("config", some([ANY[2], *ANY[:2]], always=0))
def test_readouts_add_no_more_than_is_said(config: DeviceConfig) -> None:
    """On a device as it is, whatever the link does: batches overlap or wait for images."""
    with Accelerator.open(sim_url(config)) as device:
        for index in range(NETWORKS):
            case = draw(SEED, index, config)
            program = compile_network(case.network, config, case.at_once)
            if program.passes > 1:
                continue
            images = random_images(np.random.default_rng(1), case.network, 6 * program.batch)
            device.load_program(program, verify=False)
            scores, measured = measure(device, images)
            assert (scores == golden.run(case.network, images)).all()
            found = measured.counters
            assert found is not None
            cycles = found["active"] - found["wait_output"]
            # The key in each request is compared with the one in program memory, while a fetch waits.
            keys = 2 * KEY_BYTES * found["frames_good"]
            assert 6 * program.cycles <= cycles <= 6 * (program.latency + program.readouts) + keys


@pytest.mark.parametrize("board", some(BOARDS, always=0))
def test_packaged_networks_on_the_boards(board: str) -> None:
    """All that run there, also one image alone, of which the rows have strips."""
    ran = 0
    with held(find_device(board).config) as device:
        for name in zoo.names():
            for at_once in (None, 1):
                try:
                    program = compile_network(zoo.load(name), device.info.config, at_once)
                except CompileError:
                    continue
                check(device, program)
                ran += 1
    assert ran
