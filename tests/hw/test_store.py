"""Devices with a store: every network right however slow it is, in whatever order things are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.campaigns import some
from tests.draws import RNG
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after
from xnorcore.errors import CompileError, DeviceError, NotLoadedError
from xnorcore.isa.blocks import Block
from xnorcore.isa.check import validate_descriptors
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space, Status
from xnorcore.isa.timing import alone
from xnorcore.link.frames import encode_request
from xnorcore.link.session import Session
from xnorcore.link.transport import BITS_PER_BYTE
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import infer_head, read_requests, write_requests
from xnorcore.verify.ask import sim_url
from xnorcore.verify.case import draw
from xnorcore.verify.random_networks import dense_network, random_images
from xnorcore_hw.bench.held import held
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

from .slow_store import SlowTop
from .test_cycles import counted

SMALL = {"weight_depth": 64, "threshold_depth": 16, "act_depth": 2048, "store_words": 1 << 14}
SMALL |= {"program_depth": 512}  # as the tests of groups and of rounds have it: they share simulators
DEVICES = [
    DeviceConfig(Geometry(1, 8, 16), line_bytes=1000, **SMALL),
    DeviceConfig(Geometry(2, 8, 8), line_bytes=1000, column_group=4, threshold_share=2, **SMALL),
    DeviceConfig(Geometry(1, 12, 24), line_bytes=0, program_halves=1, **SMALL),
    DeviceConfig(Geometry(1, 16, 64), line_bytes=1000, threshold_share=4, **SMALL),
    DeviceConfig(Geometry(1, 4, 40), line_bytes=0, convolution=0, counters=0, **SMALL),
    DeviceConfig(
        Geometry(1, 8, 16),
        20,
        code_bits=8,
        result_lanes=2,
        value_depth=1024,
        scale_depth=256,
        row_sums=1,
        **SMALL,
    ),
    DeviceConfig(
        Geometry(2, 16, 8), 20, code_bits=6, result_lanes=4, scale_depth=128, column_group=8, **SMALL
    ),
    DeviceConfig(Geometry(1, 16, 32), 20, code_bits=3, result_lanes=16, convolution=0, line_bytes=0, **SMALL),
    DeviceConfig(Geometry(1, 8, 16), line_bytes=1000, **{**SMALL, "store_words": 1024}),
]
"""The last one's store holds parts of networks."""
SMALLEST = dense_network(np.random.default_rng(3), (400, 60, 40, 10))


def engine_of(config: DeviceConfig) -> SimTransport:
    options = SimOptions(config)
    return SimTransport(options, CompiledEngine(config, options.clock_hz, top=SlowTop))


@pytest.fixture(scope="module")
def slow() -> Iterator[tuple[SimTransport, Accelerator]]:
    transport = engine_of(DEVICES[0])
    with Accelerator(Session(transport)) as device:
        yield transport, device


def programs(config: DeviceConfig, seed: int, count: int) -> Iterator[Program]:
    """Yield programs whose weights come from the store."""
    number = 0
    while count:
        number += 1
        try:
            case = draw(seed, number, config)
            program = compile_network(case.network, config, case.at_once)
        except CompileError:
            continue
        if program.sections[0].descriptors[0].stream:
            count -= 1
            yield program


def some_images(network: Network, count: int = 5) -> NDArray:
    return random_images(np.random.default_rng(count), network, count)


@pytest.mark.parametrize("number", some([0, -1, *range(1, len(DEVICES) - 1)], always=1))
def test_random_networks(number: int) -> None:
    """One after the other on one device, each called twice, with a look at the counters between."""
    with Accelerator(Session(engine_of(DEVICES[number]))) as device:
        config = device.info.config
        assert config.store_words == DEVICES[number].store_words
        passes = set()
        for index, program in enumerate(programs(config, number % 6, 12)):
            passes.add(program.passes)
            images = some_images(program.network)
            wanted = golden.run(program.network, images)
            device.load_program(program, verify=index < 3)
            for _ in range(2):
                np.testing.assert_array_equal(device.infer(images), wanted)
                counters = device.counters
                if counters and not program.results_read:
                    causes = (
                        "busy",
                        "drain",
                        "fetch",
                        "hazard",
                        "port",
                        "wait_output",
                        "tail",
                        "wait_weights",
                    )
                    assert counters["active"] == sum(counters[cause] for cause in causes)
                    assert counters["wait_weights"] or config.result_lanes
        assert (max(passes) > 1) == (number < 0)


