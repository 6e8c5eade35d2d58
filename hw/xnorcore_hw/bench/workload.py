"""What benchmarks run: random networks and images, from fixed seeds; results are always checked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xnorcore.cli.console import Console
from xnorcore.errors import EngineError
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.counters import IDLE
from xnorcore.runtime.measure import Measurement, measure

__all__ = ["LFC", "SMALL", "causes", "random_images", "random_network", "simulate"]

LFC = (784, 1024, 1024, 1024, 10)
SMALL = ((64, 64, 64, 10), (784, 64, 64, 64, 10))


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


def causes(measured: Measurement) -> dict[str, float]:
    """Return the cycles of one image by cause."""
    assert measured.counters is not None
    there = [name for name in ("busy", "drain", *IDLE) if name in measured.counters]
    return {name: measured.counters[name] / measured.images for name in there}
