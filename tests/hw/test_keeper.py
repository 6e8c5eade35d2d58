"""Devices that keep a network in a flash beside their store: gateware, driver, models of both chips."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import DeviceError
from xnorcore.isa.blocks import Block
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.kept import flash_image
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space
from xnorcore.isa.stores import FLASH_SECTOR, StoreKind
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import erase_requests, read_requests, write_requests
from xnorcore_hw.sim.transport import SimTransport

from .test_flash_device import sim
from .test_kept import DEEP, NETWORKS, RESIDENT, Loss, resets, right
from .test_store import DEVICES, SMALLEST, programs

SEEDS = int(os.environ.get("XNORCORE_SEEDS", "3"))
"""Of what is drawn at random here."""
WORDS = 1 << 15
KINDS = (StoreKind.SDRAM, StoreKind.RAM, StoreKind.SDRAM32)


def config_of(number: int, kind: StoreKind = StoreKind.SDRAM) -> DeviceConfig:
    return replace(DEVICES[number], store_kind=kind, kept_words=WORDS)


BESIDE = config_of(0)
ALONE = replace(DEVICES[4], store_words=0, kept_words=1 << 14)


@pytest.fixture(scope="module")
def chip() -> Iterator[SimTransport]:
    transport = sim(BESIDE)
    yield transport
    transport.close()


def started(transport: SimTransport) -> Accelerator:
    """Return a host of a device that has just been switched on."""
    transport.engine.reset()
    return Accelerator(Session(transport))


def check_start(transport: SimTransport, program: Program) -> None:
    """Keep a program, switch off and on, and let the device compute."""
    device = started(transport)
    device.load_program(program, keep=True, verify=False)
    device = started(transport)
    assert device.info.armed and device.info.network_id == program.identifier
    before = transport.engine.cycles
    assert device.load_program(program, keep=True) is False
    assert transport.engine.cycles - before < 400_000, "one sector is read, and nothing is written"
    right(device, program.network)
    device.reset()
    assert not device.info.armed, "it starts once, and not with every RESET"


def test_a_device_with_sdram_starts_with_what_the_flash_keeps(chip: SimTransport) -> None:
    """Weights that stream from SDRAM, which is empty at power-up, and those that buffers hold."""
    assert not started(chip).info.armed
    streamed, resident = (compile_network(network, BESIDE) for network in (SMALLEST, RESIDENT))
    assert streamed.streams and not resident.streams
    for program in (streamed, resident, streamed):
        check_start(chip, program)


@pytest.mark.parametrize("config", some([ALONE, config_of(1, StoreKind.RAM)], always=1), ids=str)
def test_devices_with_a_store_on_the_chip_or_none(config: DeviceConfig) -> None:
    transport = sim(config)
    for network in (RESIDENT, *([SMALLEST] if config.store_words else ())):
        check_start(transport, compile_network(network, config))


@pytest.mark.campaign
@pytest.mark.parametrize("seed", some(range(SEEDS), always=1))
def test_random_networks_on_every_kind(seed: int) -> None:
    config = config_of(seed % 5, KINDS[seed % 3])
    transport = sim(config)
    for program in (compile_network(DEEP, config), *programs(config, 300 + seed, 3)):
        check_start(transport, program)


def test_a_damaged_page_is_no_network(chip: SimTransport) -> None:
    """In the first sector, and in what is written into the SDRAM."""
    image = flash_image(compile_network(SMALLEST, BESIDE), True)
    used = int(np.flatnonzero(image != 0xFFFFFFFF)[-1])
    assert used > FLASH_SECTOR
    for place in (1, 70, FLASH_SECTOR + 5, used - 100):
        device = started(chip)
        device.load(SMALLEST, keep=True, force=True, verify=False)
        wrong = int(image[place]) & (int(image[place]) - 1)
        block = Block(Space.KEPT, 0, place, wrong.to_bytes(4, "little"))
        list(device.session.stream(write_requests(BESIDE, block, device.session.max_payload)))
        (found,) = device.session.stream(read_requests(BESIDE, Space.KEPT, 0, place, 1))
        assert found == block.data
        assert not started(chip).info.armed, place


def test_a_reset_while_it_starts(chip: SimTransport) -> None:
    started(chip).load(SMALLEST, keep=True)
    before = chip.engine.cycles
    started(chip)
    whole = chip.engine.cycles - before
    resets(chip, (0, *np.linspace(whole * 0.5, whole, 5).astype(int)))


def test_what_is_outside_of_the_region_is_refused(chip: SimTransport) -> None:
    """Its last word is there, and the first one of the same chip is as it was; the store is not it."""
    device = started(chip)
    session = device.session
    list(session.stream(erase_requests(BESIDE, Block(Space.KEPT, 0, WORDS - FLASH_SECTOR, bytes(4)))))
    last = Block(Space.KEPT, 0, WORDS - 1, b"\x12\x34\x56\x78")
    list(session.stream(write_requests(BESIDE, last, session.max_payload)))
    (said,) = session.stream(read_requests(BESIDE, Space.CHIP, 0, 0, 4))
    assert said[:3] == b"\xef\x70\x18" and said[12:15] == (1 << 23).to_bytes(3, "little")
    for bank, address in ((0, WORDS), (0, 0xFFFF), (1, 0), (255, 0)):
        place = address.to_bytes(2, "little")
        for command, space, rest in (
            (Command.WRITE, Space.KEPT, bytes(4)),
            (Command.WRITE, Space.CHIP, bytes(4)),
            (Command.READ, Space.KEPT, b"\1\0"),
        ):
            with pytest.raises(DeviceError, match="BAD_ADDRESS"):
                session.call(command, bytes([space, bank]) + place + rest)
    with pytest.raises(DeviceError, match="BAD_ADDRESS"):
        session.call(Command.WRITE, bytes([Space.KEPT, 0]) + (WORDS - 1).to_bytes(2, "little") + bytes(8))
    list(session.stream(write_requests(BESIDE, Block(Space.STORE, 0, 7, b"\1\2\3\4"), session.max_payload)))
    (stored,) = session.stream(read_requests(BESIDE, Space.STORE, 0, 7, 1))
    assert stored == b"\1\2\3\4"
    (kept,) = session.stream(read_requests(BESIDE, Space.KEPT, 0, WORDS - 2, 2))
    assert kept == b"\xff\xff\xff\xff\0\0\0\0", "what runs out of the region is written up to its end"


@pytest.mark.campaign
@pytest.mark.parametrize("seed", some(range(SEEDS), always=1))
def test_power_is_lost_while_a_network_is_written(seed: int, chip: SimTransport) -> None:
    """The old network, the new one, or none; and what is loaded then is there."""
    lose(chip, seed, 8)


def test_power_is_lost(chip: SimTransport) -> None:
    lose(chip, 1000, 2)


def lose(chip: SimTransport, seed: int, count: int) -> None:
    loss, pick = Loss(chip, seed), random.Random(seed)
    span, old = loss.begin(), loss.kept()
    for _ in range(count):
        new: Network = pick.choice([network for network in NETWORKS if network is not old])
        old = loss.lose(old, new, pick.randrange(span), dies=pick.random() < 0.7)
    assert sum(loss.found.values()) == count
