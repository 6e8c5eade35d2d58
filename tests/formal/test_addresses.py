"""No address outside the memories: the loop nest for what the validator lets pass, the fetch for anything."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, LOOPS, levels_of, loops_of
from xnorcore_hw.command.identity import IDENTITY_WORDS
from xnorcore_hw.sequence.moves import DELTAS, ONE_WORD, PLACES
from xnorcore_hw.sequence.nest import LoopNest
from xnorcore_hw.sequence.sequencer import Sequencer

from .scenario import Scenario

MAPS = DeviceConfig(Geometry(1, 8, 8), 12, 70, 20, 100, 64, line_bytes=0)
DENSE = DeviceConfig(Geometry(1, 8, 8), 12, 70, 20, 100, 64, line_bytes=0, convolution=0)
# The nest asks its configuration for this much: memories smaller than the smallest device's, for the solver.
SIZES = {"act_depth": 20, "weight_depth": 20, "threshold_depth": 20, "offset_bits": 0}
SMALL_DENSE, SMALL_MAPS, SMALL_CODES = (
    SimpleNamespace(
        **SIZES,
        convolution=convolution,
        store_words=0,
        code_bits=bits,
        row_sums=0,
        result_lanes=0,
        value_depth=0,
        scale_depth=0,
        packed_rows=0,
    )
    for convolution, bits in ((0, 1), (1, 1), (1, 2))
)  # fmt: skip
WIDE = 8
"""Bits of the model's addresses, signed: nothing wraps in it."""


def between(step: Value, went: Value, whole: Value) -> Value:
    """Whether some steps are on the way of all: between nothing and the whole."""
    forth, back = (went >= 0) & (went <= whole), (went <= 0) & (went >= whole)
    return Mux(step < 0, back, forth & ((step != 0) | (whole == 0)))


LAYERS = [("run", "col", "plane"), ("row", "win_x", "x"), ("win_y", "y", "tile"), ("run", "x", "tile")]
"""Loops of more than one round."""
PARTS = ("counters", "read", "weight", "threshold")


class Travel:
    """Where some of the loops lead, in numbers that do not wrap, as `xnorcore.isa.check` reckons it.

    A loop's step is its `delta`, added to the last place of the loops inside it; `went` is what it has added
    so far, its count times its step, and `whole` what it adds in all. A solver is slow with products. So
    `went` counts up by steps, and what this says about products is assumed: see `test_products`.

    Parameters
    ----------
    name : str
    base : Value
    deltas : dict
        Of the loops that move the place, innermost first.
    depth : int
        Words of the memory, which no place exceeds: assumed of the first and of the last place in all.
    many : tuple of str
        Loops of more than one round; the others add nothing.
    """

    def __init__(
        self,
        s: Scenario,
        name: str,
        base: Value,
        deltas: dict[str, Value],
        depth: int,
        many: tuple[str, ...],
    ) -> None:
        self.s, self.name, self.depth = s, name, depth
        self.loops = list(deltas)
        self.base = self._wide(base, "base")
        self.whole = {
            loop: s.constant(WIDE, f"{name}_{loop}_whole").as_signed() if loop in many else Const(0, WIDE)
            for loop in deltas
        }
        self.went = {loop: Signal(WIDE, name=f"{name}_{loop}_went") for loop in deltas}
        self.step: dict[str, Value] = {}
        self.behind: dict[str, Value] = {}
        behind = self._wide(Const(0), "behind")
        low = high = self.base
        for loop, delta in deltas.items():
            self.behind[loop] = behind
            self.step[loop] = self._wide(delta + behind, f"{loop}_step")
            behind = self._wide(behind + self.whole[loop], f"{loop}_behind")
        # From the outermost loop inwards: where the loops up to this one begin, and the bounds.
        self.mark = {}
        place = self.base
        self.bounds: list[tuple[Value, Value, Value]] = []
        for loop in reversed(self.loops):
            whole = self.whole[loop]
            self.mark[loop] = place
            place = self._wide(place + self.went[loop].as_signed(), f"{loop}_place")
            low = self._wide(low + Mux(whole < 0, whole, 0), f"{loop}_low")
            high = self._wide(high + Mux(whole < 0, 0, whole), f"{loop}_high")
            s.assume((whole < depth) & (whole > -depth) & (low >= 0) & (high < depth))
            self.bounds.append((low, place, high))
        self.place = place

    def _wide(self, value: Value, name: str) -> Value:
        signal = Signal(WIDE, name=f"{self.name}_{name}")
        self.s.m.d.comb += signal.eq(value)
        return signal.as_signed()

    def follow(self, at: dict[str, Signal], last: dict[str, Value], advance: dict[str, Value]) -> None:
        """Count along with `at`: a loop that is to advance goes on, or starts again behind its last round."""
        s = self.s
        inner = Const(1)
        for loop in self.loops:
            went, whole = self.went[loop].as_signed(), self.whole[loop]
            ends = at[loop] == last[loop]
            with s.m.If(advance[loop]):
                s.m.d.sync += self.went[loop].eq(Mux(ends, 0, went + self.step[loop]))
            s.assume((at[loop] != 0) | (went == 0))
            s.assume(~ends | (went == whole))
            s.assume(between(self.step[loop], went, whole))
            # Once the loops inside are at their last round, the place is that far on.
            s.claim(~inner | (self.place == (self.mark[loop] + went + self.behind[loop])[:WIDE].as_signed()))
            inner = inner & ends
        for low, place, high in self.bounds:
            s.claim((low <= place) & (place <= high))

    def restart(self) -> list:
        return [went.eq(0) for went in self.went.values()]


