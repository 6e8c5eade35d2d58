"""Sessions against a Python device: exactly once, in order, never wrong, and always an end."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import (
    DeviceError,
    DisconnectedError,
    LinkTimeoutError,
    ProtocolVersionError,
    UsageError,
    WrongDeviceError,
)
from xnorcore.isa.protocol import Command, DeviceConfig, Geometry, Status
from xnorcore.link.groups import Chain
from xnorcore.link.pieces import ImageBytes, divide
from xnorcore.link.session import Session
from xnorcore.model.layers import Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import image_requests

from .fake_device import INFO, FakeDevice, Faults

NOISY = {
    "flip": 0.1,
    "drop": 0.05,
    "insert": 0.05,
    "truncate": 0.04,
    "duplicate": 0.04,
    "lose_frame": 0.04,
    "delay": 0.01,
}


def session(device: FakeDevice, **options) -> Session:
    result = Session(device, seed=device.faults.seed, **options)
    result.synchronise()
    return result


def echoes(seed: int, count: int) -> list[tuple[int, bytes]]:
    r = random.Random(seed)
    return [
        (Command.RUN, bytes(r.choice([0, 1, 255]) for _ in range(r.randrange(120)))) for _ in range(count)
    ]


def groups(seed: int, count: int) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """INFER requests in groups of 1 to 5 parts, and their right answers."""
    r = random.Random(seed)
    requests, answers = [], []
    for _ in range(count):
        parts, total = r.randrange(1, 6), 0
        for part in range(parts):
            data = r.randbytes(r.randrange(1, 60))
            total += sum(data)
            end = part == parts - 1
            requests.append((Command.INFER, bytes([part | (0x80 if end else 0)]) + data))
            answers.append(total.to_bytes(4, "little") if end else bytes([part]))
    return requests, answers


def test_synchronise_tells_the_device_and_opens_the_window():
    device = FakeDevice()
    s = Session(device)
    assert s.synchronise() == INFO == s.info
    assert s.window_bytes == 512
    assert s.max_payload == INFO.config.max_frame - 7


def test_calls_cost_one_frame_each_on_a_good_wire():
    device = FakeDevice()
    s = session(device)
    for size in (0, 1, 200):
        assert s.call(Command.WRITE, bytes(size)) == bytes(size)
    assert (s.stats.sent, s.stats.resent, s.stats.damaged, s.stats.stale) == (4, 0, 0, 0)


def test_the_window_is_filled_and_never_overrun():
    device = FakeDevice()
    s = session(device)
    requests = [(Command.WRITE, bytes([i]) * 50) for i in range(100)]
    assert list(s.stream(requests)) == [payload for _, payload in requests]
    assert device.overflows == 0 and s.stats.resent == 0
    assert 400 < device.most_held <= 512


@pytest.mark.parametrize("seed", range(25))
def test_single_requests_survive_a_bad_wire(seed):
    device = FakeDevice(Faults(**NOISY, seed=seed))
    s = session(device, retries=40)
    requests = echoes(seed, 150)
    seen = []
    answers = list(s.stream(requests, on_response=lambda index, payload: seen.append((index, payload))))
    assert answers == [payload for _, payload in requests]
    assert seen == list(enumerate(answers))
    assert s.stats.resent > 0


@pytest.mark.parametrize("seed", range(25))
def test_groups_survive_a_bad_wire(seed):
    device = FakeDevice(Faults(**{name: p / 2 for name, p in NOISY.items()}, seed=seed))
    s = session(device, retries=60)
    requests, answers = groups(seed, 60)
    assert list(s.stream(requests)) == answers


def test_parts_of_two_groups_are_never_mixed():
    """Losing the end of one group and the start of the next must not join them."""
    requests = [
        (Command.INFER, b"\x00\x01"), (Command.INFER, b"\x81\x02"),
        (Command.INFER, b"\x00\x10"), (Command.INFER, b"\x81\x20"),
    ]  # fmt: skip
    device = FakeDevice()
    s = session(device)
    frames = iter(range(100))
    damage = device.faults.damage
    device.faults.damage = lambda frame: b"" if next(frames) in (1, 2) else damage(frame)  # type: ignore
    answers = list(s.stream(requests))
    assert answers == [b"\0", (3).to_bytes(4, "little"), b"\0", (0x30).to_bytes(4, "little")]
    assert (Command.INFER, b"\x81\x20") in device.executed  # it was run as a part of the first group


def test_a_gap_is_mended_at_once_without_waiting():
    device = FakeDevice()
    s = session(device, timeout=100.0)
    frames = iter(range(1000))
    device.faults.damage = lambda frame: b"" if next(frames) == 6 else frame  # type: ignore
    requests = echoes(1, 30)
    assert list(s.stream(requests)) == [payload for _, payload in requests]
    assert s.stats.resent == 1 and s.stats.timeouts == 0


def test_a_slow_device_is_believed_late():
    device = FakeDevice(service=3.4)
    s = session(device, timeout=1.0)
    assert s.call(Command.WRITE, b"slow") == b"slow"
    assert s.call(Command.READ, b"next") == b"next"


def test_one_slow_request_can_have_its_own_timeout():
    device = FakeDevice()
    s = session(device)
    device.service = 30.0
    assert s.call(Command.RUN, b"go", timeout=60.0) == b"go"
    assert s.stats.resent == 0


def test_large_responses_extend_the_deadline():
    device = FakeDevice()
    s = session(device, retries=0)
    device.service = 0.9
    pieces = []

    def trickle(timeout: float) -> bytes:
        if not pieces:
            data = FakeDevice.read(device, timeout)
            pieces.extend(data[i : i + 8] for i in range(0, len(data), 8))
        device.time += 0.007  # 1.1 s in all
        return pieces.pop(0)

    device.read = trickle  # type: ignore
    assert s.call(Command.WRITE, bytes(200)) == bytes(200)


def test_refusals_carry_status_and_index_and_come_in_order():
    s = session(FakeDevice())
    requests = [(Command.WRITE, b"a"), (Command.WRITE, b"b"), (Command.RESET, b""), (Command.WRITE, b"c")]
    got = []
    with pytest.raises(
        DeviceError, match=r"^the device refused RESET \(request 2\): NOT_ARMED; load a net"
    ) as caught:
        got.extend(s.stream(requests))
    assert (caught.value.status, caught.value.index) == (Status.NOT_ARMED, 2)
    assert got == [] or got == [b"a", b"b"]
    assert s.call(Command.WRITE, b"still fine") == b"still fine"


def test_a_sequence_error_that_stays_is_reported():
    s = session(FakeDevice())
    with pytest.raises(DeviceError, match="SEQUENCE") as caught:
        s.call(Command.INFER, b"\x83abc")
    assert caught.value.status == Status.SEQUENCE
    with pytest.raises(DeviceError, match="SEQUENCE"):
        list(s.stream([(Command.INFER, b"\x00a"), (Command.INFER, b"\x82b")]))


@pytest.mark.parametrize("status", [Status.WRONG_PROGRAM, Status.NOT_ARMED])
@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("answered", [1, 2])
def test_a_group_whose_repetition_is_refused_is_an_error_at_once(status, parts, answered):
    """Its first parts were answered before the device lost its network, the others are refused."""
    device = FakeDevice()
    s = session(device, timeout=100.0)
    execute, seen = device.execute, []

    def losing(command: int, payload: bytes) -> tuple[bytes, int]:
        seen.append(command)
        if command != Command.INFER or len(seen) <= answered:
            return execute(command, payload)
        return b"", status if payload[0] & 0x7F == 0 else Status.SEQUENCE

    device.execute = losing  # type: ignore[method-assign]
    requests = [(Command.INFER, bytes([n | (0x80 if n == parts - 1 else 0)]) + b"abc") for n in range(parts)]
    got: list[bytes] = []
    if answered >= parts:
        assert len(list(s.stream(requests))) == parts
        return
    with pytest.raises(DeviceError, match=Status(status).name) as caught:
        got.extend(s.stream(requests))
    assert caught.value.status == status
    assert s.stats.timeouts == 0
    assert s.call(Command.WRITE, b"still fine") == b"still fine"


class OldBoard(FakeDevice):
    """A board of another protocol version: INFO is all that it has in common."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version

    def execute(self, command: int, payload: bytes) -> tuple[bytes, int]:
        assert command == Command.INFO  # nothing else may be asked of it
        answer, status = super().execute(command, payload)
        return answer[:4] + bytes([self.version]) + answer[5:], status


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (1, "its bitstream is older: build it and program the board again"),
        (6, "its bitstream is newer: update xnorcore"),
    ],
)
def test_a_board_of_another_version_is_refused_in_words(version, words):
    message = f"the device speaks protocol version {version}, this driver speaks version 5; {words}"
    device = OldBoard(version)
    with pytest.raises(ProtocolVersionError, match=message):
        Accelerator(Session(device, seed=1))
    assert [command for command, _ in device.executed] == [Command.INFO]


