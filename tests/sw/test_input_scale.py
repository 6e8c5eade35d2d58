"""XNOR-Net's input scale K: the layer, its file, the reference model, and who refuses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.draws import RNG
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, FileFormatError, NetworkError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputScale, InputSpec, Layer, MaxPool2d, Network
from xnorcore.reference import fast, golden


def signs(*shape: int) -> Any:
    return RNG.choice([-1, 1], shape)


def dense() -> Network:
    scale = InputScale(RNG.integers(-90, 90, 6), RNG.integers(-500, 500, 6), 3, 2, "k")
    layers = [Dense(signs(6, 10)), scale, Dense(signs(5, 6), RNG.integers(-400, 400, 5)), Dense(signs(3, 5))]
    return Network("dense", InputSpec((10,), 3), layers)


def conv() -> Network:
    one = InputScale(RNG.integers(-90, 90, 4), RNG.integers(-500, 500, 4), 2, 4)
    two = InputScale(RNG.integers(-9, 9, 5), RNG.integers(-50, 50, 5), 0, 3)
    layers = [
        Conv2d(signs(4, 2, 3, 2), padding=(1, 0, 1, 1), pad_value=-1), one,
        Conv2d(signs(5, 3, 2, 4), stride=(2, 1), padding=(2, 0, 0, 1)), two, Dense(signs(3, 3 * 6 * 5)),
    ]  # fmt: skip
    return Network("conv", InputSpec((6, 6, 2)), layers)


def by_hand(network: Network, image: np.ndarray) -> list[int]:
    """Scores of one image in Python's own integers, every tap on its own."""
    values = image.reshape(network.input.shape).astype(int)
    values = 2 * values - 1 if network.input.bits == 1 else values
    before = None
    for layer in network.layers:
        if isinstance(layer, InputScale):
            values = np.array(
                [
                    (int(m) * int(s) + int(o)) >> layer.shift
                    for s, m, o in np.broadcast(values, layer.multiplier, layer.offset)
                ]
            ).reshape(values.shape)
        else:
            assert isinstance(layer, (Dense, Conv2d))
            values = _weighted(layer, before, values)
        before = layer
    return values.ravel().tolist()


def _weighted(layer: Dense | Conv2d, before: Any, values: np.ndarray) -> np.ndarray:
    if isinstance(layer, Dense):
        windows = {(): (values.ravel(), np.ones(values.size, bool))}
    else:
        top, bottom, left, right = layer.padding
        pads = ((top, bottom), (left, right), (0, 0))
        padded = np.pad(values, pads, constant_values=layer.pad_value)
        there = np.pad(np.ones(values.shape, bool), pads)
        (kh, kw), (sy, sx) = layer.kernel, layer.stride
        height, width, _ = layer.output_shape(values.shape)
        windows = {
            (y, x): tuple(
                array[y * sy : y * sy + kh, x * sx : x * sx + kw].ravel() for array in (padded, there)
            )
            for y, x in np.ndindex(height, width)
        }
    rows = layer.weights.reshape(layer.outputs, -1)
    result = {}
    for place, (window, inside) in windows.items():
        k = 1
        if isinstance(before, InputScale):
            k = sum(abs(int(v)) for v, real in zip(window, inside, strict=True) if real) >> before.mean_shift
            window = np.where(inside, np.where(window >= 0, 1, -1), 0)
        result[place] = [k * sum(int(w) * int(v) for w, v in zip(row, window, strict=True)) for row in rows]
    found = np.array(list(result.values()))
    if layer.thresholds is not None:
        found = np.where(found >= layer.thresholds, 1, -1)
    return found[0] if isinstance(layer, Dense) else found.reshape(layer.output_shape(values.shape))


