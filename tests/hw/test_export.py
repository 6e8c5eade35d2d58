"""The exported Verilog, run by Verilator, and Icarus if there is one, with its own testbench."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Fragment

from tests.campaigns import some
from tests.simulators import run, simulations
from xnorcore import xnorfile
from xnorcore.cli import main
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore_hw.export.vectors import Vectors, sample_images, sample_network
from xnorcore_hw.shells.pins import AxiStreamPins, UartPins
from xnorcore_hw.sim.adapter import top_ports

from .networks import random_network

SMALL = ["--geometry", "2x8x8"] + [
    word
    for field in ("weight_depth=128", "act_depth=256", "threshold_depth=64", "line_bytes=0", "convolution=0")
    for word in ("--set", field)
]
CONFIG = DeviceConfig(
    Geometry(2, 8, 8), weight_depth=128, act_depth=256, threshold_depth=64, line_bytes=0, convolution=0
)


def export(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["export-verilog", *SMALL, "-o", str(folder), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "net.xnor"
    xnorfile.save(random_network(np.random.default_rng(2), (30, 22, 12), 4), path)
    return path


def header(verilog: str) -> dict[str, tuple[str, int]]:
    """Return the ports of the first module: direction and width."""
    text = verilog[verilog.index("module xnorcore(") : verilog.index("endmodule")]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", text, re.MULTILINE)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def ports_of(value: dict) -> dict[str, tuple[str, int]]:
    return {port["name"]: (port["direction"], port["width"]) for port in value["ports"]}


@pytest.mark.campaign
def test_the_uart_shell_has_all_its_ports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ports = ports_of(export(tmp_path, capsys, "--shell", "uart"))
    assert header((tmp_path / "xnorcore.v").read_text()) == ports
    assert ports.keys() == {port.name for port in UartPins.PORTS}


@pytest.mark.parametrize(
    ("shell", "baked"),
    some([("stream", True), ("stream", False), ("uart", False)], 0, many=True),
)
def test_the_testbench_passes_and_sees_a_wrong_score(
    shell: str, baked: bool, tmp_path: Path, network_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--shell", shell, *(["--bake", str(network_file)] if baked else [])]
    value = export(tmp_path, capsys, *options)
    assert value["shell"] == shell and value["images"] == 5 and value["geometry"]["columns"] == 8
    assert sorted(value["files"]) == sorted(path.name for path in tmp_path.iterdir())
    ports = ports_of(value)
    assert header((tmp_path / "xnorcore.v").read_text()) == ports
    assert json.loads((tmp_path / "ports.json").read_text()) == {
        "module": "xnorcore",
        "ports": value["ports"],
    }
    page = (tmp_path / "ports.md").read_text()
    assert all(f"| `{name}` | " in page for name in ports)

    simulators = simulations(tmp_path, ["testbench.v", "xnorcore.v"])
    for command in simulators.values():
        assert "PASS: " in run(tmp_path, command)
    expected = tmp_path / ("scores.hex" if shell == "stream" else "device.hex")
    words = expected.read_text().split()
    for place, bit in ((-8, 0), (-2, 8 if shell == "stream" else 7)):
        changed = [*words]
        changed[place] = f"{int(words[place], 16) ^ 1 << bit:03x}"
        expected.write_text("\n".join(changed) + "\n")
        for command in simulators.values():
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode and "FAIL: " in done.stdout + done.stderr


def test_what_is_played_is_of_the_reference() -> None:
    network = sample_network()
    program = compile_network(network, CONFIG)
    images = sample_images(network, None, 5)
    vectors = Vectors.of(network, program, images, baked=False)
    scores = program.decode(b"".join(vectors.scores), 5)
    np.testing.assert_array_equal(scores, golden.run(network, images))
    assert len({bytes(row) for row in scores.astype(np.int64)}) > 2  # a core that repeats itself is seen
    files = vectors.stream_files()
    ends = {name: sum(word >> 8 for word in words) for name, words in files.items()}
    assert ends["images"] == ends["scores"] == 5 and ends["requests"] == ends["responses"] > 10
    assert sum(vectors.expected) == 5


def test_answers_that_depend_on_time_are_not_foretold() -> None:
    """No kernel reads the last rows of these images, which take several frames each."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.choice([-1, 1], (5, 3, 3, 4)), np.full(5, 9), stride=(4, 2))
    for rows in (12, 11):  # the windows begin at rows 0, 4, 8
        network = Network("early", InputSpec((rows, 16, 4), 3), [conv, Dense(rng.choice([-1, 1], (3, 105)))])
        config = DeviceConfig(Geometry(2, 8, 8), act_depth=1024, weight_depth=256)
        images = rng.integers(0, 8, (2, rows, 16, 4), dtype=np.uint8)
        vectors = Vectors.of(network, compile_network(network, config), images, baked=True)
        assert vectors.stream_files()
        if rows == 12:
            with pytest.raises(UsageError, match="several frames"):
                vectors.uart_files()
        else:
            assert vectors.uart_files()


@pytest.mark.parametrize("pins", [AxiStreamPins, UartPins])
def test_every_port_is_said_what_it_is_for(pins: type) -> None:
    top = pins(CONFIG) if pins is AxiStreamPins else pins(CONFIG, 12_000_000, 4)
    assert {name: (inward, len(signal)) for name, (signal, inward) in top_ports(top).items()} == {
        port.name: (port.inward, port.width) for port in pins.PORTS
    }
    assert all(port.meaning for port in pins.PORTS)
    Fragment.get(top, None).prepare()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shell", "stream", "--baud", "9600"], "--baud is of the UART"),
        (["--rows", "2", *SMALL], "--geometry and --rows both choose an array"),
        (["--board", "icebreaker", *SMALL[:2]], "--geometry and --board both choose an array"),
        (["--geometry", "2x8"], "2x8"),
        (["--set", "store_words=4096", "--set", "store_kind=1"], "store_kind is 1, but pins of SDRAM are no"),
        ([*SMALL, "--bake", "mnist-lfc"], "mnist-lfc"),
        ([*SMALL, "--baud", "7"], "baud is 7"),
        (["--shell", "axi"], "invalid choice"),
        ([*SMALL, "--images", "0"], "1 to 1000"),
    ],
)
def test_refusals(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-verilog", "-o", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and "Traceback" not in captured.err and not captured.out
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert main(["export-verilog", *SMALL, "-o", str(tmp_path / "out")]) == 2
    assert "cannot make folder" in capsys.readouterr().err