@pytest.mark.parametrize(("count", "size"), [(1, 9), (50, 9), (3, 700), (4, 245), (4, 240), (1, 239)])
def test_every_group_of_images_names_the_program(count, size):
    """Part 0 and nothing else; no frame is longer than the device takes, and no byte of an image is lost."""
    network = Network("n", InputSpec((8 * size,), 1), [Dense(np.ones((3, 8 * size), np.int8))])
    config = DeviceConfig(Geometry(2, 4, 8), act_depth=4096, weight_depth=1024, fifo_bytes=512, line_bytes=0)
    program = compile_network(network, config)
    wire = np.random.default_rng(size).integers(0, 256, (count, size), dtype=np.uint8)
    most, expected = config.max_frame - 7, []
    requests = list(image_requests(program, wire, most, expected))
    data, images, following = b"", 0, 0
    for (command, payload), completed in zip(requests, expected, strict=True):
        assert command == Command.INFER and 1 < len(payload) <= most
        part = payload[0] & 0x7F
        assert part == following
        head = 1 if part else 5
        assert part or payload[1:5] == program.identifier[:4]
        data += payload[head:]
        images += completed
        following = 0 if payload[0] & 0x80 else part + 1
        assert bool(completed) == bool(payload[0] & 0x80)
    assert data == wire.tobytes() and images == count
    # Shorter requests, for a bad wire, name it too.
    cost = ImageBytes(size, program.result_bytes, program.batch)
    for _, payload in requests:
        pieces = divide(Command.INFER, payload, 64, config, cost)
        if payload[0] == 0x80 and count > 1 and size < 60:
            assert len(pieces) > 1
        assert all(piece[:5] == payload[:5] for piece in pieces)
        assert b"".join(piece[5:] for piece in pieces) == payload[5:]


