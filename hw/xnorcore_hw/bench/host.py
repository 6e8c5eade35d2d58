"""What ``bench engine``, ``fast``, ``compile`` and ``demo`` measure: what the host does, in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.cli.console import Console
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator

from .figure import CLAIMS, Figure
from .workload import LFC, SMALL, random_images, random_network

__all__ = ["compile_time", "demo", "engine", "fast_model"]


class _Timed:
    """Engine that measures the time spent in it."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock, as `Engine.run`."""
        started = time.perf_counter()
        try:
            return self.engine.run(max_cycles)
        finally:
            self.seconds += time.perf_counter() - started


def engine(console: Console) -> Iterator[Figure]:
    """The same session, byte for byte and cycle for cycle, on both engines."""
    from xnorcore.link.session import Session

    from ..sim.transport import open_sim

    network = random_network(SMALL[0])
    images = random_images(network, 4)

    def session(name: str) -> tuple[int, float, NDArray[Any]]:
        transport = open_sim(f"rows=1,columns=32,width=32,engine={name}", progress=console.say)
        timed: Any = _Timed(transport.engine)
        transport.engine = timed
        # No time-outs of the wall, and a fixed first tag: the engines see the same bytes.
        with Accelerator(Session(transport, seed=0), console.progress) as accelerator:
            accelerator.load(network, verify=False)
            results = accelerator.infer(images)
            return transport.cycles, timed.seconds, results

    slow_cycles, slow_s, slow_results = session("amaranth")
    fast_cycles, fast_s, runs = 0, 0.0, 0
    results = slow_results
    while fast_s < 0.5 and runs < 500:
        cycles, seconds, results = session("compiled")
        fast_cycles, fast_s, runs = fast_cycles + cycles, fast_s + seconds, runs + 1
        if cycles != slow_cycles or not np.array_equal(results, slow_results):
            raise EngineError(f"the engines differ: {cycles} cycles against {slow_cycles}; run the tests")
    slow_rate, fast_rate = slow_cycles / slow_s, fast_cycles / fast_s
    detail = {
        "cycles": slow_cycles,
        "amaranth_cycles_per_s": slow_rate,
        "compiled_cycles_per_s": fast_rate,
        "compiled_runs": runs,
    }
    lines = (
        f"  Amaranth {slow_rate:,.0f} cycles/s, compiled {fast_rate:,.0f} cycles/s; one session of "
        f"{slow_cycles:,} cycles, {runs} times on the compiled engine",
    )
    yield CLAIMS["engine"].figure(fast_rate / slow_rate, detail, lines)


def fast_model(console: Console) -> Iterator[Figure]:
    """The bit-packed model on 10,000 images."""
    network = random_network(LFC)
    images = random_images(network, 10_000)
    # Time of the processor: the limit is for one core, whatever else the machine does.
    started = time.process_time()
    fast.run(network, images, progress=console.counting("images"))
    seconds = time.process_time() - started
    detail = {"images": len(images), "us_per_image": seconds / len(images) * 1e6}
    yield CLAIMS["fast"].figure(seconds, detail)


def compile_time(console: Console) -> Iterator[Figure]:
    """Network to program."""
    network = random_network(LFC)
    started = time.perf_counter()
    program = compile_network(network, DeviceConfig(Geometry(1, 32, 32)))
    seconds = time.perf_counter() - started
    size = sum(len(block.data) for block in program.blocks)
    yield CLAIMS["compile"].figure(seconds, {"program_bytes": size})


def demo(console: Console) -> Iterator[Figure]:
    """The demo in a process of its own, with nothing in the simulator cache."""
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "xnorcore", "demo", "--json"],
            env={**os.environ, "XNORCORE_CACHE": cache},
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
    if done.returncode not in (0, 1):
        raise EngineError(f"the demo fails: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    report = json.loads(done.stdout)
    yield CLAIMS["demo"].figure(seconds, report)
    yield CLAIMS["demo-mismatches"].figure(report["mismatches"], {})
