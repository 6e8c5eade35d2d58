"""Asks a device for the results of every layer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.compile import compile_network
from ..compiler.stops import sums_network
from ..errors import CapacityError, NetworkError
from ..isa.device import DeviceConfig
from ..isa.program import Block, Program
from ..isa.protocol import VERSION, Space
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from ..reference import golden
from ..runtime.accelerator import Accelerator
from ..runtime.upload import write
from .compare import LayerCheck, compare
from .planted import Fault, plant

__all__ = ["Observation", "checks", "machine_url", "observe", "options", "sim_url"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What one device said.

    Attributes
    ----------
    layers : mapping of int to array, shape (n, values)
        By layer of the network: those whose results are in the device's memory, and the last.
    sums : mapping of int to array, shape (m, values), or str
        Sums of every layer with thresholds, of the first images (one for each row of the array), perhaps of
        its first rows of positions only; or why there are none.
    again : array, shape (n, outputs)
        The network's outputs once more, after everything else.
    program : Program
        As it should be, without a planted fault.
    uploaded : bool
        Whether it had to be written.
    about : dict
        What the device is, in the form of ``--json``.
    """

    layers: Mapping[int, NDArray[Any]]
    sums: Mapping[int, NDArray[Any] | str]
    again: NDArray[Any]
    program: Program
    uploaded: bool
    about: dict[str, Any]


def observe(
    device: Accelerator,
    network: Network,
    images: NDArray[np.uint8],
    *,
    seed: int = 0,
    at_once: int | None = None,
    fault: Fault | None = None,
    read_back: bool = True,
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

    Raises
    ------
    CompileError
        The device cannot run the network.
    LinkError
        As `Accelerator.load` and `Accelerator.infer`.
    """
    started = time.perf_counter()
    found = device.info
    program = compile_network(network, device.info.config, at_once)
    held = device.info.armed and device.info.network_id == program.identifier
    if fault or not held:
        _stale(device, program, seed)
    written = device.load_program(
        plant(program, fault) if fault else program, verify=read_back, force=fault is not None
    )
    last = len(network.layers) - 1
    asked = time.perf_counter()
    layers = {last: device.infer(images)}
    infer_s = time.perf_counter() - asked
    for stop in program.stops[:-1]:
        device.stop_after(stop.index)
        layers[stop.index] = device.infer(images)
    few = images[: program.config.geometry.rows]
    sums: dict[int, NDArray[Any] | str] = {}
    for index, layer in enumerate(network.layers):
        if isinstance(layer, (Dense, Conv2d)) and layer.thresholds is not None:
            try:
                device.stop_after(index, sums=True)
            except (NetworkError, CapacityError) as error:
                sums[index] = str(error)
            else:
                sums[index] = device.infer(few)
    device.stop_after(last)
    again = device.infer(images)
    about = {
        **_about(device),
        "program": program.identifier.hex(),
        "passes": program.passes,
        "spread": program.spread,
        "uploaded": written,
        "frames_resent": device.session.stats.resent,
        "planted": None if fault is None else str(fault),
        "wall_s": time.perf_counter() - started,
        "infer_s": infer_s,
        "found_armed": found.armed,
        "link": asdict(device.session.stats),
    }
    return Observation(dict(sorted(layers.items())), sums, again, program, written, about)


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


def options(config: DeviceConfig) -> dict[str, int]:
    """Return a configuration as the flat options of `DeviceConfig.parse`."""
    values = asdict(config)
    return {**values.pop("geometry"), **values}


def machine_url(config: DeviceConfig) -> str:
    """Return the URL of an interpreted device of this configuration."""
    return "machine:" + ",".join(f"{name}={value}" for name, value in options(config).items())


def sim_url(config: DeviceConfig, **more: str) -> str:
    """Return the URL of a simulated device of this configuration."""
    return "sim:" + ",".join(f"{name}={value}" for name, value in {**options(config), **more}.items())
