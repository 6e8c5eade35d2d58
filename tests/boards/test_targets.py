"""Every board target: clocks, baud rates, pins; and the design that goes into all of them."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import BuildError, MissingDependencyError, UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Command, DeviceInfo, Status
from xnorcore.isa.stores import FLASH_BITS, FLASHES
from xnorcore.link.frames import decode_response, encode_request
from xnorcore.model.layers import Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore_boards import board as boards
from xnorcore_boards.build.design import elaborate, fit_memories
from xnorcore_boards.clock import clock_domain
from xnorcore_boards.measure.inventory import config_blocks
from xnorcore_boards.measure.size import check_size
from xnorcore_boards.top import Device
from xnorcore_hw.array.carry.ecp5 import Ecp5Carry
from xnorcore_hw.array.carry.generic import GenericCarry
from xnorcore_hw.array.carry.ice40 import Ice40Carry
from xnorcore_hw.bench.cnn import random_cnv

SMALL = DeviceConfig(Geometry(1, 4, 8), 12, 64, 16, 64, 64, 512, column_group=4, line_bytes=0)
NAMES = list(boards.all_boards())


def test_all_are_there():
    assert {
        "icebreaker", "ice40-hx8k-b-evn", "icestick", "ulx3s-25f", "ulx3s-85f", "ecpix5-45f",
        "tang-nano-9k", "tang-nano-20k", "icesugar", "upduino-3.1", "orangecrab-25f", "gatemate-a1-evb",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_rates(name):
    board = boards.find_board(name)
    for baud in (board.baud, board.best_baud):
        assert abs(board.true_hz / board.divisor(baud) / baud - 1) <= 0.02
    assert board.best_baud >= board.baud
    if name != "icestick":  # too small for any geometry
        check_size(board, board.config)


class Loopback(wiring.Component):
    """Streams of the accelerator, in no time."""

    def __init__(self, config, clock_hz, bake):
        byte = stream.Signature(8)
        super().__init__({"i": In(byte), "o": Out(byte), "error": Out(1), "rst": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFO(width=8, depth=16)
        wiring.connect(m, wiring.flipped(self.i), fifo.w_stream)
        wiring.connect(m, fifo.r_stream, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("name", NAMES)
def test_a_board_adds_as_its_family_does(name):
    board = boards.find_board(name)
    families = {"ice40": Ice40Carry, "ecp5": Ecp5Carry, "gowin": GenericCarry}
    carry = board.new_platform().carry
    assert type(carry) is families.get(board.part.family.name, type(None))
    assert board.part.family.name != "gowin" or carry.tables


@pytest.mark.parametrize("name", NAMES)
def test_pins(name, monkeypatch):
    monkeypatch.setattr("xnorcore_hw.shells.uart.FramedCore", Loopback)
    board = boards.find_board(name)
    design = elaborate(board, SMALL)
    platform = board.new_platform()
    uart = platform.lookup(board.uart)
    pins = [platform.lookup(board.clock_pin).ios[0].names[0]]
    pins += [sub.ios[0].names[0] for sub in uart.ios if sub.name in ("rx", "tx")]
    for pin in pins:
        assert re.search(rf"\b{pin}\b", design.constraints)
    if board.part.family.constraints not in ("cst", "ccf"):  # these have no clocks
        assert "$signal" not in design.constraints
    if board.part.family.name == "ecp5":
        assert f"{board.true_hz * 1.03} HZ" in design.constraints
    assert "top.device.accelerator" in design.modules
    assert ("pll" in design.rtlil) == (board.pll is not None)


@pytest.mark.parametrize("name", NAMES)
def test_lights(name, monkeypatch):
    monkeypatch.setattr("xnorcore_hw.shells.uart.FramedCore", Loopback)
    board = boards.find_board(name)
    constraints = elaborate(board, SMALL).constraints
    leds = [led for led in (board.heartbeat, board.activity, board.error) if led is not None]
    assert len(set(leds)) == len(leds) and board.heartbeat in leds
    assert len(leds) == (1 if name == "gatemate-a1-evb" else 3)  # which has no more
    for led in leds:
        # The other colours are driven as well, to be dark.
        for part in [f"__{colour}" for colour in "rgb"] if led[2:] else [""]:
            assert f"{led[0]}_{led[1]}{part}__io" in constraints


def test_colours_of_one_light(monkeypatch):
    """Three lights are the colours of one: each has its own pin, and none is asked for twice."""
    monkeypatch.setattr("xnorcore_hw.shells.uart.FramedCore", Loopback)
    board = boards.find_board("upduino-3.1")
    rtlil = elaborate(board, SMALL).rtlil
    lights = {"r": board.error, "g": board.heartbeat, "b": board.activity}
    assert lights == {colour: ("rgb_led", 0, colour) for colour in "rgb"}
    drivers = re.findall(r"cell \\top\.heartbeat_pin([rgb]) .*\n *connect \\o\S* (\S.*)", rtlil)
    assert sorted(colour for colour, _ in drivers) == ["b", "g", "r"]
    assert len({driver for _, driver in drivers} - {"1'0"}) == 3, drivers


def test_boards_without_a_bridge_have_no_port():
    """What programs them, or an adapter of their owner's, is no port to ask."""
    without = {name for name, board in boards.all_boards().items() if board.adapter}
    assert "upduino-3.1" in without and "icesugar" not in without
    assert {name for name, *_ in boards.usb_numbers()} == set(boards.all_boards()) - without


