"""What a flash beside the store keeps: limits, the script with its label, INFO, the driver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CapacityError, DeviceError, GeometryError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.kept import flash_image, kept_requests, may_keep
from xnorcore.isa.pages import unpaged
from xnorcore.isa.protocol import Command, DeviceInfo, Space
from xnorcore.isa.regions import flash_space, flash_words, region_of
from xnorcore.isa.stores import FLASH_SECTOR, SDRAM_WORDS
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.verify.random_networks import dense_network

from .test_kept import CONFIG as IN_FLASH
from .test_kept import RESIDENT, SIMILAR, STREAMED, right, started

CONFIG = replace(IN_FLASH, store_kind=1, kept_words=1 << 15)
LARGER = dense_network(np.random.default_rng(3), (400, 120, 60, 10))


class Counting(InterpretedDevice):
    """Counts what changes its flash, and what comes into its store over the wire."""

    def __init__(self, config: DeviceConfig = CONFIG) -> None:
        super().__init__(config)
        self.changes = {Space.CHIP: 0, Space.KEPT: 0, Space.STORE: 0}

    def _execute(self, command: int, payload: bytes):
        if command == Command.WRITE and payload[0] in self.changes:
            self.changes[Space(payload[0])] += len(payload) - 4
        return super()._execute(command, payload)


@pytest.mark.parametrize("network", [STREAMED, RESIDENT], ids=["streamed", "resident"])
def test_the_device_starts_with_it(network: Network) -> None:
    machine, program = Counting(), compile_network(network, CONFIG)
    assert program.streams == (network is STREAMED) and may_keep(program)
    with Accelerator(Session(machine)) as device:
        assert device.load(network, keep=True) is True
        right(device, network)
    assert started(machine) == program.identifier
    changes = dict(machine.changes)
    with Accelerator(Session(machine)) as device:
        assert device.load(network) is False and device.load(network, keep=True) is False
        right(device, network)
        assert device.load(SIMILAR) is True  # into the SDRAM alone
        right(device, SIMILAR)
        assert device.load(network, keep=True) is True  # of the flash, nothing
        right(device, network)
    assert all(machine.changes[space] == changes[space] for space in (Space.CHIP, Space.KEPT))
    assert started(machine) == program.identifier


def test_networks_of_one_shape_are_told_apart_by_the_first_sector() -> None:
    with Accelerator(Session(machine := Counting())) as device:
        for network in (STREAMED, SIMILAR, STREAMED):
            before = machine.changes[Space.KEPT]
            assert device.load(network, keep=True) is True
            assert machine.changes[Space.KEPT] - before > 4 * FLASH_SECTOR
            right(device, network)
    same = replace(STREAMED, layers=[*STREAMED.layers[:-1], SIMILAR.layers[-1]])
    first, second = (flash_image(compile_network(one, CONFIG), True) for one in (STREAMED, same))
    assert not np.array_equal(first[:FLASH_SECTOR], second[:FLASH_SECTOR])


def test_the_script_writes_the_store_and_arms_last() -> None:
    program = compile_network(STREAMED, CONFIG)
    image = flash_image(program, True)
    region = np.full(CONFIG.kept_words, 0xFFFF_FFFF, np.uint32)
    region[: len(image)] = image
    requests = list(kept_requests(region, CONFIG))
    assert requests[0] == (0, program.identifier) and requests[-1] == (Command.ARM, b"")
    written = [body for command, body in requests if command == Command.WRITE and body[0] == Space.STORE]
    stored = b"".join(block.data for block in program.blocks if block.space == Space.STORE)
    assert b"".join(body[4:] for body in written) == stored
    assert unpaged(image[:FLASH_SECTOR])[0] == 0, "no stream is in the flash itself"
    assert not list(kept_requests(region, replace(CONFIG, act_depth=4096))), "of another device"


def test_a_network_larger_than_the_region() -> None:
    small = replace(CONFIG, kept_words=1 << 11)
    machine = Counting(small)
    says = r"take \d,\d+ words of flash, but there are 2,048; build with a larger --set kept_words=N"
    with Accelerator(Session(machine)) as device:
        with pytest.raises(CapacityError, match=f"contents of buffers and store {says}"):
            device.load(LARGER, keep=True)
        assert not any(machine.changes.values())
        device.load(LARGER)
        right(device, LARGER)
        device.load(RESIDENT, keep=True)
    assert not may_keep(compile_network(LARGER, small))
    large = dense_network(np.random.default_rng(3), (500, 500, 500, 500, 500, 500, 10))
    with Accelerator(Session(Counting())) as device, pytest.raises(CapacityError, match=r"takes \d+ passes"):
        device.load(large, keep=True)


def test_limits() -> None:
    for words, says in (
        (1 << 10, "kept_words is 1024"),
        (1 << 22, "kept_words is 4194304"),
        (3 << 11, "must be a power of two; try 8192"),
    ):
        with pytest.raises(GeometryError, match=says):
            replace(CONFIG, kept_words=words)
    with pytest.raises(GeometryError, match="must be 0 where the store is flash"):
        replace(IN_FLASH, kept_words=1 << 15)
    assert flash_words(CONFIG) == 1 << 15 and flash_space(CONFIG) == Space.KEPT
    assert flash_words(IN_FLASH) == IN_FLASH.store_words and region_of(IN_FLASH) is IN_FLASH
    assert flash_words(replace(CONFIG, kept_words=0)) == 0


def test_info_names_and_digest() -> None:
    """A device without it says, and is, what it was; programs do not depend on it."""
    plain = replace(CONFIG, kept_words=0)
    for config in (plain, *(replace(CONFIG, kept_words=1 << bits) for bits in range(11, 22))):
        for line_bytes in (0, 4096, 65536):
            wide = replace(config, line_bytes=line_bytes, whole_windows=int(line_bytes > 4096), act_ports=2)
            assert DeviceInfo.unpack(DeviceInfo(wide).pack()).config == wide
    most = DeviceConfig(kept_words=1 << 21, store_words=SDRAM_WORDS, store_kind=1)
    assert DeviceInfo.unpack(DeviceInfo(most).pack()).config == most
    assert plain.digest() != CONFIG.digest() != replace(CONFIG, kept_words=1 << 14).digest()
    assert plain.digest().hex() == "96e54f5bed57567c"
    assert compile_network(RESIDENT, plain).identifier == compile_network(RESIDENT, CONFIG).identifier


def test_a_device_without_it_has_no_such_space() -> None:
    plain = replace(CONFIG, kept_words=0)
    with Accelerator(Session(InterpretedDevice(plain))) as device:
        for space in (Space.KEPT, Space.CHIP):
            for command, rest in ((Command.READ, b"\1\0"), (Command.WRITE, bytes(4))):
                with pytest.raises(DeviceError, match="BAD_ADDRESS"):
                    device.session.call(command, bytes([space, 0, 0, 0]) + rest)