def nest_scenario(config: Any, part: str, many: tuple[str, ...] = LOOPS, spoil: bool = False) -> Scenario:
    """A nest under any legal layer, the loops `many` with counts of any size, beside the plain loops.

    `at` is the place of the nest's next beat, a number for each loop, `here` that of the beat it presents.
    What is proved is one of `PARTS`: the counters, or an address, for which the counters are then assumed.
    """
    nest = LoopNest(config)
    s = Scenario(nest)
    m, inside = s.m, s.inside
    loops, levels = loops_of(config), levels_of(config)
    load, step = s.free(1, "load"), s.free(1, "step")
    m.d.comb += [nest.load.eq(load), nest.step.eq(step & nest.more & ~load)]

    last = {loop: s.constant(len(nest.layer[f"{loop}_last"]), f"{loop}_end") for loop in loops}
    delta = {loop: s.constant(6, f"{loop}_move").as_signed() for loop in loops if loop in DELTAS}
    base = {name: s.constant(5, f"{name}_from") for name in ("read", "weight", "threshold")}
    double = s.constant(1, "doubled")
    last = {loop: value if loop in many else Const(0, 1) for loop, value in last.items()}
    m.d.comb += [nest.layer.double.eq(double)]
    single = s.constant(4, "single")
    if "copy" in loops:
        m.d.comb += [nest.layer.single_last.eq(single)]
    m.d.comb += [nest.layer[f"{loop}_last"].eq(value) for loop, value in last.items()]
    distance = Signal.like(nest.distance)
    chosen: Value = nest.place == ONE_WORD
    for loop, value in delta.items():
        chosen = chosen | Mux(nest.place == PLACES[loop], value.as_unsigned(), 0)
    m.d.comb += nest.distance.eq(distance)
    with m.If(nest.load | nest.step):
        m.d.sync += distance.eq(chosen)
    m.d.comb += [nest.layer[f"{name}_base"].eq(value) for name, value in base.items()]
    if spoil:
        m.d.comb += nest.layer.weight_base.eq(base["weight"] + 1)

    in_plane = [loop for loop in loops if loop in ("run", "col", "row", "copy")]
    one = Const(1)
    moving: dict[str, dict[str, Value]] = {
        "read": {loop: delta.get(loop, one) for loop in loops},
        "weight": dict.fromkeys((*in_plane, "tile"), one),
        "threshold": {"tile": one},
    }
    depths = {"read": config.act_depth, "weight": config.weight_depth, "threshold": config.threshold_depth}

    at = {loop: Signal.like(last[loop], name=f"at_{loop}") for loop in loops}
    here = {loop: Signal.like(last[loop], name=f"here_{loop}") for loop in loops}
    presents = Signal()
    moves: Value = nest.step & ~load
    advance = {}
    for loop in loops:
        advance[loop] = moves
        ends = at[loop] == last[loop]
        with m.If(moves):
            m.d.sync += at[loop].eq(Mux(ends, 0, at[loop] + 1))
        moves = moves & ends
    with m.If(load):
        m.d.sync += [*(signal.eq(0) for signal in at.values()), presents.eq(0)]
    with m.Elif(nest.step):
        m.d.sync += [presents.eq(1), *(here[loop].eq(at[loop]) for loop in loops)]

    say = s.claim if part == "counters" else s.assume
    # The counters are those of plain loops.
    ready, started = nest.more, presents | nest.more
    both = presents & ready
    moves = Const(1)
    for loop in loops:
        level, ends = levels.index(loop), here[loop] == last[loop]
        say(~both | (at[loop] == Mux(moves, Mux(ends, 0, here[loop] + 1), here[loop])))
        say(~both | (nest.moved[level] == (moves & ~ends)))
        say(~started | (at[loop] <= last[loop]))
        say(~started | (inside[f"{loop}_left"] == last[loop] - at[loop]))
        say(~started | (inside["at_last"][level] == (at[loop] == last[loop])))
        say(~started | (inside["at_first"][level] == (at[loop] == 0)))
        say(~presents | (here[loop] <= last[loop]))
        say(presents | ~ready | (at[loop] == 0))
        moves = moves & ends
    say(~(both & moves))  # the last beat is the last
    absent = sum(1 << level for level, loop in enumerate(levels) if loop not in loops)
    say(((inside["at_last"] & absent) == absent) & ((inside["at_first"] & absent) == absent))
    for level in range(len(levels)):
        say(inside["inner"][level] == inside["at_last"][:level].all())
    say(presents | ~ready | (nest.moved == 0))
    say(~both | ((nest.moved & absent) == 0))

    for loop in many:
        if loop in loops:
            s.reach(both & nest.moved[levels.index(loop)], f"moved_{loop}")
    s.reach(presents & ~ready & inside["at_first"].bool(), "over")
    if part == "counters":
        # The accumulator doubles in front of the copies that count once, but not at a position's beginning.
        fresh = reduce(and_, (here[loop] == 0 for loop in in_plane if loop != "copy"))
        copy, copies = (places["copy"] if "copy" in loops else Const(0, 4) for places in (here, last))
        begins = (copy == 0) & (here["plane"] == 0)
        doubles = double & ((copies - copy == single) if "copy" in loops else Const(1))
        s.claim(~presents | (nest.first == (fresh & (begins | doubles))), "first")
        s.claim(~presents | (nest.doubles == (fresh & doubles & ~begins)), "doubles")
        s.reach(presents & nest.doubles, "doubled")
        return s

    travel = Travel(s, part, base[part], moving[part], depths[part], many)
    travel.follow(at, last, advance)
    place, tile = Signal(WIDE, name="place_here"), Signal(WIDE, name="tile_here")
    begins = travel.base + travel.went["tile"].as_signed()
    with m.If(load):
        m.d.sync += travel.restart()
    with m.Elif(nest.step):
        m.d.sync += [place.eq(travel.place), tile.eq(begins)]
    address = getattr(nest, f"{'rwt'[PARTS.index(part) - 1]}addr")
    # What it is all for.
    s.claim(~presents | ((place < depths[part]) & (address == place)), "address")
    s.reach(presents & ready & (place == depths[part] - 1), "last_word")
    if part == "read":
        # The next place is one move from this one.
        coming = (inside["address"] + distance)[: len(address)]
        s.claim(~ready | (coming == travel.place[: len(address)]))
        return s
    moved = {loop: nest.moved[levels.index(loop)] for loop in loops}
    if part == "weight":
        goes_on = reduce(or_, (moved[loop] for loop in in_plane)) | moved["tile"]
        again = [loop for loop in loops if loop not in (*in_plane, "tile")]
    else:
        goes_on, again = moved["tile"], []
    back = reduce(or_, (moved[loop] for loop in again), Const(0))
    further = place.as_signed() + 1
    following = Mux(goes_on, further, Mux(back, tile.as_signed(), place.as_signed()))
    s.claim(~both | (travel.place == following[:WIDE].as_signed()))
    s.claim(~both | (begins == Mux(moved["tile"], further, tile.as_signed())))
    at_base = address == base[part]
    if part == "weight":
        kept = inside["waddr_tile"]
        at_base = at_base & (kept == base[part])
        s.claim(~presents | (kept == tile))
    s.claim(presents | ~ready | at_base, "base")
    return s


