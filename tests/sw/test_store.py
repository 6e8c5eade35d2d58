"""Weights that exceed the buffers: when they come from a store, and how they lie there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.draws import RNG
from tests.hw.cnns import random_cnn
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after, sums_network, sums_of
from xnorcore.errors import (
    CapacityError,
    CompileError,
    DeviceError,
    GeometryError,
    ProtocolVersionError,
    VerifyError,
)
from xnorcore.isa.blocks import Block
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.pages import POLYNOMIAL
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, DeviceInfo, Space
from xnorcore.isa.stores import FLASHES, StoreKind
from xnorcore.isa.stream import most_words, stream_of, tile_at
from xnorcore.isa.sums import checked, stream_sum
from xnorcore.link.session import Session
from xnorcore.model.layers import has_weights
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.verify.case import draw
from xnorcore.verify.random_networks import dense_network, random_images

SMALL = {"weight_depth": 64, "threshold_depth": 16, "act_depth": 2048, "line_bytes": 1000, "counters": 0}


def config(columns: int = 8, width: int = 8, rows: int = 1, **options: int) -> DeviceConfig:
    return DeviceConfig(Geometry(rows, columns, width), **{**SMALL, "store_words": 1 << 14} | options)


def streams(program: Program) -> bool:
    (found,) = {one.stream for section in program.sections for one in section.descriptors}
    return found


def stored(program: Program) -> np.ndarray:
    words = np.zeros(program.config.store_words, np.uint32)
    data = np.array(program.contents(Space.STORE, 0), np.uint32)
    words[: len(data)] = data
    return words


def test_the_store_is_taken_where_the_buffers_are_too_small() -> None:
    rng = np.random.default_rng(0)
    fits, large = dense_network(rng, (100, 30, 10)), dense_network(rng, (300, 100, 10))
    assert not streams(compile_network(fits, config(weight_depth=256)))
    program = compile_network(large, config())
    assert streams(program) and program.bytes_per_call == 0
    # Other ways to hold it: larger buffers; passes where store or rings are too small, or no store is there.
    assert not streams(compile_network(large, config(weight_depth=1024, threshold_depth=64)))
    none = compile_network(large, config(store_words=0))
    assert none.passes > 1 and "store_words" not in none.used
    several = compile_network(large, config(store_words=1024))
    assert streams(several) and several.passes == 2 and several.bytes_per_call > 0
    # A store that holds less than the buffers do.
    assert not streams(compile_network(large, config(store_words=1024, weight_depth=512)))
    longer = dense_network(rng, (8 * (most_words(config()) + 1), 30))
    assert compile_network(longer, config()).passes > 1
    exactly = dense_network(rng, (8 * most_words(config()), 30))
    assert streams(compile_network(exactly, config()))
    with pytest.raises(CapacityError, match="80 words per weight buffer"):
        compile_network(dense_network(rng, (640, 30)), config())


@pytest.mark.parametrize(
    ("columns", "width"), [(4, 8), (8, 16), (8, 24), (4, 32), (8, 40), (4, 64), (16, 128)]
)
def test_the_stream_has_all_words_in_the_order_of_their_use(columns: int, width: int) -> None:
    rng, device = np.random.default_rng(columns), config(columns, width, line_bytes=0, store_words=1 << 16)
    network = dense_network(rng, (8 * width, 9 * columns, 10))
    program, plain = (
        compile_network(network, device),
        compile_network(network, replace(device, weight_depth=4096, threshold_depth=64)),
    )
    assert streams(program) and not streams(plain)
    assert program.used["store_words"] == stored(program)[0] + 1
    store, place = stream_of(stored(program), device), 1
    columns_of = [plain.contents(Space.WEIGHTS, column) for column in range(columns)]
    starts_of = [plain.contents(Space.THRESHOLDS, column) for column in range(columns)]
    first = tile = 0
    while place <= store[0]:
        held, place = tile_at(store, place, device)
        weights, starts = held.weights, held.starts
        for column in range(columns):
            words = [int.from_bytes(word.tobytes(), "little") for word in weights[column]]
            assert words == columns_of[column][first : first + len(words)]
            assert starts[column, 0] & 0xFFFF_FFFF == starts_of[column][tile]
        first, tile = first + weights.shape[1], tile + 1
    assert first == len(columns_of[0]) and tile == len(starts_of[0])


def test_random_networks_on_an_interpreter() -> None:
    """All layers and sums of each; a program that stops early repeats what it has used."""
    count = 0
    for number in range(24):
        rows, width = 1 + number % 3, (8, 16, 24)[number % 3]
        device = config(8, width, rows, store_words=1 << 16, line_bytes=0 if width == 24 else 1000)
        try:
            case = draw(9, number, device)
            program = compile_network(case.network, device, case.at_once)
        except CompileError:
            continue
        if not streams(program):
            continue
        count += 1
        images = random_images(np.random.default_rng(number), case.network, 5)
        with Accelerator(Session(InterpretedDevice(device))) as driver:
            layers = golden.layers(case.network, images)
            driver.load_program(program)
            for stop in program.stops:
                driver.load_program(stop_after(program, stop.index))
                found = driver.infer(images).reshape(layers[stop.index].shape)
                np.testing.assert_array_equal(found, layers[stop.index])
            index = next(i for i, layer in enumerate(case.network.layers) if has_weights(layer))
            ending = sums_of(program, index)
            driver.load_program(ending)
            found, wanted = driver.infer(images), golden.run(sums_network(case.network, index), images)
            np.testing.assert_array_equal(found, wanted[:, : found.shape[1]])
            driver.load_program(program)
            np.testing.assert_array_equal(driver.infer(images), golden.run(case.network, images))
    assert count >= 6


def test_passes_through_a_store() -> None:
    """Fewer than through the buffers, each of what the store holds, in one RUN."""
    device = config(8, 16, 2, store_words=1024)
    wide = [random_cnn(seed, channels=60) for seed in range(60)]
    dense = [dense_network(np.random.default_rng(seed), (400, 150, 90, 70, 12)) for seed in range(2)]
    count = 0
    for seed, network in enumerate([*wide, *dense]):
        try:
            program = compile_network(network, device)
        except CompileError:
            continue
        if program.passes == 1 or not streams(program):
            continue
        count += 1
        images = random_images(np.random.default_rng(seed), network, 5)
        assert all(len(part.entries) == 1 for part in program.later)
        for section in program.sections:
            assert sum(len(block.data) for block in section.buffers) <= 4 * device.store_words
        with contextlib.suppress(CapacityError):
            assert compile_network(network, replace(device, store_words=0)).passes > program.passes
        with Accelerator(Session(InterpretedDevice(device))) as driver:
            layers = golden.layers(network, images)
            for stop in program.stops:
                driver.load_program(stop_after(program, stop.index))
                found = driver.infer(images).reshape(layers[stop.index].shape)
                np.testing.assert_array_equal(found, layers[stop.index])
    assert count >= 6


def test_flash_holds_all_of_a_network_or_nothing() -> None:
    large = dense_network(np.random.default_rng(0), (300, 100, 10))
    device = config(store_words=1 << 14, store_kind=StoreKind.FLASH)
    assert streams(compile_network(large, device))
    assert compile_network(large, device).used["store_words"] > 2048
    program = compile_network(large, replace(device, store_words=2048))
    assert program.passes > 2 and not streams(program)


def test_a_store_that_holds_something_else_is_seen() -> None:
    program = compile_network(dense_network(np.random.default_rng(1), (200, 60, 10)), config())
    device = InterpretedDevice(program.config)
    wrong = device.machine.memories.write

    def write(block: Block) -> None:
        data = bytearray(block.data)
        if block.space == Space.STORE and block.address > 1:
            data[5] ^= 4
        wrong(replace(block, data=bytes(data)))

    device.machine.memories.write = write  # type: ignore[method-assign]
    with (
        Accelerator(Session(device)) as driver,
        pytest.raises(VerifyError, match=r"store bank 0, address \d+: wrote"),
    ):
        driver.load_program(program)


def test_a_flipped_bit_is_an_error_and_never_a_score() -> None:
    network = dense_network(np.random.default_rng(1), (200, 60, 10))
    device = InterpretedDevice(config())
    store, images = device.machine.memories.store, random_images(np.random.default_rng(1), network, 2)
    with Accelerator(Session(device)) as driver:
        driver.load(network)
        wanted = golden.run(network, images)
        np.testing.assert_array_equal(driver.infer(images), wanted)
        last = int(store[0])
        for place in (0, 1, 2, 3, last, *RNG.integers(2, last, 40)):
            bit = np.uint32(1 << int(RNG.integers(32)))
            store[place] ^= bit
            driver.session.call(Command.INFO, b"")
            with pytest.raises(DeviceError, match="BAD_PROGRAM"):
                driver.infer(images)
            store[place] ^= bit
        driver.session.call(Command.INFO, b"")
        np.testing.assert_array_equal(driver.infer(images), wanted)


def test_a_sum_sees_each_wrong_word() -> None:
    """The definition, word after word; and what it does not see."""

    def plainly(words: np.ndarray) -> int:
        total = 0
        for word in words.tolist():
            total = (total << 1) % (1 << 32) ^ (POLYNOMIAL if total >> 31 else 0) ^ word
        return total

    for count in (1, 2, 3, 8, 63, 1000):
        words = RNG.integers(1 << 32, size=count, dtype=np.uint32)
        assert stream_sum(words) == plainly(words)
        block = checked(words)
        assert len(block) == count + 1 and (block[:-1] == words).all() and stream_sum(block) == 0
        for place in {0, count // 2, count}:
            wrong = block.copy()
            wrong[place] ^= RNG.integers(1, 1 << 32, dtype=np.uint32)
            assert stream_sum(wrong)
    pair = np.array([1 << 3, 1 << 4, 0], np.uint32)
    assert stream_sum(block[-3:] ^ pair) == stream_sum(block[-3:])


def test_a_device_that_does_not_check_its_store_is_refused() -> None:
    for kind in StoreKind:
        device = config(store_kind=kind)
        said = bytearray(DeviceInfo(device).pack())
        assert DeviceInfo.unpack(bytes(said)).config == device
        assert said[35] & 64 == (0 if kind in FLASHES else 64)
        said[35] &= ~64 & 255
        if kind not in FLASHES:
            with pytest.raises(ProtocolVersionError, match="does not check what its store holds"):
                DeviceInfo.unpack(bytes(said))


def test_what_a_program_says_of_it() -> None:
    program = compile_network(dense_network(np.random.default_rng(1), (200, 60, 10)), config())
    shown = listing(program)
    assert all(one["stream"] for section in shown["passes"] for one in section["descriptors"])
    assert any("words from the store" in line for line in listing_lines(shown))
    words = program.contents(Space.PROGRAM, 0)
    reaches = validate_program(words, program.config)
    assert {(reach.weights.start, reach.starts) for reach in reaches} == {(0, range(1))}
    for changed, message in (
        ({"store_words": 0}, r"takes weights from a store, which the device has not \(store_words=0\)"),
        ({"weight_depth": 16}, "weight_depth is 16"),
    ):
        with pytest.raises((CompileError, GeometryError), match=message):
            validate_program(words, replace(program.config, **changed))
    words[14] |= 1 << 16
    with pytest.raises(CompileError, match="but has a base in their buffers"):
        validate_program(words, program.config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store_words": 1000}, "store_words is 1000, but must be 1024 to 16777216"),
        (
            {"store_words": 5000},
            "store_words is 5000, but must be a power of two on a device with a store; try 8192",
        ),
        (
            {"store_words": 4096, "weight_depth": 768},
            "weight_depth is 768, but must be a power of two .*; try 1024",
        ),
        ({"store_words": 4096, "threshold_depth": 100}, "threshold_depth is 100, but .*; try 128"),
        ({"store_kind": 2}, "store_kind is 2, flash, but must be 0 without store_words"),
        ({"store_words": 4096, "store_kind": 6}, "store_kind is 6, but must be 0 to 5"),
    ],
)
def test_illegal_stores(options: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        DeviceConfig.parse(**options)


def test_a_device_without_a_store_is_the_same_as_ever() -> None:
    digests = {DeviceConfig(store_words=2048, store_kind=kind).digest() for kind in StoreKind}
    assert len({DeviceConfig().digest(), *digests}) == 1 + len(StoreKind)
    values = asdict(DeviceConfig())
    del values["store_words"], values["store_kind"], values["code_bits"], values["row_sums"]
    del values["result_lanes"], values["value_depth"], values["scale_depth"], values["packed_rows"]
    del values["kept_words"]
    assert DeviceConfig().digest() == hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()[:8]
