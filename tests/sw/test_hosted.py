"""The driver with real layers: scores behind the device's results, host and device at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.sw.test_host import network, real
from xnorcore.errors import InputError
from xnorcore.host.head import Head
from xnorcore.host.layers import RealAffine, RealDense
from xnorcore.host.tail import Tail
from xnorcore.link.session import Session
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import golden
from xnorcore.runtime import hosted
from xnorcore.runtime.accelerator import Accelerator, Progress
from xnorcore.runtime.hosted import chunk_of, pipelined
from xnorcore.runtime.interpreted import open_machine


def dense(**ends: Any) -> Network:
    rng = np.random.default_rng(1)
    layers = [
        Dense(rng.choice([-1, 1], (outputs, inputs)), None if outputs == 4 else rng.integers(-3, 3, outputs))
        for inputs, outputs in ((8, 100), (100, 48), (48, 4))
    ]
    head = Head((5,), [RealDense(rng.normal(size=(8, 5)))], [[0]], np.linspace(-1, 1, 256)[np.newaxis])
    tail = Tail((4,), [RealDense(rng.normal(size=(3, 4))), RealAffine([2], [1])])
    return Network("hosted", InputSpec((8,)), layers, **({"head": head, "tail": tail} | ends))


@pytest.mark.parametrize("ends", [{}, {"head": None}, {"tail": None}], ids=["both", "tail", "head"])
@pytest.mark.parametrize("depth", [256, 64], ids=["one pass", "passes"])
def test_the_driver_hides_the_real_layers(
    ends: dict[str, Any], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "_IMAGES", 3)
    net = dense(**ends)
    images = np.random.default_rng(2).integers(0, 256 if net.head else 2, (11, *net.image_shape))
    wanted = net.scores(golden.run(net, net.encode(images)))
    if net.tail is None:
        wanted = golden.run(net, net.encode(images))
    said: list[Progress] = []
    spec = f"rows=2,columns=8,width=8,weight_depth={depth},act_depth=64"
    with Accelerator(Session(open_machine(spec), seed=0), said.append) as device:
        device.load(net)
        assert (device.program.passes > 1) == (depth < 256)
        for count in (11, 1, 0):
            found = device.infer(images[:count])
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted[:count])
        counts = [one for one in said if one.stage == "infer"]
        assert counts[0].total == 11
        assert max(one.done for one in counts) == 11
        np.testing.assert_array_equal(device.infer(images[0]), wanted[:1])
        np.testing.assert_array_equal(
            device.infer_values(net.encode(images)), golden.run(net, net.encode(images))
        )
        with pytest.raises(InputError):
            device.infer(images[:, 1:])


def test_a_network_that_ends_early_keeps_its_head() -> None:
    net = dense()
    images = np.random.default_rng(2).integers(0, 256, (5, 5))
    values = net.encode(images)
    with Accelerator(Session(open_machine("rows=2,columns=8,width=8,act_depth=64"), seed=0)) as device:
        device.load(net)
        device.stop_after(0)
        np.testing.assert_array_equal(device.infer(images), golden.layers(net, values)[0])
        device.stop_after(2)
        np.testing.assert_array_equal(device.infer(images), net.scores(golden.run(net, values)))
        device.stop_after(0, sums=True)
        np.testing.assert_array_equal(device.infer_values(values).shape, (5, 100))


def test_chunks_are_whole_batches_of_bounded_work() -> None:
    from xnorcore.compiler.compile import compile_network
    from xnorcore.isa.device import DeviceConfig, Geometry

    program = compile_network(dense(), DeviceConfig(Geometry(4, 8, 8)))
    assert program.batch == 4
    assert chunk_of(program, 10**6) == 1024
    large = Tail((4,), [RealDense(real(60000, 4)), RealDense(real(200, 60000))])
    program = compile_network(dense(tail=large), DeviceConfig(Geometry(4, 8, 8)))
    assert chunk_of(program, 10**6) == 24


# Host and device at the same time.

IMAGES = np.arange(12, dtype=np.uint8).reshape(12, 1)


def encode(block: NDArray[Any], progress: Callable[[int, int], None]) -> NDArray[np.uint8]:
    progress(len(block), len(block))
    return block + np.uint8(1)


def test_the_host_computes_the_next_images_while_the_device_works() -> None:
    """Each waits for the other: one after the other would not end."""
    second, started = threading.Event(), threading.Event()

    def slow(block: NDArray[Any], progress: Callable[[int, int], None]) -> NDArray[np.uint8]:
        if block[0, 0] == 4:
            assert started.wait(10)
            second.set()
        return encode(block, progress)

    def device(values: NDArray[np.uint8], first: int) -> NDArray[Any]:
        started.set()
        assert second.wait(10)
        assert values[0, 0] == first + 1
        return values.astype(np.int64) * 2

    found = pipelined(IMAGES, 4, slow, device, lambda raw: raw + 1)
    np.testing.assert_array_equal(found.ravel(), (np.arange(12) + 1) * 2 + 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_on_the_device_ends_the_host(error: type[BaseException]) -> None:
    steps: list[int] = []

    def endless(block: NDArray[Any], progress: Callable[[int, int], None]) -> NDArray[np.uint8]:
        while block[0, 0] == 4:
            steps.append(1)
            progress(0, 1)
            time.sleep(0.001)
        return encode(block, progress)

    def device(values: NDArray[np.uint8], first: int) -> NDArray[Any]:
        while not steps:
            time.sleep(0.001)
        raise error

    with pytest.raises(error):
        pipelined(IMAGES, 4, endless, device, None)
    assert not [one for one in threading.enumerate() if one.name.startswith("xnorcore-host")]


@pytest.mark.parametrize("where", ["encode", "scores"])
def test_what_fails_on_the_host_ends_the_device(where: str) -> None:
    seen: list[int] = []

    def fail(block: NDArray[Any], progress: Any = None) -> NDArray[Any]:
        if block[0, 0] >= 4:
            raise InputError("no")
        return block

    def device(values: NDArray[np.uint8], first: int) -> NDArray[Any]:
        seen.append(first)
        return values

    with pytest.raises(InputError, match="no"):
        pipelined(IMAGES, 4, fail if where == "encode" else None, device, fail if where == "scores" else None)
    assert seen == ([0] if where == "encode" else [0, 4, 8])


def test_the_network_of_maps_on_a_device() -> None:
    net = network()
    images = np.random.default_rng(5).integers(0, 256, (9, 8, 6, 2))
    spec = "rows=2,columns=8,width=8,act_depth=256,convolution=1"
    with Accelerator(Session(open_machine(spec), seed=0)) as device:
        device.load(net)
        np.testing.assert_array_equal(device.infer(images), net.scores(golden.run(net, net.encode(images))))
