"""The results unit: codes of captured accumulators, a few of them in a cycle, while the array goes on."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space
from xnorcore.isa.scales import unit_stages
from xnorcore.isa.scaling import FACTOR_BITS

from ..given import ChangeLayout, GivenLayout
from ..interfaces import Emission
from ..memory.fill import buffer_writes, bytes_of_byte, bytes_of_fill
from ..parts.delay import delayed
from .factors import FactorMemory
from .lane import LANE_STAGES, ResultLane, larger
from .values import ValueMemory

__all__ = ["ResultsUnit"]


class ResultsUnit(wiring.Component):
    """Take the accumulators of a position out of the array, the last columns first, and collect their codes.

    The codes of a row are in a ring of registers, which moves on with each that comes in; what leaves it is
    the same column's code of the position before, for pooling. Words that say how codes are made have a
    memory for each lane.

    Parameters
    ----------
    config : DeviceConfig
        With `result_lanes`.
    bake : Program or None
        What the memories hold at power-up.

    Members
    -------
    write : In(stream of WriteLayout, or of FillLayout on a device with a store)
        Always taken; of start values those for banks behind the columns' count.
    given : In(GivenLayout)
        In the cycle before the first `sums` of a position, at the earliest `columns` / `result_lanes` cycles
        after the last one.
    sums : In(rows * result_lanes * acc_width)
        As they leave the array.
    emit : Out(Emission)
        What was given, in the cycle before its codes are complete.
    codes : Out(rows * columns * code_bits)
        Row by row; complete in one cycle.
    """

    def __init__(self, config: DeviceConfig, bake: Program | None = None) -> None:
        g = config.geometry
        self.config, self.bake = config, bake
        super().__init__(
            {
                "write": In(buffer_writes(config)),
                "given": In(GivenLayout(config)),
                "sums": In(g.rows * config.result_lanes * config.acc_width),
                "emit": Out(Emission),
                "codes": Out(g.rows * g.columns * config.code_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g, given = self.config, self.config.geometry, self.given
        lanes, bits = config.result_lanes, config.code_bits
        # The position whose sums pass by, and how many columns are left, in lanes.
        steps = g.columns // lanes
        begins, running, left = Signal(), Signal(), Signal(range(max(steps, 2)))
        held = Signal(GivenLayout(config), name="held")
        open_, pooled = Signal(name="window_open"), Signal(name="pooled")
        # Where it ends early, the last columns are all that count.
        early = bool(config.packed_rows and config.value_depth)
        ends = left == (held.change.short if early else 0)
        m.d.comb += begins.eq(given.emit != Emission.NONE)
        with m.If(begins):
            m.d.sync += [running.eq(1), left.eq(steps - 1), held.eq(given)]
            m.d.sync += [open_.eq(given.emit == Emission.WINDOW), pooled.eq(open_)]
        with m.Elif(ends):
            m.d.sync += running.eq(0)
        with m.Else():
            m.d.sync += left.eq(left - 1)
        words = self._words(m, Cat(left[: (steps - 1).bit_length()], held.taddr))

        # What belongs to the codes that come out of the lanes.
        last = Mux(running & ends, held.emit, Emission.NONE)
        stages = unit_stages(config)
        late = stages - (LANE_STAGES + 1)  # of values
        emit = delayed(m, last, stages - late, "emit", resets=True)
        moves = delayed(m, running, stages - late, "moves", resets=True)
        code_last = delayed(m, held.code_last, stages - late, "code_last")
        joins = delayed(m, pooled, stages, "joins")
        sums = delayed(m, self.sums, 1, "sums")
        m.d.comb += self.emit.eq(delayed(m, emit, late, "emit_late", resets=True))
        values = ValueMemory(config) if config.value_depth else None
        bits_last = code_last
        if values is not None:
            m.submodules.values = values
            change = data.View(
                ChangeLayout(config), delayed(m, held.change.as_value(), stages - late, "change")
            )
            bits_last = Mux(change.valued, change.last, code_last)
            m.d.comb += [
                values.change.eq(change),
                values.whole.eq(code_last != 0),
                values.moves.eq(moves),
                values.ends.eq(emit == Emission.LAYER),
            ]
            if early:
                new = left + held.change.fresh > steps - 1
                m.d.comb += values.new.eq(delayed(m, new, stages - late, "new"))
        moves = delayed(m, moves, late, "moves_late")
        factors = _factors(m, config, given.emit, begins) if config.scale_depth else None
        if factors is not None:
            m.d.comb += [factors.scaling.eq(held.scaling), factors.last.eq(running & (left == 0))]
        for row in range(g.rows):
            ring = Signal(g.columns * bits, name=f"ring{row}", reset_less=True)
            codes = []
            for lane in range(lanes):
                m.submodules[f"lane{row}_{lane}"] = one = ResultLane(config)
                m.d.comb += [
                    one.acc.eq(sums.word_select(row * lanes + lane, config.acc_width)),
                    one.word.eq(words[lane]),
                    one.code_last.eq(bits_last),
                ]
                if factors is not None:
                    _scale(m, one, factors, row, lane)
                old, code = ring[-lanes * bits :].word_select(lane, bits), one.code
                if one.pools:
                    m.d.comb += [one.old.eq(old), one.pooled.eq(joins)]
                elif values is not None:
                    place = row * lanes + lane
                    m.d.comb += values.codes.word_select(place, bits).eq(code)
                    if row == 0:  # Words are those of all rows.
                        m.d.comb += values.absent[lane].eq(one.absent)
                    code = larger(values.results.word_select(place, bits), old, joins)
                codes.append(code)
            with m.If(moves):
                m.d.sync += ring.eq(Cat(*codes, ring))
            m.d.comb += self.codes.word_select(row, len(ring)).eq(ring)
        return m

    def _words(self, m: Module, addr: Value) -> list[Value]:
        """Return each lane's word, a cycle after its address: the column's place in the lane, and the tile's.

        There is one word for each start value of each column.
        """
        config, g, write = self.config, self.config.geometry, self.write.p
        lanes, size, stored = config.result_lanes, 32, config.store_words > 0
        place = write if stored else write.place
        near = (g.columns // lanes - 1).bit_length()
        column = Signal(8)
        m.d.comb += column.eq(place.bank - g.columns)
        beyond, low = place.bank >= g.columns, lanes.bit_length() - 1
        found = []
        for lane in range(lanes):
            depth = config.threshold_depth << near
            m.submodules[f"words{lane}"] = memory = Memory(
                shape=size, depth=depth, init=self._baked(lane, near)
            )
            read, port = memory.read_port(), memory.write_port(granularity=8)
            select = beyond & (column[:low] == lane) if low else beyond
            given = self.write.valid, write, write.data, Space.THRESHOLDS, select, size
            enables, data = bytes_of_fill(*given, 0) if stored else bytes_of_byte(*given)
            m.d.comb += [
                read.addr.eq(addr),
                port.addr.eq(Cat(column[low : low + near], place.addr)),
                port.data.eq(data),
                port.en.eq(enables),
            ]
            found.append(read.data)
        return found

    def _baked(self, lane: int, near: int) -> list[int]:
        """Return what a lane's memory holds at power-up."""
        config = self.config
        if not self.bake:
            return []
        words = [0] * (config.threshold_depth << near)
        for place, column in enumerate(range(lane, config.geometry.columns, config.result_lanes)):
            held = self.bake.contents(Space.THRESHOLDS, config.geometry.columns + column)
            for tile, word in enumerate(held):
                words[(tile << near) + place] = word
        return words


def _factors(m: Module, config: DeviceConfig, emit: Value, begins: Value) -> FactorMemory:
    """Add the memory of numbers K, whose positions are counted anew in each tile."""
    m.submodules.factors = factors = FactorMemory(config, LANE_STAGES)
    m.d.comb += [
        factors.begins.eq(begins),
        factors.ends.eq((emit == Emission.TILE) | (emit == Emission.LAYER)),
    ]
    return factors


def _scale(m: Module, one: ResultLane, factors: FactorMemory, row: int, lane: int) -> None:
    """Give a lane its row's number; the last sum of the first lane, that of column 0, is what is kept."""
    m.d.comb += [
        one.factor.eq(factors.factors.word_select(row, FACTOR_BITS)),
        one.multiplied.eq(factors.multiplied),
        one.folded.eq(factors.folded),
    ]
    if lane == 0:
        m.d.comb += factors.numbers.word_select(row, FACTOR_BITS).eq(one.kept)
