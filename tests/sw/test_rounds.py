"""Images one after the other through a network's first layers, and together through the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.campaigns import some
from tests.sw import roundnets
from tests.sw.test_group import DEVICES as SMALL_DEVICES
from tests.sw.test_passes import Spy
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import fitted, grouped, largest, most_per_row, variant
from xnorcore.compiler.rounds import Cut, cuts, in_rounds
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import CompileError, NotLoadedError, UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space
from xnorcore.isa.stores import StoreKind
from xnorcore.link.session import Session
from xnorcore.model.bits import pack_images
from xnorcore.model.layers import Conv2d, Dense, InputSpec, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.inference import Inference
from xnorcore.runtime.passes import Passes
from xnorcore.runtime.timed import TimedDevice
from xnorcore.verify.random_networks import random_images, signs

DEVICES = [
    replace(config, act_depth=3000, program_depth=512, weight_depth=128 if config.geometry.width == 8 else 64)
    for config in SMALL_DEVICES
    if config.reads_windows
]
NETWORKS = {
    "cnv": roundnets.cnv(),
    "strided": roundnets.strided(),
    "joined": roundnets.joined(),
    "twice": roundnets.twice(),
}
FIRST = {"cnv": 1, "strided": 1, "joined": 1, "twice": 3}
"""The first layer that may go over all images; every one behind it may, too."""
NETWORK, DEVICE = NETWORKS["cnv"], DEVICES[0]
BOARD = DeviceConfig(
    Geometry(1, 16, 64), acc_width=16, column_group=4, weight_depth=512, threshold_depth=256, act_depth=4096,
    program_depth=512, fifo_bytes=2048, line_bytes=2048, threshold_share=4, column_align=4,
    store_words=1 << 22, store_kind=StoreKind.SDRAM,
)  # fmt: skip
SMALL_BOARD = DeviceConfig(
    Geometry(1, 8, 32), acc_width=16, weight_depth=256, threshold_depth=64, act_depth=16384,
    program_depth=512, line_bytes=512, whole_windows=1, act_ports=1, store_words=1 << 17,
    store_kind=StoreKind.FLASH,
)  # fmt: skip


def finn_cnv() -> Network:
    """FINN's CNV, with weights at random."""
    rng, pool = np.random.default_rng(0), MaxPool2d((2, 2), (2, 2))
    sizes = ((64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256))
    convs = [Conv2d(signs(rng, b, 3, 3, a), np.zeros(b, np.int64)) for b, a in sizes]
    ends = [Dense(signs(rng, b, a), np.zeros(b, np.int64)) for b, a in ((512, 256), (512, 512))]
    layers = [*convs[:2], pool, *convs[2:4], pool, *convs[4:], *ends, Dense(signs(rng, 10, 512))]
    return Network("cnv", InputSpec((32, 32, 3), 8), layers)


def run(spy: Spy, program: Program, images: NDArray) -> NDArray:
    """Run images through a program as it is."""
    device = Accelerator(Session(spy, seed=0, timeout=0.1, retries=20))
    device.load_program(program, verify=False, force=True)
    spy.asked.clear()
    raw = Inference(device.session, program, 0, lambda progress: None).run(
        pack_images(program.network, images)
    )
    return program.decode(raw, len(images))


def ways(network: Network, config: DeviceConfig, per_row: int) -> Iterator[Program]:
    """Yield programs for every number of first layers that can be."""
    for cut in cuts(compile_network(network, config)):
        if cut.program_words(per_row) <= config.program_depth and cut.words(per_row) <= config.act_depth:
            yield in_rounds(cut, per_row)


@pytest.mark.parametrize("name", NETWORKS)
def test_where_the_last_layers_begin(name: str) -> None:
    single = compile_network(NETWORKS[name], DEVICE)
    wanted = list(range(FIRST[name], len(single.sections[0].descriptors)))
    assert [cut.first for cut in cuts(single)] == wanted


