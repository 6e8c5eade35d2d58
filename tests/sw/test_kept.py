"""Networks that a store in flash keeps: what is written there, what is not, what a device starts with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import CapacityError, UsageError, VerifyError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.kept import flash_image, kept_key, kept_requests
from xnorcore.isa.pages import PAGE_WORDS
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space
from xnorcore.isa.stores import FLASH_SECTOR
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator, Progress
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.verify.random_networks import dense_network, random_images

CONFIG = DeviceConfig(
    Geometry(1, 8, 16), line_bytes=0, counters=0, weight_depth=64, threshold_depth=16, store_words=1 << 15,
    store_kind=2,
)  # fmt: skip
STREAMED = dense_network(np.random.default_rng(3), (400, 60, 40, 10))
RESIDENT = dense_network(np.random.default_rng(4), (60, 12, 6))
SIMILAR = dense_network(np.random.default_rng(5), (400, 60, 40, 10))


class Recording(InterpretedDevice):
    """Counts what changes its flash."""

    def __init__(self, config: DeviceConfig = CONFIG) -> None:
        super().__init__(config)
        self.erased: list[int] = []
        self.programmed = 0
        self.spoil = 0

    def _execute(self, command: int, payload: bytes):
        if command == Command.WRITE and payload[0] == Space.CHIP:
            self.erased.append(int.from_bytes(payload[2:4], "little") // FLASH_SECTOR)
        answer = super()._execute(command, payload)
        if command == Command.WRITE and payload[0] == Space.STORE:
            self.programmed += len(payload) - 4
            if self.spoil:
                self.spoil -= 1
                self.machine.memories.store[int.from_bytes(payload[2:4], "little")] &= 0xFFFF
        return answer


def right(device: Accelerator, network: Network) -> None:
    images = random_images(np.random.default_rng(1), network, 3)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def started(machine: InterpretedDevice) -> bytes:
    """Return the identifier of what the device holds when it has been switched off and on."""
    machine.restart()
    with Accelerator(Session(machine)) as device:
        return device.info.network_id if device.info.armed else b""


@pytest.mark.parametrize("network", [STREAMED, RESIDENT], ids=["streamed", "resident"])
def test_the_device_starts_with_it(network: Network) -> None:
    machine = Recording()
    program = compile_network(network, CONFIG)
    assert program.streams == (network is STREAMED)
    with Accelerator(Session(machine)) as device:
        assert device.load(network, keep=True) is True
        right(device, network)
    assert started(machine) == program.identifier
    before = len(machine.erased), machine.programmed
    with Accelerator(Session(machine)) as device:
        assert device.load(network) is False and device.load(network, keep=True) is False
        right(device, network)
        other = dense_network(np.random.default_rng(6), (20, 6))
        assert device.load(other) is True
        right(device, other)
        assert device.load(network, keep=True) is True  # only what is not in flash
        right(device, network)
    assert (len(machine.erased), machine.programmed) == before


def test_what_is_there_is_not_written_again() -> None:
    machine = Recording()
    sectors = list(range(len(flash_image(compile_network(STREAMED, CONFIG), True)) // FLASH_SECTOR))
    with Accelerator(Session(machine)) as device:
        device.load(STREAMED)
        assert sorted(machine.erased) == sectors and started(machine) == b""
        device.load(STREAMED)  # kept nowhere, but its stream is there
        assert sorted(machine.erased) == sectors
        right(device, STREAMED)
        machine.erased.clear()
        device.load(STREAMED, keep=True)
        assert machine.erased == [0]
        # What somebody has damaged, and no more, is mended where that is asked for.
        machine.erased.clear()
        machine.machine.memories.store[2 * FLASH_SECTOR + 5] ^= np.uint32(1)
        device.load(STREAMED, keep=True, force=True)
        assert machine.erased == [0, 2]
        right(device, STREAMED)
    assert started(machine) == compile_network(STREAMED, CONFIG).identifier


def test_networks_of_one_shape_are_told_apart() -> None:
    """Their streams have the same length."""
    for keep in (False, True):
        with Accelerator(Session(Recording())) as device:
            for network in (STREAMED, SIMILAR, STREAMED):
                assert device.load(network, keep=keep) is True
                right(device, network)


def test_other_loads_end_it_only_if_they_need_the_flash() -> None:
    machine = Recording()
    program = compile_network(STREAMED, CONFIG)
    with Accelerator(Session(machine)) as device:
        device.load(STREAMED, keep=True)
        device.load(RESIDENT)
    assert started(machine) == program.identifier
    with Accelerator(Session(machine)) as device:
        device.load(SIMILAR)
        right(device, SIMILAR)
    assert started(machine) == b""
    with Accelerator(Session(machine)) as device:
        device.load(STREAMED, keep=True)
        device.stop_after(0)
    assert started(machine) == b""


def test_another_configuration_does_not_start_with_it() -> None:
    machine = Recording()
    with Accelerator(Session(machine)) as device:
        device.load(RESIDENT, keep=True)
    for other in (replace(CONFIG, act_depth=4096), replace(CONFIG, acc_width=18)):
        assert kept_key(other) != kept_key(CONFIG)
        stranger = InterpretedDevice(other)
        stranger.machine.memories.store = machine.machine.memories.store
        assert started(stranger) == b""


def sectors_of(program: Program) -> np.ndarray:
    store = np.full(CONFIG.store_words, 0xFFFFFFFF, np.uint32)
    image = flash_image(program, True)
    store[: len(image)] = image
    return store


@pytest.mark.parametrize("network", [STREAMED, RESIDENT], ids=["streamed", "resident"])
def test_a_damaged_page_ends_it_before_anything_tells_of_it(network: Network) -> None:
    store = sectors_of(compile_network(network, CONFIG))
    whole = list(kept_requests(store, CONFIG))
    assert whole[-1] == (Command.ARM, b"") and {command for command, _ in whole[:-1]} == {Command.WRITE}
    used = int(np.flatnonzero(store[:FLASH_SECTOR] != 0xFFFFFFFF)[-1]) // PAGE_WORDS + 1
    for page in range(used):
        for bit in (0, 32 * 62 + 31, 32 * 63 + 7):
            wrong = store.copy()
            wrong[page * PAGE_WORDS + bit // 32] ^= np.uint32(1 << bit % 32)
            found = list(kept_requests(wrong, CONFIG))
            assert len(found) < len(whole) and found == whole[: len(found)]


def test_a_sector_that_does_not_take_it_is_written_again() -> None:
    machine = Recording()
    with Accelerator(Session(machine)) as device:
        machine.spoil = 1
        device.load(STREAMED, keep=True)
        right(device, STREAMED)
        machine.spoil = 10**6
        with pytest.raises(VerifyError, match=r"word 1,\d+ of the store: wrote [0-9a-f]{8}, it holds 0000"):
            device.load(SIMILAR, keep=True)
    assert started(machine) == b""


def test_progress_is_that_of_the_flash_and_then_of_the_memories() -> None:
    seen: list[Progress] = []
    with Accelerator(Session(Recording()), seen.append) as device:
        device.load(STREAMED, keep=True)
    flash = [one for one in seen if one.part == "flash"]
    assert flash[0].done == 0 and flash[-1].done == flash[-1].total == 4 * len(
        flash_image(compile_network(STREAMED, CONFIG), True)
    )
    assert [one.done for one in flash] == sorted(one.done for one in flash)
    rest = [one for one in seen[seen.index(flash[-1]) + 1 :] if one.stage == "load"]
    assert rest[-1].done == rest[-1].total < 4 * FLASH_SECTOR


def test_what_cannot_be_kept_is_refused_before_anything_is_written() -> None:
    large = dense_network(np.random.default_rng(3), (500, 500, 500, 500, 500, 500, 10))
    for config, network, error, says in (
        (replace(CONFIG, store_kind=0), STREAMED, UsageError, "store is memory on the chip; a board with"),
        (replace(CONFIG, store_kind=0, store_words=0), RESIDENT, UsageError, "store is none"),
        (CONFIG, large, CapacityError, r"takes \d+ passes, because .* the store of 32,768 words"),
    ):
        machine = Recording(config)
        with Accelerator(Session(machine)) as device, pytest.raises(error, match=says):
            device.load(network, keep=True)
        assert not machine.programmed and not machine.erased
    with Accelerator(Session(Recording())) as device, pytest.raises(UsageError, match="ends behind a layer"):
        device.load_program(stop_after(compile_network(RESIDENT, CONFIG), 0), keep=True)