def test_unknown():
    with pytest.raises(UsageError, match=r"unknown board 'nix'; known: .*icebreaker.*, sim"):
        boards.find_board("nix")


def test_no_pin_tables():
    def absent():
        raise ImportError("", name="amaranth_boards")

    board = replace(boards.find_board("icebreaker"), platform=absent)
    with pytest.raises(MissingDependencyError, match=r"amaranth_boards is not installed; run: .*pip install"):
        board.new_platform()


def test_baud_refused():
    board = boards.find_board("icestick")
    with pytest.raises(
        BuildError, match=r"3500000 baud needs 4 clock cycles per bit, .* at most 3000000 baud"
    ):
        board.divisor(3_500_000)
    with pytest.raises(
        BuildError, match=r"2200000 baud is 5.45 cycles of 12 MHz; the nearest rate is 2400000"
    ):
        board.divisor(2_200_000)
    with pytest.raises(BuildError, match="100 baud"):
        board.divisor(100)


def test_too_large():
    board = boards.find_board("icebreaker")
    large = replace(SMALL, geometry=Geometry(8, 128, 128))
    with pytest.raises(BuildError, match=r"8x128x128 is too large .* logic cells of 5,280 and \d{4} memory"):
        check_size(board, large)


def test_the_blocks_of_a_refusal_are_those_that_it_would_take():
    board = boards.find_board("icestick")
    own = config_blocks(board.config, board.part.family)
    with pytest.raises(BuildError, match=rf"of 1,280 and {own} memory blocks of 16; choose a smaller --geom"):
        check_size(board, board.config)
    # Of each column a block of weights, as few as they may be, and one of start values; and 4 others.
    deep = replace(board.config, geometry=Geometry(1, 16, 8), weight_depth=1 << 14)
    with pytest.raises(BuildError, match=r"and at least 36 memory blocks of 16; .*weight_depth=N"):
        check_size(board, deep)


def test_too_much_spram():
    board = boards.find_board("icebreaker")
    config = replace(SMALL, geometry=Geometry(2, 8, 32), act_depth=16385, act_ports=1)
    message = (
        r"icebreaker: 2 x 16385 words of 32 bits \(act_depth, act_ports=1\) take 8 blocks of SPRAM, and "
        "iCE40UP5K has 4; choose fewer rows, a smaller width, or another --set act_depth=N, act_ports=2 or "
    )
    with pytest.raises(BuildError, match=message):
        check_size(board, config)
    check_size(board, replace(config, act_depth=16384))
    with pytest.raises(BuildError, match=r"and 65536 words of a store .* take 10 blocks"):
        check_size(board, replace(config, geometry=Geometry(1, 8, 32), act_depth=16384, store_words=1 << 16))
    # Where there is none, they are block RAM.
    with pytest.raises(BuildError, match=r"and 288 memory blocks of 32"):
        check_size(boards.find_board("ice40-hx8k-b-evn"), config)


@pytest.mark.campaign
def test_weights_shrink_to_block_ram():
    board = boards.find_board("icebreaker")
    design = elaborate(board, replace(SMALL, weight_depth=8192))
    assert design.bram > board.part.bram
    config = fit_memories(design)
    assert config.weight_depth == 2048


