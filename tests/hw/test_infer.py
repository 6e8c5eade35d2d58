"""INFER alone: which parts of a group pass on their images, and how the others are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux, Signal

from xnorcore.isa.protocol import KEY_BYTES, Status
from xnorcore_hw.command.infer import Infer
from xnorcore_hw.command.records import RecordKind

from .streams import simulate

KEY = bytes([3, 4, 4, 4])
"""Goes on as it ends: what is missing of it looks right where nothing new comes."""
END = 0x80
"""In the byte of the part's number: the group ends with it."""


@dataclass
class Heard:
    """What the loader and the responder hear while requests are carried out."""

    images: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)


def carry_out(
    requests: list[bytes],
    *,
    armed: bool = True,
    forget: int = -1,
    boundary: bool = True,
    left: bool = False,
) -> Heard:
    """Carry out requests, given from their part's number on.

    The loader is `boundary` between images whenever it is asked, and has a batch `left` when it closes. After
    `forget` requests, the group is forgotten.
    """
    dut, heard = Infer(), Heard()
    bench = Module()
    bench.submodules.dut = dut
    ended, count, start = Signal(), Signal(3), Signal()
    taken = dut.i.valid & dut.i.ready
    with bench.If(start):
        bench.d.sync += [ended.eq(0), count.eq(0)]
    with bench.Elif(taken):
        bench.d.sync += ended.eq(dut.i.p.last)
    with bench.If(dut.step):
        bench.d.sync += count.eq(count + 1)
    key = Const(int.from_bytes(KEY, "little"), 8 * KEY_BYTES)
    bench.d.comb += [
        dut.ended.eq(ended),
        dut.count.eq(count),
        dut.key.eq(Mux(dut.key_known, key.word_select(count[:2], 8), 0)),
    ]
    bench.d.sync += dut.key_known.eq(dut.asks)

    async def feed(ctx: Any) -> None:
        loader = dut.loader
        ctx.set(dut.armed, armed)
        ctx.set(loader.boundary, boundary)
        ctx.set(loader.images.ready, 1)
        ctx.set(dut.record.ready, 1)
        for number, request in enumerate(requests):
            ctx.set(dut.forget, number == forget)
            ctx.set(start, 1)
            await ctx.tick()
            ctx.set(dut.forget, 0)
            ctx.set(start, 0)
            ctx.set(dut.active, 1)
            at, status, kept = 0, None, 0
            while True:
                ctx.set(dut.i.valid, at < len(request))
                ctx.set(dut.i.p, {"data": request[min(at, len(request) - 1)], "last": at == len(request) - 1})
                # Still at work for three cycles behind the last byte.
                kept = kept + 1 if at == len(request) else 0
                ctx.set(loader.busy, kept < 4)
                closed = left and "close" in heard.calls and not heard.batches
                ctx.set(loader.batch.valid, closed)
                ctx.set(loader.batch.p, 5)
                signals = (dut.i.ready, loader.images.valid, loader.images.p, loader.close, loader.restart)
                signals += (
                    dut.record.valid,
                    dut.record.p,
                    dut.status,
                    dut.status_valid,
                    dut.refuse,
                    dut.done,
                )
                (
                    *_,
                    ready,
                    image,
                    byte,
                    close,
                    restart,
                    record,
                    item,
                    new,
                    says,
                    refuse,
                    done,
                ) = await ctx.tick().sample(*signals)
                if image:
                    heard.images.append(byte)
                heard.calls += ["close"] * close + ["restart"] * restart
                if record:
                    assert item.kind == RecordKind.BATCH and closed
                    heard.batches.append(item.value & 15)
                status = Status(new) if says else status
                at += ready and at < len(request)
                if refuse or done:
                    assert not (refuse and done)
                    heard.ends.append(status.name if refuse and status is not None else "done")
                    break
            ctx.set(dut.active, 0)
            ctx.set(dut.i.valid, 0)
            await ctx.tick()

    simulate(bench, feed)
    return heard


def test_a_group_in_parts() -> None:
    heard = carry_out([bytes([0]) + KEY + b"abc", bytes([1]) + b"de", bytes([2 | END]) + b"f"])
    assert heard.ends == ["done"] * 3
    assert heard.images == b"abcdef"
    assert heard.calls == ["restart", "close"]


def test_the_batch_that_closing_leaves_is_recorded() -> None:
    assert carry_out([bytes([END]) + KEY + b"ab"], left=True).batches == [5]


def test_the_key_is_compared_from_its_first_byte_after_any_request() -> None:
    """Too short, too long for a wrong one, right."""
    requests = [bytes([0]) + KEY[:2], bytes([0]) + b"\xff" * KEY_BYTES + b"x", bytes([END]) + KEY + b"z"]
    heard = carry_out(requests)
    assert heard.ends == ["BAD_LENGTH", "WRONG_PROGRAM", "done"]
    assert heard.images == b"z"


@pytest.mark.parametrize("wrong", range(KEY_BYTES))
def test_every_byte_of_the_key_counts(wrong: int) -> None:
    key = bytearray(KEY)
    key[wrong] ^= 0x10
    heard = carry_out([bytes([0]) + bytes(key) + b"ab"])
    assert heard.ends == ["WRONG_PROGRAM"] and not heard.images


def test_parts_out_of_order_are_refused() -> None:
    first = bytes([0]) + KEY + b"a"
    assert carry_out([bytes([1]) + b"a"]).ends == ["SEQUENCE"]
    assert carry_out([first, bytes([2]) + b"a"]).ends == ["done", "SEQUENCE"]
    again = [first, bytes([1]) + b"a", bytes([1]) + b"a"]
    assert carry_out(again).ends == ["done", "done", "SEQUENCE"]
    assert carry_out([first, bytes([1]) + b"a"], forget=1).ends == ["done", "SEQUENCE"]
    closed = carry_out([bytes([END]) + KEY + b"a", bytes([1]) + b"a"])
    assert closed.ends == ["done", "SEQUENCE"]


def test_nothing_passes_without_a_program() -> None:
    heard = carry_out([bytes([0]) + KEY + b"a", bytes([1]) + b"a"], armed=False)
    assert heard.ends == ["NOT_ARMED"] * 2 and not heard.images and not heard.calls


def test_a_group_that_ends_inside_an_image_is_given_up() -> None:
    heard = carry_out([bytes([END]) + KEY + b"ab"], boundary=False)
    assert heard.ends == ["BAD_LENGTH"] and heard.calls == ["restart", "restart"]
