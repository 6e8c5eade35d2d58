"""The synthesized netlist of each family is the same machine as the RTL, by the driver's UART test."""

import copy
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sw.cli_tools import one_object, runner
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError, UsageError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry, options
from xnorcore.isa.scaling import Scaling
from xnorcore.isa.stores import StoreKind
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore_boards.board import Board, find_board
from xnorcore_boards.build.design import Design, elaborate
from xnorcore_boards.build.flow import synthesize
from xnorcore_boards.build.tools import find_tool, run_tool
from xnorcore_boards.families.ecp5_cells import CELLS as ECP5
from xnorcore_boards.families.gatemate_cells import CELLS
from xnorcore_boards.families.ice40_bitstream import bitstream_circuit, find_icebox, uses_spram
from xnorcore_boards.gates.cells import lower_cells
from xnorcore_boards.gates.check import Checked, check_engine, check_networks
from xnorcore_boards.gates.core import cut, netlist_circuit
from xnorcore_boards.gates.engine import NetlistEngine, read_top
from xnorcore_boards.gates.flatten import build_circuit
from xnorcore_boards.gates.transport import open_netlist
from xnorcore_boards.measure.floorplan import floorplan
from xnorcore_hw.memory.stores import sdram_chips

SMALL = DeviceConfig(
    Geometry(1, 4, 8),
    acc_width=12,
    weight_depth=64,
    threshold_depth=16,
    act_depth=64,
    program_depth=64,
    fifo_bytes=512,
    column_group=4,
    line_bytes=0,
)
# Together they have every part of the gateware.
ICE40 = "ice40-hx8k-b-evn"
LEAN = replace(SMALL, convolution=0, threshold_share=2, program_halves=1, counters=0)
CONFIGS = {
    ICE40: LEAN,
    # SPRAM, two blocks behind each other; an image leaves bytes of its last words unwritten. And flash.
    "icebreaker": replace(
        LEAN, geometry=Geometry(1, 4, 16), act_ports=1, act_depth=20000, store_words=2048, store_kind=2
    ),
    "tang-nano-9k": SMALL,
    "ulx3s-85f": replace(
        SMALL, act_depth=128, line_bytes=128, store_words=1024, store_kind=1, kept_words=2048
    ),
    # Blocks of 20 and of 40 kbit, a memory whose parts lie side by side.
    "gatemate-a1-evb": replace(SMALL, geometry=Geometry(1, 4, 16), act_depth=8192, line_bytes=128),
}


@dataclass
class Synthesized:
    board: Board
    design: Design
    folder: Path
    top: dict[str, Any]

    def check(self, top: dict[str, Any] | None = None) -> Checked:
        design = self.design
        circuit = netlist_circuit(top or self.top, self.board, design.config)
        engine = NetlistEngine(circuit, self.board.true_hz, design.divisor)
        return check_engine(engine, design.config, self.board.true_hz, design.divisor, design.bake)


@pytest.fixture(scope="module")
def synthesize_once(tmp_path_factory):
    made: dict[str, Synthesized] = {}

    def get(name: str) -> Synthesized:
        if name not in made:
            board, config = find_board(name), CONFIGS[name]
            bake = compile_network(check_networks(config)[1], config)
            design = elaborate(board, config, board.best_baud, bake)
            folder = tmp_path_factory.mktemp("build")
            yosys = find_tool("yosys")
            assert yosys is not None
            synthesize(design, folder, yosys)
            made[name] = Synthesized(board, design, folder, read_top(folder / "top.json"))
        return made[name]

    return get


def changed(top: dict[str, Any], name: str, parameter: str, bit: int) -> dict[str, Any]:
    """Return a netlist with one bit of one parameter of the first cell of a name inverted."""
    top = copy.deepcopy(top)
    cell = next(
        cell for key, cell in top["cells"].items() if re.search(name, key) and parameter in cell["parameters"]
    )
    value = cell["parameters"][parameter]
    place = len(value) - 1 - bit
    cell["parameters"][parameter] = value[:place] + str(1 - int(value[place])) + value[place + 1 :]
    return top


