"""A flash: no command goes out that could change anything outside the region, whatever is asked.

Of the store in one, and of the flash beside a store, which only keeps a network. Nothing is assumed; that
programs and erases do go out, `tests/hw/test_flash_store.py` and `test_keeper.py` show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, Value

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.memory import keeper
from xnorcore_hw.memory.stores.flash import FlashStore
from xnorcore_hw.memory.stores.flash_pages import FlashPages
from xnorcore_hw.memory.stores.flash_pins import FlashPlace

from ..campaigns import some
from ..yosys import prove_always
from .scenario import Scenario

PLACES = [
    (1 << 11, FlashPlace(1 << 21, 4, 2, 1, 3)), (1 << 14, FlashPlace(0xFF_0000, 2, 1, 2, 3)),
    (1 << 11, FlashPlace(0x00_2000, 1, 0, 1, 3)),
]  # fmt: skip
PROGRAM, SECTOR, BLOCK = 0x02, 0x20, 0xD8
READS = (0x0B, 0x3B, 0x6B)
ASKS = (0x05, 0x9F, *READS)
"""Commands that only read;"""
SETS = (0xAB, 0x50, 0x06, 0x31)
"""those that wake, enable, or set the status register that has the bit for four lines."""
STATUS = 0x31
HEADS = [
    ((0xAB,), 8), ((0x05,), 8), ((0x50,), 8), ((STATUS,), 16), ((0x06,), 8), ((SECTOR, BLOCK), 32),
    ((PROGRAM,), 32), ((0x05, 0x9F), 8), ((0x0B, 0x3B, 0x6B), 40),
]  # fmt: skip
"""Opcodes and pulses of the controller's steps."""
ENDS = (0, 2, 3, 4, 5)
"""Those behind whose heads nothing follows."""
GOES, OUT, REST = 1, 1, 2
"""States of the controller, and of its shift register."""


class AnyPages(FlashPages):
    """Pages that do whatever they like."""

    def elaborate(self, platform: object) -> Module:
        return Module()


class AnyStore(FlashStore):
    """With such pages."""

    pages_of = AnyPages


def config_of(words: int) -> DeviceConfig:
    return DeviceConfig(
        Geometry(1, 4, 8), weight_depth=64, threshold_depth=16, store_words=words, store_kind=2,
        line_bytes=0, act_depth=64,
    )  # fmt: skip


def scenario(store: FlashStore, words: int, place: FlashPlace) -> Scenario:
    """Whatever is asked of a store."""
    s, bus = Scenario(store), store.bus
    s.drive(
        bus.request.valid, bus.request.p, bus.word.ready, bus.write.valid, bus.write.p, store.link.writes,
        store.link.chip, store.chip.i,
    )  # fmt: skip
    claim(s, store, words, place)
    return s


@dataclass(frozen=True)
class Wired:
    """A platform with a flash, as `Board.new_platform` gives one."""

    flash: FlashPlace


def beside(monkeypatch: pytest.MonkeyPatch, kind: type, words: int, place: FlashPlace) -> Scenario:
    """Whatever the link asks of a flash beside the store, of that `kind`, and whenever `Boot` reads it."""
    stores: list[FlashStore] = []

    def new(*given: Any) -> FlashStore:
        stores.append(kind(*given))
        return stores[-1]

    monkeypatch.setattr(keeper, "FlashStore", new)
    kept = keeper.Keeper(DeviceConfig(kept_words=words))
    s, link = Scenario(kept, Wired(place)), kept.link
    s.drive(
        link.write.valid, link.write.p, link.reads, link.lane, link.flash.writes, link.flash.chip, kept.place,
        kept.valid, kept.boots, kept.word.ready, kept.lane, kept.flash.i,
    )  # fmt: skip
    (store,) = stores
    claim(s, store, words, place, "store.")
    return s


