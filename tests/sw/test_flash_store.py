"""Weights that lie in flash: how they lie there, what the driver asks the chip, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import CompileError, DeviceError, GeometryError, WrongFlashError
from xnorcore.isa.blocks import Block
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.pages import PAGE_WORDS, checksums, unpaged
from xnorcore.isa.protocol import Command, Space
from xnorcore.isa.stores import FLASH_SECTOR
from xnorcore.isa.stream import stream_of
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.runtime.requests import erase_requests
from xnorcore.verify.random_networks import dense_network, random_images

RAM = DeviceConfig(Geometry(1, 8, 16), line_bytes=0, weight_depth=64, threshold_depth=16, store_words=1 << 15)
FLASH = replace(RAM, store_kind=2)
NETWORK = dense_network(np.random.default_rng(3), (400, 60, 40, 10))


def words_of(program, kind_words: int) -> np.ndarray:
    words = np.full(kind_words, 0xFFFFFFFF, np.uint32)
    for block in program.blocks:
        if block.space == Space.STORE:
            first = block.bank * 65536 + block.address
            words[first : first + len(block.data) // 4] = np.frombuffer(block.data, "<u4")
    return words


def test_the_stream_is_that_of_other_stores_but_for_its_checksums() -> None:
    ram, flash = compile_network(NETWORK, RAM), compile_network(NETWORK, FLASH)
    plain, stored = stream_of(words_of(ram, RAM.store_words), RAM), words_of(flash, FLASH.store_words)
    stream = stream_of(stored, FLASH)
    assert stream[0] == plain[0] and (stream[: plain[0] + 1] == plain[: plain[0] + 1]).all()
    last = int(stored[0])
    assert last % PAGE_WORDS != PAGE_WORDS - 1 and stored[last] == plain[plain[0]]
    pages = stored[FLASH_SECTOR : flash.used["store_words"]].reshape(-1, PAGE_WORDS)
    assert (
        not checksums(pages).any()
        and (unpaged(pages.reshape(-1))[: plain[0]] == plain[1 : plain[0] + 1]).all()
    )
    assert (stored[PAGE_WORDS:FLASH_SECTOR] == 0xFFFFFFFF).all()


def test_results_and_early_ends_are_right_on_the_machine() -> None:
    images = random_images(np.random.default_rng(1), NETWORK, 3)
    layers = golden.layers(NETWORK, images)
    with Accelerator(Session(InterpretedDevice(FLASH))) as device:
        device.load(NETWORK)
        np.testing.assert_array_equal(device.infer(images), layers[-1])
        program = compile_network(NETWORK, device.info.config)
        device.load_program(stop_after(program, 0))
        np.testing.assert_array_equal(device.infer(images).reshape(layers[0].shape), layers[0])
        device.load(NETWORK)
        np.testing.assert_array_equal(device.infer(images), layers[-1])


def test_a_flipped_bit_is_an_error() -> None:
    machine = InterpretedDevice(FLASH)
    images = random_images(np.random.default_rng(1), NETWORK, 3)
    with Accelerator(Session(machine)) as device:
        device.load(NETWORK)
        machine.machine.memories.store[FLASH_SECTOR + 70] ^= np.uint32(1 << 7)
        with pytest.raises(DeviceError, match="BAD_PROGRAM"):
            device.infer(images)
        with pytest.raises(CompileError, match="page 17 of the store is not what its checksum says"):
            stream_of(machine.machine.memories.store, FLASH)


def test_what_is_erased() -> None:
    large = replace(FLASH, store_words=1 << 17)
    block = Block(Space.STORE, 1, 0, bytes(4 * (16384 + 1024 + 1)))
    found = [(request[2:4], request[4]) for _, request in erase_requests(large, block)]
    places = [int.from_bytes(place, "little") for place, _ in found]
    assert places == [0, 16384, 17408] and [whole for _, whole in found] == [1, 0, 0]
    assert not list(erase_requests(replace(large, store_kind=0), block))
    assert not list(erase_requests(large, Block(Space.PROGRAM, 0, 0, bytes(4))))


class Locked(InterpretedDevice):
    """A device beside a chip that its second status register protects: what would change it does nothing."""

    def _execute(self, command: int, payload: bytes):
        before = self.machine.memories.store.copy()
        answer = super()._execute(command, payload)
        if command == Command.WRITE and payload[0] in (Space.STORE, Space.CHIP):
            self.machine.memories.store[:] = before
        return answer


@pytest.mark.parametrize("held", [0xFFFFFFFF, 0x12345678])
@pytest.mark.parametrize("keep", [True, False])
def test_a_chip_whose_other_registers_protect_it_is_no_worn_out_one(held: int, keep: bool) -> None:
    machine = Locked(FLASH)
    machine.machine.memories.store[:] = held
    with (
        Accelerator(Session(machine)) as device,
        pytest.raises(WrongFlashError, match=r"write-protected: .* words [\d,]+ to [\d,]+ .*CMP, WPS"),
    ):
        device.load(NETWORK, keep=keep)
    assert (machine.machine.memories.store == held).all()


class Chip(InterpretedDevice):
    """A device with another flash."""

    def __init__(self, said: bytes) -> None:
        super().__init__(FLASH)
        self.said = said + bytes(4) + (4 << 24 | 1 << 23).to_bytes(4, "little")
        self.written = 0

    def _execute(self, command: int, payload: bytes):
        self.written += command == Command.WRITE
        answer, status = super()._execute(command, payload)
        return (self.said if command == Command.READ and payload[0] == Space.CHIP else answer), status


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("ff ff ff ff ff ff ff ff", r"no flash answers \(identity ff ff ff\)"),
        ("00 00 00 00 00 00 00 00", "no flash answers"),
        ("c2 20 18 00 00 00 00 00", r"of maker c2 \(identity c2 20 18\), but known are ef Winbond"),
        ("ef 40 10 00 00 00 00 00", "Winbond 4010, has 65,536 bytes, .* takes bytes 8,388,608 to 8,519,679"),
        (
            "20 ba 17 00 00 00 00 00",
            "Micron ba17, has 8,388,608 bytes, but the device's store takes bytes 8,3",
        ),
        ("ef 40 18 00 1c 1c 1c 1c", r"is write-protected \(status 1c\)"),
        ("20 ba 18 00 40 40 40 40", r"Micron ba18, is write-protected \(status 40\)"),
        ("9d 60 18 00 20 20 20 20", r"ISSI 6018, has its four lines switched off \(status 20, bit 6"),
        ("9d 60 18 00 60 60 60 60", r"ISSI 6018, is write-protected \(status 60\)"),
    ],
)
def test_another_flash_is_refused_before_anything_is_written(said: str, says: str) -> None:
    device = Chip(bytes.fromhex(said))
    with Accelerator(Session(device)) as accelerator:
        for keep in (False, True):
            with pytest.raises(WrongFlashError, match=says):
                accelerator.load(NETWORK, keep=keep)
    assert device.written == 0


def test_a_chip_that_ends_with_the_region_is_large_enough() -> None:
    """Of a board whose region begins elsewhere; and one whose four lines are on."""
    device = Chip(bytes.fromhex("9d 60 12 00 40 40 40 40"))
    device.said = device.said[:12] + (4 << 24 | 1 << 17).to_bytes(4, "little")
    with Accelerator(Session(device)) as accelerator:
        accelerator.load(NETWORK, verify=False)
    assert device.written > 0


@pytest.mark.parametrize("said", ["ef 40 20", "20 ba 20", "c8 40 1a"])
def test_a_chip_of_512_mbit_is_large_enough(said: str) -> None:
    device = Chip(bytes.fromhex(said) + bytes(5))
    with Accelerator(Session(device)) as accelerator:
        accelerator.load(NETWORK, verify=False)
    assert device.written > 0


def test_a_store_that_holds_no_stream_is_refused() -> None:
    with pytest.raises(GeometryError, match="store_words is 1024, but must be 2048 to"):
        DeviceConfig(store_words=1024, store_kind=2)
    assert DeviceConfig(store_words=2048, store_kind=2).store_words == 2048
