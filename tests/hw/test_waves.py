"""Waveforms: what is in the file is what Amaranth's simulator and the interpreter of programs say."""

from __future__ import annotations

import json
import re
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vcd.reader import TokenKind, tokenize

from xnorcore import zoo
from xnorcore.cli import main
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.machine import Machine
from xnorcore.isa.machine.walk import Walk
from xnorcore.model.bits import pack_images
from xnorcore.model.network import prepare
from xnorcore_hw.sim.adapter import lower
from xnorcore_hw.sim.amaranth_engine import AmaranthEngine
from xnorcore_hw.sim.engine import standard_top
from xnorcore_hw.sim.fast.netlist import Nets
from xnorcore_hw.sim.waves.choose import choose, dumps, loads
from xnorcore_hw.sim.waves.engine import RecordingEngine
from xnorcore_hw.sim.waves.vcdfile import VcdFile

SMALL = DeviceConfig(Geometry(1, 4, 8))
CORE = "top.accelerator.core."
IMAGE, LAYER = 3, 1


class Waves:
    """A VCD file, read by pyvcd: times and values of each signal, by its dotted name."""

    def __init__(self, path: Path) -> None:
        scope: list[str] = []
        self.variables: dict[str, str] = {}
        self.times: dict[str, list[int]] = {}
        self.values: dict[str, list[Any]] = {}
        now = 0
        with path.open("rb") as file:
            for token in tokenize(file):
                if token.kind is TokenKind.SCOPE:
                    scope.append(token.scope.ident)
                elif token.kind is TokenKind.UPSCOPE:
                    scope.pop()
                elif token.kind is TokenKind.VAR:
                    self.variables[".".join([*scope, token.var.reference])] = token.var.id_code
                elif token.kind is TokenKind.CHANGE_TIME:
                    now = token.time_change
                elif token.kind in (
                    TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR, TokenKind.CHANGE_STRING
                ):  # fmt: skip
                    change: Any = token.data
                    self.times.setdefault(change.id_code, []).append(now)
                    value = change.value
                    self.values.setdefault(change.id_code, []).append(
                        int(value) if token.kind is TokenKind.CHANGE_SCALAR else value
                    )
        self.end = now

    def at(self, name: str, time: float) -> Any:
        code = self.variables[name]
        return self.values[code][bisect_right(self.times[code], time) - 1]

    @property
    def first(self) -> int:
        return min(times[0] for times in self.times.values())


def record(path: Path, pattern: str, cycles: int, **options: Any) -> RecordingEngine:
    waves: list[VcdFile] = []
    engine = RecordingEngine(SMALL, 12_000_000, pattern, lambda *c: waves[0].changed(*c), **options)
    waves.append(VcdFile(path.open("w"), engine.signals))
    engine.record()
    engine.write(REQUEST)
    for _ in range(cycles):
        engine.run(1)
    waves[0].close(engine.recorded)
    return engine


REQUEST = b"\x03\x01\x02\x05\x41\x42\x43\x44\x00\x05\x11\x12\x13\x14\x00" * 3
CYCLES = 60


@pytest.mark.campaign
def test_every_named_signal_is_what_amaranth_says_in_every_cycle(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.vcd", tmp_path / "theirs.vcd"
    with record(ours, "all", CYCLES) as engine:
        assert engine.recorded == CYCLES
    with AmaranthEngine(SMALL, 12_000_000) as reference:
        simulator = reference._running()
        simulator.reset()
        with simulator.write_vcd(str(theirs)):
            reference._clear()
            simulator.advance()
            reference.write(REQUEST)
            while reference.cycles < CYCLES:
                reference.run(CYCLES - reference.cycles)
    # pyvcd does not read names that begin with a dollar sign: those of signals without one.
    theirs.write_bytes(re.sub(rb"(\$var \S+ \S+ \S+ )\$", rb"\1unnamed_", theirs.read_bytes()))
    found, expected = Waves(ours), Waves(theirs)
    period, compared, changing = 10**9, 0, 0
    for name in found.variables:
        twin = f"bench.{name}"
        if twin not in expected.variables:
            continue
        compared += 1
        mine = [found.at(name, cycle) for cycle in range(1, CYCLES + 1)]
        # Just before the edge that ends a cycle.
        said = [expected.at(twin, (cycle - 0.5) * period - 1) for cycle in range(1, CYCLES + 1)]
        words = [str(value).partition("/")[0] for value in said]
        assert [str(value) for value in mine] == words, name
        changing += len(set(words)) > 1
    assert compared > 400 and changing > 60


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Waves, Path]:
    """Layer 1 of `digits`, image 3, recorded by the command."""
    folder = tmp_path_factory.mktemp("layer")
    images, out, vcd = folder / "in.npy", folder / "out.npy", folder / "w.vcd"
    np.save(images, zoo.test_images("digits")[0][:8])
    command = ["sim", "digits", str(images), "-o", str(out), "--vcd", str(vcd), "--json"]
    assert main([*command, "--layer", str(LAYER), "--image", str(IMAGE)]) == 0
    return Waves(vcd), folder


