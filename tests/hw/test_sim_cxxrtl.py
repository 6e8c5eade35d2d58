"""The engine made by Yosys: the same bytes at the same cycles as the others, on the real accelerator too."""

import subprocess
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.networks import random_images, random_network
from tests.hw.test_sim_engine import CONFIG, Echo, Fragile, Mangle, arrivals, messages
from xnorcore.errors import EngineError, MissingDependencyError
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore_hw.sim import cxxrtl
from xnorcore_hw.sim import toolchain as compiler
from xnorcore_hw.sim.amaranth_engine import AmaranthEngine
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.cxxrtl import CxxrtlEngine
from xnorcore_hw.sim.toolchain import Tool
from xnorcore_hw.sim.transport import SimOptions, open_sim

SMALL = "rows=1,columns=4,width=8,weight_depth=64,threshold_depth=16,act_depth=64,program_depth=64"


class Recorder:
    """Engine that keeps the frames it gave, each with the cycle of its last byte."""

    def __init__(self, engine):
        self.engine, self.log, self._part = engine, [], b""

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, max_cycles):
        data = self.engine.run(max_cycles)
        self._part += data
        if data.endswith(b"\0"):
            self.log.append((self.engine.cycles, self._part))
            self._part = b""
        return data


def session(engine: str, link: str, network: Any = None, images: Any = None):
    """Open the device, and load and infer if asked; return scores, counters and the device's frames."""
    transport = open_sim(f"{SMALL},link={link},engine={engine}")
    recorder: Any = Recorder(transport.engine)
    transport.engine = recorder
    scores, counters = None, None
    with Accelerator(Session(transport, seed=0)) as device:
        if network is not None:
            device.load(network, verify=link == "direct")
            scores, counters = device.infer(images), device.counters
    return scores, counters, recorder.log


@pytest.mark.parametrize(
    ("link", "sizes", "count"),
    some([("uart", (8, 3), 1), ("direct", (16, 9, 4), 3)], 0, many=True),
)
def test_the_accelerator_on_all_engines(link, sizes, count):
    rng = np.random.default_rng(5)
    network = random_network(rng, sizes)
    images = random_images(rng, network, count)
    fast, other = (session(engine, link, network, images) for engine in ("compiled", "cxxrtl"))
    np.testing.assert_array_equal(fast[0], golden.run(network, images))
    np.testing.assert_array_equal(other[0], fast[0])
    assert other[1:] == fast[1:]
    # Amaranth's simulator has no time for a whole session, bit by bit.
    slow = session("amaranth", link, *((network, images) if link == "direct" else ()))
    assert slow[2] == fast[2][: len(slow[2])]
    assert len(slow[2]) == (len(fast[2]) if link == "direct" else 1)


@pytest.mark.campaign
def test_operators():
    # Not these, where Amaranth's simulator and the default engine agree and CXXRTL differs: bits above the
    # top of a signed value, a transparent read of a row that the memory does not have, division by 0.
    top, script = lambda *_: Mangle(61, skip=(17, 24, 28, 29, 30, 31)), messages(30)
    logs = [arrivals(e(CONFIG, 1, top=top), script, 200) for e in (CompiledEngine, CxxrtlEngine)]
    assert logs[0] == logs[1]


def test_contract():
    with CxxrtlEngine(CONFIG, 1, top=lambda *_: Fragile()) as engine:
        engine.write(b"ab\0cd\0e")
        assert engine.run(1000) == b"ab\0"
        engine.reset()
        assert (engine.pending, engine.run(20)) == (0, b"")
        engine.write(b"\5\6\7")
        with pytest.raises(EngineError, match=r"gateware failed in cycle \d+: test_sim_engine\.py:\d+"):
            engine.run(100)
        cycles = engine.cycles
    with AmaranthEngine(CONFIG, 1, top=lambda *_: Fragile()) as engine, pytest.raises(EngineError):
        engine.write(b"ab\0cd\0e")
        engine.run(1000)
        engine.reset()
        engine.run(20)
        engine.write(b"\5\6\7")
        engine.run(100)
    assert abs(engine.cycles - cycles) <= 1


def test_no_yosys(monkeypatch):
    monkeypatch.setattr(compiler, "find_yosys", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"Yosys is not installed; run: .*pip install"):
        SimOptions.parse("engine=cxxrtl").open_engine()


def test_failing_yosys(monkeypatch, tmp_path):
    def fail(command, **options):
        return subprocess.CompletedProcess(command, 1, stdout="one\nERROR: two\nthree\n")

    monkeypatch.setattr(cxxrtl, "require_yosys", lambda extra: Tool("yosys", ("yosys",), "0.1"))
    monkeypatch.setattr(cxxrtl.subprocess, "run", fail)
    with pytest.raises(EngineError, match=r"yosys 0\.1 could not .* \(exit status 1\): one \| ERROR: two"):
        cxxrtl.generate(Echo(), print)
    with pytest.raises(EngineError, match=r"yosys 0\.1 came without CXXRTL's headers"):
        cxxrtl.headers(Tool("yosys", (str(tmp_path / "bin" / "yosys"),), "0.1"))
