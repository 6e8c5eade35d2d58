"""Block RAM counted from RTLIL."""

import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.back import rtlil
from amaranth.lib.memory import Memory as Ram

from xnorcore_boards.families.ecp5 import LFE5U_25F_BG381
from xnorcore_boards.families.gatemate import CCGM1A1
from xnorcore_boards.families.gowin import GW1NR_9C_QN88P
from xnorcore_boards.families.ice40 import HX8K_CT256, UP5K_SG48
from xnorcore_boards.measure.memories import Memory, blocks, find_memories, single_blocks, total_blocks

ICE40, ECP5, GOWIN = HX8K_CT256.family, LFE5U_25F_BG381.family, GW1NR_9C_QN88P.family
GATEMATE = CCGM1A1.family


class Rams(Elaboratable):
    def elaborate(self, platform):
        m = Module()
        for name, depth, width, granularity, domain in (
            ("bytes", 300, 32, 8, "sync"),
            ("words", 64, 20, None, "sync"),
            ("nibbles", 16, 8, 4, "comb"),
        ):
            m.submodules[name] = ram = Ram(shape=width, depth=depth, init=[])
            write, read = ram.write_port(granularity=granularity), ram.read_port(domain=domain)
            enable, data = Signal(len(write.en), name=f"{name}_enable"), Signal(width, name=f"{name}_data")
            m.d.sync += [enable.eq(~enable), data.eq(read.data + 1)]
            m.d.comb += [write.en.eq(enable), write.data.eq(data), read.addr.eq(data)]
        return m


def test_found_in_rtlil():
    assert set(find_memories(rtlil.convert(Rams(), ports=[]))) == {
        Memory("bytes", 300, 32, 8),
        Memory("words", 64, 20, 20),
        Memory("nibbles", 16, 8, 4, clocked=False),
    }


@pytest.mark.parametrize(
    "family, memory, count",
    [
        # What Yosys 0.70 makes of the same memories.
        (ICE40, Memory("m", 256, 16, 8), 1),
        (ICE40, Memory("m", 512, 8, 4), 1),
        (ICE40, Memory("m", 512, 32, 8), 4),
        (ICE40, Memory("m", 1024, 16, 8), 4),
        (ICE40, Memory("m", 7, 18, 18), 0),
        (ICE40, Memory("m", 4096, 8, 8, clocked=False), 0),
        (ECP5, Memory("m", 512, 32, 8), 1),
        (ECP5, Memory("m", 4096, 8, 8), 2),
        (ECP5, Memory("m", 64, 24, 8), 0),
        (ECP5, Memory("m", 256, 32, 8), 1),
        (GOWIN, Memory("m", 256, 16, 8), 1),
        (GOWIN, Memory("m", 64, 16, 8), 0),
        (GATEMATE, Memory("m", 16, 5, 5), 0),
        (GATEMATE, Memory("m", 64, 8, 8), 1),
        (GATEMATE, Memory("m", 1024, 16, 8), 1),
        (GATEMATE, Memory("m", 2560, 32, 8), 4),
        (GATEMATE, Memory("m", 3584, 32, 8), 6),
        (GATEMATE, Memory("m", 8192, 8, 8), 4),
        (GATEMATE, Memory("m", 6000, 64, 16), 20),
    ],
)
def test_blocks(family, memory, count):
    assert blocks(memory, family) == count


@pytest.mark.parametrize(
    ("depth", "width", "lane", "count"),
    [(64, 8, 4, 1), (16384, 16, 8, 1), (16384, 24, 8, 2), (16385, 32, 8, 4), (65536, 16, 4, 4)],
)
def test_spram(depth, width, lane, count):
    """Beside block RAM, where there is some; else in it."""
    memories = [Memory("m", depth, width, lane, single=True), Memory("n", 256, 16, 8)]
    family = UP5K_SG48.family
    assert single_blocks(memories, family) == count and total_blocks(memories, family) == 1
    assert single_blocks(memories, ICE40) == 0
    assert total_blocks(memories, ICE40) == 1 + blocks(Memory("m", depth, width, lane), ICE40)


def test_total():
    assert total_blocks([Memory("a", 512, 32, 8), Memory("b", 512, 8, 8)], ICE40) == 5