@pytest.mark.campaign
def test_products(tmp_path: Path) -> None:
    """What `Travel` assumes: `went` is a count times the step, so it ends at the whole, and lies between."""
    bench = Scenario(Module())
    last, step = bench.constant(5, "last"), bench.constant(7, "step").as_signed()
    count, went, goes = Signal(5), Signal(13), bench.free(1, "goes")
    whole = (last * step)[:13].as_signed()
    with bench.m.If(goes):
        ends = count == last
        bench.m.d.sync += [count.eq(Mux(ends, 0, count + 1)), went.eq(Mux(ends, 0, went.as_signed() + step))]
    value = went.as_signed()
    bench.claim(value == (count * step)[:13].as_signed())
    bench.claim(count <= last)
    bench.claim((count != last) | (value == whole))
    bench.claim(between(step, value, whole))
    bench.reach((count == last) & (last == 3) & (step < -1), "end")
    bench.prove(tmp_path, 2, within=6)


@pytest.mark.parametrize("part", some(PARTS, 1))
def test_what_passes_the_validator_stays_inside(part: str, tmp_path: Path) -> None:
    nest_scenario(SMALL_DENSE, part).prove(tmp_path, 2, within=8)


@pytest.mark.parametrize("part", some(["counters", "weight", "threshold"], 0))
def test_what_passes_the_validator_stays_inside_with_maps(part: str, tmp_path: Path) -> None:
    nest_scenario(SMALL_MAPS, part).prove(tmp_path, 2, within=8)


