"""The driver against the simulated device: networks, loading, refusals, damage on the wire."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns import examples, some
from xnorcore import zoo
from xnorcore.errors import (
    CapacityError,
    DisconnectedError,
    InputError,
    NotLoadedError,
    ProtocolVersionError,
    UsageError,
    VerifyError,
    WrongDeviceError,
)
from xnorcore.isa.protocol import Command, Space
from xnorcore.link.session import Session
from xnorcore.link.transport import open_transport
from xnorcore.model.layers import Conv2d, Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.counters import Watch
from xnorcore.runtime.measure import measure

from .networks import random_images, random_network

SHARED = "rows=3,columns=4,width=16,act_depth=4096,weight_depth=4096,threshold_depth=512,acc_width=20"
"""The device of the tests of convolution and pooling, too: its simulator is compiled once."""
DEVICES = [SHARED, "rows=2,columns=32,width=16", "rows=3,columns=4,width=8", "rows=1,columns=32,width=32"]


@pytest.fixture(scope="module", params=some(DEVICES, 1))
def device(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    with Accelerator.open(f"sim:{request.param}") as accelerator:
        yield accelerator


@pytest.fixture(scope="module")
def small() -> Iterator[Accelerator]:
    with Accelerator.open(f"sim:{SHARED}") as accelerator:
        yield accelerator


def network_and_images(seed: int = 0, sizes: tuple[int, ...] = (70, 40, 30, 10), count: int = 23, **kind):
    rng = np.random.default_rng(seed)
    network = random_network(rng, sizes, **kind)
    return network, random_images(rng, network, count)


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=2, max_size=5),
    bits=st.integers(1, 8),
    scores=st.booleans(),
    wild=st.booleans(),
    count=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_networks(device: Accelerator, sizes, bits, scores, wild, count, seed) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, tuple(sizes), bits, scores, wild)
    images = random_images(rng, network, count)
    device.load(network)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_digits(device: Accelerator) -> None:
    network = zoo.load("digits")
    images, labels = zoo.test_images("digits")
    device.load(network)
    raw = device.infer(images)
    np.testing.assert_array_equal(raw, golden.run(network, images))
    assert (network.classify(raw) == labels).mean() >= 0.96


def test_load_skips_what_is_there(small: Accelerator) -> None:
    network, _ = network_and_images()
    other, _ = network_and_images(seed=1)
    small.load(network)
    assert small.load(network) is False
    assert small.load(network, force=True) is True
    assert small.load(other) is True
    assert small.load(network) is True
    assert small.info.armed and small.info.network_id == small.program.identifier


def test_images_larger_than_a_frame(small: Accelerator) -> None:
    network, images = network_and_images(sizes=(3000, 20, 4), count=5, bits=6)
    small.load(network)
    np.testing.assert_array_equal(small.infer(images), fast.run(network, images))


@pytest.mark.parametrize("options", some(["rows=3,columns=4,width=16", "rows=2,columns=32,width=16"], 0))
def test_weights_in_passes(options: str) -> None:
    """Weights that exceed the buffers arrive with each call again, for all of its images."""
    url = f"sim:{options},weight_depth=64,threshold_depth=32,act_depth=2048"
    with Accelerator.open(url) as device:
        for kind in ({"bits": 1}, {"bits": 3, "scores": False}):
            network, images = network_and_images(sizes=(150, 190, 130, 10), count=7, **kind)
            device.load(network)
            assert device.program.passes > 1
            wanted = golden.run(network, images)
            for count in (1, device.program.batch, device.program.batch + 1, 7):
                np.testing.assert_array_equal(device.infer(images[:count]), wanted[:count])


@pytest.mark.campaign
def test_passes_may_run_twice(monkeypatch) -> None:
    """An answer to RUN that got lost makes the driver ask again: the results stay the same."""
    network, images = network_and_images(sizes=(150, 190, 130, 90, 60, 10), count=3)
    with Accelerator.open("sim:rows=2,columns=32,width=16,weight_depth=64,act_depth=2048") as device:
        device.load(network)
        assert max(len(further.entries) for further in device.program.later) > 2
        real = device.session.call

        def twice(command: int, payload: bytes = b"", **options) -> bytes:
            if command == Command.RUN:
                real(command, payload, **options)
            return real(command, payload, **options)

        monkeypatch.setattr(device.session, "call", twice)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_one_image_and_none(small: Accelerator) -> None:
    network, images = network_and_images()
    small.load(network)
    np.testing.assert_array_equal(small.infer(images[0]), golden.run(network, images[:1]))
    assert small.infer(images[:0]).shape == (0, 10)


def test_progress_and_counters() -> None:
    seen = []
    with Accelerator.open(f"sim:{SHARED}", progress=seen.append) as device:
        network, images = network_and_images()
        device.load(network)
        device.clear_counters()
        device.infer(images)
        counters = device.counters
    assert counters is not None
    for stage in ("load", "verify", "infer"):
        steps = [p for p in seen if p.stage == stage]
        assert [p.done for p in steps] == sorted(p.done for p in steps)
        assert steps[-1].done == steps[-1].total > 0
    assert counters["images"] == 23
    assert counters["batches"] == 8
    assert counters["busy"] == 8 * device.program.beats
    assert counters["frames_bad"] == 0


def test_refusals(small: Accelerator) -> None:
    network, images = network_and_images()
    small.reset()
    with pytest.raises(NotLoadedError, match="call load"):
        small.infer(images)
    small.load(network)
    with pytest.raises(InputError, match="shape"):
        small.infer(images[:, :-1])
    with pytest.raises(InputError):
        small.infer(images.astype(float))
    with pytest.raises(InputError):
        small.infer(images * 3)
    big, _ = network_and_images(sizes=(9000, 40, 10), bits=8)
    with pytest.raises(CapacityError, match="the device has"):
        small.load(big)
    # A refused network leaves the old one where it was.
    small.load(network)
    small.session.call(Command.RESET)
    with pytest.raises(NotLoadedError, match="has lost its network"):
        small.infer(images)


@pytest.mark.parametrize("space, payload", [(Space.WEIGHTS, b"\xff\xff"), (Space.THRESHOLDS, b"\x33\1\0\0")])
def test_read_back_finds_a_wrong_word(small: Accelerator, monkeypatch, space, payload) -> None:
    """A word that changes on its way into a buffer is named."""
    network, _ = network_and_images()
    real = small.session.stream

    def stream(requests, **options):
        for command, data in requests:
            size = len(payload)
            wanted = command == Command.WRITE and data[:2] == bytes([space, 3])
            if wanted and len(data) >= 4 + 3 * size and any(data[4:]):
                data = data[: 4 + 2 * size] + payload + data[4 + 3 * size :]
            yield from real([(command, data)], **options)

    monkeypatch.setattr(small.session, "stream", stream)
    with pytest.raises(VerifyError, match=f"{space.name.lower()} bank 3, address 2: wrote"):
        small.load(network, force=True)
    monkeypatch.undo()
    assert small.load(network)


class Noisy:
    """A transport that damages what passes through it."""

    def __init__(self, transport, seed: int, rate: float) -> None:
        self.inner, self.random, self.rate = transport, random.Random(seed), rate
        self.name = transport.name
        self.damaged = 0

    def _damage(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            roll = self.random.random() / self.rate
            if roll >= 1:
                out.append(byte)
                continue
            self.damaged += 1
            if roll < 0.4:
                out.append(byte ^ 1 << self.random.randrange(8))
            elif roll < 0.6:
                out += bytes([byte, self.random.randrange(256)])
            elif roll < 0.7:
                out += bytes([byte, byte])
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.inner.write(self._damage(data))

    def read(self, timeout: float) -> bytes:
        return self._damage(self.inner.read(timeout))

    def now(self) -> float:
        return self.inner.now()

    def discard(self) -> None:
        self.inner.discard()

    def close(self) -> None:
        self.inner.close()

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


@pytest.mark.parametrize("seed", some(range(6), 1))
def test_damage_on_the_wire(seed: int) -> None:
    network, images = network_and_images(seed=seed, count=400)
    noisy = Noisy(open_transport(f"sim:{SHARED}"), seed, 1e-4)
    with Accelerator(Session(noisy, timeout=0.05, retries=20, seed=seed)) as device:
        device.load(network)
        found = device.infer(images)
        assert device.session.stats.resent > 0
    np.testing.assert_array_equal(found, golden.run(network, images))


def test_damage_to_images_in_parts() -> None:
    network, images = network_and_images(sizes=(2500, 12, 10), count=24, bits=6)
    noisy = Noisy(open_transport(f"sim:{SHARED}"), 1, 5e-5)
    with Accelerator(Session(noisy, timeout=0.05, retries=20, seed=1)) as device:
        device.load(network, verify=False)
        found = device.infer(images)
        assert device.session.stats.resent > 0
    np.testing.assert_array_equal(found, fast.run(network, images))


def test_uart_link_gives_the_same_scores() -> None:
    network, images = network_and_images(count=8)
    with Accelerator.open(f"sim:{SHARED},link=uart") as device:
        device.load(network)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


@pytest.mark.campaign
def test_a_device_without_counters() -> None:
    network, images = network_and_images(sizes=(16, 9, 4), count=3)
    url = "sim:rows=1,columns=4,width=8,act_depth=256,weight_depth=64,counters=0,engine=amaranth"
    with Accelerator.open(url) as device:
        device.load(network, verify=False)
        scores, measured = measure(device, images)
        assert device.counters is None
    assert measured.as_dict()["cycles_per_image"] is None and measured.device_cycles
    np.testing.assert_array_equal(scores, golden.run(network, images))


@pytest.mark.campaign
def test_amaranth_engine_gives_the_same_cycles() -> None:
    network, images = network_and_images(sizes=(16, 9, 4), count=3)
    seen = []
    for engine in ("compiled", "amaranth"):
        url = f"sim:rows=2,columns=4,width=8,act_depth=256,weight_depth=64,engine={engine}"
        transport: Any = open_transport(url)
        # A fixed first tag: the engines see the same bytes.
        with Accelerator(Session(transport, seed=77)) as device:
            device.load(network)
            scores = device.infer(images)
            seen.append((scores.tolist(), device.counters, transport.cycles))
    assert seen[0] == seen[1]
    np.testing.assert_array_equal(scores, golden.run(network, images))


@pytest.mark.parametrize(
    "payload, error",
    [(b"XNOR\x63" + bytes(47), ProtocolVersionError), (b"nothing", WrongDeviceError)],
)
def test_wrong_device(small: Accelerator, monkeypatch, payload, error) -> None:
    monkeypatch.setattr(Session, "call", lambda self, *args, **options: payload)
    with pytest.raises(error):
        Accelerator(small.session)


def test_slips_of_the_caller() -> None:
    network, images = network_and_images(sizes=(16, 9, 4), count=2)
    with Accelerator.open(f"sim:{SHARED}") as device:
        with pytest.raises(UsageError, match="load takes a Network, not str"):
            device.load("digits")  # pyright: ignore[reportArgumentType]
        device.load(network)
    with pytest.raises(DisconnectedError, match="is closed; open it again"):
        device.infer(images)
    with pytest.raises(UsageError, match="a device URL is text"):
        Accelerator.open(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="a Network is needed, not str"):
        golden.run("digits", images)  # pyright: ignore[reportArgumentType]


@pytest.mark.campaign
def test_results_that_come_before_the_image_ends() -> None:
    """No kernel reads the last rows of these images, which take several frames each."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.choice([-1, 1], (5, 3, 3, 4)), np.full(5, 9), stride=(4, 2))
    network = Network("early", InputSpec((12, 16, 4), 3), [conv, Dense(rng.choice([-1, 1], (3, 105)))])
    images = rng.integers(0, 8, (5, 12, 16, 4), dtype=np.uint8)
    url = "sim:rows=2,columns=8,width=8,act_depth=1024,weight_depth=256,fifo_bytes=1024"
    with Accelerator.open(url) as device:
        device.load(network)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_counters_are_read_between_images() -> None:
    """Looks change neither results nor what is counted of images; without a watch, nothing is asked."""
    network, images = zoo.load("digits"), zoo.test_images("digits")[0][:200]
    seen: list[dict[str, int]] = []
    with Accelerator.open(f"sim:{SHARED}") as accelerator:
        accelerator.load(network)
        plain, before = measure(accelerator, images)
        asked = accelerator.session.stats.sent
        measure(accelerator, images)
        unwatched = accelerator.session.stats.sent - asked
        accelerator.watch = Watch(seen.append, every_s=0)
        results, after = measure(accelerator, images)
        assert accelerator.session.stats.sent == asked + 2 * unwatched + len(seen)
    assert (results == plain).all() and (results == fast.run(network, images)).all()
    assert len(seen) > 2 and seen[0]["busy"] > 0
    assert [each["images"] for each in seen] == sorted(each["images"] for each in seen)
    assert before.counters is not None and after.counters is not None
    assert before.counters["images"] == after.counters["images"] == 200 >= seen[-1]["images"]