@pytest.mark.parametrize("config", some(DEVICES, 2), ids=lambda config: str(config.geometry))
@pytest.mark.parametrize("name", NETWORKS)
def test_every_image_has_its_own_results(name: str, config: DeviceConfig) -> None:
    """Of any number in a call: one, a whole batch, and some that fill no row or not all rounds."""
    network, rows = NETWORKS[name], config.geometry.rows
    programs = list(ways(network, config, 3))
    assert programs
    for program in programs:
        for count in (1, 3 * rows, 5 * rows - 1):
            images = random_images(np.random.default_rng(count), network, count)
            wanted = golden.run(network, images)
            assert count == 1 or len(np.unique(wanted, axis=0)) > 1
            np.testing.assert_array_equal(run(Spy(config), program, images), wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_lies_over_another(name: str) -> None:
    """What a round leaves is there until the last layer is done, so that every RUN may be repeated."""
    network = NETWORKS[name]
    for program in ways(network, DEVICE, 3):
        spy = Spy(DEVICE)
        images = random_images(np.random.default_rng(4), network, 3)
        execute = spy._execute

        def twice(command: int, payload: bytes, execute=execute) -> object:
            if command == Command.RUN:
                execute(command, payload)
            return execute(command, payload)

        spy._execute = twice  # type: ignore[method-assign]
        np.testing.assert_array_equal(run(spy, program, images), golden.run(network, images))
        regions, strides = program.regions, Cut(program.single, _first(program)).strides  # type: ignore
        for region, stride in strides.items():
            assert regions.sizes[region] == 3 * stride >= 3 * program.single.regions.sizes[region]  # type: ignore


def _first(program: Program) -> int:
    """The number of layers in a round, by the distance between two of them."""
    assert program.single
    behind = len(program.sections[0].descriptors) - 1
    layers = len(program.single.sections[0].descriptors)
    # per_row rounds of so many, and the others once.
    return (behind - layers) // (program.per_row - 1)


def test_the_store_is_the_same() -> None:
    """A call of another number writes program memory, and images' empty lanes; and only once."""
    spy = Spy(DEVICE)
    device = Accelerator(Session(spy, seed=0))
    program = compile_network(NETWORK, DEVICE)
    device.load_program(program, verify=False)
    for count in (9, 1, 2, 9, 9):
        spy.asked.clear()
        images = random_images(np.random.default_rng(count), NETWORK, count)
        np.testing.assert_array_equal(device.infer(images), golden.run(NETWORK, images))
        assert device.program is program and device.running
        assert device.running.identifier == fitted(program, count).identifier
        assert bool(device.running.turns) == (count > 1)
        assert not spy.writes(Space.STORE) and not spy.writes(Space.WEIGHTS)
    assert not spy.writes(Space.PROGRAM), "the last call was like the one before"
    assert not device.load_program(program), "it is there, whatever the last call has made of it"
    found = variant(program, fitted(program, 9).identifier)
    assert found is not None and found.per_row == fitted(program, 9).per_row


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_frames_that_get_lost(loss: float) -> None:
    spy = Spy(DEVICE, loss)
    program = compile_network(NETWORK, DEVICE, per_row=3)
    device = Accelerator(Session(spy, seed=0, timeout=0.1, retries=20))
    device.load_program(program, verify=False)
    images = random_images(np.random.default_rng(1), NETWORK, 17)
    np.testing.assert_array_equal(device.infer(images), golden.run(NETWORK, images))
    assert device.session.stats.resent


def test_a_device_that_forgets() -> None:
    spy = Spy(DEVICE)
    device = Accelerator(Session(spy, seed=0))
    device.load(NETWORK)
    images = random_images(np.random.default_rng(1), NETWORK, 12)
    device.infer(images)
    spy.restart()
    with pytest.raises(NotLoadedError, match="load it again"):
        device.infer(images)
    device.load(NETWORK)
    np.testing.assert_array_equal(device.infer(images), golden.run(NETWORK, images))


def test_where_there_are_none() -> None:
    program = compile_network(NETWORK, DEVICE)
    assert most_per_row(program) > 1 and largest(program).turns
    assert not program.turns and fitted(program, 1) is program
    assert most_per_row(compile_network(NETWORK, DEVICE, per_row=1)) == 1
    assert most_per_row(compile_network(NETWORK, replace(DEVICE, store_words=0))) == 1
    assert not cuts(stop_after(program, 2)), "it ends early"
    assert not cuts(compile_network(NETWORK, replace(DEVICES[1]), 1)), "rows share an image"
    rng = np.random.default_rng(1)
    padded = [roundnets.conv(rng, 8, 2, bits=4), roundnets.conv(rng, 70, 8, padding=(1, 1, 1, 1))]
    network = Network("padded", NETWORK.input, padded)
    assert not cuts(compile_network(network, DEVICE)), "the last layer has padding"
    limit = most_per_row(compile_network(NETWORK, DEVICE, per_row=1000))
    for per_row in (0, limit + 1):
        with pytest.raises(UsageError, match=f"{per_row} images per row, but .* take 1 to {limit}"):
            grouped(program, per_row)


def test_memories_bound_them() -> None:
    for changes in ({"act_depth": 700}, {"program_depth": 200}, {"program_depth": 256, "act_depth": 600}):
        config = replace(DEVICE, **changes)
        program = compile_network(NETWORK, config, per_row=1000)
        most = largest(program)
        assert 1 < most.per_row < most_per_row(compile_network(NETWORK, DEVICE, per_row=1000))
        assert all(most.used[name] <= size for name, size in changes.items())
        with pytest.raises(CompileError):
            in_rounds(Cut(program, _first(most)), most.per_row + 1)


def test_a_run_takes_longer_than_answers_before_it() -> None:
    """Parts of images are answered soon, and what comes behind them is not asked for again."""
    program = grouped(compile_network(finn_cnv(), replace(BOARD, fifo_bytes=512)), 2)
    session = Session(TimedDevice(program, 20_000_000, 3e-6))
    session.synchronise()
    images = np.zeros((5, program.image_bytes), np.uint8)
    Passes(session, program, 10, lambda progress: None).run(images)
    assert session.stats.resent == session.stats.timeouts == 0


def test_a_wire_that_brings_one_image_while_another_is_at_work() -> None:
    """Rounds are of no use where images by themselves are as fast as the wire, and rounds are not."""
    program = compile_network(finn_cnv(), BOARD)
    half = program.cycles / program.image_bytes / 2
    assert most_per_row(program, half) == most_per_row(program) > 1, "the buffer holds what comes meanwhile"
    assert most_per_row(program, 2.02 * half) == 1 == most_per_row(program, 10 * half), "they keep up"
    narrow = compile_network(finn_cnv(), replace(BOARD, fifo_bytes=512))
    assert most_per_row(narrow) > 1 == most_per_row(narrow, half) and not largest(narrow, 250).turns
    assert fitted(narrow, 9, 250) is narrow and fitted(narrow, 9).turns
    assert most_per_row(replace(narrow, most=3), 250) == 3, "that was asked for"


def test_cnv() -> None:
    """By computation, on a ULX3S-25F with its SDRAM and on a small chip with a flash: images per second."""
    network = finn_cnv()
    program = compile_network(network, BOARD)
    rates = {
        count: 75e6 * count / grouped(program, count).cycles for count in (1, 2, 4, most_per_row(program))
    }
    assert list(rates.values()) == sorted(rates.values()) and rates[1] < 560 and max(rates.values()) > 800
    assert largest(program).used["act_depth"] <= BOARD.act_depth
    small = compile_network(network, SMALL_BOARD, per_row=4)
    assert 36e6 * 4 / largest(small).cycles > 96 > 70 > 36e6 / small.cycles