def filled(text: str) -> set[str]:
    """Return the memories of a design in RTLIL that start with something else than zeros."""
    cells = re.findall(r'cell \$meminit_v2.*?MEMID "\\+(\w+)".*?connect \\DATA \d+\'([01]*)', text, re.DOTALL)
    return {name for name, data in cells if "1" in data}


def test_baked_network_is_in_the_memories():
    rng = np.random.default_rng(0)
    layers = [Dense(rng.choice([-1, 1], (8, 16)), rng.integers(-3, 4, 8)), Dense(rng.choice([-1, 1], (3, 8)))]
    program = compile_network(Network("small", InputSpec((16,)), layers), SMALL)
    board = boards.find_board("icebreaker")
    empty, baked = elaborate(board, SMALL), elaborate(board, SMALL, bake=program)
    assert filled(empty.rtlil) == {"memory"}  # the answer to INFO, beside the program
    assert {"memory", "weights0", "thresholds0"} <= filled(baked.rtlil)
    assert baked.memories == empty.memories


def test_info_over_the_uart():
    """The design of all boards answers INFO through its UART, and names its true clock."""
    divisor, device = 4, Device(SMALL, 36_000_000, 4)
    frame = encode_request(Command.INFO, 77)
    answer = bytearray()

    async def send(ctx):
        await ctx.tick().repeat(20)
        for byte in frame:
            for bit in [0, *(byte >> i & 1 for i in range(8)), 1]:
                ctx.set(device.rx, bit)
                await ctx.tick().repeat(divisor)

    async def receive(ctx):
        while not answer.endswith(b"\0"):
            await ctx.tick().until(device.tx == 0)
            await ctx.tick().repeat(divisor // 2)
            bits = []
            for _ in range(9):
                bits.append(ctx.get(device.tx))
                await ctx.tick().repeat(divisor)
            answer.append(sum(bit << i for i, bit in enumerate(bits[1:])))

    simulator = Simulator(device)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    response = decode_response(bytes(answer[:-1]))
    assert response is not None
    assert (response[0], response[1], response[3]) == (Command.INFO, 77, Status.OK)
    info = DeviceInfo.unpack(response[2])
    assert info.config == SMALL
    assert info.clock_hz == 36_000_000


class Pll:
    """Board, part, family and platform of a PLL that locks when the test says so."""

    true_hz, clock_pin, margin = 1_000_000, "clk", 1.0

    def __init__(self) -> None:
        self.part = self.family = self
        self.clock, self.lock = Signal(), Signal()

    def request(self, name: str, dir: str) -> None:
        return None

    def add_clock_constraint(self, clock: Signal, hz: float) -> None:
        assert hz == self.true_hz

    def pll(self, *_: object) -> tuple[Signal, Signal]:
        return self.clock, self.lock


def test_reset_waits_for_the_pll():
    board: Any = Pll()
    m = Module()
    _, reset = clock_domain(m, board, board)

    async def bench(ctx):
        async def cycles(count):
            for _ in range(count):
                ctx.set(board.clock, 1)
                await ctx.delay(5e-7)
                ctx.set(board.clock, 0)
                await ctx.delay(5e-7)

        await cycles(100)
        assert ctx.get(reset)
        ctx.set(board.lock, 1)
        await cycles(15)
        assert ctx.get(reset)
        await cycles(10)
        assert not ctx.get(reset)
        ctx.set(board.lock, 0)
        await cycles(5)
        assert ctx.get(reset)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("name", "kind", "words", "says"),
    [
        (
            "icestick",
            1,
            1024,
            "its store cannot be SDRAM; leave out store_kind",
        ),
        ("icebreaker", 1, 1024, r"icebreaker: .* cannot be SDRAM; choose store_kind=2 \(flash\)"),
        ("ice40-hx8k-b-evn", 2, 2048, r"cannot be flash; choose store_kind=4 \(flash of two bits"),
        (
            "ice40-hx8k-b-evn",
            4,
            1 << 20,
            "store_words is 1048576, but its flash of two .* has room for 524288",
        ),
    ],
)
def test_a_store_that_the_board_has_not(name, kind, words, says):
    board, config = boards.find_board(name), replace(SMALL, store_words=words, store_kind=kind)
    for build in (check_size, elaborate):
        with pytest.raises(BuildError, match=says):
            build(board, config)


