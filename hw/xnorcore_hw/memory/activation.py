"""Activation memory of one row: array reads, result writes, and bytes from the link between them."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import CutLayout, OperandLayout, bits_for_depth
from .cutter import OperandCutter
from .ports import results, row_writes
from .single.generic import Access, SingleMemory, single_of

__all__ = ["ActivationMemory", "operand_latency", "word_latency", "write_latency"]


def operand_latency(config: DeviceConfig) -> int:
    """Return the cycles from a read address to the operand: three more where it is cut out of two words."""
    return 4 if config.offset_bits else 1


def word_latency(config: DeviceConfig) -> int:
    """Return the cycles from a read address to the word there."""
    return 2 if config.offset_bits else 1


def write_latency(config: DeviceConfig) -> int:
    """Return by how many cycles a word is written later than a memory alone would do it."""
    return 1 if config.offset_bits else 0


class ActivationMemory(wiring.Component):
    """One read and one write port; results go before bytes from the link.

    Where operands may start inside a word, even and odd addresses have a memory each, so that a word and
    the next one are read at once.

    With one port for both, a cycle that writes reads nothing: `rdata` and `x` mean nothing behind it. The
    first byte of a word clears the others, so that lanes that no byte of an image reaches are 0 from
    power-up on, whatever such a memory holds then.

    Parameters
    ----------
    config : DeviceConfig
    row : int
        Bank that this memory answers to.

    Members
    -------
    operand : In(OperandLayout)
    readout : In(1)
    readout_addr : In
        Read this address in place of the operand's, as it is, and not for `x`.
    rdata : Out(width)
        The word at the address, `word_latency` cycles later.
    x : Out(width)
        The operand, `operand_latency` cycles after its address.
    result : In(stream of ResultLayout)
        Always taken.
    write : In(stream of RowWriteLayout)
        Always taken; only in cycles without a result.
    """

    def __init__(self, config: DeviceConfig, row: int) -> None:
        g = config.geometry
        self.config, self.row = config, row
        super().__init__(
            {
                "operand": In(OperandLayout(config)),
                "readout": In(1),
                "readout_addr": In(bits_for_depth(config.act_depth)),
                "rdata": Out(g.width),
                "x": Out(g.width),
                "result": In(results(config)),
                "write": In(row_writes(taken=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        if self.config.offset_bits:
            self._two_memories(m)
        elif self.config.act_ports == 1:
            self._one_port(m, single_of(platform))
        else:
            self._one_memory(m)
        return m

    def _written(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Return address, word and lanes of what is written in this cycle."""
        g, result, write = self.config.geometry, self.result.p, self.write.p
        lanes = 8 // g.lane
        mine, addr = Signal(), Signal(len(result.addr), name="waddr")
        word, mask = Signal(g.width, name="wdata"), Signal(g.width // g.lane, name="wmask")
        m.d.comb += mine.eq(self.write.valid & ((write.place.bank == self.row) | write.everywhere))
        with m.If(self.result.valid):
            bits = result.bits[self.row]
            others = Mux(result.clear, 0, bits).replicate(g.tiles_per_word - 1)
            m.d.comb += [addr.eq(result.addr), word.eq(Cat(bits, others)), mask.eq(result.mask)]
            if self.config.packed_rows:
                with m.If(result.packed):
                    m.d.comb += word.eq(_in_fields(result, bits, g.width // 4))
        with m.Else():
            m.d.comb += [
                addr.eq(write.place.addr),
                word.eq(write.data.replicate(g.width // 8)),
                mask.eq(mine.replicate(g.width // g.lane) & (((1 << lanes) - 1) << (write.lane * lanes))),
            ]
            if self.config.act_ports == 1:
                first = Signal()
                m.d.comb += first.eq(write.lane == 0)
                with m.If(first):
                    m.d.comb += [word.eq(write.data), mask.eq(mine.replicate(g.width // g.lane))]
        return addr, word, mask

    def _read_addresses(self, m: Module) -> tuple[Value, Value]:
        """Return this row's address of the operand, and the one behind it."""
        addr = self.operand.addr
        if not (self.row and self.config.convolution):
            return addr, addr + 1
        distance = Signal(len(addr), reset_less=True)
        m.d.sync += distance.eq(self.operand.strip * self.row)
        # The sum and one more in one addition.
        following = (Cat(1, addr) + Cat(1, distance))[1:]
        return (addr + distance)[: len(distance)], following

    def _one_memory(self, m: Module) -> None:
        config, width = self.config, self.config.geometry.width
        (addr, _), (waddr, wdata, wmask) = self._read_addresses(m), self._written(m)
        m.submodules.memory = memory = Memory(shape=width, depth=config.act_depth, init=[])
        read, port = memory.read_port(), memory.write_port(granularity=config.geometry.lane)
        m.d.comb += [
            read.addr.eq(Mux(self.readout, self.readout_addr, addr)),
            self.rdata.eq(read.data),
            port.addr.eq(waddr),
            port.data.eq(wdata),
            port.en.eq(wmask),
            self.x.eq(self._operand(m, read.data)),
        ]

    def _operand(self, m: Module, word: Value) -> Value:
        """Return a word as the array takes it, in a tap of padding or with a last lane of its own."""
        config, now = self.config, Signal(CutLayout(self.config))
        m.d.sync += now.eq(self.operand.cut)
        x = Mux(now.pad, now.pad_one.replicate(len(word)), word) if config.convolution else word
        if config.whole_windows:
            # Where an odd number of lanes has no channel, the last one counts separately.
            x = Cat(x[:-1], x[-1] & ~(now.pad & now.masked) | now.balance)
        return x

    def _one_port(self, m: Module, single: SingleMemory) -> None:
        (addr, _), (waddr, wdata, wmask) = self._read_addresses(m), self._written(m)
        write, port_addr = Signal(name="port_write"), Signal.like(waddr)
        m.d.comb += [
            write.eq(self.result.valid | self.write.valid),
            port_addr.eq(Mux(write, waddr, Mux(self.readout, self.readout_addr, addr))),
        ]
        word = single.add(m, Access(port_addr, write, wmask, wdata), self.config.act_depth)
        m.d.comb += [self.rdata.eq(word), self.x.eq(self._operand(m, word))]

    def _two_memories(self, m: Module) -> None:
        config, width = self.config, self.config.geometry.width
        (addr, following), (waddr, wdata, wmask) = self._read_addresses(m), self._written(m)
        m.submodules.cutter = cutter = OperandCutter(config)
        # What is written waits in a register, with half of its way across the chip behind it.
        late_addr, late_data = Signal.like(waddr, reset_less=True), Signal.like(wdata, reset_less=True)
        m.d.sync += [late_addr.eq(waddr), late_data.eq(wdata)]
        # Whether it is a readout is known last: only a multiplexer follows.
        for odd, word in enumerate((cutter.even_word, cutter.odd_word)):
            memory = Memory(shape=width, depth=(config.act_depth + 1) // 2, init=[])
            m.submodules[f"memory{odd}"] = memory
            read, port = memory.read_port(), memory.write_port(granularity=config.geometry.lane)
            late_mask = Signal.like(wmask)
            m.d.comb += [
                read.addr.eq(Mux(self.readout, self.readout_addr[1:], (addr if odd else following)[1:])),
                word.eq(read.data),
                port.addr.eq(late_addr[1:]),
                port.data.eq(late_data),
                port.en.eq(late_mask),
            ]
            m.d.sync += late_mask.eq(wmask & (waddr[0] == odd).replicate(len(wmask)))
        m.d.comb += [
            cutter.odd.eq(Mux(self.readout, self.readout_addr[0], addr[0])),
            cutter.cut.eq(self.operand.cut),
            self.rdata.eq(cutter.word),
            self.x.eq(cutter.x),
        ]


def _in_fields(result: data.View, bits: Value, size: int) -> Value:
    """Return a word of a kernel row, of quarters of `size` bits."""
    low, high = bits[:size], bits[size : 2 * size]
    quarters = (low, Mux(result.halves, high, low), low, Mux(result.halves, high, low))
    return Cat(
        Cat(quarter, Const(0, size))[:size] & result.quarters[place].replicate(size)
        for place, quarter in enumerate(quarters)
    )
