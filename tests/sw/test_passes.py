"""Weights that come in passes come once for all images of a call, which leave the device in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.campaigns import examples, some
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import sums_network
from xnorcore.errors import CapacityError, NotLoadedError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.machine import Machine
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Command, Space
from xnorcore.link.session import Session
from xnorcore.model.bits import pack_images
from xnorcore.model.layers import Conv2d, Dense, InputSpec, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime import passes
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice
from xnorcore.runtime.stages import stages, written
from xnorcore.runtime.upload import Progress
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_config

from .graphs import conv, dense, densenet, inception, vectors


def config(rows: int = 2, columns: int = 8, width: int = 8, **sizes: int) -> DeviceConfig:
    small = {"weight_depth": 64, "threshold_depth": 16, "act_depth": 2048, "fifo_bytes": 512, "counters": 0}
    return DeviceConfig(Geometry(rows, columns, width), **{**small, **sizes})


def chain(*sizes: int, bits: int = 1) -> Network:
    layers = [dense(b, a, f"d{n}") for n, (a, b) in enumerate(pairwise(sizes[:-1]))]
    last = dense(sizes[-1], sizes[-2], "last", scores=True)
    return Network("chain", InputSpec((sizes[0],), bits), [*layers, last])


def maps_then_vectors() -> Network:
    """Maps that are larger than the weights between them, and then weights that are larger than vectors."""
    trunk = [conv(8, 8 if n else 1, f"c{n}", padding=(1, 1, 1, 1)) for n in range(14)]
    wide = [dense(64, 32 if n == 0 else 64, f"d{n}") for n in range(6)]
    return Network(
        "both", InputSpec((16, 16, 1), 1), [*trunk, MaxPool2d((7, 7), (7, 7)), *wide, dense(3, 64, "end")]
    )


CASES: dict[str, tuple[Network, DeviceConfig, int | None]] = {
    "dense": (chain(100, 90, 70, 10), config(), None),
    "bits": (chain(60, 90, 40, 5, bits=3), config(3), None),
    "wide words": (chain(100, 150, 90, 10), config(2, 16, 8), None),
    "narrow columns": (chain(100, 90, 70, 10), config(2, 4, 16), None),
    "branches": (inception(24, 30), config(weight_depth=96), None),
    "concatenations": (densenet(11), config(weight_depth=96), None),
    "vectors": (vectors((150, 140)), config(), None),
    "joined results": (vectors((150, 140), ends=True), config(), None),
    "strips": (inception(24, 30), config(weight_depth=96), 1),
    "maps, then vectors": (maps_then_vectors(), config(3), None),
}

MIXED = ("branches", "maps, then vectors")
"""Those of which five batches have some weights written for each: their maps are larger."""


class Spy(InterpretedDevice):
    """An interpreted device that notes requests, and frames of which get lost at random."""

    def __init__(self, config: DeviceConfig, loss: float = 0.0) -> None:
        super().__init__(config)
        self.loss, self.random = loss, random.Random(1)
        self.asked: list[tuple[int, bytes]] = []

    def write(self, data: bytes) -> None:
        parts = data.split(b"\0")
        for part in parts[:-1]:
            if not part or self.random.random() >= self.loss:
                super().write(part + b"\0")
        super().write(parts[-1])

    def read(self, timeout: float) -> bytes:
        answer = super().read(timeout)
        return b"" if answer and self.random.random() < self.loss else answer

    def _execute(self, command: int, payload: bytes) -> Any:
        self.asked.append((command, payload))
        return super()._execute(command, payload)

    def writes(self, space: Space) -> int:
        return sum(command == Command.WRITE and payload[0] == space for command, payload in self.asked)


def images(network: Network, count: int) -> NDArray[np.uint8]:
    shape = count, network.input.size
    return np.random.default_rng(3).integers(0, 1 << network.input.bits, shape, np.uint8)


def load(spy: Spy, program: Program, progress: Callable[[Progress], None] | None = None) -> Accelerator:
    device = Accelerator(Session(spy, seed=0, timeout=0.1, retries=20), progress)
    device.load_program(program, verify=False)
    spy.asked.clear()
    return device


@pytest.mark.parametrize("name", CASES)
def test_any_number_of_images(name: str) -> None:
    network, device_config, at_once = CASES[name]
    program = compile_network(network, device_config, at_once)
    assert program.passes > 2 and program.spread == (at_once is not None)
    rows = program.batch
    spy = Spy(device_config)
    device = load(spy, program)
    inputs = images(network, 5 * rows)
    wanted = golden.run(network, inputs)
    weights = {}
    for count in sorted({1, max(rows - 1, 1), rows, rows + 1, 5 * rows}):
        spy.asked.clear()
        np.testing.assert_array_equal(device.infer(inputs[:count]), wanted[:count])
        weights[count] = spy.writes(Space.WEIGHTS)
        # A batch alone stays on the device.
        leaves = len(stages(program, -(-count // rows))) > 1
        assert (spy.writes(Space.ACTIVATIONS) > 0) == leaves and (leaves or count < 5 * rows)
    repeated = any(stage.repeated for stage in stages(program, 5))
    assert repeated == (name in MIXED) == (weights[5 * rows] > weights[1])


@pytest.mark.parametrize("name", [name for name in CASES if "maps" not in name])
def test_every_layer_and_every_sum(name: str) -> None:
    network, device_config, at_once = CASES[name]
    program = compile_network(network, device_config, at_once)
    device = load(Spy(device_config), program)
    inputs = images(network, 2 * program.batch + 1)
    layers = golden.layers(network, inputs)
    for stop in program.stops:
        device.stop_after(stop.index)
        np.testing.assert_array_equal(device.infer(inputs), layers[stop.index])
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Dense | Conv2d):
            try:
                device.stop_after(index, sums=True)
            except CapacityError:
                continue
            found, wanted = device.infer(inputs), golden.run(sums_network(network, index), inputs)
            np.testing.assert_array_equal(found, wanted[:, : found.shape[1]])


def test_stages() -> None:
    """A batch alone stays on the device; many leave it between passes, but not where maps are large."""
    network, device_config, _ = CASES["maps, then vectors"]
    program = compile_network(network, device_config)
    (alone,) = stages(program, 1)
    assert alone.passes == range(program.passes) and not alone.restored
    many = stages(program, 50)
    assert [number for stage in many for number in stage.passes] == list(range(program.passes))
    assert many[0].repeated and not many[-1].repeated and len(many) > 3
    dense_only, device_config, _ = CASES["dense"]
    program = compile_network(dense_only, device_config)
    assert len(stages(program, 2)) == program.passes


def test_words_written_are_those_of_the_interpreter() -> None:
    """Every word that a layer writes, of random networks, strips among them."""
    spread = parts = 0
    for number in range(examples(120)):
        case = draw(5, number, random_config(np.random.default_rng([5, number])))
        program = compile_network(case.network, case.config, case.at_once)
        spread += program.spread
        machine = Machine(program.config)
        for block in program.blocks:
            machine.memories.write(block)
        machine.load(pack_images(program.network, case.images.reshape(len(case.images), -1)[:1]))
        regions = program.regions
        for section, further in zip(program.sections, [None, *program.later], strict=True):
            traces = []
            for block in further.blocks if further else ():
                machine.memories.write(block)
            for entry in further.entries if further else (program.header["entry"],):
                traces += machine.run(entry)
            found = written(section, regions, program.config.geometry)
            parts += bool(further)
            wanted: dict[str, set[int]] = {}
            for one, trace in zip(section.descriptors, traces, strict=True):
                name = one.target.region
                inside = range(regions.bases[name], regions.bases[name] + regions.sizes[name])
                wanted.setdefault(name, set()).update(
                    word - inside.start for word in trace.writes if word in inside
                )
            assert {name: set(np.flatnonzero(mask).tolist()) for name, mask in found.items()} == wanted, (
                number
            )
    assert spread and parts


def test_images_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, device_config, _ = CASES["dense"]
    program = compile_network(network, device_config)
    spy = Spy(device_config)
    device = load(spy, program)
    inputs = images(network, 11)
    device.infer(inputs)
    once = spy.writes(Space.WEIGHTS)
    monkeypatch.setattr(passes, "_MOST_KEPT", 1 << 8)
    spy.asked.clear()
    np.testing.assert_array_equal(device.infer(inputs), golden.run(network, inputs))
    assert spy.writes(Space.WEIGHTS) in (2 * once, 3 * once)


def test_progress() -> None:
    network, device_config, _ = CASES["dense"]
    program = compile_network(network, device_config)
    seen: list[Progress] = []
    device = load(Spy(device_config), program, seen.append)
    seen.clear()
    device.infer(images(network, 9))
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[-1].done == seen[-1].total == 9
    assert list(dict.fromkeys(one.part for one in seen)) == [
        f"pass {number} of {program.passes}" for number in range(1, program.passes + 1)
    ]


@pytest.mark.parametrize("name", some(["dense", "strips", "maps, then vectors"], 2))
def test_ctrl_c_at_any_pass(name: str) -> None:
    """The next call begins anew, whatever is still on its way."""
    network, device_config, at_once = CASES[name]
    program = compile_network(network, device_config, at_once)
    inputs = images(network, 3 * program.batch)
    wanted = golden.run(network, inputs)
    left = 0

    def stop(progress: Progress) -> None:
        nonlocal left
        left -= 1
        if progress.stage == "infer" and left == 0:
            raise KeyboardInterrupt

    device = load(Spy(device_config), program, stop)
    for after in range(1, 2 * program.passes, 2):
        left = after
        with pytest.raises(KeyboardInterrupt):
            device.infer(inputs)
        np.testing.assert_array_equal(device.infer(inputs), wanted)


def test_another_host_between_two_passes() -> None:
    """Whatever it loads: no score comes of a mixture."""
    network, device_config, _ = CASES["dense"]
    program = compile_network(network, device_config)
    inputs = images(network, 7)
    spy = Spy(device_config)
    at = 0

    def intrude(progress: Progress) -> None:
        nonlocal at
        at -= 1
        if progress.stage == "infer" and at == 0:
            load(spy, compile_network(chain(100, 90, 30, 10), device_config))

    device = load(spy, program, intrude)
    for after in range(1, 4 * program.passes):
        at = after
        with pytest.raises(NotLoadedError, match="has lost its network"):
            device.infer(inputs)
        at = 0
        device.load_program(program, verify=False)
        np.testing.assert_array_equal(device.infer(inputs), golden.run(network, inputs))


@pytest.mark.parametrize("loss", [0.01, 0.1])
def test_frames_that_get_lost(loss: float) -> None:
    """Wherever a loss is, what a batch needs is sent again, and never less."""
    network, device_config, _ = CASES["bits"]
    program = compile_network(network, device_config)
    spy = Spy(device_config)
    device = load(spy, program)
    inputs = images(network, 60)
    spy.loss = loss
    np.testing.assert_array_equal(device.infer(inputs), golden.run(network, inputs))
    assert device.session.stats.resent > 20