def test_a_flash_beside_the_store():
    """The board's only flash; and its chip of the store stays what it is."""
    board = boards.find_board("ulx3s-25f")
    config = replace(SMALL, store_words=1 << 12, store_kind=1, kept_words=1 << 19)
    sdram, flash = board.chips
    assert board.beside(config) == {"chip": sdram, "flash": flash}
    plain = replace(config, kept_words=0)
    assert board.beside(plain) == {"chip": sdram}
    assert board.beside(replace(plain, store_kind=4)) == {"chip": flash} and not board.beside(SMALL)
    design = elaborate(board, replace(SMALL, store_words=1 << 12, store_kind=1, kept_words=1 << 12))
    assert {name in design.constraints for name in ("flash_0__cs__io", "sdram_0__ras__io")} == {True}
    for name, words, says in (
        ("ulx3s-25f", 1 << 20, "kept_words is 1048576, but its flash has room for 524288"),
        ("icestick", 1 << 12, "kept_words is 4096, but it has no flash that its device can write; leave out"),
    ):
        for build in (check_size, elaborate):
            with pytest.raises(BuildError, match=says):
                build(boards.find_board(name), replace(SMALL, kept_words=words))


def test_a_queue_is_behind_the_same_flash():
    board = boards.find_board("icebreaker")
    config = replace(SMALL, store_words=1 << 12, store_kind=5)
    assert board.beside(config) == {"chip": board.chips[0]} and board.chips[0].kind == 2
    message = r"16385 words of 32 bits .* and 16384 words of a queue .*store_kind=5\) take 6 blocks of SPRAM"
    with pytest.raises(BuildError, match=message):
        check_size(board, replace(config, geometry=Geometry(1, 8, 32), act_depth=16385, act_ports=1))


@pytest.mark.parametrize("name", NAMES)
def test_regions_of_chips(name):
    for chip in boards.find_board(name).chips:
        assert chip.words & (chip.words - 1) == 0 and chip.first % (4 * chip.words) == 0
        assert chip.first > 0 or chip.kind not in FLASHES


@pytest.mark.parametrize(
    ("name", "lines", "pins"),
    some(
        [
            ("icebreaker", 4, {"16", "15", "14", "17", "12", "13"}),
            ("ice40-hx8k-b-evn", 2, {"R12", "R11", "P12", "P11"}),
            ("tang-nano-9k", 2, {"60", "59", "61", "62"}),
            ("ecpix5-45f", 4, {"AA2", "AD2", "AE2", "AF2", "AE1"}),
            ("upduino-3.1", 2, {"16", "15", "14", "17"}),
            ("orangecrab-25f", 4, {"U17", "U18", "T18", "R18", "N18"}),
            ("ulx3s-85f", 4, {"R2", "W2", "V2", "Y2", "W1"}),
            ("tang-nano-20k", 2, {"60", "59", "61", "62"}),
        ],
        1,
        many=True,
    ),
)
def test_pads_of_a_flash(name, lines, pins):
    """Every line has its pad, and the store's address the upper bits of its region."""
    board = boards.find_board(name)
    (chip,) = (chip for chip in board.chips if chip.kind in FLASHES)
    design = elaborate(board, replace(SMALL, store_words=1 << 12, store_kind=chip.kind))
    said = [line for line in design.constraints.splitlines() if "flash_" in line and "IO_TYPE" not in line]
    assert {line.split()[-1].strip(';"') for line in said} == pins and len(said) == len(pins)
    assert sum("__dq__" in line for line in said) == lines
    # Of an ECP5, no design has the pin of the clock: a cell of its own reaches it.
    assert any("__clk__" in line for line in said) != ("cell \\USRMCLK " in design.rtlil)
    place = board.new_platform().flash
    assert (place.lanes, place.first, place.every) == (lines, chip.first, chip.every)
    assert place.lanes == FLASH_BITS[chip.kind] * chip.every


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ice40-hx8k-b-evn", "icestick")])
def test_maps_of_32_by_32_pixels_fit(name):
    """Of the network that BNN-PYNQ has for CIFAR-10; weights in passes where they must."""
    program = compile_network(random_cnv(), boards.find_board(name).config)
    assert program.passes <= (16 if name == "tang-nano-9k" else 4)