def claim(s: Scenario, store: FlashStore, words: int, place: FlashPlace, part: str = "") -> None:
    """Let pages do what they like. What the chip hears is kept here: pulses, and the first 32 bits."""
    m, chip, pages, wire = s.m, store.chip, store._pages, store._wire
    s.drive(
        pages.more, pages.jumps, pages.damaged, pages.request.ready, pages.data.valid, pages.data.p
    )  # fmt: skip
    pulses, heard = Signal(6, name="pulses"), Signal(32, name="heard")
    with m.If(~chip.select):
        m.d.sync += [pulses.eq(0), heard.eq(0)]
    with m.Elif(chip.clock & (pulses < 40)):
        m.d.sync += pulses.eq(pulses + 1)
        with m.If(pulses < 32):
            m.d.sync += heard.eq(heard << 1 | chip.o[0])

    def within(address: Value) -> Value:
        bits = words.bit_length() + 1
        return (address >> bits) == (place.first >> bits)

    known = [*ASKS, *SETS, PROGRAM, SECTOR, *([BLOCK] if 4 * words >= 1 << 16 else [])]
    changes = heard[24:].matches(PROGRAM, SECTOR, BLOCK)
    s.claim(~chip.clock | chip.select, "selected")
    s.claim((pulses != 8) | heard[:8].matches(*known), "known")
    s.claim((pulses < 32) | ~changes | within(heard[:24]), "within")
    s.claim((pulses < 32) | ~heard[24:].matches(*READS) | within(heard[:24]), "reads_within")
    s.claim((pulses != 16) | (heard[8:16] != STATUS) | (heard[:8] == 2), "status")
    s.claim(~(chip.select & chip.clock) | (pulses >= 32) | chip.drive[0] | (store._step != 6), "driven")
    # Why it is so: what is heard of a command is its head, as it was when that began.
    then, length = Signal(32, name="then"), Signal(6, name="length_then")
    with m.If(wire.start & wire.ready):
        m.d.sync += [then.eq(wire.head), length.eq(wire.length)]
    state, left, shift = (s.inside[f"{part}wire.{name}"] for name in ("fsm_state", "left", "shift"))
    goes, out, rest = s.inside[f"{part}fsm_state"] == GOES, state == OUT, state == REST
    heads = out & (pulses < length)
    s.claim(goes == (out | rest), "together")
    s.claim(chip.select == goes, "select")
    s.claim(goes | (pulses == 0) | (left == 8 + place.lag), "apart")
    s.claim(~heads | (left == length - pulses) & (shift == (then << pulses)[:32]), "to_be_heard")
    s.claim(~out | heads | (left != 0) & (left <= 8), "byte")
    s.claim(~rest | (pulses >= length), "rests")
    s.claim(pages.pulsed == (wire.pulsed & (store._step == 8)), "pulses_of_pages")
    for count in range(33):
        opcode = heard[count - 8 : count] == then[24:] if count >= 8 else 1
        right = Mux(length < count, opcode, heard[:count] == then[32 - count :])
        s.claim((pulses != count) | ~goes | right, f"heard{count}")
    for number, (code, pulse) in enumerate(HEADS):
        step = goes & (store._step == number)
        s.claim(~step | (length == pulse), f"length{number}")
        if number in ENDS:
            s.claim(~step | (pulses <= length), f"ends{number}")
        s.claim(~step | (then[24:].matches(*(one for one in code if one in known))), f"code{number}")
        s.claim(~step | within(then[:24]) if number != 3 else ~step | (then[16:24] == 2), f"place{number}")
    s.claim(store._step < len(HEADS), "step")


@pytest.mark.parametrize("case", some(PLACES, 1), ids=str)
def test_no_change_outside_of_the_region(case: tuple[int, FlashPlace], tmp_path: Path) -> None:
    words, place = case
    s = scenario(AnyStore(config_of(words), place), words, place)
    prove_always(s.rtlil(), tmp_path, steps=4)


BESIDE = [(1 << 11, FlashPlace(0x00_6000, 2, 3, 2, 3)), (1 << 20, FlashPlace(1 << 22, 4, 2, 1, 3))]


@pytest.mark.parametrize("case", some(BESIDE, 1), ids=str)
def test_no_change_outside_of_the_region_beside_a_store(
    case: tuple[int, FlashPlace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a read that begins there: those of `Boot` as well."""
    prove_always(beside(monkeypatch, AnyStore, *case).rtlil(), tmp_path, steps=4)


class Loose(AnyStore):
    """Takes an upper bit of the address from the link."""

    def _head(self, m: Module) -> None:
        super()._head(m)
        with m.If((self._step == 6) & (self.bus.write.p.data == 0x5A)):
            m.d.comb += self._wire.head[20].eq(1)


def test_the_proof_sees_an_address_outside(tmp_path: Path) -> None:
    words, place = PLACES[-1]
    s = scenario(Loose(config_of(words), place), words, place)
    with pytest.raises(AssertionError, match="proof did fail"):
        prove_always(s.rtlil(), tmp_path, steps=4)


class Elsewhere(AnyStore):
    """Of the region behind."""

    def __init__(self, config: DeviceConfig, place: FlashPlace) -> None:
        super().__init__(config, replace(place, first=place.first + 4 * config.store_words))


@pytest.mark.parametrize("kind", [Loose, Elsewhere])
def test_the_proof_sees_an_address_outside_beside_a_store(
    kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="proof did fail"):
        prove_always(beside(monkeypatch, kind, *BESIDE[0]).rtlil(), tmp_path, steps=4)
