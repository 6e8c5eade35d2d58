"""Images in, scores out: the stream shell against golden, with pauses anywhere, and with all wrongs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from amaranth import Module, ResetInserter, Signal

from tests.campaigns import some
from xnorcore.compiler.compile import Program, compile_network
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, HEADER
from xnorcore.isa.protocol import RESPONSE, Command, DeviceInfo, Space, Status
from xnorcore.isa.record import Field
from xnorcore.model.bits import pack_images
from xnorcore.model.network import Conv2d, Dense, InputSpec, Network
from xnorcore.reference import golden
from xnorcore_hw.shells.stream import StreamShell

from .networks import random_images, random_network
from .streams import NONE, Bench, Stalls, assert_quiet, get, get_packet, packet_values, put, shared, simulate
from .test_core import load_requests, small_config

_DENSE = {"line_bytes": 0, "convolution": 0}


class Case(NamedTuple):
    """A network on a device, images as packets, and the scores that each must get."""

    config: DeviceConfig
    program: Program
    images: list[bytes]
    scores: np.ndarray

    def check(self, packets: Sequence[tuple[bytes, bool]], numbers: Sequence[int] | None = None) -> None:
        """Compare packets of scores with those of the images; `numbers`: of which, if not of all."""
        assert not any(error for _, error in packets)
        wanted = self.scores if numbers is None else self.scores[list(numbers)]
        raw = b"".join(data for data, _ in packets)
        assert {len(data) for data, _ in packets} == {self.program.result_bytes}
        np.testing.assert_array_equal(self.program.decode(raw, len(packets)), wanted)


def make(config: DeviceConfig, network: Network, count: int, seed: int = 0) -> Case:
    images = random_images(np.random.default_rng(seed), network, count)
    wire = pack_images(network, images)
    return Case(
        config, compile_network(network, config), [bytes(row) for row in wire], golden.run(network, images)
    )


@cache
def dense(
    rows: int = 2, bits: int = 1, count: int = 7, sizes: tuple[int, ...] = (20, 9, 3), seed: int = 3
) -> Case:
    config = small_config(rows, 4, 8, **_DENSE)
    return make(config, random_network(np.random.default_rng(seed), sizes, bits), count, seed)


async def send(ctx: Any, dut: Any, packets: Sequence[bytes], stalls: Stalls = NONE) -> None:
    for packet in packets:
        await put(ctx, dut.images, packet_values(packet), stalls)


async def receive(ctx: Any, dut: Any, count: int, stalls: Stalls = NONE) -> list[tuple[bytes, bool]]:
    """Return packets of scores: their bytes, and whether they are errors."""
    packets: list[tuple[bytes, bool]] = []
    while len(packets) < count:
        found = []
        while not found or not found[-1].last:
            found += await get(ctx, dut.scores, 1, stalls)
        assert not any(value.error for value in found[:-1])
        packets.append((bytes(value.data for value in found), bool(found[-1].error)))
    return packets


async def ask(ctx: Any, dut: Any, command: int, payload: bytes = b"", tag: int = 7) -> tuple[bytes, Status]:
    """Send a request and return the payload and the status of its response."""

    body = bytes([command]) + tag.to_bytes(2, "little") + payload
    await put(ctx, dut.requests, packet_values(body))
    response = await get_packet(ctx, dut.responses)
    assert response[0] == command | RESPONSE and int.from_bytes(response[1:3], "little") == tag
    return response[3:-1], Status(response[-1])


async def load(ctx: Any, dut: Any, program: Program) -> None:
    for command, payload in load_requests(program):
        assert await ask(ctx, dut, command, payload) == (b"", Status.OK)


class Watched(StreamShell):
    """The shell, and whether each of its streams keeps what it offers until it is taken."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        self.wavering = Signal(8)
        for number, port in enumerate((self.scores, self.responses)):
            before, offered = Signal.like(port.payload.as_value()), Signal(name=f"offered{number}")
            m.d.sync += [before.eq(port.payload), offered.eq(port.valid & ~port.ready)]
            with m.If(offered & (~port.valid | (before != port.payload.as_value()))):
                m.d.sync += self.wavering[number].eq(1)
        return m