def scores(found: Synthesized) -> int:
    """Number of scores that a check compares: baked network, two dense ones, maps, weights from a store."""
    config = found.design.config
    return 9 + 15 + 9 + (12 if config.line_bytes else 0) + (15 if config.store_words else 0)


@pytest.mark.campaign
@pytest.mark.parametrize("name", CONFIGS)
def test_netlist_is_the_same_machine(name, synthesize_once):
    """A baked network answers at power-up, then others are loaded over the wire and read back."""
    device = synthesize_once(name)
    found = device.check()
    assert found.passed and found.mismatches == 0, found
    assert found.scores == scores(device)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("cell", "parameter", "bit"),
    [
        (r"array\.group0\.pe0_1\.pop0_lut1$", "LUT_INIT", 6),
        (r"array\.group0\.weights2\.", "INIT_0", 33),  # a weight of the baked network's last layer
    ],
)
def test_one_wrong_bit_is_seen(cell, parameter, bit, synthesize_once):
    device = synthesize_once(ICE40)
    found = device.check(changed(device.top, cell, parameter, bit))
    # Loading reads the weights back through the array, which may see it before any score differs.
    assert not found.passed and (found.mismatches or "the device holds" in found.failure), found


@pytest.mark.campaign
def test_a_slower_sdram_is_seen(synthesize_once, monkeypatch):
    """What breaks a rule of the chip reads nothing from it any more."""
    slower = replace(sdram_chips.ULX3S, rcd=60)
    device = synthesize_once("ulx3s-85f")  # its controller is for the chip as it is
    monkeypatch.setitem(sdram_chips.SDRAM_CHIPS, StoreKind.SDRAM, slower)
    found = device.check()
    assert not found.passed and "the device holds 5a5a5a5a" in found.failure, found


@pytest.mark.campaign
def test_bitstream_is_the_same_machine(synthesize_once):
    """Placed, routed, packed, unpacked and turned back into Verilog by icebox_vlog."""
    tools = {name: find_tool(name) for name in ("nextpnr-ice40", "icepack")}
    if find_icebox() is None or None in tools.values():
        pytest.skip("icebox_vlog (Debian: fpga-icestorm), nextpnr-ice40 or icepack is not installed")
    device = synthesize_once(ICE40)
    board, design, folder = device.board, device.design, device.folder
    family = board.part.family
    place, pack = tools.values()
    assert place and pack
    run_tool(place, family.place_arguments(board.part, "seed1", 1, 12.0), folder, "seed1.log")
    plan = floorplan(folder / family.netlist("seed1"))
    assert plan is not None
    assert {"array", "sequencer", "control"} < {plan["modules"][kind] for *_, kind in plan["cells"]}
    run_tool(pack, family.pack_arguments(board.part, "seed1", "out.bin"), folder, "pack.log")
    circuit = bitstream_circuit(folder / "out.bin", folder / "top.pcf", board)
    engine = NetlistEngine(circuit, board.true_hz, design.divisor)
    found = check_engine(engine, design.config, board.true_hz, design.divisor, design.bake)
    assert found.passed and found.scores == scores(device), found


@pytest.mark.parametrize(("rows", "found"), [("00000000 00000000", False), ("0 0", False),
    ("00000001 00000000", True), ("11111110 00000001", True), ("11111110 11111110", False)])  # fmt: skip
def test_spram_is_seen_in_a_bitstream(rows, found):
    """By the bits that enable it, in two tiles of the lowest row, and nothing else."""
    more = "\n".join([*(row + "0" * 46 for row in rows.split()), "1" * 54])
    bits = f".device 5k\n.ipcon_tile {{x}} {{y}}\n{more}\n.logic_tile 1 1\n{'1' * 54}\n"
    assert uses_spram(bits.format(x=25, y=1)) == uses_spram(bits.format(x=0, y=1)) == found
    assert not uses_spram(bits.format(x=0, y=2))


