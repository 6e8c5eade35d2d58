"""The activation memories of all rows, and what reads and writes them."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..interfaces import OperandLayout
from ..parts.selection import select
from .activation import ActivationMemory, word_latency
from .ports import ReadoutSignature, results, row_writes, writes
from .write_stage import WriteStage

__all__ = ["ActivationRows"]


class ActivationRows(wiring.Component):
    """One activation memory for each row; all read and write at once.

    Memories of one port write a byte in a cycle that the array grants, as they read out a word.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    operand : In(OperandLayout)
    x : Out(rows * width)
        The operands, a word for each row, `operand_latency` cycles later.
    result : In(stream of ResultLayout)
        Always taken; bytes wait.
    control : In(stream of WriteLayout)
    loader : In(stream of RowWriteLayout)
    flushed : Out(1)
        As in `WriteStage`.
    readout : In(ReadoutSignature)
    request : Out(1)
        A word is to be read out; or, with one port, a byte to be written.
    grant : In(1)
        The word is read in this cycle, and no operand; or else the byte is written.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "operand": In(OperandLayout(config)),
                "x": Out(g.rows * g.width),
                "result": In(results(config)),
                "control": In(writes()),
                "loader": In(row_writes()),
                "flushed": Out(1),
                "readout": In(ReadoutSignature(g.width)),
                "request": Out(1),
                "grant": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.write_stage = stage = WriteStage(self.config)
        connect(m, flipped(self.control), stage.control)
        connect(m, flipped(self.loader), stage.loader)
        granted = Signal(word_latency(self.config))
        asked = self.readout.valid & ~granted.any()
        reads, writes, room, request = self.grant, stage.o.valid, ~self.result.valid, asked
        if self.config.act_ports == 1:
            # Whose cycle it is was decided when it was promised: addresses do not wait for that.
            word, reads, writes = Signal(name="word_asked"), Signal(name="reads"), Signal(name="writes")
            m.d.sync += word.eq(asked)
            m.d.comb += [reads.eq(self.grant & word), writes.eq(self.grant & ~word)]
            room, request = writes, asked | stage.o.valid
        m.d.comb += [stage.o.ready.eq(room), self.flushed.eq(stage.flushed)]
        operands, words = [], []
        for row in range(self.config.geometry.rows):
            m.submodules[f"row{row}"] = memory = ActivationMemory(self.config, row)
            m.d.comb += [
                memory.operand.eq(self.operand),
                memory.readout.eq(reads),
                memory.readout_addr.eq(self.readout.addr),
                memory.result.valid.eq(self.result.valid),
                memory.result.p.eq(self.result.p),
                memory.write.valid.eq(writes),
                memory.write.p.eq(stage.o.p),
            ]
            operands.append(memory.x)
            words.append(memory.rdata)
        m.d.sync += granted.eq(Cat(reads, granted))
        m.d.comb += [
            self.x.eq(Cat(*operands)),
            self.request.eq(request),
            self.readout.data.eq(select(words, self.readout.row)),
            self.readout.done.eq(granted[-1]),
        ]
        return m
