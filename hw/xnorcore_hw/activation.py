"""Activation memory of one row: array reads, result writes, and bytes from the link between them."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.protocol import Space

from .interfaces import LaneWriteSignature, OperandSignature, bits_for_depth

__all__ = ["ActivationMemory", "operand_latency"]


def operand_latency(config: DeviceConfig) -> int:
    """Return the cycles from a read address to the operand: one more where it is cut out of two words."""
    return 2 if config.offset_bits else 1


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
    rdata : Out(width)
        The word at `raddr`, one cycle later.
    x : Out(width)
        The operand, `operand_latency` cycles after its address.
    waddr : In
    wdata : In(min(columns, width))
        Bits of one tile; a word that several tiles share takes them in each of its parts,
    wclear : In(1)
        and 0 in all parts but the first if this is 1.
    wmask : In(width // lane)
        Lanes of `geometry.lane` bits to write; any set lane makes the link wait.
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
                "rdata": Out(g.width),
                "x": Out(g.width),
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
        with m.If(self.wmask.any()):
            others = Mux(self.wclear, 0, self.wdata).replicate(g.tiles_per_word - 1)
            m.d.comb += [waddr.eq(self.waddr), wdata.eq(Cat(self.wdata, others)), wmask.eq(self.wmask)]
        with m.Else():
            m.d.comb += [
                write.ready.eq(mine),
                waddr.eq(write.addr),
                wdata.eq(write.data.replicate(g.width // 8)),
                wmask.eq(mine.replicate(g.width // g.lane) & (((1 << lanes) - 1) << (write.lane * lanes))),
            ]

        raddr = Signal(len(self.raddr))
        m.d.comb += raddr.eq(
            self.raddr + operand.strip * self.row if self.row and config.convolution else self.raddr
        )
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
                read.addr.eq(raddr),
                self.rdata.eq(read.data),
                port.addr.eq(waddr),
                port.data.eq(wdata),
                port.en.eq(wmask),
                self.x.eq(
                    Mux(pad, pad_one.replicate(g.width), read.data) if config.convolution else read.data
                ),
            ]
            return m

        words = []
        for odd in range(2):
            memory = Memory(shape=g.width, depth=(config.act_depth + 1) // 2, init=[])
            m.submodules[f"memory{odd}"] = memory
            read, port = memory.read_port(), memory.write_port(granularity=g.lane)
            m.d.comb += [
                read.addr.eq(raddr[1:] if odd else (raddr + 1)[1:]),
                port.addr.eq(waddr[1:]),
                port.data.eq(wdata),
                port.en.eq(wmask & (waddr[0] == odd).replicate(len(wmask))),
            ]
            words.append(read.data)
        swapped = Signal()
        m.d.sync += swapped.eq(raddr[0])
        m.d.comb += self.rdata.eq(Mux(swapped, words[1], words[0]))
        both = Mux(swapped, Cat(words[1], words[0]), Cat(words[0], words[1]))
        # A mask of the first `lanes` bits: all ones shifted out of the way.
        mask = Mux(masked, ~((~0 << used[: config.offset_bits + 1])[: g.width]), -1)
        cut = Signal(g.width)
        m.d.comb += cut.eq((both >> offset)[: g.width] & mask)
        last = balance << (g.width - 1)
        m.d.sync += self.x.eq(Mux(pad, pad_one.replicate(g.width) & mask, cut) | last)
        return m
