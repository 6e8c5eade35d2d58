"""The UART test of a netlist: networks are loaded over the wire, and scores compared with golden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CapacityError, CompileError, XnorcoreError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.link.session import Session
from xnorcore.model.network import Conv2d, Dense, InputSpec, MaxPool2d, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_scaled import scaled_network

from .engine import NetlistEngine
from .transport import netlist_transport

__all__ = ["Checked", "check_engine", "check_networks"]

SLACK = 20_000
"""Cycles that the device may take for what has no time of its own."""


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes
    ----------
    scores : int
        Compared, of all networks.
    mismatches : int
        Scores that differ from golden.
    cycles : int
        Clock cycles that were simulated.
    failure : str
        Why the check ended early, for instance a device that does not answer; empty if it did not.
    """

    scores: int
    mismatches: int
    cycles: int
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether every score is there and equal."""
        return not self.failure and not self.mismatches and self.scores > 0


def check_networks(config: DeviceConfig, seed: int = 1) -> list[Network]:
    """Return small random networks that use what a configuration has.

    Dense layers of several tiles on 1-bit and 3-bit inputs; a convolution with pooling; codes between layers,
    with thresholds in equal steps, which a results unit multiplies; values that codes are added to, and an
    input scale; weights from a store. Each if there is what it takes. The same seed gives the same networks.
    """
    rng = np.random.default_rng(seed)
    g = config.geometry

    def dense(inputs: int, outputs: int, middle: float = 0.0, scores: bool = False) -> Dense:
        weights = rng.choice([-1, 1], (outputs, inputs)).astype(np.int8)
        spread = max(2, round(inputs**0.5))
        steps = rng.integers(-spread, spread + 1, outputs)
        return Dense(weights, None if scores else np.round(middle * weights.sum(axis=1)).astype(int) + steps)

    wide, hidden = 2 * g.width + 3, g.columns + 3
    kernels = rng.choice([-1, 1], (g.columns, 3, 3, 2)).astype(np.int8)
    candidates = [
        Network("dense", InputSpec((wide,)), [dense(wide, hidden), dense(hidden, 5, scores=True)]),
        Network(
            "planes",
            InputSpec((g.width + 1,), 3),
            [
                dense(g.width + 1, hidden, 3.5),
                dense(hidden, g.columns),
                dense(g.columns, 3, scores=True),
            ],
        ),
        Network(
            "maps",
            InputSpec((6, 6, 2), 2),
            [
                Conv2d(kernels, rng.integers(-5, 6, g.columns) + (kernels.sum(axis=(1, 2, 3)) * 3) // 2),
                MaxPool2d((2, 2)),
                dense(4 * g.columns, 4, scores=True),
            ],
        ),
    ]
    if config.code_bits > 1:
        steps = np.arange(1, 1 << config.code_bits) * 2 - (1 << config.code_bits)
        first = Dense(rng.choice([-1, 1], (hidden, g.width + 1)), steps + rng.integers(-5, 6, (hidden, 1)))
        layers = [first, dense(hidden, 5, scores=True)]
        candidates.append(Network("codes", InputSpec((g.width + 1,), 3), layers))
    if config.value_depth:
        candidates.append(chain_network(rng, (4, 4, 7), size=(4, 4), bits=(2, 2), image=1))
    if config.scale_depth:
        candidates.append(scaled_network(rng, (3, 5), size=(4, 4, 3), bits=min(config.code_bits, 3)))
    if config.store_words:
        # More start values than there is room for.
        many = (config.threshold_depth + 1) * g.columns
        layers = [dense(g.width, many), dense(many, 5, scores=True)]
        candidates.append(Network("stored", InputSpec((g.width,)), layers))
    return [network for network in candidates if _fits(network, config)]


def _fits(network: Network, config: DeviceConfig) -> bool:
    try:
        return compile_network(network, config).passes == 1
    except (CapacityError, CompileError):
        return False


def _images(network: Network, count: int) -> NDArray:
    rng = np.random.default_rng(2)
    return rng.integers(0, 1 << network.input.bits, (count, *network.input.shape)).astype(np.uint8)


def check_engine(
    engine: NetlistEngine, config: DeviceConfig, clock_hz: int, divisor: int, bake: Program | None = None
) -> Checked:
    """Run the UART test on a netlist.

    A baked network has to be armed when the device is first asked, and nothing is loaded for it. Then each
    of `check_networks` is loaded, everything read back, and images are classified.

    Parameters
    ----------
    engine : NetlistEngine
        Closed at the end.
    config : DeviceConfig
        What INFO has to say.
    clock_hz, divisor : int
    bake : Program, optional
        That is in the bitstream.
    """
    scores = mismatches = cycles = 0
    networks = [*([bake.network] if bake else []), *check_networks(config)]
    transport = netlist_transport(engine, clock_hz)
    # Nothing is lost on this wire: a request that is sent again is a fault of the device.
    seconds = (2 * 10 * divisor * config.fifo_bytes + SLACK) / clock_hz
    session = Session(transport, timeout=seconds, retries=1, seed=0)
    failure = ""
    try:
        with Accelerator(session) as device:
            if device.info.config != config:
                failure = f"INFO says {device.info.config}, not {config}"
            if bake and not failure and device.load(bake.network):
                failure = "the baked network was not there at power-up"
            for number, network in enumerate(networks):
                if failure:
                    break
                device.load(network, force=number > 0 or not bake)
                images = _images(network, 2 * config.geometry.rows + 1)
                expected = golden.run(network, images)
                found = device.infer(images)
                scores += expected.size
                mismatches += int((found != expected).sum())
            cycles = engine.cycles
            if not failure and (session.stats.resent or engine.framing_errors):
                failure = (
                    f"{session.stats.resent} requests sent again, {engine.framing_errors} framing errors"
                )
    except XnorcoreError as error:
        failure, cycles = str(error), transport.cycles
    return Checked(scores, mismatches, cycles, failure)