@pytest.mark.campaign
def test_url_of_a_build_folder(synthesize_once):
    device = synthesize_once(ICE40)
    built = {"board": ICE40, "clock_hz": device.board.true_hz, "divisor": device.design.divisor}
    built |= {"config": options(device.design.config)}
    (device.folder / "build.json").write_text(json.dumps(built))
    network = device.design.bake.network
    images = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 0]])
    with Accelerator.open(f"netlist:{device.folder}", timeout=0.01) as accelerator:
        assert accelerator.info.armed and not accelerator.load(network)
        np.testing.assert_array_equal(accelerator.infer(images), golden.run(network, images))


@pytest.mark.campaign
def test_verify_compares_a_netlist(synthesize_once, tmp_path, capsys):
    device = synthesize_once(ICE40)
    built = {"board": ICE40, "clock_hz": device.board.true_hz, "divisor": device.design.divisor}
    built |= {"config": options(device.design.config)}
    (device.folder / "build.json").write_text(json.dumps(built))
    path = tmp_path / "net.xnor"
    xnorfile.save(device.design.bake.network, path)
    command = ("verify", path, "--random", 2, "--port", f"netlist:{device.folder}")
    code, out, _ = runner(capsys)(*command)
    assert code == 0 and "equal: fast, machine" in out and "netlist, sums" in out
    code, out, _ = runner(capsys)(*command, "--plant", "weight:0:1:2", "--json")
    first = one_object(out)["differences"][0]
    assert code == 1 and first.startswith("netlist") and "layer 0" in first and "channel 1" in first


def test_clock_without_pll():
    """An iCE40 that runs at the clock as it comes in has it from another kind of pad."""
    pads = {
        "clock": ("SB_GB_IO", {"PACKAGE_PIN": [2], "GLOBAL_BUFFER_OUTPUT": [3]}),
        "rx": ("SB_IO", {"PACKAGE_PIN": [4], "D_IN_0": [5]}),
        "tx": ("SB_IO", {"PACKAGE_PIN": [6], "D_OUT_0": [7]}),
    }
    top = {
        "ports": {name: {"bits": [bit]} for name, bit in
                  (("clk12_0__io", 2), ("uart_0__rx__io", 4), ("uart_0__tx__io", 6))},
        "cells": {name: {"type": kind, "connections": pins} for name, (kind, pins) in pads.items()},
        "netnames": {},
    }  # fmt: skip
    found = cut(top, find_board("icebreaker"))["ports"]
    assert {name: port["bits"] for name, port in found.items()} == {
        "clk": [3],
        "uart_rx": [5],
        "uart_tx": [7],
    }


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("CC_DFF", {"CLK_INV": "1"}, "another clock edge"),
        ("CC_DFF", {}, "has a reset"),
        ("CC_BRAM_20K", {"A_DO_REG": "1"}, "or register"),
        ("CC_BRAM_20K", {"B_RD_WIDTH": "101"}, "two widths"),
        ("CC_BRAM_40K", {"CAS": "UPPER"}, "two widths, or is one of a pair"),
    ],
)
def test_cells_of_a_gatemate_without_a_model(kind, parameters, says):
    widths = {"A_WR_WIDTH": "1010", "B_RD_WIDTH": "1010", "A_RD_WIDTH": "0", "B_WR_WIDTH": "0"}
    cell = {"type": kind, "parameters": widths | parameters, "connections": {"SR": [7]}}
    with pytest.raises(EngineError, match=says):
        CELLS.plain(cell)
    same = {"type": "CC_DFF", "parameters": {"CLK_INV": "0"}, "connections": {"SR": ["0"]}}
    assert CELLS.plain(same) is same


