"""The page's protocol is docs/protocol.md's: its examples, and what the driver of this project says."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import COUNTERS, HEADER, STORE_COUNTERS
from xnorcore.isa.protocol import VERSION, Command, DeviceInfo, Space, Status
from xnorcore.link import cobs
from xnorcore.link.frames import decode_request, encode_request, encode_response

from .node import run

PAGE = (Path(__file__).parents[2] / "docs/protocol.md").read_text()


def hexadecimal(text: str) -> bytes:
    """Read bytes as the page writes them; ``254x61`` is a run."""
    parts = [re.fullmatch(r"(?:(\d+)x)?([0-9a-f]{2})", part) for part in text.split()]
    return b"".join(bytes.fromhex(part[2]) * int(part[1] or 1) for part in parts if part)


def test_frames_of_the_documentation(tmp_path):
    plain = re.findall(r"^    plain:   (.*) -> (.*)$", PAGE, re.M)
    reverse = re.findall(r"^    reverse: (.*) -> (.*)$", PAGE, re.M)
    requests = re.findall(
        r"^    request: type=(\d+) tag=0x(\w+) payload=\[(.*)\]\n    body: .*\n    wire: +(.*)$", PAGE, re.M
    )
    responses = re.findall(
        r"^    response: type=(\d+) tag=0x(\w+) payload=\[(.*)\] status=(\d)\n    body: .*\n    wire: +(.*)$",
        PAGE, re.M,
    )  # fmt: skip
    assert (len(plain), len(reverse), len(requests), len(responses)) == (7, 7, 3, 3)
    given = {
        "plain": [list(hexadecimal(body)) for body, _ in plain],
        "reverse": [list(hexadecimal(wire)) for _, wire in reverse],
        "requests": [[int(c), int(tag, 16), list(hexadecimal(p))] for c, tag, p, _ in requests],
        "responses": [list(hexadecimal(wire)[:-1]) for *_, wire in responses],
    }
    found = run(
        """const { encodePlain, decodeReverse, encodeRequest, decodeResponse, crc32 } = frames;
        done({
          plain: given.plain.map((body) => [...encodePlain(Uint8Array.from(body))]),
          reverse: given.reverse.map((wire) => [...decodeReverse(Uint8Array.from(wire))]),
          requests: given.requests.map(([c, t, p]) => [...encodeRequest(c, t, Uint8Array.from(p))]),
          responses: given.responses.map((wire) => {
            const { command, tag, payload, status } = decodeResponse(Uint8Array.from(wire));
            return [command, tag, [...payload], status];
          }),
          check: crc32(new TextEncoder().encode("123456789")),
        });""",
        tmp_path,
        **given,
    )
    assert [bytes(wire) for wire in found["plain"]] == [hexadecimal(wire) for _, wire in plain]
    assert [bytes(body) for body in found["reverse"]] == [hexadecimal(body) for body, _ in reverse]
    assert [bytes(wire) for wire in found["requests"]] == [hexadecimal(wire) for *_, wire in requests]
    assert found["responses"] == [
        [int(c), int(tag, 16), list(hexadecimal(p)), int(status)] for c, tag, p, status, _ in responses
    ]
    assert found["check"] == 0xCBF43926


def test_random_frames_against_the_driver(tmp_path):
    """Both directions, bodies with and without zeros; damage of every byte is seen."""
    rng = random.Random(5)
    bodies = [
        bytes(
            rng.choice((0, rng.randrange(256), 7)) for _ in range(rng.choice((0, 1, 5, 253, 254, 255, 600)))
        )
        for _ in range(60)
    ]
    wires = [encode_response(5, 77, body, 3) for body in bodies]
    short = encode_response(5, 77, b"\0\1\2\0")[:-1]
    damaged = [
        bytes([*short[:at], value, *short[at + 1 :]])
        for at in range(len(short)) for value in (0, 1, short[at] ^ 4, 255) if value != short[at]
    ]  # fmt: skip
    found = run(
        """const bytes = (list) => Uint8Array.from(list);
        const splitter = new frames.Splitter();
        const stream = given.wires.flat();
        const cut = [];
        for (let at = 0; at < stream.length; at += 37) {
          cut.push(...splitter.feed(bytes(stream.slice(at, at + 37))));
        }
        done({
          requests: given.bodies.map((body, tag) => [...frames.encodeRequest(2, tag, bytes(body))]),
          payloads: cut.map((frame) => [...frames.decodeResponse(frame).payload]),
          damaged: given.damaged.map((wire) => frames.decodeResponse(bytes(wire))),
          reversed: given.bodies.map((body) => frames.decodeReverse(bytes(body)) ?? null)
            .map((body) => body && [...body]),
        });""",
        tmp_path,
        bodies=[list(body) for body in bodies],
        wires=[list(wire) for wire in wires],
        damaged=[list(wire) for wire in damaged],
    )
    assert [bytes(p) for p in found["payloads"]] == bodies
    for tag, (body, wire) in enumerate(zip(bodies, found["requests"], strict=True)):
        assert bytes(wire) == encode_request(2, tag, body) and decode_request(bytes(wire[:-1])) == (
            2,
            tag,
            body,
        )
    assert found["damaged"] == [None] * len(damaged)
    expected = [cobs.decode_reverse(body) for body in bodies]
    assert [None if body is None else bytes(body) for body in found["reversed"]] == expected


def test_numbers_are_those_of_the_driver(tmp_path):
    found = run(
        "done([protocol.COMMAND, protocol.STATUS, protocol.SPACE, protocol.COUNTERS, protocol.VERSION, "
        "protocol.STORE_COUNTERS])",
        tmp_path,
    )
    assert found[0] == {c.name: int(c) for c in Command} and found[1] == {s.name: int(s) for s in Status}
    assert found[2] == {s.name: int(s) for s in Space} and found[3] == list(COUNTERS) and found[4] == VERSION
    assert found[5] == list(STORE_COUNTERS)
    assert HEADER.fields["id_low"].word == 10  # MARK of accelerator.js


CONFIGS = [
    DeviceConfig(),
    DeviceConfig(Geometry(3, 8, 32), 12, 1024, 256, 512, 128, 512, 4, 0, 0, 0, 4, 1),
    DeviceConfig(whole_windows=1),
    DeviceConfig(whole_windows=1, act_ports=1),
    DeviceConfig(Geometry(1, 8, 8), line_bytes=0, act_ports=1),
    DeviceConfig(act_ports=1, line_bytes=0, store_words=1 << 14),
    DeviceConfig(store_words=1 << 24),
    DeviceConfig(store_words=1 << 10, store_kind=1, fifo_bytes=16384),
    DeviceConfig(store_words=1 << 17, store_kind=2),
    DeviceConfig(store_words=1 << 17, store_kind=4),
    DeviceConfig(store_words=1 << 17, store_kind=5),
    DeviceConfig(kept_words=1 << 21, line_bytes=65536, whole_windows=1),
    DeviceConfig(kept_words=1 << 11, store_words=1 << 22, store_kind=1),
    DeviceConfig(code_bits=8, result_lanes=4, value_depth=64, scale_depth=65536),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_device_is_read_as_by_the_driver(config, tmp_path):
    from xnorcore.isa.device import options

    info = DeviceInfo(config, 36_000_000, True, bytes(range(8)), bytes(range(8, 16)))
    found = run("done(protocol.parseInfo(Uint8Array.from(given.info)))", tmp_path, info=list(info.pack()))
    assert found["config"] == options(config)
    assert (found["clockHz"], found["armed"]) == (36_000_000, True)
    assert (found["build"], found["network"]) == (info.build_id.hex(), info.network_id.hex())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({4: 1}, "speaks protocol version 1, and this page speaks version 5; its bitstream is older"),
        ({4: 6}, "speaks protocol version 6, and this page speaks version 5; its bitstream is newer"),
        ({0: 0}, "is not an xnorcore accelerator"),
        ({31: 15}, "does not check what its store holds: its bitstream is older"),
    ],
)
def test_another_device_is_refused_in_words(change, says, tmp_path):
    info = bytearray(DeviceInfo(DeviceConfig()).pack())
    for at, value in change.items():
        info[at] = value
    script = """
    try { done(protocol.parseInfo(Uint8Array.from(given.info))); }
    catch (error) { done([error.name, error.message]); }"""
    name, message = run(script, tmp_path, info=list(info))
    assert name == "PageError" and says in message


def test_a_silent_device_and_one_that_babbles_are_told_apart(tmp_path):
    script = """
    class Odd { constructor(give) { this.give = give; this.time = 0; }
      now() { return this.time; } write() {} discard() {}
      async read(ms) { this.time += this.give.length ? 1 : ms + 1; return Uint8Array.from(this.give); } }
    const says = [];
    for (const give of [[], [1, 2, 0]]) {
      const one = new session.Session(new Odd(give), { timeout: 50, retries: 3 });
      says.push(await one.synchronise().catch((error) => error.message));
    }
    done(says);"""
    silent, babble = run(script, tmp_path)
    assert "No answer to INFO in 4 tries" in silent and "check the cable" in silent
    assert "another device, or the baud rate is wrong" in babble


def test_an_answer_proves_that_those_before_it_are_lost(tmp_path):
    """Only the last of three is answered: the others go out again at once, and no time passes."""
    script = """
    const { Splitter } = frames;
    class Peer { // answers what `says` chooses
      constructor(says) {
        Object.assign(this, { says, time: 0, out: [], tags: [], splitter: new Splitter() });
      }
      now() { return this.time; } discard() {}
      write(data) {
        for (const frame of this.splitter.feed(data)) {
          const body = decodePlain(frame);
          this.tags.push(body[1] | (body[2] << 8));
          if (this.says(this.tags.length)) this.out.push(given.answers[this.tags.length - 1]);
        }
      }
      async read(ms) {
        const next = this.out.shift();
        if (!next) this.time += ms + 1;
        return Uint8Array.from(next ?? []);
      }
    }
    function decodePlain(data) {
      const out = [];
      for (let at = 0; at < data.length;) {
        const code = data[at];
        if (at) out.push(0);
        out.push(...data.slice(at + 1, at + code));
        at += code;
      }
      return out;
    }
    const peer = new Peer((count) => count >= 3);
    const one = new session.Session(peer, { timeout: 1000, tag: 0 });
    const request = { command: 1, payload: new Uint8Array(0) };
    const answers = await one.stream([request, request, request]);
    done([peer.time, peer.tags, answers.map((answer) => [...answer]), one.size, one.flying.size]);"""
    answers = [list(encode_response(1, tag, bytes([tag]))) for tag in range(1, 6)]
    time, tags, found, size, flying = run(script, tmp_path, answers=answers)
    assert (time, tags) == (0, [1, 2, 3, 4, 5])
    assert found == [[4], [5], [3]] and (size, flying) == (0, 0)
