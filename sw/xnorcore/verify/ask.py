"""Asks a device for the results of every layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..compiler.compile import compile_network
from ..compiler.group import variant
from ..compiler.stops import sums_network
from ..errors import CapacityError, EngineError, LinkError, NetworkError
from ..isa.device import DeviceConfig, options
from ..isa.program import Block, Program
from ..isa.protocol import VERSION, Space
from ..model.layers import has_weights
from ..model.network import Network
from ..reference import golden
from ..runtime.accelerator import Accelerator
from ..runtime.upload import write
from .compare import LayerCheck, compare
from .planted import Fault, plant

__all__ = ["Observation", "checks", "machine_url", "observe", "options", "sim_url"]

MOST_ERRORS = 3
"""Errors after which a device is asked nothing more: each may have taken a time-out and its retries."""
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Observation:
    """What one device said.

    Attributes
    ----------
    layers : mapping of int to array, shape (n, values), or str
        By layer of the network: those whose results are in the device's memory, and the last; or the error
        that came instead.
    sums : mapping of int to array, shape (m, values), or str
        Sums of every layer with thresholds, of the first images (one for each row of the array), perhaps of
        its first rows of positions only; or why there are none.
    again : array, shape (n, outputs), or str
        The network's outputs once more, after everything else.
    program : Program
        As it should be, without a planted fault.
    uploaded : bool
        Whether it had to be written.
    about : dict
        What the device is, in the form of ``--json``.
    errors : tuple of str
        What the device did not do, in the order in which it was asked.
    """

    layers: Mapping[int, NDArray[Any] | str]
    sums: Mapping[int, NDArray[Any] | str]
    again: NDArray[Any] | str
    program: Program
    uploaded: bool
    about: dict[str, Any]
    errors: tuple[str, ...] = ()


class _Steps:
    """Asks a device one thing after the other; after an error it is reset and loaded again.

    Parameters
    ----------
    device : Accelerator
    program : Program
        What it is loaded with.
    keep_on : bool
        Go on after an error, or raise it.
    """

    def __init__(self, device: Accelerator, program: Program, keep_on: bool) -> None:
        self.device, self.program, self.keep_on = device, program, keep_on
        self.errors: list[str] = []
        self.over = False

    def ask(self, what: str, step: Callable[[], _T]) -> _T | str:
        """Return what a step returns, or why it gave nothing."""
        if self.over:
            return "not asked any more after errors"
        try:
            return step()
        except (LinkError, EngineError) as error:
            if not self.keep_on:
                raise
            self.errors.append(f"{what}: {type(error).__name__}: {error}")
        said = self.errors[-1]
        self.over = len(self.errors) == MOST_ERRORS or not self._again()
        return said

    def layer(self, index: int, images: NDArray[np.uint8]) -> NDArray[Any] | str:
        """Return the results of a layer that stay in memory."""

        def step() -> NDArray[Any]:
            self.device.stop_after(index)
            return self.device.infer_values(images)

        return self.ask(f"layer {index}", step)

    def sums(self, index: int, images: NDArray[np.uint8]) -> NDArray[Any] | str:
        """Return the sums of a layer, or why there are none."""

        def step() -> NDArray[Any] | str:
            try:
                self.device.stop_after(index, sums=True)
            except (NetworkError, CapacityError) as error:
                return str(error)
            return self.device.infer_values(images)

        return self.ask(f"sums of layer {index}", step)

    def _again(self) -> bool:
        try:
            self.device.reset()
            self.device.load_program(self.program, verify=False, force=True)
        except (LinkError, EngineError):
            return False
        return True


def observe(
    device: Accelerator,
    network: Network,
    images: NDArray[np.uint8],
    *,
    seed: int = 0,
    at_once: int | None = None,
    fault: Fault | None = None,
    read_back: bool = True,
    keep_on: bool = False,
) -> Observation:
    """Run a network on a device: as a whole, stopped behind each layer, for each layer's sums, and again.

    If the device does not hold the network already, its activation memory is first filled with random words:
    nothing may depend on what an earlier network left there. At the end it holds the network.

    Parameters
    ----------
    device : Accelerator
    network : Network
    images : array of uint8, shape (n, values)
    seed : int
        Of the random words.
    at_once : int, optional
        As for `Accelerator.load`.
    fault : Fault, optional
        Written in place of what is right; the device says nothing of it.
    read_back : bool
        Read everything back that is written, and compare.
    keep_on : bool
        Note what the device refuses, or leaves without an answer, and ask for the rest; `MOST_ERRORS` times.

    Raises
    ------
    CompileError
        The device cannot run the network.
    LinkError
        As `Accelerator.load` and `Accelerator.infer_values`, without `keep_on`.
    """
    started = time.perf_counter()
    found = device.info
    program = compile_network(network, device.info.config, at_once)
    held = device.info.armed and variant(program, device.info.network_id) is not None
    planted = plant(program, fault) if fault else program
    steps = _Steps(device, planted, keep_on)

    def load() -> bool:
        if fault or not held:
            _stale(device, program, seed)
        return device.load_program(planted, verify=read_back, force=fault is not None)

    written = steps.ask("loading", load)
    last = len(network.layers) - 1
    asked = time.perf_counter()
    layers = {last: steps.ask("the whole network", lambda: device.infer_values(images))}
    infer_s = time.perf_counter() - asked
    for stop in program.stops[:-1]:
        layers[stop.index] = steps.layer(stop.index, images)
    few = images[: program.config.geometry.rows]
    sums = {index: steps.sums(index, few) for index in _compared(program)}
    again = steps.layer(last, images)
    about = {
        **_about(device),
        "program": program.identifier.hex(),
        "passes": program.passes,
        "spread": program.spread,
        "uploaded": written is True,
        "frames_resent": device.session.stats.resent,
        "planted": None if fault is None else str(fault),
        "wall_s": time.perf_counter() - started,
        "infer_s": infer_s,
        "found_armed": found.armed,
        "link": asdict(device.session.stats),
    }
    ordered = dict(sorted(layers.items()))
    return Observation(ordered, sums, again, program, written is True, about, tuple(steps.errors))


def _compared(program: Program) -> list[int]:
    """Return the layers whose sums are compared with thresholds, and can be had without."""
    there = {stop.plan for stop in program.stops if stop.sums}
    layers = enumerate(program.network.layers)
    return [n for n, layer in layers if n in there and has_weights(layer) and layer.thresholds is not None]


def checks(
    network: Network, name: str, seen: Observation, images: NDArray[np.uint8], expected: list[NDArray[Any]]
) -> list[LayerCheck]:
    """Compare what a device said with the golden model.

    Parameters
    ----------
    network : Network
    name : str
        Of the device; its sums and its repeated run are engines of their own in the report.
    seen : Observation
    images : array of uint8, shape (n, values)
        Those that the device got.
    expected : list of array
        What `golden.layers` says of them.
    """
    columns = seen.program.config.geometry.columns
    sums: dict[int, NDArray[Any]] = {}
    for index, found in seen.sums.items():
        size = 0 if isinstance(found, str) else found.shape[1]
        few = 0 if isinstance(found, str) else len(found)
        sums[index] = golden.run(sums_network(network, index), images[:few])[:, :size] if few else np.empty(0)
    last = len(network.layers) - 1
    parts = (
        (name, seen.layers, dict(enumerate(expected))),
        (f"{name}, sums", seen.sums, sums),
        (f"{name}, again", {last: seen.again}, {last: expected[last]}),
    )
    return [
        check
        for part, found, wanted in parts
        for check in compare(network, part, found, wanted, columns=columns)
    ]


def _about(device: Accelerator) -> dict[str, Any]:
    info = device.info
    return {
        "url": device.session.transport.name,
        "build": info.build_id.hex(),
        "config": options(info.config),
        "config_digest": info.config.digest().hex(),
        "clock_hz": info.clock_hz,
        "protocol": VERSION,
    }


def _stale(device: Accelerator, program: Program, seed: int) -> None:
    rng, g = np.random.default_rng([seed, 1]), program.config.geometry
    size = program.used["act_depth"] * g.width // 8
    blocks = (Block(Space.ACTIVATIONS, row, 0, rng.bytes(size)) for row in range(g.rows))
    write(device.session, program, blocks)


def machine_url(config: DeviceConfig) -> str:
    """Return the URL of an interpreted device of this configuration."""
    return "machine:" + ",".join(f"{name}={value}" for name, value in options(config).items())


def sim_url(config: DeviceConfig, **more: str) -> str:
    """Return the URL of a simulated device of this configuration."""
    return "sim:" + ",".join(f"{name}={value}" for name, value in {**options(config), **more}.items())