_baked: dict[tuple[DeviceConfig, bytes], Bench] = {}


def baked(case: Case) -> Bench:
    """Return the bench of a device that has the network from power-up, one for all tests."""
    if (key := (case.config, case.program.identifier)) not in _baked:
        _baked[key] = Bench(Watched(case.config, bake=case.program))
    return _baked[key]


def infer(
    case: Case, packets: Sequence[bytes], count: int, into: Stalls = NONE, out: Stalls = NONE
) -> list[tuple[bytes, bool]]:
    """Send packets to a device that has the network baked; return `count` packets of scores."""
    shell = baked(case)
    dut = shell.dut
    found: list[tuple[bytes, bool]] = []

    async def feed(ctx) -> None:
        await send(ctx, dut, packets, into)

    async def drain(ctx) -> None:
        found.extend(await receive(ctx, dut, count, out))
        await assert_quiet(ctx, dut.scores, 300)
        assert not ctx.get(dut.wavering)

    shell.run(feed, drain, cycles=60_000)
    return found


@pytest.mark.parametrize("rows, bits", some([(3, 4), (1, 1), (2, 1), (1, 8)], 1, many=True))
def test_images_in_scores_out(rows: int, bits: int) -> None:
    case = dense(rows, bits)
    case.check(infer(case, case.images, len(case.images)))


def test_results_of_words_of_two_bytes() -> None:
    config = small_config(1, 16, 16, **_DENSE)
    case = make(config, random_network(np.random.default_rng(2), (20, 11)), 3)
    assert case.program.results.word_bytes == 2
    case.check(infer(case, case.images, 3))


@pytest.mark.parametrize("seed", some(range(4), 1))
def test_pauses_anywhere(seed: int) -> None:
    case = dense(1 + seed % 3, count=9)
    into = Stalls(seed, chance=(0.3, 0.0, 0.9, 0.05)[seed], longest=(5, 5, 40, 300)[seed])
    out = Stalls(seed + 9, chance=(0.3, 0.8, 0.0, 0.1)[seed], longest=(5, 60, 5, 300)[seed])
    case.check(infer(case, case.images, len(case.images), into, out))


def test_the_smallest_images_and_results_fill_all_that_is_on_the_way() -> None:
    """Scores are not taken for long: as many images go in as ever can."""
    case = dense(1, count=24, sizes=(8, 4))
    bits = make(case.config, random_network(np.random.default_rng(1), (8, 4), scores=False), 24)
    assert len(bits.images[0]) == 1 and bits.program.result_bytes == 1
    for one in (case, bits):
        shell = baked(one)
        dut = shell.dut
        found: list[tuple[bytes, bool]] = []

        async def feed(ctx, dut=dut, one=one) -> None:
            await send(ctx, dut, one.images)

        async def drain(ctx, dut=dut, found=found, one=one) -> None:
            await ctx.tick().repeat(3000)
            found.extend(await receive(ctx, dut, len(one.images)))

        shell.run(feed, drain, cycles=60_000)
        one.check(found)


def test_an_image_is_answered_before_the_next_one_comes() -> None:
    """Also where the batch has room for more."""
    case = dense(3)
    shell = baked(case)
    dut = shell.dut

    async def bench(ctx) -> None:
        for number, image in enumerate(case.images[:3]):
            await send(ctx, dut, [image])
            case.check(await receive(ctx, dut, 1), [number])

    shell.run(bench, cycles=60_000)


def test_an_image_is_answered_while_the_next_one_hesitates() -> None:
    """A byte of the next image has come, and no more come until the scores are there."""
    case = dense(1)
    shell = baked(case)
    dut = shell.dut

    async def bench(ctx) -> None:
        await send(ctx, dut, case.images[:1])
        for number, image in enumerate(case.images[1:4]):
            values = packet_values(image)
            await put(ctx, dut.images, values[:1])
            case.check(await receive(ctx, dut, 1), [number])
            await put(ctx, dut.images, values[1:])

    shell.run(bench, cycles=60_000)


