"""COBS both ways, frames, and the splitter: round trips, worked examples, damage and bounds."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorcore.isa.layout import COUNTERS, STORE_COUNTERS
from xnorcore.isa.protocol import INFO_BYTES, Command, Status
from xnorcore.link import cobs
from xnorcore.link.frames import Splitter, decode_request, decode_response, encode_request, encode_response

# Zeros are common, and runs reach the full block.
BODIES = st.lists(st.one_of(st.binary(max_size=8), st.integers(250, 258).map(lambda n: b"\x07" * n))).map(
    b"\0".join
)
PLAIN = [
    (b"", "01"),
    (b"\0", "01 01"),
    (b"\x11\x22\0\x33", "03 11 22 02 33"),
    (b"\x11\0\0", "02 11 01 01"),
]
REVERSE = [
    (b"", "01"),
    (b"\0", "01 01"),
    (b"\x11\x22\0\x33", "11 22 03 33 02"),
    (b"\x11\0\0", "11 02 01 01"),
]


@pytest.mark.parametrize(("body", "wire"), PLAIN)
def test_plain_cobs_by_hand(body, wire):
    assert cobs.encode(body).hex(" ") == wire


@pytest.mark.parametrize(("body", "wire"), REVERSE)
def test_reverse_cobs_by_hand(body, wire):
    assert cobs.encode_reverse(body).hex(" ") == wire


@pytest.mark.parametrize(
    ("body", "plain", "reverse"),
    [
        (b"a" * 253, b"\xfe" + b"a" * 253, b"a" * 253 + b"\xfe"),
        (b"a" * 254, b"\xff" + b"a" * 254, b"a" * 254 + b"\xff\x01"),
        (b"a" * 255, b"\xff" + b"a" * 254 + b"\x02a", b"a" * 254 + b"\xffa\x02"),
        (b"a" * 254 + b"\0", b"\xff" + b"a" * 254 + b"\x01\x01", b"a" * 254 + b"\xff\x01\x01"),
    ],
)
def test_full_blocks(body, plain, reverse):
    assert (cobs.encode(body), cobs.encode_reverse(body)) == (plain, reverse)
    assert cobs.decode(plain) == cobs.decode_reverse(reverse) == body


def test_plain_cobs_may_end_a_full_block_with_an_empty_one():
    assert cobs.decode(b"\xff" + b"a" * 254 + b"\x01") == b"a" * 254


@given(BODIES)
def test_round_trips(body):
    for encode, decode in ((cobs.encode, cobs.decode), (cobs.encode_reverse, cobs.decode_reverse)):
        wire = encode(body)
        assert 0 not in wire
        assert len(wire) <= len(body) + len(body) // 254 + 1
        assert decode(wire) == body


@given(st.binary())
def test_decoders_take_any_bytes(data):
    for decode in (cobs.decode, cobs.decode_reverse):
        assert decode(data) is None or len(decode(data) or b"") <= len(data)
    assert decode_request(data) is None or data
    assert decode_response(data) is None or data


@pytest.mark.parametrize("wire", [b"\x05\x01\x02", b"\x02", b"\x00", b"\x01\x03"])
def test_malformed_plain_cobs(wire):
    assert cobs.decode(wire) is None


@pytest.mark.parametrize(
    "wire", [b"", b"\x01\x02\x05", b"\x02", b"a" * 254 + b"\xff", b"\x05\x00\x01", b"\x04\x01"]
)
def test_malformed_reverse_cobs(wire):
    assert cobs.decode_reverse(wire) is None


@given(st.integers(1, 127), st.integers(0, 65535), BODIES, st.integers(0, 255))
def test_frames_round_trip_and_do_not_pass_for_each_other(command, tag, payload, status):
    request, response = encode_request(command, tag, payload), encode_response(command, tag, payload, status)
    assert request.index(0) == len(request) - 1 and response.index(0) == len(response) - 1
    assert decode_request(request[:-1]) == (command, tag, payload)
    assert decode_response(response[:-1]) == (command, tag, payload, status)
    assert decode_response(request[:-1]) is None


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_always_noticed(seed):
    r = random.Random(seed)
    frame = encode_response(5, 77, r.randbytes(40), 0)[:-1]
    for i in range(len(frame) * 8):
        data = bytearray(frame)
        data[i // 8] ^= 1 << i % 8
        assert decode_response(bytes(data)) is None
    for i in range(len(frame)):
        assert decode_response(frame[:i]) is None and decode_response(frame[i + 1 :]) is None


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 20))
def test_splitter_does_not_depend_on_how_bytes_come(chunks, limit):
    data = b"\0".join(chunks) + b"\0"
    expected = [part for part in data.split(b"\0") if 0 < len(part) <= limit]
    whole, single = Splitter(limit), Splitter(limit)
    assert whole.feed(data) == expected
    assert [frame for byte in data for frame in single.feed(bytes([byte]))] == expected
    assert whole.dropped == single.dropped == sum(len(part) > limit for part in data.split(b"\0"))


def test_splitter_memory_is_bounded():
    splitter = Splitter(100)
    for _ in range(10_000):
        splitter.feed(b"x" * 99)
        assert splitter.pending <= 100 and sum(map(len, splitter._parts)) <= 100
    assert splitter.feed(b"\0ok\0") == [b"ok"]
    long = Splitter()
    for _ in range(5000):
        long.feed(b"x")
    assert len(long._parts) < 1100


def test_the_worked_examples_of_the_specification():
    """Each example line of docs/protocol.md is what the code does."""
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    count = 0
    for body, wire in re.findall(r"^    plain: +([^>\n]*) -> ([^\n]*)$", text, re.M):
        assert cobs.encode(_bytes(body)) == _bytes(wire)
        count += 1
    for body, wire in re.findall(r"^    reverse: +([^>\n]*) -> ([^\n]*)$", text, re.M):
        assert cobs.encode_reverse(_bytes(body)) == _bytes(wire)
        assert cobs.decode_reverse(_bytes(wire)) == _bytes(body)
        count += 1
    pattern = r"^    (request|response): (.*)\n    body: +(.*)\n    wire: +(.*)$"
    for kind, fields, body, wire in re.findall(pattern, text, re.M):
        values = {name: int(value, 0) for name, value in re.findall(r"(type|tag|status)=(\w+)", fields)}
        (payload,) = re.findall(r"payload=\[([^\]]*)\]", fields)
        if kind == "request":
            frame = encode_request(values["type"], values["tag"], _bytes(payload))
            plain = cobs.decode(frame[:-1])
        else:
            frame = encode_response(values["type"], values["tag"], _bytes(payload), values["status"])
            plain = cobs.decode_reverse(frame[:-1])
        assert (plain, frame) == (_bytes(body), _bytes(wire))
        count += 1
    assert count >= 14


def test_the_tables_of_the_specification():
    """Names and numbers of docs/protocol.md are those of the code."""
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    commands, rest = text.split("## 4. Commands", 1)[1].split("### INFO", 1)
    counters, status = rest.split("### COUNTERS", 1)[1].split("## 5. Status", 1)
    row = re.compile(r"^\| (\d+) \| (\w+) \|", re.M)
    assert row.findall(commands) == [(str(c.value), c.name) for c in Command]
    assert row.findall(counters) == [(str(i), name) for i, name in enumerate(COUNTERS + STORE_COUNTERS)]
    assert row.findall(status) == [(str(s.value), s.name) for s in Status]
    offsets = re.findall(r"^\| (\d+) \| (?:u(\d+)|(\d) bytes) \|", rest.split("### WRITE")[0], re.M)
    sizes = [int(bits) // 8 if bits else int(count) for _, bits, count in offsets]
    assert [int(offset) for offset, _, _ in offsets] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert sum(sizes) == INFO_BYTES


def _bytes(text: str) -> bytes:
    """Read hex bytes; ``NNxHH`` is a run of NN bytes HH and ``(none)`` is nothing."""
    text = text.replace("(none)", "")
    return b"".join(
        bytes([int(word[-2:], 16)]) * int(word[:-3]) if "x" in word else bytes([int(word, 16)])
        for word in text.split()
    )
