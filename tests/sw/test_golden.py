"""The golden model against cases worked by hand and against plain Python loops."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from xnorcore.errors import InputError
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import golden

W = np.array([[1, 1, -1], [-1, 1, 1]])


def test_one_bit_layer_by_hand() -> None:
    # x = 101 is (+1, -1, +1): sums 1 - 1 - 1 = -1 and -1 - 1 + 1 = -1.
    # x = 110 is (+1, +1, -1): sums 1 + 1 + 1 = 3 and -1 + 1 - 1 = -1.
    net = Network("hand", InputSpec((3,)), [Dense(W)])
    raw = golden.run(net, [[1, 0, 1], [1, 1, 0]])
    assert raw.dtype == np.int64
    assert raw.tolist() == [[-1, -1], [3, -1]]


def test_threshold_is_at_least() -> None:
    for threshold, bit in ((-2, 1), (-1, 1), (0, 0), (1, 0)):
        net = Network("hand", InputSpec((3,)), [Dense(W, [threshold, 9])])
        raw = golden.run(net, [[1, 0, 1]])
        assert raw.dtype == np.uint8
        assert raw.tolist() == [[bit, 0]]


def test_unsigned_input_by_hand() -> None:
    # (7, 2, 5): sums 7 + 2 - 5 = 4 and -7 + 2 + 5 = 0; an unsigned 1 is 1, not +1 of a pair.
    net = Network("hand", InputSpec((3,), 3), [Dense(W)])
    assert golden.run(net, [[7, 2, 5], [1, 0, 0]]).tolist() == [[4, 0], [1, -1]]


def test_two_layers_by_hand() -> None:
    # Hidden bits of (7, 2, 5): 4 >= 4 -> 1, 0 >= 1 -> 0, that is (+1, -1).
    second = Dense(np.array([[1, 1], [1, -1], [-1, 1]]))
    net = Network("hand", InputSpec((3,), 3), [Dense(W, [4, 1]), second])
    results = golden.layers(net, [7, 2, 5])
    assert [r.tolist() for r in results] == [[[1, 0]], [[0, 2, -2]]]


def loops(net: Network, image: list[int]) -> list[list[int]]:
    """A second implementation: Python integers and loops, no arrays."""
    signal = [2 * v - 1 for v in image] if net.input.bits == 1 else list(image)
    results = []
    for layer in net.layers:
        assert isinstance(layer, Dense)
        sums = [sum(w * x for w, x in zip(row, signal, strict=True)) for row in layer.weights.tolist()]
        if layer.thresholds is None:
            results.append(sums)
        else:
            limits = layer.thresholds.tolist()
            results.append([int(s >= t) for s, t in zip(sums, limits, strict=True)])
        signal = [1 if bit else -1 for bit in results[-1]]
    return results


@pytest.mark.parametrize("bits", range(1, 9))
def test_against_loops(bits: int) -> None:
    rng = np.random.default_rng(bits)
    sizes = [int(n) for n in rng.integers(1, 40, 4)]
    layers: list[Dense] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        reach = inputs * (2**bits - 1 if index == 0 else 1)
        limits = rng.integers(-reach // 2, reach // 2 + 1, outputs) if index < 2 else None
        layers.append(Dense(rng.choice([-1, 1], (outputs, inputs)), limits))
    net = Network("random", InputSpec((sizes[0],), bits), layers)
    images = rng.integers(0, 2**bits, (70, sizes[0]))
    expected = [loops(net, image) for image in images.tolist()]
    for index, result in enumerate(golden.layers(net, images)):
        assert result.tolist() == [e[index] for e in expected]
    assert np.array_equal(golden.run(net, images), golden.layers(net, images)[-1])


def test_progress_and_empty_batches() -> None:
    net = Network("hand", InputSpec((3,)), [Dense(W)])
    seen: list[Any] = []
    golden.run(net, np.zeros((130, 3), bool), progress=lambda *a: seen.append(a))
    assert seen == [(64, 130), (128, 130), (130, 130)]
    assert golden.run(net, np.zeros((0, 3), bool)).shape == (0, 2)


def test_input_errors() -> None:
    net = Network("hand", InputSpec((3,)), [Dense(W)])
    with pytest.raises(InputError, match="'hand' takes"):
        golden.run(net, np.zeros((2, 4), bool))