@pytest.mark.parametrize("rows", some([1, 3], 1))
def test_images_of_the_wrong_length_are_errors_and_the_others_are_not(rows: int) -> None:
    case = dense(rows)
    size = len(case.images[0])
    good = iter(enumerate(case.images))
    packets, wanted = [], []
    for wrong in (0, 1, 0, size - 1, 0, 0, size + 1, 5 * size, 0, 2, 0):
        if wrong:
            packets.append((b"\xa5" * 5 * size)[:wrong])
            wanted.append(-1)
        else:
            number, image = next(good)
            packets.append(image)
            wanted.append(number)
    for stalls in (NONE, Stalls(1, chance=0.2)):
        found = infer(case, packets, len(packets), stalls, stalls)
        bad = [number for number, (_, error) in enumerate(found) if error]
        assert bad == [place for place, number in enumerate(wanted) if number < 0]
        assert {found[place] for place in bad} == {(bytes([Status.BAD_LENGTH]), True)}
        case.check([one for one in found if not one[1]], [number for number in wanted if number >= 0])


@pytest.mark.campaign
def test_results_that_come_before_the_image_ends() -> None:
    """No kernel reads the last rows of these images; one is short there, and one is too long."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.choice([-1, 1], (5, 3, 3, 4)), np.full(5, 9), stride=(4, 2))
    network = Network("early", InputSpec((12, 16, 4), 1), [conv, Dense(rng.choice([-1, 1], (3, 105)))])
    config = small_config(1, 8, 8, weight_depth=256, line_bytes=512)
    case = make(config, network, 3)
    first, second, third = case.images
    found = infer(case, [first, second[:-2], second, third + b"\0", third], 5)
    assert [error for _, error in found] == [False, True, False, True, False]
    case.check(found[::2])


def test_networks_are_loaded_and_changed_by_requests() -> None:
    """Images wait until a network is there; another one has images of another size."""
    case, other = dense(2), dense(2, bits=4, sizes=(9, 5), seed=8)
    shell = shared(Watched, case.config)
    dut = shell.dut
    assert len(case.images[0]) != len(other.images[0])

    async def bench(ctx) -> None:
        await put(ctx, dut.images, packet_values(case.images[0])[:0])
        ctx.set(dut.images.payload, packet_values(case.images[0])[0])
        ctx.set(dut.images.valid, 1)
        for _ in range(600):
            *_, ready = await ctx.tick().sample(dut.images.ready)
            assert not ready
        assert ctx.get(dut.status) == Status.NOT_ARMED
        await load(ctx, dut, case.program)

    async def feed(ctx) -> None:
        await ctx.tick().until(dut.responses.valid)  # of the first request: images are offered before it
        await send(ctx, dut, case.images)

    async def drain(ctx) -> None:
        case.check(await receive(ctx, dut, len(case.images)))
        assert ctx.get(dut.status) == Status.OK
        info, _ = await ask(ctx, dut, Command.INFO)
        assert DeviceInfo.unpack(info).network_id == case.program.identifier
        await load(ctx, dut, other.program)
        await send(ctx, dut, other.images[:3])
        other.check(await receive(ctx, dut, 3), range(3))
        assert await ask(ctx, dut, Command.RESET) == (b"", Status.OK)
        await assert_quiet(ctx, dut.scores, 100)
        assert await ask(ctx, dut, Command.ARM) == (b"", Status.OK)
        await send(ctx, dut, other.images[3:5])
        other.check(await receive(ctx, dut, 2), (3, 4))
        assert not ctx.get(dut.wavering)

    shell.run(bench, feed, drain, cycles=60_000)


@pytest.mark.parametrize("rows", some([3, 1], 1))
def test_requests_go_between_images(rows: int) -> None:
    """Without images being lost, in whatever batch they are, and without waiting for the last one."""
    case = dense(rows, count=12)
    shell = baked(case)
    dut = shell.dut
    into, out = Stalls(2, chance=0.1), Stalls(3, chance=0.1)
    left: list[int] = []

    async def feed(ctx) -> None:
        await send(ctx, dut, case.images, into)

    async def drain(ctx) -> None:
        for number in range(len(case.images)):
            left.append(len(case.images) - number)
            case.check(await receive(ctx, dut, 1, out), [number])
        left.append(0)

    async def host(ctx) -> None:
        for delay in (120, 3, 1, 70, 200):
            await ctx.tick().repeat(delay)
            payload, status = await ask(ctx, dut, Command.INFO)
            assert status == Status.OK and DeviceInfo.unpack(payload).armed
        assert left[-1] > 2
        # An inference of the host's own.
        head = bytes([0x80]) + case.program.identifier[:4]
        payload, status = await ask(ctx, dut, Command.INFER, head + b"".join(case.images[:2]))
        assert status == Status.OK
        np.testing.assert_array_equal(case.program.decode(payload, 2), case.scores[:2])
        assert (await ask(ctx, dut, 0x55))[1] == Status.BAD_COMMAND
        assert not ctx.get(dut.wavering)

    shell.run(feed, drain, host, cycles=60_000)


def test_a_request_without_a_tag_is_answered() -> None:
    """And does not take its tag from the next one."""
    case = dense(2)
    shell = baked(case)
    dut = shell.dut

    async def bench(ctx) -> None:
        for length in (1, 2):
            body = bytes([Command.INFO, 7, 9])[:length]
            await put(ctx, dut.requests, packet_values(body))
            response = await get_packet(ctx, dut.responses)
            assert response[:3] == bytes([Command.INFO | RESPONSE, *body[1:], 0, 0])[:3] and response[-1] == 0
        assert (await ask(ctx, dut, Command.INFO))[1] == Status.OK

    shell.run(bench, cycles=60_000)


def _patched(program: Program, place: int, field: Field, value: int) -> list[tuple[int, bytes]]:
    """Return requests that load a program with another value in one field, `place` words further on."""
    place += field.word
    word = program.contents(Space.PROGRAM, 0)[place]
    mask = ((1 << field.width) - 1) << field.low
    word = word & ~mask | value << field.low
    *requests, arm = load_requests(program)
    other = bytes([Space.PROGRAM, 0, place, 0]) + word.to_bytes(4, "little")
    return [*requests, (Command.WRITE, other), arm]


@pytest.mark.parametrize("name", some(["image_bytes", "out_words", "out_bytes"], 1))
def test_a_program_without_images_or_results_is_refused(name: str) -> None:
    case = dense(2)
    shell = shared(Watched, case.config)
    dut = shell.dut

    async def bench(ctx) -> None:
        for command, payload in _patched(case.program, 0, HEADER.fields[name], 0):
            assert (await ask(ctx, dut, command, payload))[1] == Status.OK
        ctx.set(dut.images.valid, 1)
        for _ in range(500):
            *_, ready = await ctx.tick().sample(dut.images.ready)
            assert not ready
        assert ctx.get(dut.status) == Status.BAD_PROGRAM
        ctx.set(dut.images.valid, 0)
        await load(ctx, dut, case.program)
        await send(ctx, dut, case.images[:2])
        case.check(await receive(ctx, dut, 2), range(2))

    shell.run(bench, cycles=60_000)


@pytest.mark.parametrize("together", [False, True])
def test_a_program_that_the_device_cannot_run_is_an_error(together: bool) -> None:
    """The last image of each request that is alone in the core gets the status in place of a score."""
    case = dense(2)
    shell = shared(Watched, case.config)
    dut = shell.dut
    field, beyond = DESCRIPTOR.fields["weight_base"], case.config.weight_depth

    async def bench(ctx) -> None:
        for command, payload in _patched(case.program, HEADER.words, field, beyond):
            assert (await ask(ctx, dut, command, payload))[1] == Status.OK
        count = 3 if together else 1
        await send(ctx, dut, case.images[:count])
        found = await receive(ctx, dut, count)
        assert found[-1][1] and found[-1][0][-1:] == bytes([Status.BAD_PROGRAM])
        assert ctx.get(dut.status) == Status.BAD_PROGRAM
        await load(ctx, dut, case.program)
        await send(ctx, dut, case.images[:4])
        case.check(await receive(ctx, dut, 4), range(4))
        assert ctx.get(dut.status) == Status.OK and not ctx.get(dut.wavering)

    shell.run(bench, cycles=60_000)


def test_images_without_end_do_not_hide_that_the_program_is_bad() -> None:
    """Of at most 64 batches in a request, and what is on the way, no status says so in time."""
    case = dense(1, count=100, sizes=(8, 4))
    shell = shared(Watched, case.config)
    dut = shell.dut
    beyond = case.config.weight_depth

    async def bench(ctx) -> None:
        requests = _patched(case.program, HEADER.words, DESCRIPTOR.fields["weight_base"], beyond)
        for command, payload in requests:
            assert (await ask(ctx, dut, command, payload))[1] == Status.OK
        ctx.set(dut.scores.ready, 1)
        ctx.set(dut.images.payload, {"data": 1, "last": 1})
        ctx.set(dut.images.valid, 1)
        taken = answered = ready = 0
        # What is offered is not withdrawn.
        while ctx.get(dut.status) == Status.OK or not ready:
            tick = ctx.tick().sample(dut.images.ready, dut.scores.valid & dut.scores.payload.last)
            *_, ready, answer = await tick
            taken, answered = taken + ready, answered + answer
            assert taken < 64 + 12
        assert ctx.get(dut.status) == Status.BAD_PROGRAM and taken >= 64
        ctx.set(dut.images.valid, 0)
        # All are answered, the last one by the reason.
        found = await receive(ctx, dut, taken - answered)
        assert found[-1] == (bytes([Status.BAD_PROGRAM]), True)

    shell.run(bench, cycles=60_000)


@pytest.mark.parametrize(
    "name, value",
    some([("out_words", 2), ("out_bytes", 1), ("image_bytes", 5), ("spread", 1)], 1, many=True),
)
def test_a_header_that_lies_about_images_is_survived(name: str, value: int) -> None:
    """The shell and the core read the same header; as many answers as images, whatever they are."""
    case = dense(2)
    shell = shared(Watched, case.config)
    dut = shell.dut

    async def bench(ctx) -> None:
        for command, payload in _patched(case.program, 0, HEADER.fields[name], value):
            assert (await ask(ctx, dut, command, payload))[1] == Status.OK

    async def feed(ctx) -> None:
        await ctx.tick().repeat(200)
        await send(ctx, dut, case.images)

    async def drain(ctx) -> None:
        assert len(await receive(ctx, dut, len(case.images))) == len(case.images)
        await load(ctx, dut, case.program)
        await send(ctx, dut, case.images[:3])
        case.check(await receive(ctx, dut, 3), range(3))

    shell.run(bench, feed, drain, cycles=60_000)


def test_reset_in_the_middle() -> None:
    case = dense(2)
    reset = Signal()
    inside = StreamShell(case.config, bake=case.program)

    class Top(StreamShell):
        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.inside = ResetInserter(reset)(inside)
            for name in ("images", "scores", "requests", "responses"):
                outer, inner = getattr(self, name), getattr(inside, name)
                source, target = (outer, inner) if name in ("images", "requests") else (inner, outer)
                m.d.comb += [
                    target.valid.eq(source.valid),
                    target.payload.eq(source.payload),
                    source.ready.eq(target.ready),
                ]
            return m

    dut = Top(case.config)

    async def bench(ctx) -> None:
        for cycles in (3, 40, 130, 260):
            values = [value for image in case.images[:2] for value in packet_values(image)]
            await put(ctx, dut.images, values[: cycles // 6])
            await ctx.tick().repeat(cycles)
            ctx.set(reset, 1)
            await ctx.tick().repeat(2)
            ctx.set(reset, 0)
            await assert_quiet(ctx, dut.scores, 20)
            await send(ctx, dut, case.images[:3])
            case.check(await receive(ctx, dut, 3), range(3))

    simulate(dut, bench, cycles=60_000)
