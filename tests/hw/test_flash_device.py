"""Devices whose weights stream from flash: the whole way, with the model of the chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import DeviceError, EngineError, WrongFlashError
from xnorcore.isa.blocks import Block
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space
from xnorcore.isa.stores import FLASH_SECTOR, StoreKind
from xnorcore.isa.timing import alone
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import infer_head, read_requests, write_requests
from xnorcore.verify.random_networks import dense_network
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.models.flash_wired import WiredFlash
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .test_cycles import counted
from .test_store import DEVICES, SMALLEST, programs, some_images

CONFIGS = [replace(config, store_kind=2) for config in DEVICES if config.store_words >= 2 * FLASH_SECTOR]


def sim(config: DeviceConfig) -> SimTransport:
    options = SimOptions(config)
    return SimTransport(options, CompiledEngine(config, options.clock_hz))


@pytest.fixture(scope="module")
def device() -> Iterator[Accelerator]:
    with Accelerator(Session(sim(CONFIGS[0]))) as device:
        yield device


def check(device: Accelerator, seed: int, count: int) -> None:
    for index, program in enumerate(programs(device.info.config, seed, count)):
        images = some_images(program.network)
        device.load_program(program, verify=index < 2)
        for _ in range(2):
            np.testing.assert_array_equal(device.infer(images), golden.run(program.network, images))


def test_random_networks(device: Accelerator) -> None:
    check(device, 0, 3)


@pytest.mark.parametrize("number", some(range(len(CONFIGS)), always=0))
def test_many_random_networks(number: int) -> None:
    with Accelerator(Session(sim(CONFIGS[number]))) as device:
        check(device, 1 + number, 6)


def test_cycles_are_those_expected(device: Accelerator) -> None:
    """Waits for weights are a page too many at most: the last beat may wait for the next stream's first."""
    config = device.info.config
    for program in programs(config, 40, 5):
        found, expected = counted(device, program, 2), alone(program.timed[0], config, 2)
        assert found.busy == expected.busy and found.active <= expected.active <= found.active + 600


@pytest.mark.campaign
def test_two_bits_a_cycle_take_twice_as_long(device: Accelerator) -> None:
    config = replace(CONFIGS[0], store_kind=StoreKind.FLASH2)
    with Accelerator(Session(sim(config))) as narrow:
        assert narrow.info.config == config
        check(narrow, 0, 1)
        program, same = (next(programs(one.info.config, 41, 1)) for one in (narrow, device))
        found, expected = counted(narrow, program, 2), alone(program.timed[0], config, 2)
        assert 1.8 * counted(device, same, 2).wait_weights < found.wait_weights
        assert found.active <= expected.active <= found.active + 1200


@pytest.mark.campaign
def test_words_wait_in_a_queue(device: Accelerator) -> None:
    """The model is as exact as without one, but for a page whose words are written before they are read."""
    config = replace(CONFIGS[0], store_kind=StoreKind.QUEUED)
    with Accelerator(Session(sim(config))) as queued:
        assert queued.info.config == config
        check(queued, 0, 4)
        for program in programs(config, 41, 3):
            found, expected = counted(queued, program, 2), alone(program.timed[0], config, 2)
            assert found.busy == expected.busy
            assert abs(found.active - expected.active) <= 900


def test_programs_that_end_early_and_resident_ones_between(device: Accelerator) -> None:
    config, images = device.info.config, some_images(SMALLEST)
    program, layers = compile_network(SMALLEST, config), golden.layers(SMALLEST, images)
    resident = dense_network(np.random.default_rng(0), (40, 12, 6))
    few = some_images(resident)
    device.load_program(program)
    for stop in program.stops[:2]:
        device.load_program(stop_after(program, stop.index), verify=False)
        found = device.infer(images).reshape(layers[stop.index].shape)
        np.testing.assert_array_equal(found, layers[stop.index])
        device.load(resident)
        np.testing.assert_array_equal(device.infer(few), golden.run(resident, few))


def raw_infer(session: Session, program: Program, images: NDArray) -> None:
    wire = np.packbits(images, axis=-1, bitorder="little").tobytes()
    session.call(Command.INFER, infer_head(program) + wire)


def test_a_wrong_word_is_an_error_and_never_a_score(device: Accelerator) -> None:
    """One bit of the length, of a block's head, of start values, of weights, of a checksum."""
    config, images = device.info.config, some_images(SMALLEST)
    # One image per row: INFER below is for that program.
    program, session = replace(compile_network(SMALLEST, config), most=1), device.session
    for place in (0, *(FLASH_SECTOR + word for word in (0, 3, 40, 63, 700))):
        device.load_program(program, force=True, verify=False)
        np.testing.assert_array_equal(device.infer(images), golden.run(SMALLEST, images))
        (data,) = session.stream(read_requests(config, Space.STORE, 0, place, 1))
        word = int.from_bytes(data, "little")
        wrong = Block(Space.STORE, 0, place, (word & word - 1).to_bytes(4, "little"))
        list(session.stream(write_requests(config, wrong, session.max_payload)))
        session.call(Command.ARM)
        with pytest.raises(DeviceError, match="BAD_PROGRAM"):
            raw_infer(session, program, images)


class Protected(SimTop):
    """A device beside a chip of which every place is write-protected."""

    def chip(self) -> WiredFlash:
        return WiredFlash(self.config, self.clock_hz, status=0b0001_1100)


def test_a_protected_chip_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model ends a run that writes, which whoever does not ask does."""
    config = DeviceConfig(
        Geometry(1, 4, 8), weight_depth=64, threshold_depth=16, act_depth=256, line_bytes=0, convolution=0,
        counters=0, program_halves=1, store_words=1 << 11, store_kind=2,
    )  # fmt: skip
    network = dense_network(np.random.default_rng(0), (64, 24, 6))
    options = SimOptions(config)
    engine = CompiledEngine(config, options.clock_hz, top=Protected)
    with Accelerator(Session(SimTransport(options, engine))) as device:
        for _ in range(2):
            with pytest.raises(WrongFlashError, match=r"Winbond 7018, is write-protected \(status 1c\)"):
                device.load(network, keep=True)
        monkeypatch.setattr("xnorcore.runtime.upload.check_flash", lambda session, config: None)
        with pytest.raises(EngineError, match="flash: a change of what is protected"):
            device.load(network, keep=True)
