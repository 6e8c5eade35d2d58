"""Values beside the results unit: codes are added to them, and what goes on is their signs."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.scales import VALUE_BITS

from ..given import ChangeLayout
from ..parts.sizes import bits_for_depth

__all__ = ["ValueLane", "ValueMemory", "ValuePlaces"]


class ValueLane(wiring.Component):
    """Add a code to a value, and say what of that is the result.

    Parameters
    ----------
    config : DeviceConfig
        With `value_depth`.

    Members
    -------
    change : In(ChangeLayout)
    whole : In(1)
        The result is the value, less -128, not its sign.
    code : In(code_bits)
    absent : In(1)
        There is no channel: the value stays, and the result is 0. All of these in the same cycle.
    old : In(8)
        The value, a cycle later,
    new : Out(8)
        and what it becomes; both with a sign.
    result : Out(code_bits)
        As late; what is not `valued` comes through as it is.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "change": In(ChangeLayout(config)),
                "whole": In(1),
                "code": In(config.code_bits),
                "absent": In(1),
                "old": In(VALUE_BITS),
                "new": Out(VALUE_BITS),
                "result": Out(config.code_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        step = Signal(signed(VALUE_BITS + 1), name="step", reset_less=True)
        valued, whole, absent = (
            Signal(name=f"{n}_late", reset_less=True) for n in ("valued", "whole", "absent")
        )
        less, none = Mux(self.change.valued, self.change.offset, 0), self.change.valued & self.absent
        m.d.sync += [
            step.eq(Mux(none, 0, self.code - less)),
            valued.eq(self.change.valued),
            whole.eq(self.whole),
            absent.eq(none),
        ]
        # The nearest number of as many bits to the sum, which has two more.
        total = Signal(signed(VALUE_BITS + 2), name="total")
        negative, low = total[-1], total[: VALUE_BITS - 1]
        beyond = (total[VALUE_BITS - 1 : -1] != negative.replicate(2)).any()
        m.d.comb += [
            total.eq(self.old.as_signed() + step),
            self.new.eq(Cat(Mux(beyond, (~negative).replicate(len(low)), low), negative)),
        ]
        given = Mux(whole, Cat(self.new[:-1], ~negative), ~negative) & (~absent).replicate(VALUE_BITS)
        m.d.comb += self.result.eq(Mux(valued, given, step))
        return m


class ValuePlaces(wiring.Component):
    """Say where values are: they lie in the order in which results are made, and nothing has an address.

    The memory is a ring. A layer reads what the layer before has kept, and writes what it keeps behind that;
    what it reads beyond it is 0. There is room for what is not read yet and what is written.

    Parameters
    ----------
    config : DeviceConfig
        With `value_depth`.

    Members
    -------
    change : In(ChangeLayout)
    moves, ends : In(1)
        A word is read now; it is the last one of a layer. The next layer adds to what this one has left two
        cycles later at the earliest.
    new : In(1)
        With `config.packed_rows`: for that word the layer before has kept nothing.
    read : Out
        Where.
    fresh : Out(1)
        A cycle later: 0 counts instead of it.
    write : Out(1)
        As late: what the word becomes is written,
    written : Out
        and where.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, size = config, bits_for_depth(config.value_depth)
        flags = ("moves", "ends", "new") if config.packed_rows else ("moves", "ends")
        super().__init__(
            {
                "change": In(ChangeLayout(config)),
                **dict.fromkeys(flags, In(1)),
                **dict.fromkeys(("read", "written"), Out(size)),
                **dict.fromkeys(("fresh", "write"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        # Of words there may be as many as the memory has: a bit more tells all of them from none.
        names = ("next_read", "next_written", "following", "behind")
        read, written, following, behind = (Signal(len(self.read) + 1, name=name) for name in names)
        moves, ended = self.moves & self.change.valued, Signal(name="ended")
        # From `behind` on lies what the present layer has kept.
        none = read == behind
        if self.config.packed_rows:
            none |= self.new
        m.d.sync += [
            self.fresh.eq(~self.change.adds | none),
            self.write.eq(moves & self.change.kept),
            ended.eq(moves & self.ends),
        ]
        m.d.comb += [
            self.read.eq(read),
            self.written.eq(written),
            following.eq(written + self.write),
        ]
        m.d.sync += written.eq(following)
        with m.If(ended):
            m.d.sync += [read.eq(behind), behind.eq(following)]
        with m.Elif(moves & self.change.adds & ~none):
            m.d.sync += read.eq(read + 1)
        return m


class ValueMemory(wiring.Component):
    """Add the codes of a cycle to values.

    Parameters
    ----------
    config : DeviceConfig
        With `value_depth`.

    Members
    -------
    change, whole, moves, ends, new : In
        As of `ValueLane` and `ValuePlaces`.
    codes : In(rows * result_lanes * code_bits)
    absent : In(result_lanes)
        All of these in the same cycle.
    results : Out(rows * result_lanes * code_bits)
        A cycle later.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        codes = config.geometry.rows * config.result_lanes * config.code_bits
        super().__init__(
            {
                "change": In(ChangeLayout(config)),
                "whole": In(1),
                "codes": In(codes),
                "absent": In(config.result_lanes),
                "moves": In(1),
                "ends": In(1),
                **({"new": In(1)} if config.packed_rows else {}),
                "results": Out(codes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, lanes, bits = self.config, self.config.result_lanes, self.config.code_bits
        m.submodules.places = places = ValuePlaces(config)
        m.d.comb += [places.change.eq(self.change), places.moves.eq(self.moves), places.ends.eq(self.ends)]
        if config.packed_rows:
            m.d.comb += places.new.eq(self.new)
        for row in range(config.geometry.rows):
            memory = Memory(shape=VALUE_BITS * lanes, depth=config.value_depth, init=[])
            m.submodules[f"values{row}"] = memory
            read, write, news = memory.read_port(), memory.write_port(), []
            for lane in range(lanes):
                m.submodules[f"lane{row}_{lane}"] = one = ValueLane(config)
                place = row * lanes + lane
                m.d.comb += [
                    one.change.eq(self.change),
                    one.whole.eq(self.whole),
                    one.code.eq(self.codes.word_select(place, bits)),
                    one.absent.eq(self.absent[lane]),
                    one.old.eq(Mux(places.fresh, 0, read.data.word_select(lane, VALUE_BITS))),
                    self.results.word_select(place, bits).eq(one.result),
                ]
                news.append(one.new)
            m.d.comb += [
                read.addr.eq(places.read),
                write.addr.eq(places.written),
                write.data.eq(Cat(*news)),
                write.en.eq(places.write),
            ]
        return m