@pytest.mark.parametrize("part", some(["counters", "weight"], 0))
def test_what_passes_the_validator_stays_inside_with_copies(part: str, tmp_path: Path) -> None:
    nest_scenario(SMALL_CODES, part, ("run", "copy", "plane", "x", "tile")).prove(tmp_path, 2, within=8)


@pytest.mark.campaign
def test_reads_of_copies_stay_inside(tmp_path: Path) -> None:
    nest_scenario(SMALL_CODES, "read", ("run", "copy", "plane")).prove(tmp_path, 2, within=8)


@pytest.mark.parametrize("many", some(LAYERS, 0), ids="-".join)
def test_reads_of_maps_stay_inside(many: tuple[str, ...], tmp_path: Path) -> None:
    """Any counts, but of some of the loops at a time: all nine are beyond the solver."""
    nest_scenario(SMALL_MAPS, "read", many).prove(tmp_path, 2, within=8)


def test_the_proof_sees_a_wrong_base(tmp_path: Path) -> None:
    assert nest_scenario(SMALL_DENSE, "weight", spoil=True).refuted(tmp_path, cycles=4) == {"base"}


FETCH = 2
"""Number of the sequencer's state that takes descriptors in."""


def fetch_scenario(config: DeviceConfig) -> tuple[Scenario, Sequencer]:
    """A sequencer with anything in program memory, and around it whatever it wants."""
    sequencer = Sequencer(config)
    s = Scenario(sequencer)
    ports = ("batch", "loaded", "run", "layer_done", "readout_valid", "forgive")
    s.drive(*(getattr(sequencer, name) for name in ports))
    s.drive(sequencer.program.data, sequencer.program.ready, sequencer.header.in_base1, sequencer.layer.ready)
    address = s.free(16, "run_entry")
    s.assume(address < config.program_depth)
    s.m.d.comb += sequencer.run_entry.eq(address)
    return s, sequencer


