"""Frame sender and receiver against the Python reference, with random stalls and damage."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.frames import decode_response, encode_request, encode_response
from xnorcore_hw.link import FrameReceiver, FrameSender
from xnorcore_hw.link.framing.checksum import Checksum

from .streams import Stalls, assert_quiet, get, get_packet, packet_values, put, simulate

CONFIG = DeviceConfig(Geometry(1, 8, 8), fifo_bytes=512)  # max_frame is 252
STALLS = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.3, 0.3)]


def payloads(seed: int) -> list[bytes]:
    r = random.Random(seed)
    sizes = [0, 1, 2, 30, 245, r.randrange(245), r.randrange(245)]
    r.shuffle(sizes)
    values = r.choice([range(256), [0, 1], [0], range(1, 256)])
    return [bytes(r.choice(values) for _ in range(size)) for size in sizes]


def test_checksum_is_that_of_zlib():
    dut = Checksum()
    r = random.Random(1)

    async def add(ctx, *values):
        for value in values:
            ctx.set(dut.add, 1)
            ctx.set(dut.data, value)
            await ctx.tick()
        ctx.set(dut.add, 0)

    async def test(ctx):
        for content in (b"", b"123456789", bytes(30), r.randbytes(300)):
            await add(ctx, *content)
            crc = zlib.crc32(content)
            assert ctx.get(dut.crc) == crc
            await add(ctx, *crc.to_bytes(4, "little"))
            assert ctx.get(dut.good)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await add(ctx, *content)
            for byte in crc.to_bytes(4, "little"):
                assert ctx.get(dut.crc) & 255 == byte
                await add(ctx, ~byte & 255)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)

    simulate(dut, test)


@pytest.mark.parametrize(("seed", "stalls"), some(enumerate(STALLS), 2, many=True))
def test_sender_matches_the_reference(seed, stalls):
    dut = FrameSender()
    r = random.Random(seed)
    # Runs around the full block, which the CRC may lengthen.
    contents = [*payloads(seed), *(bytes([7]) * n for n in (245, 246, 249, 250, 251, 254, 255, 510))]
    packets = [(r.randrange(1, 128), r.randrange(1 << 16), data, r.randrange(7)) for data in contents]
    expected = b"".join(encode_response(*packet) for packet in packets)

    async def feed(ctx):
        for kind, tag, data, status in packets:
            content = bytes([kind | 0x80]) + tag.to_bytes(2, "little") + data + bytes([status])
            await put(ctx, dut.i, packet_values(content), Stalls(seed, stalls[0]))

    async def check(ctx):
        assert bytes(await get(ctx, dut.o, len(expected), Stalls(seed + 1, stalls[1]))) == expected
        await assert_quiet(ctx, dut.o, 10)

    simulate(dut, feed, check)
    assert [decode_response(frame) for frame in expected.split(b"\0")[:-1]] == [
        (kind, tag, data, status) for kind, tag, data, status in packets
    ]


def test_sender_spends_two_cycles_per_wire_byte():
    dut = FrameSender()
    content = bytes([0x81, 1, 2, *range(256), *range(256), 0])
    expected = encode_response(1, 0x0201, content[3:-1], 0) * 3
    cycles = []

    async def feed(ctx):
        await put(ctx, dut.i, packet_values(content) * 3)

    async def check(ctx):
        ctx.set(dut.o.ready, 1)
        received = bytearray()
        count = 0
        while len(received) < len(expected):
            *_, valid, value = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            received += bytes([value]) * valid
            count += 1
        cycles.append(count)
        assert received == expected

    simulate(dut, feed, check)
    assert cycles[0] <= 2 * len(expected) + 2


@pytest.mark.parametrize(("seed", "stalls"), list(enumerate(STALLS)))
def test_receiver_matches_the_reference(seed, stalls):
    dut = FrameReceiver(CONFIG)
    r = random.Random(seed)
    requests = [(r.randrange(1, 128), r.randrange(1 << 16), data) for data in payloads(seed)]

    async def feed(ctx):
        for request in requests:
            await put(ctx, dut.i, bytes(r.randrange(3)) + encode_request(*request), Stalls(seed, stalls[0]))
            while ctx.get(dut.frames_good) - done[0] > 1:  # two of the largest frames fit
                await ctx.tick()

    done = [0]

    async def check(ctx):
        for kind, tag, data in requests:
            packet = await get_packet(ctx, dut.o, Stalls(seed + 1, stalls[1]))
            assert packet == bytes([kind]) + tag.to_bytes(2, "little") + data
            done[0] += 1
        await assert_quiet(ctx, dut.o, 10)
        assert (ctx.get(dut.frames_good), ctx.get(dut.frames_bad)) == (len(requests), 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert ctx.get(dut.frames_good) == 0

    simulate(dut, feed, check)


@pytest.mark.parametrize("seed", some(range(4), 1))
def test_receiver_passes_no_damaged_frame(seed):
    """Good frames among damaged ones and noise: exactly the good ones come out."""
    dut = FrameReceiver(CONFIG)
    r = random.Random(seed)
    wire, expected, damaged = b"", [], 0
    for tag in range(40):
        data = r.randbytes(r.randrange(20))
        frame = bytearray(encode_request(2, tag, data))
        kind = r.randrange(7)
        if kind == 0:
            frame[r.randrange(len(frame) - 1)] ^= 1 << r.randrange(8)
        elif kind == 1:
            del frame[r.randrange(len(frame) - 1)]
        elif kind == 2:
            del frame[r.randrange(len(frame) - 1) : -1]
        elif kind == 3:
            frame.insert(r.randrange(1, len(frame) - 1), r.randrange(256))
        elif kind == 4:
            frame[:0] = r.randbytes(300)
        else:
            expected.append(bytes([2]) + tag.to_bytes(2, "little") + data)
        damaged += kind <= 4
        wire += frame

    async def feed(ctx):
        await put(ctx, dut.i, wire, Stalls(seed, 0.1))

    async def check(ctx):
        for packet in expected:
            assert await get_packet(ctx, dut.o, Stalls(seed, 0.1)) == packet
        await assert_quiet(ctx, dut.o, 700)
        assert ctx.get(dut.frames_good) == len(expected)
        assert ctx.get(dut.frames_bad) >= damaged - 1 or damaged == 0  # an empty rest is no frame

    simulate(dut, feed, check)


def test_receiver_refuses_every_malformed_or_misfitting_frame():
    longest = CONFIG.max_frame - 7
    good = encode_request(3, 9, bytes(longest))
    whole = encode_request(3, 0x0909, b"\x01\x02\x03\x04")
    assert whole[0] == len(whole) - 1 == 12
    bad = [
        encode_request(3, 9, bytes(longest + 1)),
        encode_request(3, 9, bytes(600)),
        b"\x05\x01\x02\0",  # the block ends early
        good[:-2] + b"\0",
        b"\x0d" + whole[1:],  # right in all but the length of its last block
        b"\x01" * 6 + b"\0",  # short bodies
        b"\x03\x01\x02\0",
        # Body of six bytes with a right CRC.
        b"\x07" + b"\x11\x22" + zlib.crc32(b"\x11\x22").to_bytes(4, "little") + b"\0",
    ]
    assert 0 not in bad[-1][:-1]
    dut = FrameReceiver(CONFIG)

    async def feed(ctx):
        for frame in bad:
            await put(ctx, dut.i, frame)
            await put(ctx, dut.i, good)

    async def check(ctx):
        for _ in bad:
            assert await get_packet(ctx, dut.o) == bytes([3, 9, 0]) + bytes(longest)
        await assert_quiet(ctx, dut.o, 20)
        assert (ctx.get(dut.frames_good), ctx.get(dut.frames_bad)) == (len(bad), len(bad))

    simulate(dut, feed, check)


@pytest.mark.parametrize("size", some([10, 0, 245], 1))
def test_receiver_holds_every_frame_that_the_window_allows(size):
    """Frames whose wire bytes fit `fifo_bytes` all fit; the first that does not is dropped whole."""
    dut = FrameReceiver(CONFIG)
    frame = encode_request(2, 0x0102, bytes(range(1, size + 1)))
    count = CONFIG.fifo_bytes // len(frame)
    more = 700 // len(frame) + 1

    async def test(ctx):
        for _ in range(3):  # at other positions of the ring
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            await put(ctx, dut.i, frame * count)
            await ctx.tick().repeat(3)
            assert (ctx.get(dut.frames_good), ctx.get(dut.frames_bad)) == (count, 0)
            await put(ctx, dut.i, frame * more)
            await ctx.tick().repeat(3)
            held = ctx.get(dut.frames_good)
            # A packet and its prefix stay. Two bytes of the first are out, four of the last one's CRC come.
            assert held == (CONFIG.fifo_bytes + 2 - 4) // (size + 4) >= count
            assert ctx.get(dut.frames_bad) == count + more - held
            for _ in range(held):
                assert await get_packet(ctx, dut.o) == bytes([2, 2, 1]) + bytes(range(1, size + 1))
            await assert_quiet(ctx, dut.o, 5)

    simulate(dut, test)


def test_receiver_takes_a_byte_every_other_cycle():
    dut = FrameReceiver(CONFIG)
    frame = encode_request(5, 1, bytes(range(200)))
    cycles = []

    async def feed(ctx):
        await put(ctx, dut.i, frame * 10)

    async def check(ctx):
        count = 0
        packets = 0
        ctx.set(dut.o.ready, 1)
        while packets < 10:
            *_, valid, value = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            packets += valid & value.last
            count += 1
        cycles.append(count)

    simulate(dut, feed, check)
    assert cycles[0] <= 10 * (2 * len(frame) + 2) + 210


def test_receiver_without_counters_still_says_what_it_drops():
    dut = FrameReceiver(replace(CONFIG, counters=0))

    async def test(ctx):
        dropped = 0
        for byte in encode_request(2, 1, b"a") + b"\1\2\0\0" + encode_request(2, 2, b"b") + bytes(3):
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            *_, event = await ctx.tick().sample(dut.dropped).until(dut.i.ready)
            dropped += event
        ctx.set(dut.i.valid, 0)
        assert dropped == 1
        assert await get_packet(ctx, dut.o) == b"\2\1\0a"
        assert await get_packet(ctx, dut.o) == b"\2\2\0b"
        assert (ctx.get(dut.frames_good), ctx.get(dut.frames_bad)) == (0, 0)

    simulate(dut, test)


def test_receiver_has_room_for_the_largest_frame_of_all():
    config = DeviceConfig(Geometry(1, 8, 8), fifo_bytes=16384)
    dut = FrameReceiver(config)
    data = random.Random(1).randbytes(config.max_frame - 7)

    async def feed(ctx):
        await put(ctx, dut.i, encode_request(5, 1, data + b"\0") + encode_request(5, 1, data))

    async def check(ctx):
        assert await get_packet(ctx, dut.o) == b"\5\1\0" + data
        assert ctx.get(dut.frames_bad) == 1

    simulate(dut, feed, check)
