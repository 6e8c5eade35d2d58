"""Several images per row share the weights that come from a store: programs, driver, interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import fitted, grouped, largest, most_per_row, variant
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import CompileError, NotLoadedError, UsageError
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER
from xnorcore.isa.protocol import CRC_BYTES, HEADER_BYTES, Command, Space
from xnorcore.isa.stores import StoreKind
from xnorcore.link.session import Session
from xnorcore.model.layers import InputSpec
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.ahead import ahead
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.runtime.requests import filled, image_requests
from xnorcore.verify.case import draw
from xnorcore.verify.random_networks import dense_network, random_images

SMALL: dict[str, Any] = {
    "weight_depth": 64,
    "threshold_depth": 16,
    "act_depth": 2048,
    "store_words": 1 << 14,
    "counters": 0,
}
DEVICES = [
    DeviceConfig(Geometry(1, 8, 16), line_bytes=1000, **SMALL),
    DeviceConfig(Geometry(2, 8, 8), line_bytes=1000, column_group=4, threshold_share=2, **SMALL),
    DeviceConfig(Geometry(1, 12, 24), line_bytes=0, program_halves=1, **SMALL),
    DeviceConfig(Geometry(3, 16, 16), line_bytes=512, column_align=4, **SMALL),
    DeviceConfig(Geometry(1, 4, 32), line_bytes=512, whole_windows=1, act_ports=1, **SMALL),
]
NETWORK = dense_network(np.random.default_rng(3), (400, 60, 40, 10))
LFC = DeviceConfig(
    Geometry(1, 16, 64), acc_width=16, weight_depth=512, threshold_depth=256, act_depth=4096,
    line_bytes=2048, column_align=4, threshold_share=4, store_words=1 << 22, store_kind=StoreKind.SDRAM,
)  # fmt: skip


def interpreted(config: DeviceConfig) -> tuple[InterpretedDevice, Accelerator]:
    device = InterpretedDevice(config)
    return device, Accelerator(Session(device))


@pytest.mark.parametrize("config", some(DEVICES, 2), ids=lambda config: str(config.geometry))
def test_every_image_has_its_own_results(config: DeviceConfig) -> None:
    """Of any number in a call, one after the other on one device: an image among others is itself."""
    _, accelerator = interpreted(config)
    rows, seen = config.geometry.rows, 0
    for number in range(25):
        network = draw(5, number, config).network if number else NETWORK
        try:
            program = compile_network(network, config)
        except CompileError:
            continue
        if (most := most_per_row(program)) < 2:
            continue
        seen += 1
        accelerator.load_program(program)
        for count in (1, most * rows, 2 * most * rows + 1, 2):
            images = random_images(np.random.default_rng(count), network, count)
            wanted = golden.run(network, images)
            np.testing.assert_array_equal(accelerator.infer(images), wanted)
            assert accelerator.running is not None and accelerator.program is program
            assert accelerator.running.per_row == fitted(program, count).per_row
        # Neighbours change places, and so do their results, and nothing else.
        swapped = images[::-1]
        np.testing.assert_array_equal(accelerator.infer(swapped), wanted[::-1])
        assert not accelerator.load_program(program), "it is there, whatever the last call has made of it"
    assert seen


@pytest.mark.parametrize("size", [24, 30, 33, 40, 64])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_where_images_lie(size: int, bits: int) -> None:
    """One image begins where the one before ends, in a byte of its planes, or in a word."""
    network = dense_network(np.random.default_rng(size), (size, 70, 70, 9))
    network = replace(network, input=InputSpec((size,), bits))
    for config in (DEVICES[0], DEVICES[4]):
        _, accelerator = interpreted(config)
        program = compile_network(network, config)
        assert most_per_row(program) > 1
        unit = 8 if config.offset_bits else config.geometry.width
        values = -(-size // unit) * unit
        assert grouped(program, 3).image_bytes == (values // 8 if bits == 1 else values)
        accelerator.load_program(program)
        images = random_images(np.random.default_rng(bits), network, 5)
        np.testing.assert_array_equal(accelerator.infer(images), golden.run(network, images))


def test_of_use_only_where_weights_come_from_a_store() -> None:
    small = dense_network(np.random.default_rng(0), (16, 8, 4))
    config = DEVICES[0]
    assert most_per_row(compile_network(small, config)) == 1
    assert most_per_row(compile_network(NETWORK, replace(config, store_words=0))) == 1
    assert most_per_row(compile_network(NETWORK, replace(config, convolution=0, line_bytes=0))) == 1
    program = compile_network(NETWORK, config)
    most = most_per_row(program)
    assert most > 1 and largest(program).per_row == most
    assert most_per_row(replace(program, most=3)) == 3
    assert most_per_row(compile_network(NETWORK, config, per_row=2)) == 2
    assert most_per_row(stop_after(program, 0)) == 1
    assert most_per_row(grouped(program, 2)) == 2
    for per_row in (0, -1, 1 << 12):
        with pytest.raises(UsageError, match=f"{per_row} images per row, but .* take 1 to"):
            grouped(program, per_row)


def test_a_call_is_cut_into_equal_batches() -> None:
    program = compile_network(NETWORK, DEVICES[0], per_row=8)
    assert [fitted(program, count).per_row for count in (0, 1, 7, 8, 9, 17, 1000)] == [1, 1, 7, 8, 5, 6, 8]
    wide = compile_network(NETWORK, DEVICES[1], per_row=4)
    assert [fitted(wide, count).per_row for count in (1, 2, 3, 8, 9, 24)] == [1, 1, 2, 4, 3, 4]


def test_each_number_has_its_name() -> None:
    program = compile_network(NETWORK, DEVICES[0], per_row=4)
    names = [grouped(program, count).identifier for count in range(1, 5)]
    assert len(set(names)) == 4
    for count, name in enumerate(names, 1):
        found = variant(program, name)
        assert found is not None and found.per_row == count
    assert variant(program, bytes(8)) is None
    other = compile_network(dense_network(np.random.default_rng(4), (400, 60, 40, 10)), DEVICES[0])
    assert variant(other, names[2]) is None


def test_memory_bounds_them() -> None:
    for depth in (150, 300, 700):
        config = replace(DEVICES[0], act_depth=depth)
        program = compile_network(NETWORK, config)
        most = most_per_row(program)
        assert grouped(program, most).used["act_depth"] <= depth
        if most > 1:
            assert grouped(program, most).used["act_depth"] == largest(program).used["act_depth"]
    deep = most_per_row(compile_network(NETWORK, replace(DEVICES[0], act_depth=8192)))
    assert deep > most_per_row(compile_network(NETWORK, replace(DEVICES[0], act_depth=300))) > 1


def test_program_memory_bounds_them() -> None:
    """Descriptors with a loop over images take more words."""
    network = dense_network(np.random.default_rng(0), (300, 60, 50, 40, 30, 20, 10))
    program = compile_network(network, DEVICES[0])
    words = largest(program).used["program_depth"]
    assert words > program.used["program_depth"]
    for depth, shared in ((words, True), (words - 1, False)):
        found = compile_network(network, replace(DEVICES[0], program_depth=depth))
        assert (most_per_row(found) > 1) == shared


def test_a_wrong_program_is_refused() -> None:
    """Images, maps and results of more images than there is room for."""
    program = largest(compile_network(NETWORK, replace(DEVICES[0], act_depth=300)))
    words = program.contents(Space.PROGRAM, 0)
    header = HEADER.unpack(words[: HEADER.words])
    validate_program(words, program.config)
    for changes in ({"image_bytes": 2 * header["image_bytes"]}, {"out_words": 4 * header["out_words"]}):
        wrong = HEADER.pack({**header, **changes}) + words[HEADER.words :]
        if "image_bytes" in changes:
            wrong = HEADER.pack({**header, **changes, "in_base1": 250}) + words[HEADER.words :]
        with pytest.raises(CompileError, match="memory ends at 299"):
            validate_program(wrong, program.config)


def test_lfc_at_the_speed_of_the_wire() -> None:
    """By computation: the store gives 362 images/s by themselves, and more than a wire carries together."""
    program = compile_network(zoo.load("mnist-lfc"), LFC)
    assert 75e6 * program.batch / program.cycles < 400
    together = largest(program)
    assert together.used["act_depth"] <= LFC.act_depth
    assert 75e6 * together.batch / together.cycles > 3031
    # The last image's latency is not paid by one that is alone.
    assert fitted(program, 1) is program


def test_a_device_that_forgets() -> None:
    device, accelerator = interpreted(DEVICES[0])
    program = compile_network(NETWORK, DEVICES[0], per_row=6)
    accelerator.load_program(program)
    images = random_images(np.random.default_rng(1), NETWORK, 12)
    accelerator.infer(images)
    device._armed = None
    with pytest.raises(NotLoadedError, match="load it again"):
        accelerator.infer(images)
    accelerator.load_program(program)
    accelerator.infer(images[:1])
    device.machine.memories.write(replace(program.blocks[-1], address=0, data=bytes(4 * HEADER.words)))
    device._armed = None
    with pytest.raises(NotLoadedError, match="lost"):
        accelerator.infer(images)


def test_nothing_of_the_store_is_written_again() -> None:
    device, accelerator = interpreted(DEVICES[0])
    program = compile_network(NETWORK, DEVICES[0], per_row=6)
    accelerator.load_program(program)
    sent: list[tuple[int, int]] = []
    execute = device._execute

    def listen(command: int, payload: bytes) -> Any:
        sent.append((command, payload[0] if payload else 0))
        return execute(command, payload)

    device._execute = listen  # type: ignore[method-assign]
    images = random_images(np.random.default_rng(1), NETWORK, 12)
    for _ in range(2):
        accelerator.infer(images)
    writes = [space for command, space in sent if command == Command.WRITE]
    assert set(writes) == {Space.PROGRAM}, "and of the program only once"
    assert sum(command == Command.ARM for command, _ in sent) == 1


def test_a_network_that_is_kept_starts_with_one_image_per_row() -> None:
    """What calls of several images make of it is in the device's memories only."""
    machine, accelerator = interpreted(replace(DEVICES[0], store_words=1 << 15, store_kind=StoreKind.FLASH))
    accelerator.load(NETWORK, keep=True)
    kept, name = machine.machine.memories.store.copy(), accelerator.program.identifier
    images = random_images(np.random.default_rng(1), NETWORK, 12)
    for _ in range(2):
        np.testing.assert_array_equal(accelerator.infer(images), golden.run(NETWORK, images))
        assert accelerator.running is not None and accelerator.running.per_row > 1
        assert not accelerator.load(NETWORK, keep=True)
        np.testing.assert_array_equal(machine.machine.memories.store, kept)
        machine.restart()
        accelerator = Accelerator(Session(machine))
        assert accelerator.info.network_id == name
        assert not accelerator.load(NETWORK)


def test_what_a_device_takes_ahead() -> None:
    """Frames of the next batch whose answers have a place, and the last one of the batch before."""
    program = compile_network(NETWORK, replace(DEVICES[0], fifo_bytes=512), per_row=40)
    frame = program.config.max_frame - HEADER_BYTES - CRC_BYTES
    assert ahead(program, frame) == 0
    for per_row in (1, 2, 3, 10, 20):
        one = grouped(program, per_row)
        wire = filled(one, np.zeros((2 * per_row, 50), np.uint8))
        expected: list[int] = []
        sizes = [len(payload) + 10 for _, payload in image_requests(one, wire, frame, expected)]
        count = expected.index(per_row) + 1 if per_row in expected else 0
        found = ahead(one, frame)
        if per_row == 1 or not count:
            assert found == 0
        else:
            assert found == sizes[count - 1] + sum(sizes[: min(count, 2)])
