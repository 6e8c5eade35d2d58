"""Activation memory of one row: array reads, result writes, and bytes from the link between them."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from ..interfaces import LaneWriteSignature, OperandSignature, bits_for_depth

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

    Parameters
    ----------
    config : DeviceConfig
    row : int
        Bank that this memory answers to.

    Members
    -------
    raddr : In
    operand : In(OperandSignature)
        What is to be done to the word at `raddr`; `strip` two cycles before it counts.
    readout : In(1)
    readout_addr : In
        Read this address in place of `raddr`, as it is, and not for `x`.
    rdata : Out(width)
        The word at the address, `word_latency` cycles later.
    x : Out(width)
        The operand, `operand_latency` cycles after its address.
    wvalid : In(1)
        A result is written; the link waits.
    waddr : In
    wdata : In(min(columns, width))
        Bits of one tile; a word that several tiles share takes them in each of its parts,
    wclear : In(1)
        and 0 in all parts but the first if this is 1.
    wmask : In(width // lane)
        Lanes of `geometry.lane` bits to write.
    write : In(LaneWriteSignature)
        `ready` is 1 if this row can take the byte.
    everywhere : In(1)
        The byte is for all rows.
    """

    def __init__(self, config: DeviceConfig, row: int) -> None:
        g = config.geometry
        self.config, self.row = config, row
        super().__init__(
            {
                "raddr": In(bits_for_depth(config.act_depth)),
                "operand": In(OperandSignature(config)),
                "readout": In(1),
                "readout_addr": In(bits_for_depth(config.act_depth)),
                "rdata": Out(g.width),
                "x": Out(g.width),
                "wvalid": In(1),
                "waddr": In(bits_for_depth(config.act_depth)),
                "wdata": In(min(g.columns, g.width)),
                "wclear": In(1),
                "wmask": In(g.width // g.lane),
                "write": In(LaneWriteSignature()),
                "everywhere": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, g, write, operand = self.config, self.config.geometry, self.write, self.operand
        lanes = 8 // g.lane
        mine = Signal()
        waddr, wdata, wmask = Signal(len(self.raddr)), Signal(g.width), Signal(g.width // g.lane)
        bank = (write.bank == self.row) | self.everywhere
        m.d.comb += mine.eq(write.valid & (write.space == Space.ACTIVATIONS) & bank)
        with m.If(self.wvalid):
            others = Mux(self.wclear, 0, self.wdata).replicate(g.tiles_per_word - 1)
            m.d.comb += [waddr.eq(self.waddr), wdata.eq(Cat(self.wdata, others)), wmask.eq(self.wmask)]
        with m.Else():
            m.d.comb += [
                write.ready.eq(mine),
                waddr.eq(write.addr),
                wdata.eq(write.data.replicate(g.width // 8)),
                wmask.eq(mine.replicate(g.width // g.lane) & (((1 << lanes) - 1) << (write.lane * lanes))),
            ]

        raddr, readout = self.raddr, self.readout
        following = raddr + 1
        if self.row and config.convolution:
            distance = Signal(len(raddr), reset_less=True)
            m.d.sync += distance.eq(operand.strip * self.row)
            # The sum and one more in one addition.
            following = (Cat(1, raddr) + Cat(1, distance))[1:]
            raddr = (raddr + distance)[: len(distance)]
        flags = Cat(
            operand.masked, operand.pad, operand.pad_one, operand.balance, operand.offset, operand.lanes
        )
        now = Signal(len(flags))
        m.d.sync += now.eq(flags)
        masked, pad, pad_one, balance = now[:4]
        offset, used = now[4 : 4 + config.offset_bits], now[4 + config.offset_bits :]

        if not config.offset_bits:
            m.submodules.memory = memory = Memory(shape=g.width, depth=config.act_depth, init=[])
            read, port = memory.read_port(), memory.write_port(granularity=g.lane)
            m.d.comb += [
                read.addr.eq(Mux(readout, self.readout_addr, raddr)),
                self.rdata.eq(read.data),
                port.addr.eq(waddr),
                port.data.eq(wdata),
                port.en.eq(wmask),
                self.x.eq(
                    Mux(pad, pad_one.replicate(g.width), read.data) if config.convolution else read.data
                ),
            ]
            return m

        # What is written waits in a register, with half of its way across the chip behind it.
        late_addr, late_data = Signal.like(waddr, reset_less=True), Signal.like(wdata, reset_less=True)
        m.d.sync += [late_addr.eq(waddr), late_data.eq(wdata)]
        # Whether it is a readout is known last: only a multiplexer follows.
        words = []
        for odd in range(2):
            memory = Memory(shape=g.width, depth=(config.act_depth + 1) // 2, init=[])
            m.submodules[f"memory{odd}"] = memory
            read, port = memory.read_port(), memory.write_port(granularity=g.lane)
            late_mask = Signal.like(wmask)
            m.d.comb += [
                read.addr.eq(Mux(readout, self.readout_addr[1:], (raddr if odd else following)[1:])),
                port.addr.eq(late_addr[1:]),
                port.data.eq(late_data),
                port.en.eq(late_mask),
            ]
            m.d.sync += late_mask.eq(wmask & (waddr[0] == odd).replicate(len(wmask)))
            words.append(read.data)
        # The operand is the first word's bits from the offset on, and then the next one's bits below it: each
        # bit is taken out of its word first, and what was taken is rotated.
        swapped, crossed, taken = (Signal(bits, reset_less=True) for bits in (1, g.width, g.width))
        second = crossed ^ swapped.replicate(g.width)
        m.d.sync += [
            swapped.eq(Mux(readout, self.readout_addr[0], raddr[0])),
            crossed.eq(_below(operand.offset, g.width)),
            taken.eq(words[1] & second | words[0] & ~second),
        ]
        m.d.comb += self.rdata.eq(taken)
        # Padding by ones comes in before the first turn, by zeros with the lanes that do not count, last:
        # neither adds a look-up table to the longest path.
        mask = Mux(masked, _below(used[: config.offset_bits + 1], g.width), -1)
        mask = mask & ~(pad & ~pad_one).replicate(g.width)
        # Every row has its own copies of the offset: they reach all of a word.
        late = Signal.like(offset, attrs={"keep": 1})
        ones, last, lanes_used = Signal(), Signal(), Signal(g.width, reset_less=True)
        m.d.sync += [late.eq(offset), ones.eq(pad & pad_one), last.eq(balance), lanes_used.eq(mask)]
        # The higher bits of the offset in one cycle, the others in the next.
        low = config.offset_bits // 2
        turned = _rotated(taken | ones.replicate(g.width), late[low:], low)
        rest, rest_turned = Signal(low, attrs={"keep": 1}), Signal(g.width, reset_less=True)
        rest_last, rest_used, x = Signal(), Signal(g.width, reset_less=True), Signal(g.width, reset_less=True)
        m.d.sync += [
            rest.eq(late[:low]),
            rest_turned.eq(turned),
            rest_last.eq(last),
            rest_used.eq(lanes_used),
        ]
        m.d.sync += x.eq(_rotated(rest_turned, rest, 0) & rest_used | rest_last << (g.width - 1))
        m.d.comb += self.x.eq(x)
        return m


def _below(number: Value, width: int) -> Value:
    """Return `width` bits, of which those below `number` are 1."""
    return (~(~0 << number))[:width]


def _rotated(value: Value, number: Value, low: int) -> Value:
    """Return `value` rotated to the right by ``number << low``."""
    for bit, on in enumerate(number, low):
        value = Mux(on, value.rotate_right(1 << bit), value)
    return value