@pytest.mark.parametrize("config", some([DENSE, MAPS], 1), ids=["dense", "maps"])
def test_the_fetch_stays_inside_and_ends(config: DeviceConfig, tmp_path: Path) -> None:
    """Whatever the memory holds: no address behind it, no descriptor begun behind its end, and a fault."""
    s, sequencer = fetch_scenario(config)
    inside, depth = s.inside, config.program_depth
    pc, index, load, capture = (inside[f"fetch.{name}"] for name in ("pc", "index", "last", "capture"))
    words = DESCRIPTOR.words
    s.claim(index < words)
    s.claim(inside["fetch.at_output"] == (index == words - 1))
    s.claim(pc <= depth - 1 + index)
    s.claim((inside["turns.fsm_state"] == FETCH) | (index == 0))
    s.claim((index < 1) | (inside["fetch.beyond"] == (pc >= depth - 1)))
    s.claim((index < 2) | (inside["fetch.behind"] == (pc > depth - 1)))
    s.claim(sequencer.program.addr < depth + IDENTITY_WORDS)
    s.claim(~(capture & (index == 0)) | (pc < depth))
    # Behind a descriptor that reaches the end, or leads there, comes none; and if its end flag was not
    # where it should be, the program is at fault.
    astray = load & (pc >= depth - 1) & ~((pc == depth - 1) & inside["fetch.descriptor0"][0])
    s.claim(~s.past(astray, "went_astray") | inside["astray"])
    s.claim(~s.past(load & (pc >= depth - 1), "reached_the_end") | inside["fetch.descriptor0"][0])
    s.claim(~s.past(inside["astray"], "noted") | sequencer.fault)
    before = s.past(sequencer.fault & ~sequencer.forgive, "was_at_fault")
    s.claim(~before | sequencer.fault)
    s.claim(~s.past(load, "loaded_one") | (index == 0))
    s.reach(s.past(astray, "led_out") & sequencer.fault & s.past(pc > depth, "was_behind"), "led_out")
    s.reach(load & inside["fetch.descriptor0"][0] & ~sequencer.fault & (index == words - 1), "ended")
    s.prove(tmp_path, 3, within=DESCRIPTOR.words + 12)


@pytest.mark.parametrize("config", some([DENSE, MAPS], 0), ids=["dense", "maps"])
def test_a_beat_behind_the_end_is_a_fault(config: DeviceConfig, tmp_path: Path) -> None:
    s, sequencer = fetch_scenario(config)
    ctl = sequencer.ctl
    plain = ctl.valid & ~sequencer.operand.cut.pad
    strays = Cat(
        (sequencer.operand.addr >= config.act_depth) & plain & ~sequencer.readout_grant,
        (ctl.waddr >= config.weight_depth) & plain,
        (ctl.taddr >= config.threshold_depth) & plain,
    )
    s.claim(~s.past(strays.any(), "strayed") | s.inside["astray"])
    s.claim(~s.past(s.inside["astray"], "noted") | sequencer.fault)
    for memory, stray in zip(("activation", "weight", "threshold"), strays, strict=True):
        s.reach(s.past(stray, f"{memory}_strayed") & s.past(~strays.all(), f"{memory}_alone"), memory)
    s.prove(tmp_path, 3, within=DESCRIPTOR.words + 14)
