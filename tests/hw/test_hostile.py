"""Programs that nobody should load: the device names them, ends them, and RESET gets through to it."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.check import validate_descriptors
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, HEADER, WIDE_WORDS, pack_descriptor
from xnorcore.isa.protocol import Command, Space, Status
from xnorcore.link.frames import decode_response, encode_request
from xnorcore.model.bits import pack_images
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator as Driver
from xnorcore.runtime.requests import infer_head
from xnorcore_hw.shells.framed import FramedCore

from .networks import random_images, random_network
from .streams import put, shared
from .test_core import Request, exchange, load_requests, small_config

CONFIG = small_config(1, 8, 8, weight_depth=64, threshold_depth=16, act_depth=64, program_depth=64)
DENSE = replace(CONFIG, line_bytes=0, convolution=0)


def words_at(address: int, words: list[int]) -> Request:
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return Command.WRITE, bytes([Space.PROGRAM, 0, *address.to_bytes(2, "little")]) + data


def run_at(address: int) -> Request:
    return Command.RUN, address.to_bytes(2, "little")


def network_and_wire(config: DeviceConfig, seed: int = 3):
    rng = np.random.default_rng(seed)
    network = random_network(rng, (20, 12, 5))
    images = random_images(rng, network, 2)
    return network, compile_network(network, config), images, pack_images(network, images).tobytes()


@pytest.mark.parametrize("config", some([replace(DENSE, program_halves=1), CONFIG], 1))
def test_a_program_without_an_end_is_named_and_ends(config: DeviceConfig) -> None:
    """Its descriptors run out of program memory; the same, repaired, gives the right scores again."""
    network, program, images, wire = network_and_wire(config)
    load, infer = load_requests(program), (Command.INFER, infer_head(program) + wire)
    short = DESCRIPTOR.words - len(WIDE_WORDS)
    last = program.contents(Space.PROGRAM, 0)[-short:]
    place = len(program.contents(Space.PROGRAM, 0)) - short
    endless = [last[0] & ~1, *last[1:]] * ((config.program_depth - place) // short)
    spoil = words_at(place, endless)
    answers = exchange(
        config, [*load, spoil, (Command.ARM, b""), infer, infer, (Command.INFO, b""), *load, infer]
    )
    statuses = [Status(status).name for _, status in answers]
    first = len(load)
    assert statuses[:first] == ["OK"] * first
    assert statuses[first:] == ["OK", "OK", "BAD_PROGRAM", "BAD_PROGRAM", "OK", *["OK"] * first, "OK"]
    np.testing.assert_array_equal(program.decode(answers[-1][0], 2), golden.run(network, images))


LAYER = {"run_last": 4, "out_base": 20, "end": 1}


@pytest.mark.parametrize(
    ("config", "place", "layer", "status"),
    some(
        [
            (CONFIG, 12, LAYER, "OK"),
            (CONFIG, 64 - 6, LAYER, "OK"),
            (CONFIG, 64 - 5, LAYER, "BAD_PROGRAM"),
            (CONFIG, 64 - 6, LAYER | {"end": 0}, "BAD_PROGRAM"),
            (CONFIG, 64 - 12, LAYER | {"end": 0}, "BAD_PROGRAM"),
            (CONFIG, 12, LAYER | {"run_last": 64}, "BAD_PROGRAM"),
            (CONFIG, 12, LAYER | {"tile_last": 1 << 15}, "BAD_PROGRAM"),
            (CONFIG, 12, LAYER | {"weight_base": 64}, "BAD_PROGRAM"),
            (DENSE, 12, LAYER | {"x_last": 1}, "BAD_PROGRAM"),
            (DENSE, 12, LAYER | {"in_base": 64}, "BAD_PROGRAM"),
            (CONFIG, 12, LAYER | {"score": 1, "slices": 12}, "OK"),
            # It cannot tell that a score without slices is wrong, but it must not wait for them.
            (CONFIG, 12, LAYER | {"score": 1, "slices": 0}, "OK"),
            (replace(CONFIG, act_depth=72), 12, LAYER | {"in_base": 68}, "BAD_PROGRAM"),
            (replace(CONFIG, act_depth=72), 12, LAYER | {"in_base": 67}, "OK"),
            (replace(CONFIG, weight_depth=72), 12, LAYER | {"weight_base": 68}, "BAD_PROGRAM"),
            (replace(CONFIG, threshold_depth=17), 12, LAYER | {"threshold_base": 17}, "BAD_PROGRAM"),
        ],
        14,
        many=True,
    ),
)
def test_run_names_a_bad_descriptor(config: DeviceConfig, place: int, layer: dict, status: str) -> None:
    words = pack_descriptor(layer)[: config.program_depth - place]
    good = pack_descriptor(LAYER)
    requests = [words_at(place, words), run_at(place), (Command.INFO, b""), words_at(12, good), run_at(12)]
    answers = exchange(config, requests)
    assert [Status(found).name for _, found in answers] == ["OK", status, "OK", "OK", "OK"]


@pytest.mark.campaign
@pytest.mark.parametrize("seed", some(range(2), 1))
def test_what_the_device_names_the_validator_refuses(seed: int) -> None:
    """Random descriptors, nearly legal: the device ends them all, and what passes the validator is OK."""
    pick = random.Random(seed)
    config = replace(DENSE if seed % 2 else CONFIG, act_depth=pick.choice([64, 70]), weight_depth=66)
    requests, passes = [], []
    for _ in range(16):
        layer = LAYER | {"end": pick.random() < 0.8, "run_last": pick.choice([0, 3, 9, 70])}
        layer |= {"tile_last": pick.choice([0, 1, 2]), "plane_last": pick.choice([0, 1])}
        layer |= {"weight_base": pick.choice([0, 30, 60, 64]), "in_base": pick.choice([0, 2, 60, 64, 66])}
        layer |= {"threshold_base": pick.choice([0, 14]), "double": pick.randrange(2)}
        layer |= {"delta_plane": pick.choice([0, 1, -4]), "delta_tile": pick.choice([0, -9, 1])}
        layer |= pick.choice([{}, {"score": 1, "slices": pick.choice([0, 1, 11, 12, 60])}])
        words = pack_descriptor(layer)
        memory = [0] * config.program_depth
        place = pick.choice([12, 12, 64 - len(words), 60])
        memory[place : place + len(words)] = words
        memory = memory[: config.program_depth]
        requests += [words_at(12, memory[12:]), run_at(place)]
        try:
            validate_descriptors(memory, config, place)
            passes.append(True)
        except CompileError:
            passes.append(False)
    statuses = [Status(status) for _, status in exchange(config, requests, cycles=100_000)][1::2]
    assert any(passes) and Status.BAD_PROGRAM in statuses
    for passed, status in zip(passes, statuses, strict=True):
        assert status == Status.OK if passed else status in (Status.OK, Status.BAD_PROGRAM)


LONG = {
    f"{loop}_last": (1 << DESCRIPTOR.fields[f"{loop}_last"].width) - 1 for loop in ("x", "y", "col", "row")
}


def converse(config: DeviceConfig, script, cycles: int = 60_000) -> list[bytes]:
    """Let `script` send wire bytes to an accelerator; return the frames that it sends."""
    core = shared(FramedCore, config)
    dut = core.dut
    wire = bytearray()
    done: list[bool] = []

    async def host(ctx) -> None:
        async def send(command: int, payload: bytes, tag: int) -> None:
            await put(ctx, dut.i, encode_request(command, tag, payload))

        async def until(tag: int) -> None:
            while not any(answer and answer[1] == tag for answer in map(decode_response, frames(wire))):
                await ctx.tick()

        await script(ctx, send, until)
        done.append(True)

    async def listen(ctx) -> None:
        ctx.set(dut.o.ready, 1)
        while not done:
            *_, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            wire.extend([byte] * valid)

    core.run(host, listen, cycles=cycles)
    return frames(wire)


def frames(wire: bytes | bytearray) -> list[bytes]:
    return [bytes(frame) for frame in bytes(wire).split(b"\0")[:-1] if frame]


@pytest.mark.parametrize("kind", some(["run", "infer", "full"], 1))
def test_reset_ends_a_program_that_never_ends(kind: str) -> None:
    """It runs for ever (2**29 beats); after RESET the device is disarmed, and computes as if nothing was."""
    config = replace(CONFIG, fifo_bytes=512)
    network, program, images, wire = network_and_wire(config)
    load = [request for request in load_requests(program) if request[1][:1] != bytes([Space.ACTIVATIONS])]
    entry = program.contents(Space.PROGRAM, 0)
    header = HEADER.unpack(entry[: HEADER.words])
    forever = pack_descriptor(LONG | {"tile_last": 60, "out_base": 20, "end": 1})

    async def script(ctx, send, until) -> None:
        for tag, (command, payload) in enumerate(load):
            await send(command, payload, tag)
            await until(tag)
        await send(*words_at(12, forever), 100)
        if kind == "infer":
            await send(Command.ARM, b"", 101)
            await until(101)
            await send(Command.INFER, infer_head(program) + wire, 102)
        else:
            await send(*run_at(12), 102)
        for _ in range(500):
            await ctx.tick()
        waiting = 60 if kind == "full" else 3
        for _ in range(waiting):
            await send(Command.INFO, b"", 103)
        await send(Command.RESET, b"", 104)
        if kind == "full":
            await ctx.tick().repeat(20)
            await send(Command.RESET, b"", 104)
        await until(104)
        await send(Command.INFER, infer_head(program) + wire, 105)
        await until(105)
        for tag, (command, payload) in enumerate(load, 110):
            await send(command, payload, tag)
            await until(tag)
        await send(Command.INFER, infer_head(program) + wire, 200)
        await until(200)

    assert header["entry"] == 12
    answers = {a[1]: a for a in map(decode_response, converse(config, script)) if a}
    assert not {102, 103} & answers.keys()
    assert answers[104][0] == Command.RESET and answers[104][3] == Status.OK
    assert answers[105][3] == Status.NOT_ARMED
    assert answers[200][3] == Status.OK
    np.testing.assert_array_equal(program.decode(answers[200][2], 2), golden.run(network, images))


def test_reset_in_the_middle_of_an_answer() -> None:
    """The rest of the answer does not come, and what came of it is no good frame."""

    async def script(ctx, send, until) -> None:
        await send(Command.READ, bytes([Space.ACTIVATIONS, 0, 0, 0, 60, 0]), 7)
        await ctx.tick().repeat(60)
        await send(Command.RESET, b"", 8)
        await until(8)
        await send(Command.INFO, b"", 9)
        await until(9)

    answers = [decode_response(frame) for frame in converse(CONFIG, script)]
    assert [answer and answer[1] for answer in answers] == [None, 8, 9]


def test_the_counts_of_frames_stop_at_their_largest() -> None:
    with Driver.open("sim:rows=1,columns=4,width=8,link=direct") as device:
        device.session.transport.write(b"\1\0" * 66_000)
        counters = device.counters
    assert counters is not None and counters["frames_bad"] == 65_535 and 0 < counters["frames_good"] < 20


def test_reset_with_a_payload_is_refused_in_its_turn() -> None:
    async def script(ctx, send, until) -> None:
        await send(Command.INFO, b"", 1)
        await send(Command.RESET, b"\1", 2)
        await until(2)

    answers = [decode_response(frame) for frame in converse(CONFIG, script)]
    assert [(answer[1], Status(answer[3]).name) for answer in answers if answer] == [
        (1, "OK"),
        (2, "BAD_LENGTH"),
    ]