def test_a_multiplier_of_ecp5_is_a_product():
    """Of its model, lowered to gates, signed and not; with a register it has none."""
    cell = {"type": "MULT18X18D", "parameters": {"REG_OUTPUT_CLK": "NONE"}}
    plain = ECP5.plain(cell)
    with pytest.raises(EngineError, match="has a register"):
        ECP5.plain({**cell, "parameters": {"REG_INPUTB_CLK": "CLK0"}})
    modules, kinds = lower_cells(ECP5.files, [plain], ECP5.own)
    circuit = build_circuit(modules, next(iter(kinds.values())), "", {})
    rng = np.random.default_rng(1)
    for signed in range(4):
        numbers = [*rng.integers(0, 1 << 18, 5).tolist(), 0, 1, (1 << 17) - 1, 1 << 17, (1 << 18) - 1]
        for a, b in zip(numbers, rng.permutation(numbers).tolist(), strict=True):
            inputs = {
                f"{port}{bit}": value >> bit & 1 for port, value in (("A", a), ("B", b)) for bit in range(18)
            }
            inputs |= {"SIGNEDA": signed & 1, "SIGNEDB": signed >> 1}
            found = settled(circuit, inputs)
            factors = [v - (1 << 18) * (s & v >> 17) for v, s in ((a, signed & 1), (b, signed >> 1))]
            product = sum(found[f"P{bit}"] << bit for bit in range(36))
            assert product == factors[0] * factors[1] % (1 << 36), (a, b, signed)


def settled(circuit, inputs):
    """Return the outputs of gates, by name."""
    values = {0: 0, 1: 1} | {circuit.inputs[name]: value for name, value in inputs.items()}
    forms = {
        "$_BUF_": lambda a: a, "$_NOT_": lambda a: 1 - a, "$_AND_": lambda a, b: a & b,
        "$_NAND_": lambda a, b: 1 - (a & b), "$_OR_": lambda a, b: a | b, "$_NOR_": lambda a, b: 1 - (a | b),
        "$_XOR_": lambda a, b: a ^ b, "$_XNOR_": lambda a, b: 1 - (a ^ b),
        "$_ANDNOT_": lambda a, b: a & (1 - b), "$_ORNOT_": lambda a, b: a | (1 - b),
        "$_MUX_": lambda a, b, s: b if s else a,
    }  # fmt: skip

    def value(net):
        stack = [net]
        while stack:
            kind, sources = circuit.gates.get(stack[-1], ("", ()))
            waits = [one for one in sources if one not in values]
            if stack[-1] not in values and not waits:
                values[stack[-1]] = forms[kind](*(values[one] for one in sources))
            stack = stack + waits if waits else stack[:-1]
        return values[net]

    return {name: value(net) for name, net in circuit.outputs.items()}


def test_networks_have_codes_where_a_device_has():
    config = replace(SMALL, code_bits=5, result_lanes=2, act_depth=256)
    (network,) = [network for network in check_networks(config) if network.name == "codes"]
    program = compile_network(network, config)
    assert any(one.rescaled for section in program.sections for one in section.descriptors)
    assert "codes" not in [network.name for network in check_networks(SMALL)]


def test_networks_use_values_and_input_scales_where_a_device_has_them():
    config = replace(SMALL, code_bits=8, result_lanes=2, act_depth=512, program_depth=512, weight_depth=256)
    config = replace(config, value_depth=256, scale_depth=64, line_bytes=512)
    programs = {network.name: compile_network(network, config) for network in check_networks(config)}
    every = [one for program in programs.values() for part in program.sections for one in part.descriptors]
    assert any(one.adding for one in every) and any(one.scaling == Scaling.MULTIPLIED for one in every)
    assert {"residual", "scaled"} <= set(programs)


def test_folder_of_no_build(tmp_path):
    with pytest.raises(UsageError, match="is not the folder of a finished build; run xnorcore build BOARD"):
        open_netlist(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot read the netlist"), ("{}", "not a netlist"), ('{"modules": {}}', "no module")],
)
def test_no_netlist(tmp_path, text, message):
    if text is not None:
        (tmp_path / "top.json").write_text(text)
    with pytest.raises(EngineError, match=message):
        read_top(tmp_path / "top.json")