def test_an_abandoned_stream_leaves_nothing_behind():
    device = FakeDevice()
    s = session(device)
    stream = s.stream(echoes(3, 50))
    next(stream)
    stream.close()
    assert s.call(Command.READ, b"after") == b"after"
    assert list(s.stream(echoes(4, 20))) == [payload for _, payload in echoes(4, 20)]
    assert s.stats.timeouts == 0


def test_calls_inside_a_stream():
    s = session(FakeDevice(Faults(**NOISY, seed=5)), retries=40)
    requests, answers = groups(5, 30)
    got = []
    for index, answer in enumerate(s.stream(requests)):
        got.append(answer)
        if index % 7 == 3:
            assert s.call(Command.READ, bytes([index])) == bytes([index])
    assert got == answers


def test_silence_times_out_and_names_what_to_check():
    device = FakeDevice()
    device.muted = True
    s = Session(device, timeout=0.5, retries=3)
    with pytest.raises(LinkTimeoutError, match=r"INFO from fake: in 4 tries of 0\.5 s.*baud rate, the cable"):
        s.synchronise()
    assert device.time == pytest.approx(2.0, abs=0.1)


def test_a_device_that_falls_silent_ends_the_stream():
    device = FakeDevice()
    s = session(device)
    with pytest.raises(LinkTimeoutError, match="RUN"):
        for index, _ in enumerate(s.stream(echoes(1, 100))):
            device.muted = index > 10
    device.muted = False
    assert s.call(Command.READ, b"back") == b"back"


@pytest.mark.parametrize("babble", [b"$GPGGA,1234*5B\r\n", b"\0\xff\0\x03", b"\0", b"x" * 5000])
def test_babble_is_a_wrong_device(babble):
    device = FakeDevice()
    device.muted = True

    def read(timeout: float) -> bytes:
        device.time += 0.01
        return babble

    device.read = read  # type: ignore
    with pytest.raises(WrongDeviceError, match=r"fake: sends .* no valid answer to INFO"):
        Session(device).synchronise()
    assert device.time < 60