def test_more_tiles_than_the_ring_has_words(slow: tuple[SimTransport, Accelerator]) -> None:
    """A layer of 70 tiles, which a loop of 64 does not count; one image, and several beside each other."""
    _, device = slow
    network = dense_network(np.random.default_rng(4), (32, 560, 10))
    program, images = compile_network(network, device.info.config), some_images(network)
    tiles = [one.nest.count("tile") for one in program.sections[0].descriptors]
    assert tiles == [64, 6, 2] and program.streams
    with pytest.raises(CompileError, match=r"has 70 tiles, but the device takes 64 from a store at once"):
        first = program.sections[0].descriptors[0]
        whole = replace(first, nest=first.nest.with_loops(tile=(70, first.nest.step("tile"))))
        words, _ = replace(program.sections[0], descriptors=(replace(whole, end=True),)).encoded(
            program.regions, program.config.geometry.width
        )
        validate_descriptors([0] * HEADER.words + words, program.config, HEADER.words)
    device.load_program(program)
    for count in (1, len(images)):
        np.testing.assert_array_equal(device.infer(images[:count]), golden.run(network, images[:count]))


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", range(len(DEVICES)))
def test_many_random_networks(number: int, seed: int) -> None:
    """With those above 783 in all, each at another moment of the store's pauses."""
    with Accelerator(Session(engine_of(DEVICES[number]))) as device:
        for program in programs(device.info.config, 100 + 10 * number + seed, 25):
            images = some_images(program.network, 3)
            device.load_program(program, verify=False)
            np.testing.assert_array_equal(device.infer(images), golden.run(program.network, images))


def test_programs_that_end_early_and_resident_ones_between(slow: tuple[SimTransport, Accelerator]) -> None:
    _, device = slow
    config, images = device.info.config, some_images(SMALLEST)
    program, layers = compile_network(SMALLEST, config), golden.layers(SMALLEST, images)
    resident = dense_network(np.random.default_rng(0), (40, 12, 6))
    for stop in program.stops:
        for _ in range(2):
            device.load_program(stop_after(program, stop.index), verify=False)
            for _ in range(2):
                found = device.infer(images).reshape(layers[stop.index].shape)
                np.testing.assert_array_equal(found, layers[stop.index])
        device.load(resident)
        few = some_images(resident)
        np.testing.assert_array_equal(device.infer(few), golden.run(resident, few))


def test_reset_and_power_loss_in_the_middle(slow: tuple[SimTransport, Accelerator]) -> None:
    """A device that has forgotten the program says so; nothing is left of words that were on their way."""
    transport, device = slow
    program = compile_network(SMALLEST, device.info.config)
    images = some_images(SMALLEST, 2)
    wanted = golden.run(SMALLEST, images)
    wire = infer_head(program) + np.packbits(images, axis=-1, bitorder="little").tobytes()
    for cycles in (0, 90, 300, 777, 1500, 2500):
        device.load_program(program, verify=False)
        transport.write(encode_request(Command.INFER, 0x7777, wire))
        transport.read(cycles / transport.clock_hz)
        device.reset()
        with pytest.raises(NotLoadedError):
            device.infer(images)
        device.load_program(program, verify=False)
        np.testing.assert_array_equal(device.infer(images), wanted)
    transport.engine.reset()
    with pytest.raises(NotLoadedError, match="power loss or reset"):
        device.infer(images)


def test_run_begins_with_the_first_tiles(slow: tuple[SimTransport, Accelerator]) -> None:
    """RUN does what a batch did, any number of times and between batches."""
    _, device = slow
    whole = compile_network(SMALLEST, device.info.config)
    images = some_images(SMALLEST, 2)
    images[1] = images[0]  # the same in both regions
    for stop in whole.stops[:-1]:
        program = stop_after(whole, stop.index)
        place = program.results.base, program.results.words
        device.load_program(program, verify=False)
        for _ in range(2):
            device.infer(images)
            reads = list(read_requests(program.config, Space.ACTIVATIONS, 0, *place))
            wanted = b"".join(device.session.stream(reads))
            assert any(wanted)
            for _ in range(2):
                block = Block(Space.ACTIVATIONS, 0, place[0], bytes(len(wanted)))
                for request in write_requests(program.config, block, 500):
                    device.session.call(*request)
                device.session.call(Command.RUN, HEADER.words.to_bytes(2, "little"))
                assert b"".join(device.session.stream(reads)) == wanted


