"""Request packets against the core, in Amaranth's simulator: networks of many shapes, and every refusal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import Program, compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import COUNTERS, DESCRIPTOR, HEADER, WIDE_WORDS
from xnorcore.isa.protocol import RESPONSE, Command, DeviceInfo, Space, Status
from xnorcore.model.bits import pack_images
from xnorcore.reference import golden
from xnorcore.runtime.requests import infer_head, write_requests
from xnorcore_hw.core import Core

from .networks import random_images, random_network
from .streams import NONE, Stalls, get_packet, packet_values, put, shared

Request = tuple[int, bytes]


def small_config(rows: int, columns: int, width: int, **options: int) -> DeviceConfig:
    options = {"weight_depth": 512, "threshold_depth": 128, "act_depth": 512, "program_depth": 128} | options
    return DeviceConfig(Geometry(rows, columns, width), **options)


def exchange(
    config: DeviceConfig,
    requests: Sequence[Request],
    stalls: Stalls = NONE,
    cycles: int = 200_000,
    answers: Stalls | None = None,
) -> list[tuple[bytes, int]]:
    """Send requests and return (payload, status) of every response, checked for type and tag.

    `answers`: stalls of the responses, if not those of the requests.
    """
    core = shared(Core, config)
    dut = core.dut
    responses: list[bytes] = []

    async def send(ctx) -> None:
        for tag, (command, payload) in enumerate(requests):
            body = bytes([command]) + tag.to_bytes(2, "little") + payload
            await put(ctx, dut.i, packet_values(body), stalls)

    async def receive(ctx) -> None:
        for _ in requests:
            responses.append(await get_packet(ctx, dut.o, stalls if answers is None else answers))

    core.run(send, receive, cycles=cycles)
    for tag, ((command, _), response) in enumerate(zip(requests, responses, strict=True)):
        assert response[0] == command | RESPONSE
        assert int.from_bytes(response[1:3], "little") == tag
    return [(response[3:-1], response[-1]) for response in responses]


def load_requests(program: Program) -> list[Request]:
    requests = [
        request for block in program.blocks for request in write_requests(program.config, block, 1000)
    ]
    return [*requests, (Command.ARM, b"")]


def check_network(
    config: DeviceConfig,
    sizes: tuple[int, ...],
    count: int,
    *,
    bits: int = 1,
    scores: bool = True,
    wild: bool = False,
    seed: int = 0,
    stalls: Stalls = NONE,
    slow: Stalls | None = None,
    cycles: int = 200_000,
) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    network = random_network(rng, sizes, bits, scores, wild)
    images = random_images(rng, network, count)
    program = compile_network(network, config)
    requests = load_requests(program)
    wire = pack_images(network, images).tobytes()
    requests += [(Command.INFER, infer_head(program) + wire), (Command.COUNTERS, b"\0")]
    answers = exchange(config, requests, stalls, cycles, slow)
    assert all(status == Status.OK for _, status in answers)
    found = program.decode(answers[-2][0], count)
    np.testing.assert_array_equal(found, golden.run(network, images))
    counters: dict[str, int] = dict(zip(COUNTERS, np.frombuffer(answers[-1][0], "<u4").tolist(), strict=True))
    assert counters["busy"] == counters["batches"] * program.beats
    assert counters["images"] == count
    causes = ("busy", "drain", "fetch", "hazard", "port", "wait_output", "tail")
    assert counters["active"] == sum(counters[cause] for cause in causes)
    return counters


# Of more shapes and sizes, devices are compiled: the driver's, those of random networks and of cycles.
GEOMETRIES = [(1, 4, 8), (8, 4, 8), (1, 12, 24)]


@pytest.mark.parametrize("geometry", some(GEOMETRIES, always=1), ids=lambda sizes: "-".join(map(str, sizes)))
def test_geometries(geometry: tuple[int, int, int]) -> None:
    rows, columns, width = geometry
    check_network(small_config(rows, columns, width), (21, 45, 19, 10), rows + 1, seed=columns)


@pytest.mark.parametrize("rows, columns, width", some([(1, 4, 8), (2, 16, 8), (1, 16, 16)], 1, many=True))
def test_bit_outputs(rows: int, columns: int, width: int) -> None:
    check_network(small_config(rows, columns, width), (30, 22, 27), rows + 1, scores=False, seed=1)


@pytest.mark.parametrize("bits", some([3, 1, 8], always=1))
def test_input_bits(bits: int) -> None:
    check_network(small_config(2, 8, 8), (19, 12, 5), 3, bits=bits, seed=bits)


@pytest.mark.parametrize("bits", some([1, 3, 8], 1))
def test_extreme_thresholds(bits: int) -> None:
    check_network(small_config(1, 8, 8), (17, 31, 9), 3, bits=bits, wild=True, seed=2)


@pytest.mark.parametrize("bits", some([5, 1], 1))
def test_single_layer(bits: int) -> None:
    check_network(small_config(2, 8, 8), (9, 3), 3, bits=bits)


@pytest.mark.campaign
@pytest.mark.parametrize("group", some([3, 1, 8], always=1))
def test_column_groups(group: int) -> None:
    check_network(small_config(1, 24, 8, column_group=group), (16, 40, 30, 4), 2, seed=group)


_DENSE = {"convolution": 0, "line_bytes": 0}


@pytest.mark.parametrize(
    "options", some([{"program_halves": 1, **_DENSE}, {"threshold_share": 2}, _DENSE], 1)
)
def test_smaller_devices(options: dict[str, int]) -> None:
    check_network(small_config(1, 8, 8, **options), (21, 17, 10), 2, seed=4)


@pytest.mark.campaign
def test_threshold_memories_for_four_columns() -> None:
    check_network(small_config(1, 8, 32, threshold_share=4), (70, 40, 21, 10), 2, seed=4)


@pytest.mark.parametrize("seed", some(range(3), always=1))
def test_random_stalls(seed: int) -> None:
    stalls = Stalls(seed, chance=0.3, longest=9)
    check_network(small_config(2, 8, 8), (20, 17, 11), 7, bits=1 + 3 * (seed % 2), seed=seed, stalls=stalls)


@pytest.mark.campaign
def test_layers_follow_each_other_after_the_pipeline() -> None:
    """Between layers the array waits only for its own latency, which the fetch hides behind."""
    config = small_config(1, 32, 32, weight_depth=64)
    counters = check_network(config, (64, 64, 64, 10), 3)
    assert counters["busy"] == 30
    # Six times from a layer to one that needs its results, from the first image to the second, and a cycle
    # more for the first and the third, which the array waits for.
    fetch = DESCRIPTOR.words - len(WIDE_WORDS) + 2
    assert counters["fetch"] + counters["hazard"] == 6 * config.latency + fetch + 2 * (fetch + 1)
    # Reading a word of results may take a cycle from the next image.
    assert counters["port"] <= 2 * config.acc_width


@pytest.mark.parametrize("rows, count", some([(1, 7), (3, 10)], 1, many=True))
def test_results_wait_for_a_slow_link(rows: int, count: int) -> None:
    """No batch starts whose results would take the place of others, of either region, not yet sent."""
    slow = Stalls(rows, chance=1, longest=16)
    counters = check_network(small_config(rows, 8, 8), (9, 40), count, seed=rows, slow=slow, cycles=50_000)
    assert counters["wait_output"] > 50 * counters["batches"]


@pytest.mark.parametrize("images", some([4, 7], 0))
def test_images_are_counted_where_batches_follow_each_other(images: int) -> None:
    """The last batch, of either region, has fewer images than those before it and starts as they end."""
    counters = check_network(small_config(3, 4, 8), (16, 60, 5), images, cycles=20_000)
    assert counters["batches"] == -(-images // 3)


def _tiny() -> tuple[DeviceConfig, Program, bytes]:
    config = small_config(2, 4, 8)
    rng = np.random.default_rng(5)
    network = random_network(rng, (12, 6, 3))
    images = random_images(rng, network, 4)
    return config, compile_network(network, config), pack_images(network, images).tobytes()


def test_images_in_parts() -> None:
    config, program, wire = _tiny()
    whole = (Command.INFER, infer_head(program) + wire)
    parts = [infer_head(program, 0) + wire[:1], b"\1" + wire[1:5], b"\x82" + wire[5:]]
    late = (Command.INFER, b"\x81" + wire)  # part 1 of a group that has ended
    requests = [*load_requests(program), whole, late]
    requests += [*((Command.INFER, part) for part in parts), late]
    whole_answer, refused, *answers, last = exchange(config, requests)[-6:]
    assert [status for _, status in answers] == [Status.OK] * 3
    assert b"".join(payload for payload, _ in answers) == whole_answer[0]
    assert refused == last == (b"", Status.SEQUENCE)


def test_refused_inference() -> None:
    config, program, wire = _tiny()
    good = (Command.INFER, infer_head(program) + wire)
    answers = exchange(
        config,
        [
            good,
            *load_requests(program),
            (Command.INFER, b""),
            (Command.INFER, b"\x81" + wire),  # part 1 of nothing
            (Command.INFER, infer_head(program, 0) + wire[:3]),
            (Command.INFER, b"\x82" + wire[3:]),  # part 1 is missing
            (Command.INFER, b"\x81" + wire[3:]),  # and the group with it
            (Command.INFER, infer_head(program) + wire[:3]),  # one image and a half
            good,
            (Command.WRITE, bytes([Space.WEIGHTS, 0, 0, 0, 1])),
            good,
        ],
    )
    statuses = [Status(status).name for _, status in answers]
    assert statuses[0] == "NOT_ARMED"
    assert statuses[-9:] == [
        "BAD_LENGTH", "SEQUENCE", "OK", "SEQUENCE", "SEQUENCE", "BAD_LENGTH", "OK", "OK", "NOT_ARMED",
    ]  # fmt: skip
    assert len(answers[-3][0]) == 4 * program.result_bytes


def test_images_for_another_program_are_refused() -> None:
    """Any wrong bit of the key; after it, and after the group that it closed, the right key is known."""
    config, program, wire = _tiny()
    head = infer_head(program)
    good = (Command.INFER, head + wire)
    part, rest = (Command.INFER, infer_head(program, 0) + wire[:3]), (Command.INFER, b"\x81" + wire[3:])
    key = int.from_bytes(head[1:], "little")
    wrong = [head[:1] + (key ^ 1 << bit).to_bytes(4, "little") for bit in range(32)]
    swapped = head[:1] + head[2:] + head[1:2]
    requests = [good, *((Command.INFER, other + wire) for other in wrong)]
    wanted = ["OK", *["WRONG_PROGRAM"] * len(wrong)]
    for payload in (wrong[9], swapped + wire):
        requests += [(Command.INFER, payload), good, part, (Command.INFER, payload), rest]
        wanted += ["WRONG_PROGRAM", "OK", "OK", "WRONG_PROGRAM", "SEQUENCE"]
    requests.append((Command.INFER, head))  # a group of no images
    wanted.append("OK")
    load = load_requests(program)
    answers = exchange(config, [*load, *requests], cycles=20_000)[len(load) :]
    assert [Status(status).name for _, status in answers] == wanted
    scores = {payload for request, (payload, _) in zip(requests, answers, strict=True) if request == good}
    assert len(scores) == 1 and len(scores.pop()) == 4 * program.result_bytes
    assert answers[-1][0] == b""


@pytest.mark.campaign
def test_a_key_that_is_not_whole_is_refused() -> None:
    """Also where what is still there in place of it is right; nothing comes after the last request here."""
    config, program, wire = _tiny()
    key = bytes([Command.INFER]) * 4  # as the byte before what is missing, and that behind it
    place = bytes([Space.PROGRAM, 0, HEADER.fields["id_low"].word, 0])
    load = [*load_requests(program), (Command.WRITE, place + key), (Command.ARM, b"")]
    good, rest = (Command.INFER, b"\x80" + key + wire), (Command.INFER, b"\x81" + wire[3:])
    short = [(Command.INFER, b"\x80" + key[:length]) for length in range(4)]
    requests = [good, *short, rest, good, *(request for one in short for request in (one, good)), short[3]]
    answers = exchange(config, [*load, *requests], cycles=20_000)[len(load) :]
    statuses = [Status(status).name for _, status in answers]
    again = ["BAD_LENGTH", "OK"] * 4
    assert statuses == ["OK", *["BAD_LENGTH"] * 4, "SEQUENCE", "OK", *again, "BAD_LENGTH"]


@pytest.mark.campaign
def test_the_key_is_that_of_the_program_that_was_armed_last() -> None:
    config, program, wire = _tiny()
    other = compile_network(random_network(np.random.default_rng(6), (12, 6, 3)), config)
    ours, theirs = ((Command.INFER, infer_head(p) + wire) for p in (program, other))
    first, second = (load_requests(p) for p in (program, other))
    requests = [*first, ours, theirs, *second, ours, theirs, *first, ours, theirs]
    statuses = [Status(s).name for _, s in exchange(config, requests) if s != Status.OK]
    assert statuses == ["WRONG_PROGRAM"] * 3


def test_refused_requests() -> None:
    config = small_config(2, 4, 16, act_depth=512)
    write, read = Command.WRITE, Command.READ
    cases = [
        (0, b"", "BAD_COMMAND"),
        (9, b"abc", "BAD_COMMAND"),
        (Command.INFO, b"x", "BAD_LENGTH"),
        (Command.RUN, b"x", "BAD_LENGTH"),
        (Command.COUNTERS, b"", "BAD_LENGTH"),
        (write, bytes([Space.PROGRAM, 0, 0]), "BAD_LENGTH"),
        (write, bytes([Space.PROGRAM, 0, 0, 0, 1, 2, 3]), "BAD_LENGTH"),
        (write, bytes([Space.PROGRAM, 1, 0, 0, 1, 2, 3, 4]), "BAD_ADDRESS"),
        (write, bytes([Space.PROGRAM, 0, 128, 0, 1, 2, 3, 4]), "BAD_ADDRESS"),
        (write, bytes([Space.WEIGHTS, 4, 0, 0, 1, 2]), "BAD_ADDRESS"),
        (write, bytes([Space.THRESHOLDS, 3, 127, 0, 1, 2, 3, 4, 5, 6, 7, 8]), "BAD_ADDRESS"),
        (write, bytes([Space.ACTIVATIONS, 2, 0, 0, 1, 2]), "BAD_ADDRESS"),
        (write, bytes([4, 0, 0, 0, 1, 2]), "BAD_ADDRESS"),
        (read, bytes([Space.WEIGHTS, 0, 0, 0, 1, 0]), "BAD_ADDRESS"),
        (read, bytes([Space.ACTIVATIONS, 0, 255, 1, 2, 0]), "BAD_ADDRESS"),
        (read, bytes([Space.ACTIVATIONS, 0, 0, 0, 0, 0]), "OK"),
        (read, bytes([Space.PROGRAM, 0, 128, 0, 1, 0]), "BAD_ADDRESS"),  # the identity is not for reading
        (read, bytes([Space.ACTIVATIONS, 0, 0, 0, 0, 4]), "BAD_ADDRESS"),  # 1,024 words
        (Command.RUN, bytes([128, 0]), "BAD_ADDRESS"),
        (Command.RUN, bytes([0, 1]), "BAD_ADDRESS"),
        (Command.ARM, b"", "BAD_PROGRAM"),
    ]
    answers = exchange(config, [case[:2] for case in cases])
    assert [Status(status).name for _, status in answers] == [case[2] for case in cases]


def test_memory_access() -> None:
    config = small_config(2, 4, 16)
    data, words = bytes(range(40)), bytes(range(100, 116))
    answers = exchange(
        config,
        [
            (Command.WRITE, bytes([Space.ACTIVATIONS, 1, 5, 0]) + data),
            (Command.WRITE, bytes([Space.PROGRAM, 0, 9, 0]) + words),
            (Command.READ, bytes([Space.ACTIVATIONS, 1, 5, 0, 20, 0])),
            (Command.READ, bytes([Space.PROGRAM, 0, 9, 0, 4, 0])),
            (Command.READ, bytes([Space.ACTIVATIONS, 0, 5, 0, 20, 0])),
        ],
    )
    assert [payload for payload, _ in answers] == [b"", b"", data, words, bytes(40)]


@pytest.mark.parametrize("options", some([{"program_halves": 1, **_DENSE}, {}], 1))
def test_what_is_read_waits_for_the_link(options: dict[str, int]) -> None:
    config = small_config(1, 4, 8, **options)
    data = np.random.default_rng(0).bytes(120)
    write = (Command.WRITE, bytes([Space.PROGRAM, 0, 9, 0]) + data)
    read = (Command.READ, bytes([Space.PROGRAM, 0, 9, 0, 30, 0]))
    answers = exchange(config, [write, (Command.INFO, b""), read], Stalls(1, chance=0.4, longest=4))
    assert DeviceInfo.unpack(answers[1][0]).config == config
    assert answers[2][0] == data


def test_info_and_reset() -> None:
    config, program, wire = _tiny()
    infer = (Command.INFER, infer_head(program) + wire)
    info, reset = (Command.INFO, b""), (Command.RESET, b"")
    load = load_requests(program)
    answers = exchange(config, [info, *load, info, infer, reset, info, infer, (Command.COUNTERS, b"\0")])
    before, loaded, after = (DeviceInfo.unpack(answers[i][0]) for i in (0, len(load) + 1, -3))
    assert before.config == loaded.config == after.config == config
    assert before.build_id == config.digest()
    assert (before.armed, loaded.armed, after.armed) == (False, True, False)
    assert loaded.network_id == program.identifier
    assert before.network_id == after.network_id == bytes(8)
    assert answers[-2][1] == Status.NOT_ARMED
    counters = dict(zip(COUNTERS, np.frombuffer(answers[-1][0], "<u4").tolist(), strict=True))
    assert counters["images"] == counters["busy"] == 0


def test_a_device_without_counters() -> None:
    config = small_config(1, 4, 8, counters=0)
    answers = exchange(config, [(Command.INFO, b""), (Command.COUNTERS, b"\0"), (Command.INFO, b"")])
    assert [Status(status).name for _, status in answers] == ["OK", "BAD_COMMAND", "OK"]
    assert DeviceInfo.unpack(answers[0][0]).config == DeviceInfo.unpack(answers[2][0]).config == config


def test_what_run_does_is_not_counted() -> None:
    """Until its last result is written: `tail` is the time after the last beat."""
    config, program, wire = _tiny()
    run = (Command.RUN, HEADER.words.to_bytes(2, "little"))
    infer, counters = (Command.INFER, infer_head(program) + wire), (Command.COUNTERS, b"\0")
    answers = exchange(config, [*load_requests(program), infer, counters, run, run, counters])
    before, after = (
        dict(zip(COUNTERS, np.frombuffer(answers[index][0], "<u4").tolist(), strict=True))
        for index in (-4, -1)
    )
    waited = {"wait_input": after["wait_input"]}
    assert before["busy"] and before["tail"] and before | waited == after


@pytest.mark.parametrize("command", some([Command.INFO, Command.RUN, Command.ARM, Command.COUNTERS], 2))
def test_a_request_inherits_no_place(command: Command) -> None:
    """Of the one before it, which may have been one that there is nothing at."""
    config, program, _ = _tiny()
    arguments = {Command.RUN: HEADER.words.to_bytes(2, "little"), Command.COUNTERS: b"\0"}
    request = (command, arguments.get(command, b""))
    write = (Command.WRITE, bytes([Space.WEIGHTS, 3, 5, 0, 1]))
    wrong = (Command.READ, bytes([255, 255, 255, 255, 255, 255]))
    answers = exchange(config, [*load_requests(program), request, write, request, wrong, request])
    assert [Status(status).name for _, status in answers[-5:]] == ["OK", "OK", "OK", "BAD_ADDRESS", "OK"]
    if command == Command.INFO:
        infos = [DeviceInfo.unpack(answers[index][0]) for index in (-5, -3, -1)]
        assert [info.config for info in infos] == [config] * 3


def test_counters_are_cleared_when_that_is_asked_for() -> None:
    config, program, wire = _tiny()
    read, clear = (Command.COUNTERS, b"\0"), (Command.COUNTERS, b"\1")
    infer = (Command.INFER, infer_head(program) + wire)
    answers = exchange(config, [*load_requests(program), infer, read, clear, read])
    busy = [np.frombuffer(answer[0], "<u4")[COUNTERS.index("busy")] for answer in answers[-3:]]
    assert busy[0] == busy[1] > 0 == busy[2]


def test_reset_and_arm_forget_a_group() -> None:
    config, program, wire = _tiny()
    first, second = (Command.INFER, infer_head(program, 0) + wire[:3]), (Command.INFER, b"\x81" + wire[3:])
    arm, reset = (Command.ARM, b""), (Command.RESET, b"")
    load = load_requests(program)
    answers = exchange(config, [*load, first, arm, second, first, reset, arm, second, first, second])
    statuses = [Status(status).name for _, status in answers[len(load) :]]
    assert statuses == ["OK", "OK", "SEQUENCE", "OK", "OK", "OK", "SEQUENCE", "OK", "OK"]


def test_other_requests_close_a_group() -> None:
    config, program, wire = _tiny()
    first, second = (Command.INFER, infer_head(program, 0) + wire[:3]), (Command.INFER, b"\x81" + wire[3:])
    load = load_requests(program)
    answers = exchange(config, [*load, first, (Command.INFO, b""), second, first, (9, b""), second])
    statuses = [Status(status).name for _, status in answers[len(load) :]]
    assert statuses == ["OK", "OK", "SEQUENCE", "OK", "BAD_COMMAND", "SEQUENCE"]


def test_addresses_do_not_wrap_in_the_largest_memory() -> None:
    config = small_config(1, 4, 8, weight_depth=65536)
    last = bytes([Space.WEIGHTS, 0, 0xFF, 0xFF])
    answers = exchange(config, [(Command.WRITE, last + b"\1"), (Command.WRITE, last + b"\1\2")])
    assert [Status(status).name for _, status in answers] == ["OK", "BAD_ADDRESS"]
