"""The systolic array: column groups of processing elements with their weight and threshold buffers."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import levels_of
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space
from xnorcore.isa.starts import MAX_PARTS, MAX_PLANES

from ..interfaces import ControlLayout
from ..memory.activation import operand_latency, write_latency
from ..memory.fill import buffer_writes, fill_of_byte, fills
from ..memory.ports import writes
from ..parts.delay import delayed
from .buffers import buffer_of
from .capture import captured
from .carry.generic import carry_of
from .pe import ProcessingElement, count_latency
from .popcount import lane_delays, lanes_apart, staggered
from .starts import starts_by_planes
from .sums import RowSums

__all__ = ["Array", "ColumnGroup", "array_latency"]


def array_latency(config: DeviceConfig) -> int:
    """Return the cycles from a control word at the array's input to its bits at the array's output."""
    return config.latency - (operand_latency(config) - 1) - write_latency(config)


def _sums(config: DeviceConfig) -> int:
    return config.geometry.rows * config.result_lanes * config.acc_width


class ColumnGroup(wiring.Component):
    """Columns that share one systolic stage, for all rows.

    Control word and activations are broadcast inside the group and passed on to the next one a cycle later.

    Parameters
    ----------
    config : DeviceConfig
    first, count : int
        Index of the first column, and number of columns.
    bake : Program or None
        What the buffers hold at power-up.

    Members
    -------
    ctl_i, ctl_o : In, Out(ControlLayout)
        Control word; leaves one cycle after it arrived.
    x_i, x_o : In, Out(rows * width)
        Activation words, one per row, one cycle after their control word.
    write_i, write_o : In, Out(stream of WriteLayout, or of FillLayout on a device with a store)
        Always taken: writes into the buffers, one cycle later here and in the next group.
    bits : Out(rows * count)
        Emitted bits, row by row.
    sums_i, sums_o : In, Out(rows * result_lanes * acc_width)
        With `config.result_lanes`: accumulators on their way to the results unit (`captured`).
    """

    def __init__(self, config: DeviceConfig, first: int, count: int, bake: Program | None = None) -> None:
        g = config.geometry
        self.config, self.first, self.count, self.bake = config, first, count, bake
        ctl, x = ControlLayout(config), g.rows * g.width
        write = buffer_writes(config)
        super().__init__(
            {
                "ctl_i": In(ctl),
                "ctl_o": Out(ctl),
                "x_i": In(x),
                "x_o": Out(x),
                "write_i": In(write),
                "write_o": Out(write),
                "bits": Out(g.rows * count),
                **(
                    {"sums_i": In(_sums(config)), "sums_o": Out(_sums(config))} if config.result_lanes else {}
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g = self.config, self.config.geometry
        ctl, write, early_write = self.ctl_i, self.write_o, self.write_i
        m.d.comb += self.x_o.eq(delayed(m, self.x_i, 1, "x"))
        # A reset comes with `clear`, so that no register here needs it.
        m.d.comb += [
            self.ctl_o.eq(delayed(m, ctl.as_value(), 1, "ctl")),
            write.valid.eq(delayed(m, early_write.valid, 1, "write_valid")),
            write.p.eq(delayed(m, early_write.p.as_value(), 1, "write")),
        ]

        # Words reach the PEs one cycle after the control word; the flags wait for the count of those words.
        count = count_latency(g.width)
        valid = delayed(m, ctl.valid, count, "valid")
        early = delayed(m, Cat(ctl.load, ctl.taddr), count - config.threshold_share, "start")
        first = delayed(m, ctl.first, count, "first")
        doubles = delayed(m, ctl.double, count, "doubles")
        double = delayed(m, doubles, 1, "double")
        clear = delayed(m, ctl.clear, count + 1, "clear")

        carry = carry_of(platform)
        delays = lane_delays(g.width, carry)
        xs = [staggered(m, self.x_i.word_select(row, g.width), delays, f"x{row}") for row in range(g.rows)]
        late = lanes_apart(g.width, carry)
        parts = [(g.width - late, ctl.waddr)]
        parts += [(late, self.ctl_o.waddr)] if late else []
        weight_delays = [delay - (lane >= g.width - late) for lane, delay in enumerate(delays)]
        values = self._start_values(m, early[0], early[1:])
        four, hold = Const(0), Const(0)
        if config.row_sums:
            m.submodules.sums = sums = RowSums(config)
            shared, adds, four = (delayed(m, ctl[name], count, name) for name in ("shared", "adds", "four"))
            m.d.comb += [sums.x.eq(Cat(*xs)), sums.shared.eq(shared), sums.adds.eq(adds)]
            m.d.comb += [sums.double.eq(double), sums.clear.eq(clear)]
            values, hold = [Mux(sums.adding, sums.value, value) for value in values], sums.hold
        # A start value is added to an accumulator that is not 0 beside it, or, where the family joins, in it.
        codes = config.code_bits > 1
        whole = first & ~doubles
        beside = valid if codes and not carry.joins else None
        most = MAX_PARTS if "copy" in levels_of(config) else MAX_PLANES
        starts = starts_by_planes(m, values, first, doubles, beside, most)
        # Next to the other registers, so that no look-up table is on the way to all the buffers.
        data = early_write.p.data
        weight_data = delayed(m, ~data if carry.inverted else data, 1, "weight_data")
        totals: list[list[Value]] = [[] for _ in range(g.rows)]
        for column in range(self.count):
            weights = self._weights(m, column, parts, weight_data, carry.inverted)
            ws = staggered(m, weights, weight_delays, f"w{column}")
            for row in range(g.rows):
                summed, given = bool(config.row_sums), bool(config.result_lanes)
                pe = ProcessingElement(g.width, config.acc_width, codes, summed, given)
                m.submodules[f"pe{row}_{column}"] = pe
                m.d.comb += [
                    pe.x.eq(xs[row]),
                    pe.w.eq(ws),
                    pe.valid.eq(valid),
                    pe.start.eq(starts[column]),
                    pe.double.eq(double),
                    pe.clear.eq(clear),
                    self.bits[row * self.count + column].eq(pe.bit),
                ]
                if codes:
                    m.d.comb += [pe.whole.eq(whole), pe.value.eq(values[column])]
                if config.row_sums:
                    m.d.comb += [pe.four.eq(four), pe.hold.eq(hold[row])]
                if given:
                    totals[row].append(pe.total)
        if config.result_lanes:
            capture = delayed(m, ctl.capture, count + 1, "capture")
            m.d.comb += self.sums_o.eq(captured(m, config, totals, capture, self.sums_i))
        return m

    def _weights(
        self, m: Module, column: int, parts: list[tuple[int, Value]], data: Value, inverted: bool
    ) -> Value:
        """Return a column's weights; where products are absorbed by the adders, they are stored inverted."""
        config, to, flip = self.config, self.write_o, (1 << self.config.geometry.width) - 1 if inverted else 0
        baked, depth = [word ^ flip for word in self._baked(Space.WEIGHTS, column)], config.weight_depth
        return buffer_of(m, config, to, Space.WEIGHTS, column, self.first, parts, depth, data, baked)

    def _baked(self, space: Space, column: int) -> list[int]:
        return self.bake.contents(space, self.first + column) if self.bake else []

    def _start_values(self, m: Module, load: Value, taddr: Value) -> list[Value]:
        """Return each column's start value, from `threshold_share` cycles after `load` until the next one."""
        config, write, share = self.config, self.write_o.p, self.config.threshold_share
        size, depth = 8 * -(-config.acc_width // 8), config.threshold_depth * share
        bits = share.bit_length() - 1
        step, kept = Signal(bits), Signal(len(taddr), reset_less=True)
        with m.If(load):
            m.d.sync += [step.eq(1), kept.eq(taddr)]
        with m.Elif(step != 0):
            m.d.sync += step.eq(step + 1)
        addr = Cat(Mux(load, 0, step), Mux(load, taddr, kept)) if bits else taddr
        reads = load | (step != 0)
        values = []
        for column in range(0, self.count, share):
            lists = [self._baked(Space.THRESHOLDS, column + index) for index in range(share)]
            baked = [word & ((1 << size) - 1) for words in zip(*lists, strict=True) for word in words]
            to, parts = self.write_o, [(size, addr)]
            word = buffer_of(
                m, config, to, Space.THRESHOLDS, column, self.first, parts, depth, write.data, baked, reads
            )
            last = word[: config.acc_width]
            # The first columns' values wait until the last one's is read; then all stay.
            late = [last]
            for stage in range(1, share):
                waiting = Signal(config.acc_width, name=f"waiting{column}_{stage}", reset_less=True)
                with m.If(step != 0):
                    m.d.sync += waiting.eq(late[-1])
                late.append(waiting)
            values += reversed(late)
        return values


class Array(wiring.Component):
    """All column groups in a chain, their bits aligned again.

    Parameters
    ----------
    config : DeviceConfig
    bake : Program or None
        What the buffers hold at power-up.

    Members
    -------
    ctl : In(ControlLayout)
    x : In(rows * width)
        Activation words, one cycle after their control word.
    write : In(stream of WriteLayout)
        Always taken; others than those of the buffers do not count.
    fill : In(stream of FillLayout)
        On a device with a store: always taken, but lost in a cycle with a byte for the buffers.
    bits : Out(rows * columns)
        Row by row, `array_latency` cycles after the control word.
    sums : Out(rows * result_lanes * acc_width)
        With `config.result_lanes`: accumulators of the last columns, row by row, as early as `bits`; in the
        cycles behind, those of the columns in front of these.
    write_o : Out(stream)
        With `config.result_lanes`: what is written, of either kind, a cycle later for each group.
    """

    def __init__(self, config: DeviceConfig, bake: Program | None = None) -> None:
        g = config.geometry
        self.config, self.bake = config, bake
        super().__init__(
            {
                "ctl": In(ControlLayout(config)),
                "x": In(g.rows * g.width),
                "write": In(writes(taken=True)),
                **({"fill": In(fills())} if config.store_words else {}),
                "bits": Out(g.rows * g.columns),
                **({"sums": Out(_sums(config))} if config.result_lanes else {}),
                **({"write_o": Out(buffer_writes(config))} if config.result_lanes else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g = self.config, self.config.geometry
        groups: list[ColumnGroup] = []
        aligned = []
        for index in range(config.groups):
            first = index * config.column_group
            group = ColumnGroup(config, first, min(config.column_group, g.columns - first), self.bake)
            m.submodules[f"group{index}"] = group
            if groups:
                last = groups[-1]
                connect(m, last.write_o, group.write_i)
                m.d.comb += [group.ctl_i.eq(last.ctl_o), group.x_i.eq(last.x_o)]
                if config.result_lanes:
                    m.d.comb += group.sums_i.eq(delayed(m, last.sums_o, 1, f"sums{index}"))
            else:
                self._writes(m, group)
                m.d.comb += [group.ctl_i.eq(self.ctl), group.x_i.eq(self.x)]
            groups.append(group)
            aligned.append(delayed(m, group.bits, config.groups - 1 - index, f"align{index}"))
        for row in range(g.rows):
            parts = [
                bits[row * group.count : (row + 1) * group.count]
                for bits, group in zip(aligned, groups, strict=True)
            ]
            # On a device with rotators, results have a long way back to the memories.
            bits = delayed(m, Cat(*parts), 1 if config.offset_bits else 0, f"result{row}")
            m.d.comb += self.bits.word_select(row, g.columns).eq(bits)
        if config.result_lanes:
            connect(m, groups[-1].write_o, flipped(self.write_o))
            late = 1 if config.offset_bits else 0
            m.d.comb += self.sums.eq(delayed(m, groups[-1].sums_o, late, "sums"))
        return m

    def _writes(self, m: Module, group: ColumnGroup) -> None:
        if not self.config.store_words:
            connect(m, flipped(self.write), group.write_i)
            return
        byte_valid, byte = fill_of_byte(m, self.write, self.config)
        m.d.comb += [
            group.write_i.valid.eq(byte_valid | self.fill.valid),
            group.write_i.p.eq(Mux(byte_valid, byte.as_value(), self.fill.p.as_value())),
        ]
