"""The bit-packed model equals the golden one in every layer's every bit."""

import gc
import weakref
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaigns import examples
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import fast, golden, kernels

LOW, HIGH = -(2**31), 2**31 - 1


def network(rng: np.random.Generator, sizes: list[int], bits: int, *, scores: bool) -> Network:
    layers = []
    last = len(sizes) - 2
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = rng.choice([-1, 1], (outputs, inputs))
        reach = inputs * (2**bits - 1 if index == 0 else 1)
        limits = rng.integers(-reach - 2, reach + 3, outputs)
        limits[::5] = 0
        odd = rng.random(outputs) < 0.15
        limits[odd] = rng.choice([LOW, HIGH, -reach, reach, reach + 1, -reach - 1], int(odd.sum()))
        layers.append(Dense(weights, None if scores and index == last else limits))
    return Network("random", InputSpec((sizes[0],), bits), layers)


def check(net: Network, images: np.ndarray) -> None:
    """With the compiled loops, and with NumPy."""
    assert kernels.load() is not None
    for load in (kernels.load, lambda: None):
        with mock.patch.object(kernels, "load", load):
            fast._PACKED.clear()
            check_as_it_is(net, images)
    fast._PACKED.clear()


def check_as_it_is(net: Network, images: np.ndarray) -> None:
    expected = golden.layers(net, images)
    found = fast.layers(net, images)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    raw = fast.run(net, images)
    assert raw.dtype == expected[-1].dtype
    assert np.array_equal(raw, expected[-1])


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize("sizes", [[1, 1], [64, 64, 64], [63, 65, 127, 3], [784, 129, 10], [7, 1, 200]])
def test_equals_golden(sizes: list[int], bits: int, scores: bool) -> None:
    rng = np.random.default_rng([len(sizes), bits, scores])
    net = network(rng, sizes, bits, scores=scores)
    images = rng.integers(0, 2**bits, (9, sizes[0]))
    images[0], images[1] = 0, 2**bits - 1
    check(net, images)


@pytest.mark.parametrize("images", [127, 128, 255, 257, 383, 384, 600])
@pytest.mark.parametrize("sizes", [[1, 1, 1], [63, 64, 65, 66], [128, 7, 129], [300, 150, 10], [8192, 2, 2]])
def test_many_images_at_once(sizes: list[int], images: int) -> None:
    rng = np.random.default_rng([*sizes, images])
    check(network(rng, sizes, 1, scores=False), rng.integers(0, 2, (images, sizes[0])))


@settings(deadline=None, max_examples=examples(150))
@given(
    st.lists(st.integers(1, 200), min_size=2, max_size=4), st.integers(1, 8), st.booleans(),
    st.integers(0, 5), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_random_networks(sizes: list[int], bits: int, scores: bool, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check(
        network(rng, sizes, bits, scores=scores),
        rng.integers(0, 2**bits, (images, sizes[0])),
    )


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("inputs", [16384, 65535, 65536])
def test_widest_layers_do_not_overflow(inputs: int, bits: int) -> None:
    top = inputs * (2**bits - 1)
    rows = np.array([[1], [-1]], np.int8).repeat(inputs, axis=1)
    images = np.array([[0], [2**bits - 1]]).repeat(inputs, axis=1)
    spec = InputSpec((inputs,), bits)
    check(Network("scores", spec, [Dense(rows)]), images)
    for limits in ([top, -top], [top - 1, 1 - top], [top + 1, -top - 1], [LOW, HIGH], [0, 0]):
        check(Network("bits", spec, [Dense(rows, limits)]), images)


@pytest.mark.parametrize(("name", "limit"), [("IMAGES", 8), ("BITS", 8 * 50 * 2 + 1)])
def test_blocks_of_images(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    monkeypatch.setattr(fast, name, limit)
    rng = np.random.default_rng(1)
    net = network(rng, [50, 70, 10], 2, scores=True)
    images = rng.integers(0, 4, (29, 50), dtype=np.uint8)
    check(net, images)
    seen: list[Any] = []
    fast.run(net, images, progress=lambda *a: seen.append(a))
    assert seen == [(8, 29), (16, 29), (24, 29), (29, 29)]


def test_packed_once_for_each_network() -> None:
    net = network(np.random.default_rng(0), [20, 9, 3], 1, scores=True)
    images = np.random.default_rng(1).integers(0, 2, (3, 20))
    fast.run(net, images)
    model = fast._packed(net)
    fast.run(net, images)
    assert fast._packed(net) is model
    kept = weakref.ref(net)
    key = id(net)
    del net
    gc.collect()
    assert kept() is None and key not in fast._PACKED


def test_without_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.VARIABLE, "numpy")
    kernels.load.cache_clear()
    assert kernels.load() is None
    monkeypatch.delenv(kernels.VARIABLE)
    kernels.load.cache_clear()
    assert kernels.load() is not None
    # No compiler, no folder: NumPy it is, and no error.
    from xnorcore_hw.sim import kernels as compiled

    monkeypatch.setattr(compiled, "find_compiler", lambda: None)
    assert compiled.load() is None
