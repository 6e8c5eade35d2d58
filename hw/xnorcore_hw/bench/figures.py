"""What ``bench`` measures. Networks and images are random, from fixed seeds; results are always checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.cli.console import Console, table
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import EngineError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, WIDE_WORDS
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.measure import IDLE, Measurement, measure

from .command import Figure

LFC = (784, 1024, 1024, 1024, 10)
SMALL = ((64, 64, 64, 10), (784, 64, 64, 64, 10))
_MIN_DIVISOR = 4


def random_network(sizes: tuple[int, ...], seed: int = 0) -> Network:
    """Return a binary network with random weights, and thresholds that leave its hidden bits balanced."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = rng.integers(0, 2, (outputs, inputs), dtype=np.int8) * np.int8(2) - np.int8(1)
        hidden = index < len(sizes) - 2
        layers.append(Dense(weights, rng.integers(-10, 11, outputs) if hidden else None))
    return Network("-".join(map(str, sizes)), InputSpec((sizes[0],)), layers)


def random_images(network: Network, count: int, seed: int = 1) -> NDArray[np.uint8]:
    """Return `count` images of random values."""
    top = 1 << network.input.bits
    return np.random.default_rng(seed).integers(0, top, (count, network.input.size), dtype=np.uint8)


def simulate(console: Console, url: str, network: Network, count: int, *, alone: bool = False) -> Measurement:
    """Run `count` images on a simulated device, together or each `alone`, and measure them.

    Raises
    ------
    EngineError
        If a score is not what the reference says: a figure from a wrong machine means nothing.
    """
    images = random_images(network, count)
    with Accelerator.open(url, progress=console.progress) as accelerator:
        accelerator.load(network, verify=False, at_once=1 if alone else None)
        results, measured = measure(accelerator, images, batch=1 if alone else 0)
    wrong = int(np.count_nonzero(results != fast.run(network, images)))
    if wrong:
        raise EngineError(f"{network.name} on {url}: {wrong} wrong scores; run: xnorcore sim --json")
    return measured


def causes(measured: Measurement) -> tuple[str, ...]:
    """Return lines with the cycles of one image by cause."""
    assert measured.counters is not None
    names = ("busy", "drain", *IDLE)
    counts = [measured.counters[name] / measured.images for name in names]
    row = tuple(f"{count:,.1f}" for count in (*counts, sum(counts)))
    return tuple(table([row], (*names, "total per image"), "  "))


def lfc(console: Console) -> Iterator[Figure]:
    """784-1024-1024-1024-10 at 1 and 4 rows, one batch alone and batches back to back."""
    network = random_network(LFC)

    def figure(rows: int, count: int, what: str, limit: float, cycles: bool) -> Figure:
        url = f"sim:rows={rows},columns=32,width=32"
        measured = simulate(console, url, network, count)
        value = measured.cycles_per_image if cycles else measured.efficiency
        assert value is not None
        unit = "cycles" if cycles else ""
        detail = {"url": url, **measured.as_dict()}
        return Figure("lfc", what, value, limit, not cycles, unit, detail, causes(measured))

    yield figure(1, 1, "rows 1, one image", 3200, cycles=True)
    yield figure(1, 64, "rows 1, streaming: efficiency", 0.95, cycles=False)
    yield figure(4, 4, "rows 4, one batch of 4: efficiency", 0.93, cycles=False)
    yield figure(4, 128, "rows 4, batches of 4 streaming: efficiency", 0.93, cycles=False)


def small(console: Console) -> Iterator[Figure]:
    """One image through small networks: idle cycles between two layers against the pipeline's depth."""
    # From the last beat of a layer to its last bits: what a layer that needs them must wait in any case.
    depth = DeviceConfig(Geometry(1, 32, 32)).latency
    for sizes in SMALL:
        network = random_network(sizes)
        measured = simulate(console, "sim:rows=1,columns=32,width=32", network, 1)
        counters = measured.counters
        assert counters is not None
        # Not between layers: three cycles to start, the first descriptor's fetch; the tail.
        first = 3 + DESCRIPTOR.words - len(WIDE_WORDS)
        idle = counters["fetch"] + counters["hazard"] + counters["port"] - first
        idle_between = idle / (len(network.layers) - 1)
        detail = {"pipeline_depth": depth, **measured.as_dict()}
        what = f"{network.name}, one image: idle between two layers; limit: pipeline depth"
        yield Figure("small", what, idle_between, depth, False, "cycles", detail, causes(measured))


def link(console: Console) -> Iterator[Figure]:
    """A binary 784-input network over the simulated wire, as fast as a UART may be."""
    network = random_network(SMALL[1])
    url = f"sim:rows=1,columns=32,width=32,link=uart,clock_hz=12000000,baud={12_000_000 // _MIN_DIVISOR}"
    measured = simulate(console, url, network, 1000)
    assert measured.link_utilisation is not None and measured.images_per_s is not None
    lines = (f"  {measured.images_per_s:,.0f} images/s at 3 Mbaud; 98 bytes each, 10 bits per byte",)
    detail = {"url": url, **measured.as_dict()}
    what = f"{network.name}, 1,000 images, 4 clocks per bit: utilisation"
    yield Figure("link", what, measured.link_utilisation, 0.97, True, "", detail, lines)


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
    yield Figure(
        "engine", "compiled against Amaranth, cycles/s", fast_rate / slow_rate, 500, True, "x", detail, lines
    )


def fast_model(console: Console) -> Iterator[Figure]:
    """The bit-packed model on 10,000 images."""
    network = random_network(LFC)
    images = random_images(network, 10_000)
    # Time of the processor: the limit is for one core, whatever else the machine does.
    started = time.process_time()
    fast.run(network, images, progress=console.counting("images"))
    seconds = time.process_time() - started
    detail = {"images": len(images), "us_per_image": seconds / len(images) * 1e6}
    yield Figure("fast", f"{network.name}, 10,000 images", seconds, 5, False, "s", detail)


def compile_time(console: Console) -> Iterator[Figure]:
    """Network to program."""
    network = random_network(LFC)
    started = time.perf_counter()
    program = compile_network(network, DeviceConfig(Geometry(1, 32, 32)))
    seconds = time.perf_counter() - started
    size = sum(len(block.data) for block in program.blocks)
    yield Figure("compile", f"{network.name}", seconds, 2, False, "s", {"program_bytes": size})


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
    yield Figure("demo", "first run, simulator built", seconds, 60, False, "s", report)
    yield Figure("demo", "mismatches", report["mismatches"], 0, False, "mismatches", {})