@pytest.mark.campaign
def test_a_layer_of_digits_is_what_the_interpreter_says(layer: tuple[Waves, Path]) -> None:
    waves, _ = layer
    network = zoo.load("digits")
    program = compile_network(network, DeviceConfig())
    machine = Machine(program.config)
    for block in program.blocks:
        machine.memories.write(block)
    images = prepare(network, zoo.test_images("digits")[0][:8])
    wire = pack_images(network, images)
    _, traces = machine.infer(wire[IMAGE : IMAGE + 1], parity=IMAGE % 2)
    trace = traces[LAYER]
    cycles = range(waves.first, waves.end + 1)
    before, after = (t for t in cycles if waves.at(f"{CORE}writer.layer_done", t))
    # The layer before is still writing when this one begins.
    writing = [t for t in cycles if before < t <= after and waves.at(f"{CORE}writer.writing", t)]
    assert [waves.at(f"{CORE}writer.addr", t) for t in writing] == trace.writes
    assert all(waves.at(f"{CORE}rows.row0.wmask", t) for t in writing)
    words = {waves.at(f"{CORE}rows.row0.waddr", t): waves.at(f"{CORE}rows.row0.wdata", t) for t in writing}
    memory = np.packbits(machine.memories.activations[0], axis=-1, bitorder="little").view("<u4")[:, 0]
    assert words == {address: int(memory[address]) for address in trace.writes}
    walk = Walk.of(trace.fields, program.config)
    read = [waves.at(f"{CORE}sequencer.operand.addr", t) for t in cycles
            if waves.at(f"{CORE}sequencer.ctl.valid", t)]  # fmt: skip
    base = trace.fields["in_base"]
    wanted = ((walk.addresses >> program.config.offset_bits) + base).reshape(-1).tolist()
    # The layer behind begins while the last results are on their way.
    assert read[: walk.counts["tile"] * len(wanted)] == wanted * walk.counts["tile"]


def test_the_files_beside_it(layer: tuple[Waves, Path]) -> None:
    waves, folder = layer
    names = {
        line.partition(" ")[2]
        for line in (folder / "w.sucl").read_text().splitlines()
        if line.startswith("variable_add")
    }
    assert len(names) > 10 and names <= set(waves.variables)
    saved = (folder / "w.gtkw").read_text()
    assert '[dumpfile] "w.vcd"' in saved and all(name in saved for name in names)
    assert "IDLE" not in saved
    listed = (folder / "w.txt").read_text()
    assert (
        "dense1, 32 beats" in listed and "dense0," not in listed.partition("dense1, 32")[2].partition("\n")[0]
    )
    states = waves.values[waves.variables[f"{CORE}sequencer.turns.fsm_state"]]
    assert set(states) <= {"IDLE", "START", "FETCH", "ISSUE"} and "ISSUE" in states


@pytest.mark.campaign
def test_a_whole_run_takes_at_most_twenty_times_as_long(tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "in.npy", zoo.test_images("digits")[0])
    command = ["sim", "digits", str(tmp_path / "in.npy"), "--json"]
    seconds = []
    for more in ([], ["--vcd", str(tmp_path / "w.vcd"), "--signals", "core"]):
        main([*command, *more])  # the simulator is built
        capsys.readouterr()
        started = time.perf_counter()
        assert main([*command, *more]) == 0
        assert time.perf_counter() - started > 0
        value = json.loads(capsys.readouterr().out)
        assert value["mismatches"] == 0
        seconds.append(value["infer_wall_s"])
    assert value["waveform"]["changes"] > 100_000
    assert seconds[1] <= 20 * seconds[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--layer", "1"], "--layer is of a waveform; give --vcd FILE, too"),
        (["--vcd", "w.vcd", "--layer", "dense9"], "no layer 'dense9' in 'digits'; there are dense0, dense1"),
        (["--vcd", "w.vcd", "--image", "8"], "--image is 8, but there are 8 images"),
        (["--vcd", "w.vcd", "--engine", "amaranth"], "--vcd needs the compiled engine, not 'amaranth'"),
        (["--vcd", "w.gtkw"], "that ending is of the files beside it"),
        (["--vcd", "w.fst"], ".fst is another format, and VCD is what is written; name it w.vcd"),
        (["--vcd", "a/w.vcd.GZ"], ".gz is another format, and VCD is what is written; name it a/w.vcd "),
        (
            ["--vcd", "w.vcd", "--signals", "sequencer.turn", "--columns", "4", "--width", "8"],
            "no signal is called 'sequencer.turn'",
        ),
        (["--vcd", "nowhere/w.vcd"], "nowhere"),
    ],
)
def test_what_is_refused(more: list[str], said: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", zoo.test_images("digits")[0][:8])
    assert main(["sim", "digits", "in.npy", *more]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy"]


def test_patterns() -> None:
    netlist = lower(standard_top(SMALL, 12_000_000))
    nets = Nets(netlist)
    chosen = [signal for signal, _ in choose(netlist, nets, "sequencer.turns.fsm_state,top.direct")]
    assert {".".join(name) for signal in chosen for name in signal.names} >= {
        f"{CORE}sequencer.turns.fsm_state", "top.direct"
    }  # fmt: skip
    assert len(chosen) == 2 and loads(dumps(chosen)) == chosen
    assert {"IDLE", "ISSUE"} <= {word for signal in chosen for word in signal.words.values()}
    with pytest.raises(UsageError, match="no signal is called 'nobody'"):
        choose(netlist, nets, "nobody")
    # What lies between the registers of processing elements is there for those who ask for it.
    inner = {".".join(name) for signal, _ in choose(netlist, nets, "*.pe*") for name in signal.names}
    every = {".".join(name) for signal, _ in choose(netlist, nets, "all") for name in signal.names}
    assert inner and len(inner & every) < len(inner)
