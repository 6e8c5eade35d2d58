"""The commands build, program and boards."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lean import LEAN, build_options
from xnorcore.cli import main
from xnorcore.errors import UsageError
from xnorcore.isa.device import Geometry
from xnorcore.isa.stores import FLASHES
from xnorcore_boards.board import all_boards, find_board
from xnorcore_boards.build.design import Design, elaborate
from xnorcore_boards.build.flash import _FLASH, program_command
from xnorcore_boards.build.flow import Built, building
from xnorcore_boards.build.timing import Timing
from xnorcore_boards.cli.program import keeps_network
from xnorcore_boards.families.family import Usage
from xnorcore_boards.gates.check import Checked
from xnorcore_boards.measure.recorded import read_records
from xnorcore_boards.measure.records import record

from .test_flow import script

FIELDS = [
    "board", "device", "geometry", "macs_per_cycle", "lut4", "lut4_available", "logic_cells", "ff", "bram",
    "bram_available", "spram", "spram_available", "clock_mhz", "fmax_mhz", "timing_met", "lut4_per_mac",
    "array_lut4_per_mac", "array_logic_cells_per_mac", "bitstream", "seconds",
]  # fmt: skip


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


designs: dict[str, Design] = {}


def elaborated(board, config, *more):
    """Elaborate a design once for all tests."""
    key = repr((board.name, config, more))
    if key not in designs:
        designs[key] = elaborate(board, config, *more)
    return designs[key]


@pytest.fixture
def built(monkeypatch, tmp_path):
    """Replace synthesis by a result; return what the flow was called with."""
    calls: dict[str, Any] = {"fmax": 40.0}

    def build(design, folder, seeds, phases, likely=None, pool=None):
        calls.update(design=design, folder=folder, seeds=seeds, pool=pool)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "build.json").write_text('{"tools": {"yosys": "native"}}')
        timing = Timing(36.0, calls["fmax"], "from a: x to b: y")
        return Built(
            folder,
            folder / "x.bin",
            Usage(4000, 900, 4500, 1000, 20, 2000),
            timing,
            1,
            {1: calls["fmax"]},
        )

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xnorcore_boards.build.flow.build", build)
    monkeypatch.setattr("xnorcore_boards.build.design.elaborate", elaborated)
    monkeypatch.setattr("xnorcore_boards.build.tools.require_tools", lambda names: [])
    return calls


SMALL = build_options(replace(LEAN, geometry=Geometry(1, 8, 8), weight_depth=64, threshold_share=2))
OWN = build_options(LEAN)
LARGE = build_options(replace(LEAN, geometry=Geometry(8, 128, 128)))


def test_build_json(built, capsys):
    code, out, err = run(capsys, "build", "icebreaker", *SMALL, "--seeds", "3", "--json")
    assert code == 0, err
    value = json.loads(out)
    assert list(value) == FIELDS
    assert value["geometry"] == {"rows": 1, "columns": 8, "width": 8}
    assert (value["lut4_per_mac"], value["array_lut4_per_mac"]) == (62.5, 14.062)
    assert (value["logic_cells"], value["array_logic_cells_per_mac"]) == (4500, 15.625)
    assert built["seeds"] == 3 and built["folder"] == Path("build/icebreaker-1x8x8")
    assert built["design"].config.weight_depth == 64


@pytest.mark.parametrize(
    ("checked", "status", "told"),
    [
        (Checked(33, 0, 9), 0, "33 of 33 scores equal golden"),
        (Checked(33, 2, 9), 1, "31 of 33 scores equal golden"),
        (Checked(0, 0, 9, "nothing answers"), 1, "check failed: bitstream: nothing answers"),
    ],
)
def test_check_netlist(built, capsys, monkeypatch, checked, status, told):
    checks = iter([Checked(33, 0, 9), checked])
    monkeypatch.setattr("xnorcore_boards.gates.check.check_engine", lambda *_: next(checks))
    for name in ("core.netlist_circuit", "engine.NetlistEngine", "engine.read_top"):
        monkeypatch.setattr(f"xnorcore_boards.gates.{name}", lambda *_: None)
    monkeypatch.setattr("xnorcore_boards.families.ice40_bitstream.bitstream_circuit", lambda *_: None)
    monkeypatch.setattr("xnorcore_boards.families.ice40_bitstream.find_icebox", lambda: ("icebox_vlog",))
    code, out, err = run(capsys, "build", "icebreaker", *SMALL, "--check-netlist")
    assert code == status and told in out + err
    assert "netlist simulated    33 of 33 scores equal golden" in out


def test_check_netlist_without_icestorm(built, capsys, monkeypatch):
    monkeypatch.setattr("xnorcore_boards.gates.check.check_engine", lambda *_: Checked(5, 0, 9))
    for name in ("core.netlist_circuit", "engine.NetlistEngine", "engine.read_top"):
        monkeypatch.setattr(f"xnorcore_boards.gates.{name}", lambda *_: None)
    monkeypatch.setattr("xnorcore_boards.families.ice40_bitstream.find_icebox", lambda: None)
    code, out, err = run(capsys, "build", "icebreaker", *SMALL, "--check-netlist", "--json")
    assert code == 0 and "no icebox_vlog on the PATH" in err
    assert list(json.loads(out)) == [*FIELDS, "netlist_scores", "netlist_mismatches"]


def test_a_folder_in_which_somebody_builds(built, capsys, monkeypatch):
    folder = Path("build/icebreaker-1x8x8")
    with building(folder):
        code, out, err = run(capsys, "build", "icebreaker", *SMALL)
        assert (code, out) == (2, "") and f"another build is at work in {folder}" in err
        assert "choose another folder with --out DIR" in err and "folder" not in built
        assert run(capsys, "build", "icebreaker", *SMALL, "--out", "elsewhere")[0] == 0
    assert built["folder"] == Path("elsewhere")


def test_missed_timing_is_exit_1(built, capsys):
    built["fmax"] = 35.9
    code, out, err = run(capsys, "build", "icebreaker", *SMALL, "--json")
    assert code == 1
    assert json.loads(out)["timing_met"] is False
    assert "35.90 MHz of 36 MHz; critical path from a: x to b: y" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("nix",), "unknown board 'nix'; known: ecpix5-45f"),
        (("Icebraker",), '; did you mean "icebreaker"?'),
        (("ULX3S_25",), '; did you mean "ulx3s-25f"?'),
        (("icebreaker", *LARGE), "8x128x128 is too large for iCE40UP5K: estimated"),
        (("icebreaker", "--geometry", "1x8"), "not ROWSxCOLUMNSxWIDTH"),
        (("icebreaker", "--set", "act_depth"), "is not NAME=N"),
        (("icebreaker", "--set", "nix=3"), "unknown device option 'nix'"),
        (("icebreaker", "--set", "width=16"), "is chosen with --geometry"),
        (
            ("icebreaker", "--record", "--set", "counters=1"),
            "--record keeps figures of the board's own design",
        ),
        (("sim", "--baud", "9600", "--bake", "digits"), "not --bake, --baud"),
        (("icebreaker", "--baud", "17000000"), "needs 4 clock cycles per bit"),
        (("icebreaker", "--clock-hz", "999"), "SB_PLL40"),
        (("icebreaker", "--seeds", "0"), "--seeds"),
        (("icebreaker", "--workers", "2"), "say how many with --seeds"),
        (("icebreaker", "--seeds", "2", "--scheduler", "a"), "'a' is no address of a scheduler"),
        (("sim", "--workers", "2"), "not --workers"),
        (("icebreaker", "--bake", "nix.xnor"), "no network 'nix.xnor'"),
        (("icebreaker", *OWN, "--bake", "mnist-sfc"), "only a network that fits at once can be baked"),
    ],
)
def test_build_refuses(built, capsys, arguments, message):
    code, out, err = run(capsys, "build", *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert sum(line.startswith("xnorcore: error: ") for line in err.splitlines()) == 1
    assert "design" not in built


def test_records(built, capsys, tmp_path):
    board = find_board("icebreaker")
    code, out, _ = run(capsys, "build", "icebreaker", *SMALL, "--json")
    result = Built(built["folder"], Path("x.bin"), Usage(1, 1, 1, 1, 1, 1), Timing(36, 40, ""), 1, {1: 40.0})
    path = tmp_path / "measured.json"
    record(board, board.config, result, json.loads(out), path)
    record(board, board.config, result, json.loads(out), path)
    found = read_records(path)
    assert list(found) == ["icebreaker"] and "bitstream" not in found["icebreaker"]
    assert code == 0


def test_boards(capsys, monkeypatch):
    few = {name: find_board(name) for name in ("icestick", "icebreaker", "tang-nano-9k")}
    monkeypatch.setattr("xnorcore_boards.board.all_boards", lambda: few)
    code, out, _ = run(capsys, "boards", "--json")
    assert code == 0
    rows = json.loads(out)["boards"]
    assert [row["board"] for row in rows] == list(few)
    for row in rows:
        g = row["geometry"]
        assert row["macs_per_cycle"] == g["rows"] * g["columns"] * g["width"]
        assert row["peak_gmacs_per_s"] == round(row["macs_per_cycle"] * row["clock_mhz"] / 1000, 2)
        for entry in row["networks"].values():
            if entry["passes"] == 1:
                assert entry["uart_images_per_s"] <= entry["images_per_s"]
    assert run(capsys, "boards")[1].startswith("board ")


@pytest.mark.campaign
def test_the_document_has_the_table_of_all_boards(capsys):
    tables = run(capsys, "boards", "--markdown")[1]
    assert tables.startswith("| board |")
    docs = Path(__file__).parents[2] / "docs" / "boards.md"
    assert tables.strip() in docs.read_text(), "docs/boards.md is not what --markdown prints"


@pytest.fixture
def bitstream(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"x")
    return os.fspath(path)


def test_program(bitstream, tmp_path, monkeypatch, capsys):
    script(tmp_path, "iceprog", "import sys; open(sys.argv[0] + '.said', 'w').write(sys.argv[1])")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    code, out, _ = run(capsys, "program", "icebreaker", "--bitstream", bitstream, "--json")
    assert code == 0 and json.loads(out)["programmer"][1:] == [bitstream]
    assert json.loads(out)["baud"] == 3_000_000
    assert (tmp_path / "iceprog.said").read_text() == bitstream
    # What the divider makes of the board's own rate is the board's own rate.
    (tmp_path / "build.json").write_text('{"clock_hz": 36360000, "divisor": 12}')
    assert '"serial:PORT?baud=3000000"' in run(capsys, "program", "icebreaker", "--bitstream", bitstream)[1]
    (tmp_path / "build.json").write_text('{"clock_hz": 36000000, "divisor": 36}')
    assert '"serial:PORT?baud=1000000"' in run(capsys, "program", "icebreaker", "--bitstream", bitstream)[1]


KEEPS = "machine:columns=8,width=16,weight_depth=64,threshold_depth=16,store_words=524288,store_kind=2"


def test_program_a_network(bitstream, tmp_path, monkeypatch, capsys):
    code, out, _ = run(capsys, "program", "icebreaker", "--network", "mnist-tfc", "--port", KEEPS, "--json")
    value = json.loads(out)
    assert code == 0 and value["written"] and value["network"] == "mnist-tfc" and "programmer" not in value
    assert bytes.fromhex(value["identifier"])
    # Behind a bitstream, if there is one to be written.
    script(tmp_path, "iceprog", "")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    options = ("--bitstream", bitstream, "--network", "mnist-tfc", "--port", KEEPS)
    code, out, _ = run(capsys, "program", "icebreaker", *options)
    assert code == 0 and out.index("iCEBreaker is programmed") < out.index("iCEBreaker keeps mnist-tfc")
    assert value["identifier"] in out


def test_program_a_network_that_cannot_be_kept(capsys):
    for port, name, says in (
        ("machine:", "mnist-tfc", "this one's store is none"),
        (KEEPS.replace("524288", "2048"), "mnist-tfc", "2,048 (store_words)"),
        (KEEPS, "mnist-tfcc", "did you mean"),
        ("auto:serial=none", "mnist-tfc", "no "),
    ):
        code, _, err = run(capsys, "program", "icebreaker", "--network", name, "--port", port)
        assert code != 0 and says in err and "Traceback" not in err
    code, _, err = run(capsys, "program", "ice40-hx8k-b-evn", "--network", "mnist-tfc", "--port", KEEPS)
    assert code == 2 and "is another device: ice40-hx8k-b-evn: store_kind is 2, but" in err


def test_program_a_network_into_a_flash_beside_the_store(capsys):
    def program(words: int) -> tuple[int, str, str]:
        port = f"machine:board=ulx3s-25f,kept_words={words}"
        return run(capsys, "program", "ulx3s-25f", "--network", "mnist-tfc", "--port", port)

    code, out, _ = program(4096)
    assert code == 0 and "ULX3S 25F keeps mnist-tfc; it starts with it" in out
    code, _, err = program(2048)
    assert code == 2 and "but there are 2,048; build with a larger --set kept_words=N" in err
    code, _, err = program(1 << 20)
    assert code == 2 and "another device: ulx3s-25f: kept_words is 1048576, but its flash has" in err


def test_a_board_that_keeps_no_network_is_refused_before_its_port(capsys):
    code, _, err = run(capsys, "program", "icestick", "--network", "mnist-tfc", "--port", "/dev/nothing")
    assert code == 2 and "icestick has no flash" in err and "icebreaker" in err and "nothing" not in err


def test_program_flash(bitstream, tmp_path, monkeypatch, capsys):
    script(tmp_path, "openFPGALoader", "")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    for name in ("ulx3s-25f", "ecpix5-45f", "tang-nano-9k", "icebreaker"):
        options = ("program", name, "--bitstream", bitstream, "--json")
        plain = json.loads(run(capsys, *options)[1])["programmer"][1:]
        assert json.loads(run(capsys, *options, "--flash")[1])["programmer"][1:] == ["-f", *plain]


def test_program_says_what_to_wire(tmp_path, monkeypatch, capsys):
    script(tmp_path, "iceprog", "")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    (tmp_path / "top.bin").write_bytes(b"bits")
    for name, wires in (("upduino-3.1", True), ("icebreaker", False)):
        code, out, _ = run(capsys, "program", name, "--bitstream", os.fspath(tmp_path / "top.bin"))
        assert code == 0 and ("wire an adapter of 3.3 V, its TXD to pin 23" in out) == wires


@pytest.mark.parametrize("board", all_boards().values(), ids=lambda board: board.name)
def test_every_programmer_can_write_flash(board):
    assert {words[0] for words in board.programmers} <= set(_FLASH)


def test_program_without_programmer(bitstream, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    code, _, err = run(capsys, "program", "icebreaker", "--bitstream", bitstream)
    assert code == 2 and "install iceprog or openFPGALoader" in err and len(err.splitlines()) == 1
    script(tmp_path, "openFPGALoader", "")
    assert program_command(find_board("icebreaker"), Path(bitstream))[0].endswith("openFPGALoader")


def test_program_without_bitstream(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "program", "icebreaker")
    assert code == 2 and "run: xnorcore build icebreaker" in err
    assert run(capsys, "program", "sim")[0] == 2


def test_program_of_what_is_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    for name, kind in (("pipe", "pipe"), ("link", "pipe"), ("/dev/null", "device")):
        code, _, err = run(capsys, "program", "icebreaker", "--bitstream", name)
        assert code == 2 and f"cannot read {name}: not a regular file, but a {kind}" in err


def test_declarations_need_no_amaranth():
    code = (
        "from xnorcore_boards import board, cli; board.configurations(); sys.exit('amaranth' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", f"import sys; {code}; sys.exit('amaranth' in sys.modules)"], check=False
        ).returncode
        == 0
    )


def test_boards_with_a_flash_of_any_width_keep_a_network():
    able = {name for name, board in all_boards().items() if any(c.kind in FLASHES for c in board.chips)}
    assert {"icebreaker", "ice40-hx8k-b-evn", "tang-nano-9k"} <= able
    for name, board in all_boards().items():
        if name in able:
            keeps_network(board)
        else:
            with pytest.raises(UsageError, match=r"a network is kept by: .*ice40-hx8k-b-evn"):
                keeps_network(board)