def test_a_looped_back_wire_is_a_wrong_device():
    device = FakeDevice()
    sent = bytearray()
    device.write = sent.extend  # type: ignore

    def read(timeout: float) -> bytes:
        data, sent[:] = bytes(sent), b""
        device.time += 0.0 if data else timeout
        return data

    device.read = read  # type: ignore
    with pytest.raises(WrongDeviceError):
        Session(device).synchronise()


def test_stale_answers_of_an_earlier_program_are_ignored():
    device = FakeDevice()
    first = Session(device, seed=1)
    first.synchronise()
    next(first.stream(echoes(1, 40)))
    discard, device.discard = device.discard, lambda: None  # type: ignore
    second = Session(device, seed=2)
    assert second.synchronise() == INFO
    assert second.call(Command.WRITE, b"mine") == b"mine"
    assert second.stats.stale > 0
    discard()


def test_version_and_impossible_device():
    class Other(FakeDevice):
        def execute(self, command: int, payload: bytes) -> tuple[bytes, int]:
            answer, status = super().execute(command, payload)
            return answer[:4] + bytes([9]) + answer[5:], status

    with pytest.raises(ProtocolVersionError, match="version 9"):
        Session(Other()).synchronise()

    class Odd(FakeDevice):
        def execute(self, command: int, payload: bytes) -> tuple[bytes, int]:
            answer, status = super().execute(command, payload)
            return answer[:6] + bytes([99]) + answer[7:], status

    with pytest.raises(WrongDeviceError, match="impossible device: rows is 99"):
        Session(Odd()).synchronise()


class Register(FakeDevice):
    """WRITE stores its payload, RUN makes something of it that READ gives: each needs those before it."""

    held = made = b""

    def execute(self, command, payload):
        if command == Command.WRITE:
            self.held = payload
        elif command == Command.RUN:
            self.made = self.held[::-1]
        elif command != Command.READ:
            return super().execute(command, payload)
        return (self.made if command == Command.READ else b""), Status.OK


@pytest.mark.parametrize("seed", range(20))
def test_chains_are_whole_or_sent_again(seed):
    """Nothing else runs between the requests of a chain, and none is left out, whatever gets lost."""
    r = random.Random(seed)
    faults = Faults(seed=seed, **NOISY) if seed else Faults()
    device = Register(faults)
    s = session(device, retries=100)
    values = [r.randbytes(r.randrange(8, 60)) for _ in range(40)]
    chains = [
        Chain([(Command.WRITE, value), (Command.RUN, b""), (Command.READ, b""), (Command.READ, b"")])
        for value in values
    ]
    found = list(s.stream(chains))
    assert found == [answer for value in values for answer in (b"", b"", value[::-1], value[::-1])]
    assert seed == 0 or s.stats.resent > 0
    assert device.overflows == 0 and device.most_held <= 512


def test_a_refused_request_of_a_chain_is_named():
    s = session(FakeDevice())
    with pytest.raises(UsageError, match="payload bytes; at most"):
        list(s.stream([Chain([(Command.RUN, b"1"), (Command.RUN, bytes(s.max_payload + 1))])]))
    assert s.call(Command.RUN, b"x") == b"x"


def test_disconnection_passes_through():
    device = FakeDevice()
    s = session(device)
    with pytest.raises(DisconnectedError):
        for _ in s.stream(echoes(1, 100)):
            device.unplugged = True


def test_oversized_payloads_are_refused_before_they_are_sent():
    s = session(FakeDevice())
    with pytest.raises(UsageError, match="WRITE request with 250 payload bytes; at most 245 fit"):
        s.call(Command.WRITE, bytes(250))


def test_window_follows_info():
    config = DeviceConfig(Geometry(1, 8, 8), fifo_bytes=2048)
    device = FakeDevice(info=replace(INFO, config=config))
    s = session(device)
    assert s.window_bytes == 2048
    list(s.stream([(Command.WRITE, bytes(100))] * 60))
    assert 1500 < device.most_held <= 2048 and device.overflows == 0