def check_flips(device: Accelerator, count: int) -> None:
    """Flip one bit of the stream after the other: all are errors, until they are right again."""
    session, config = device.session, device.info.config
    images = some_images(SMALLEST, 2)
    program, wanted = compile_network(SMALLEST, config), golden.run(SMALLEST, images)
    device.load_program(program, verify=False)
    last = int(np.frombuffer(program.sections[0].buffers[0].data, "<u4")[0])
    assert 1000 < last < 1 << 16
    # The length, a tile's, their check words, and the last one; and any others.
    places = [0, 1, 2, 3, last, *RNG.integers(2, last, count).tolist()]
    for place in places:
        for wrong in (1 << int(RNG.integers(32)), 0):
            head = bytes([Space.STORE, 0]) + place.to_bytes(2, "little")
            if wrong:
                word = int.from_bytes(session.call(Command.READ, head + b"\1\0"), "little")
            session.call(Command.WRITE, head + (word ^ wrong).to_bytes(4, "little"))
            session.call(Command.ARM, b"")
            if not wrong:
                np.testing.assert_array_equal(device.infer(images), wanted)
                continue
            with pytest.raises(DeviceError, match="BAD_PROGRAM"):
                device.infer(images)


def test_a_flipped_bit_is_an_error_and_never_a_score(slow: tuple[SimTransport, Accelerator]) -> None:
    check_flips(slow[1], 12)


def test_places_of_the_store(slow: tuple[SimTransport, Accelerator]) -> None:
    _, device = slow
    session, last = device.session, SMALL["store_words"] - 1
    for place, data in ((0, b"\1\2\3\4"), (last, b"\5\6\7\x08"), (77, bytes(range(40)))):
        address = place.to_bytes(2, "little")
        session.call(Command.WRITE, bytes([Space.STORE, 0]) + address + data)
        count = (len(data) // 4).to_bytes(2, "little")
        assert session.call(Command.READ, bytes([Space.STORE, 0]) + address + count) == data
    for bank, place in ((1, 0), (0, last + 1), (255, 5)):
        for command, rest in ((Command.WRITE, bytes(4)), (Command.READ, b"\1\0")):
            with pytest.raises(DeviceError) as refused:
                session.call(command, bytes([Space.STORE, bank]) + place.to_bytes(2, "little") + rest)
            assert refused.value.status == Status.BAD_ADDRESS
    for space in (5, 6, 7, 8, 12):
        with pytest.raises(DeviceError) as refused:
            session.call(Command.READ, bytes([space, 0, 0, 0, 1, 0]))
        assert refused.value.status == Status.BAD_ADDRESS


@pytest.mark.parametrize("number", some(range(2), always=1))
def test_cycles_are_those_expected(number: int) -> None:
    """All exact but the waits for weights, for which there is a bound."""
    with held(DEVICES[number]) as device:
        config = device.info.config
        for program in programs(config, 40 + number, 5):
            found, expected = counted(device, program, 2), alone(program.timed[0], config, 2)
            assert replace(found, wait_weights=expected.wait_weights) == expected
            tiles = sum(one.nest.count("tile") for one in program.sections[0].descriptors)
            assert found.wait_weights <= expected.wait_weights <= found.wait_weights + 12 * tiles


def test_a_store_is_loaded_at_the_speed_of_the_wire() -> None:
    """Over a UART of four clocks a bit, the fastest; of a larger network the beginning counts less."""
    config = replace(DEVICES[0], line_bytes=0)
    network = dense_network(RNG, (784, 96, 10))
    baud = 3_000_000
    with Accelerator.open(sim_url(config, link="uart", clock_hz=str(4 * baud), baud=str(baud))) as device:
        before, began = device.session.stats.bytes_sent, device.session.transport.now()
        device.load(network, verify=False)
        could = (device.session.transport.now() - began) * baud / BITS_PER_BYTE
        assert device.program.streams
        assert device.session.stats.bytes_sent - before > 0.9 * could