@pytest.mark.parametrize("make", [dense, conv])
def test_golden_is_the_definition_and_fast_the_same(make: Any) -> None:
    network = make()
    images = RNG.integers(0, network.input.maximum + 1, (20, *network.input.shape))
    scores = golden.run(network, images)
    assert scores.tolist() == [by_hand(network, image) for image in images]
    assert len(np.unique(scores)) > 3
    assert np.array_equal(fast.run(network, images), scores)
    for ours, theirs in zip(fast.layers(network, images), golden.layers(network, images), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("make", [dense, conv])
def test_file_keeps_it(make: Any) -> None:
    network = make()
    data = xnorfile.dumps(network)
    assert xnorfile.loads(data) == network
    assert xnorfile.dumps(xnorfile.loads(data)) == data


def test_damaged_files_give_one_error() -> None:
    data = xnorfile.dumps(dense())
    for _ in range(300):
        damaged = bytearray(data)
        damaged[RNG.integers(len(data))] ^= 1 << RNG.integers(8)
        with pytest.raises(FileFormatError):
            xnorfile.loads(bytes(damaged))
    for old, new in ((rb"\"channels\":6", rb"\"channels\":5"), (rb"\"shift\":3", rb"\"shift\":63")):
        assert old in data
        with pytest.raises(FileFormatError):
            xnorfile.loads(data.replace(old, new))


def test_values_saturate() -> None:
    """As two's complement; magnitudes are as many on either side."""
    scale = InputScale([2, 1], [0, 1], bits=4)
    layers = [Dense(np.eye(2)), scale, Dense(np.ones((1, 2)))]
    network = Network("n", InputSpec((2,), 3), layers)
    found = golden.layers(network, [[3, 6], [4, 7], [0, 0], [7, 7]])
    assert found[1].tolist() == [[6, 7], [7, 7], [0, 1], [7, 7]]
    assert found[2].tolist() == [[2 * 13], [2 * 14], [2 * 1], [2 * 14]]
    negative = Network("n", InputSpec((2,), 3), [Dense(-np.eye(2)), *layers[1:]])
    found = golden.layers(negative, [[3, 5], [4, 7], [5, 7], [0, 7]])
    assert found[1].tolist() == [[-6, -4], [-8, -6], [-8, -6], [0, -6]]
    assert found[2].tolist() == [[-2 * (5 + 3)], [-2 * (7 + 5)], [-2 * (7 + 5)], [0]]
    assert network.values[2].bound == 7 and network.values[2].bits == 4
    free = Network("n", InputSpec((2,), 3), [layers[0], InputScale([2, 1], [0, 1]), layers[2]])
    assert free.values[2].bound == 15 and free != network
    data = xnorfile.dumps(network)
    assert xnorfile.loads(data) == network and b"saturatedinputscale" in data
    assert b"saturated" not in xnorfile.dumps(free)
    for old, new in ((rb"\"bits\":4", rb"\"bits\":1"), (rb"\"bits\":4", rb"\"bits\":0")):
        assert old in data
        with pytest.raises(FileFormatError):
            xnorfile.loads(data.replace(old, new))


def test_compiler_refuses_by_name() -> None:
    with pytest.raises(CompileError, match=r"layer 'k' is an InputScale, XNOR-Net's K, .* cannot run it"):
        compile_network(dense(), DeviceConfig(Geometry(1, 8, 8)))


ONE = [1, 1, 1, 1]
FIRST, SCALE, LAST = Dense(np.ones((4, 3))), InputScale(ONE, ONE), Dense(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([SCALE, LAST], "InputScale must follow a Dense or Conv2d without thresholds, but follows the input"),
        ([Dense(np.ones((4, 3)), ONE), SCALE, LAST], "must follow a Dense or Conv2d without thresholds"),
        ([FIRST, SCALE], "must be followed by a Dense or Conv2d, but nothing follows"),
        ([FIRST, SCALE, GlobalSum()], "must be followed by a Dense or Conv2d, but GlobalSum follows"),
        ([FIRST, LAST], "only the last layer, or one in front of an InputScale, may give scores"),
        ([FIRST, InputScale([1], [1]), LAST], r"multiplier has shape \(1,\), but must be \(4,\)"),
        ([FIRST, InputScale(ONE, [ONE]), LAST], r"offset has shape \(1, 4\), but must be \(4,\)"),
        ([FIRST, InputScale(ONE, ONE, 63), LAST], "shift is 63, but must be 0 to 62"),
        ([FIRST, InputScale(ONE, ONE, 0, -1), LAST], "mean_shift is -1, but must be 0 to 62"),
        ([FIRST, InputScale(ONE, ONE, bits=1), LAST], "bits is 1, but must be 0, or 2 to 63"),
        ([FIRST, InputScale(ONE, ONE, bits=64), LAST], "bits is 64, but must be 0, or 2 to 63"),
        ([FIRST, InputScale([1 << 61] * 4, ONE), LAST], "values reach .*, the limit is .*; use smaller mult"),
        ([FIRST, InputScale([1 << 59] * 4, ONE), LAST], "K times the sum reaches .*; use larger shifts"),
    ],
)
def test_refused(layers: list[Layer], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network("refused", InputSpec((3,)), layers)


def test_maps_refused() -> None:
    first, scale = Conv2d(np.ones((4, 1, 1, 3))), InputScale(ONE, ONE)
    padded = Conv2d(np.ones((2, 3, 3, 4)), padding=(1, 1, 1, 1), pad_value=-1)
    with pytest.raises(NetworkError, match=r"pad_value is -1, but only 0 can pad behind an InputScale"):
        Network("refused", InputSpec((5, 5, 3)), [first, scale, padded])
    with pytest.raises(NetworkError, match="must be followed by a Dense or Conv2d, but MaxPool2d follows"):
        Network("refused", InputSpec((5, 5, 3)), [first, scale, MaxPool2d()])


@pytest.mark.parametrize("value", [1.5, float("nan"), 1 << 63])
def test_only_integers(value: Any) -> None:
    with pytest.raises(NetworkError, match="input scale, multiplier"):
        InputScale([value], [0])
