"""Convolution, pooling and global sums: golden against independent references, fast against golden."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests import needs
from tests.campaigns import examples
from xnorcore.files import xnorfile
from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d, Network
from xnorcore.reference import fast, golden

from . import convnets


def net(shape: tuple[int, ...], layers: list[Any], bits: int = 1) -> Network:
    return Network("n", InputSpec(shape, bits), layers)


def both(network: Network, images: Any) -> list[list[list[int]]]:
    """Every layer's outputs by the golden model, after a comparison with the fast one."""
    expected, found = golden.layers(network, images), fast.layers(network, images)
    assert len(expected) == len(found) == len(network.layers)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.array_equal(a, b)
    for run in (golden.run, fast.run):
        raw = run(network, images)
        assert raw.dtype == expected[-1].dtype
        assert np.array_equal(raw, expected[-1])
    return [a.tolist() for a in expected]


# -- by hand ----------------------------------------------------------------------------------------------


def test_taps_are_row_column_channel() -> None:
    # A 2x2x2 image and a kernel that covers it; every tap has its own weight pattern in the 8 channels' rows.
    weights = 2 * np.eye(8, dtype=int).reshape(8, 2, 2, 2) - 1
    image = np.array([1, 0, 0, 0, 0, 0, 0, 0]).reshape(2, 2, 2)
    # Seven signs of -1 and one +1: a row whose +1 meets the +1 has 8, any other has 8 - 2 * 2.
    assert both(net((2, 2, 2), [Conv2d(weights)]), image) == [[[8, 4, 4, 4, 4, 4, 4, 4]]]
    assert both(net((2, 2, 2), [Conv2d(weights)], 8), image * 200) == [[[200] + [-200] * 7]]


@pytest.mark.parametrize(
    ("pad_value", "expected"),
    [(0, [2, 3, 2]), (1, [3, 3, 3]), (-1, [1, 3, 1])],
    ids=["zero", "plus", "minus"],
)
def test_padding_by_hand(pad_value: int, expected: list[int]) -> None:
    layer = Conv2d(np.ones((1, 1, 3, 1)), padding=(0, 0, 1, 1), pad_value=pad_value)
    assert both(net((1, 3, 1), [layer]), [[[1], [1], [1]]]) == [[expected]]
    # Only the left side, and steps of 2: windows (pad 0 1), (1 2 3).
    layer = Conv2d(-np.ones((1, 1, 3, 1)), padding=(0, 0, 1, 0), stride=(1, 2), pad_value=pad_value)
    left = -2 - pad_value
    assert both(net((1, 4, 1), [layer]), [[[1], [1], [1], [1]]]) == [[[left, -3]]]


def test_zero_padding_of_pixels_by_hand() -> None:
    layer = Conv2d([[[[1], [-1]], [[1], [1]]]], padding=(1, 0, 0, 1))
    # Rows: 0 0 0 / 7 2 0 / 5 1 0 with weights + - / + +.
    assert both(net((2, 2, 1), [layer], 3), [[[7], [2]], [[5], [1]]]) == [[[9, 2, 11, 3]]]


def test_pooling_by_hand() -> None:
    keep = Conv2d([[[[1]]]], [0])
    image = np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    for window, stride, expected in [
        ((2, 2), None, [1, 0, 0, 1]),
        ((3, 3), (2, 2), [1, 1, 1, 1]),
        ((3, 3), None, [1]),
        ((2, 2), (3, 3), [1, 0, 0, 1]),
        ((2, 3), (2, 2), [1, 0, 1, 1]),
        ((3, 2), (2, 3), [1, 0, 0, 1]),
    ]:
        assert both(net((5, 5, 1), [keep, MaxPool2d(window, stride)]), image[..., None])[1] == [expected]


def test_global_sum_by_hand() -> None:
    keep = Conv2d([[[[1, 1]]], [[[-1, -1]]]], [1, 0])
    # Channel 0 is 1 where both bits are; channel 1 where at least one is not.
    image = [[[1, 1], [1, 0], [0, 0]]]
    last = [[1, 1], [1, -1]]
    assert both(net((1, 3, 2), [keep, GlobalSum(), Dense(last)]), image)[1:] == [[[-1, 1]], [[0, -2]]]
    assert both(net((1, 3, 2), [keep, GlobalSum(), Dense(last, [0, -1])]), image)[2] == [[1, 0]]


def test_dense_reads_maps_row_by_row() -> None:
    keep = Conv2d(np.array([[[[1, -1]]], [[[-1, 1]]]]), [1, 1])
    weights = 2 * np.eye(8, dtype=int) - 1
    image = np.zeros((2, 2, 2), int)
    image[1, 0] = 0, 1  # sums -2 and 2: channel 1 of position (1, 0) is the only 1, the flat index 5
    assert both(net((2, 2, 2), [keep, Dense(weights)]), image)[1] == [[4, 4, 4, 4, 4, 8, 4, 4]]


# -- against independent implementations -------------------------------------------------------------------


def chain(network: Network, image: np.ndarray) -> list[list[int]]:
    """A second implementation in Python integers: a dictionary of positions, no arrays."""
    h, w, c = network.input.shape
    flat = [int(v) for v in image.reshape(-1)]
    if network.input.bits == 1:
        flat = [2 * v - 1 for v in flat]
    values = {(y, x): flat[(y * w + x) * c : (y * w + x + 1) * c] for y in range(h) for x in range(w)}
    results = []
    for value, layer in zip(network.values[1:], network.layers, strict=True):
        if isinstance(layer, Dense):
            vector = [v for place in sorted(values) for v in values[place]]
            sums = [sum(a * b for a, b in zip(row, vector, strict=True)) for row in layer.weights.tolist()]
            values = {(0, 0): sums}
        elif isinstance(layer, Conv2d):
            values = slide(layer, values, len(next(iter(values.values()))))
        elif isinstance(layer, MaxPool2d):
            values = pooled(layer, values)
        else:
            values = {(0, 0): [sum(v) for v in zip(*values.values(), strict=True)]}
        if isinstance(layer, (Dense, Conv2d)) and layer.thresholds is not None:
            limits = layer.thresholds.tolist()
            values = {
                p: [1 if s >= t else -1 for s, t in zip(v, limits, strict=True)] for p, v in values.items()
            }
        flat = [v for place in sorted(values) for v in values[place]]
        results.append([(v + 1) // 2 for v in flat] if value.result == "bits" else flat)
    return results


def slide(layer: Conv2d, values: dict[tuple[int, int], list[int]], channels: int) -> dict[Any, list[int]]:
    top, bottom, left, right = layer.padding
    (kh, kw), (sy, sx) = layer.kernel, layer.stride
    rows, columns = max(y for y, _ in values) + 1, max(x for _, x in values) + 1
    pad = [layer.pad_value] * channels
    weights = layer.weights.tolist()
    result = {}
    for i, y in enumerate(range(-top, rows + bottom - kh + 1, sy)):
        for j, x in enumerate(range(-left, columns + right - kw + 1, sx)):
            window = [values.get((y + ky, x + kx), pad) for ky in range(kh) for kx in range(kw)]
            result[i, j] = [
                sum(
                    a * b
                    for row, tap in zip([t for r in kernel for t in r], window, strict=True)
                    for a, b in zip(row, tap, strict=True)
                )
                for kernel in weights
            ]
    return result


def pooled(layer: MaxPool2d, values: dict[tuple[int, int], list[int]]) -> dict[Any, list[int]]:
    top, bottom, left, right = layer.padding
    (wh, ww), (sy, sx) = layer.window, layer.stride
    rows, columns = max(y for y, _ in values) + 1, max(x for _, x in values) + 1
    result = {}
    for i, y in enumerate(range(-top, rows + bottom - wh + 1, sy)):
        for j, x in enumerate(range(-left, columns + right - ww + 1, sx)):
            window = [(y + wy, x + wx) for wy in range(wh) for wx in range(ww)]
            parts = [values[p] for p in window if p in values]
            result[i, j] = [max(v) for v in zip(*parts, strict=True)]
    return result


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_golden_against_dictionaries(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(25):
        shape = (int(rng.integers(1, 7)), int(rng.integers(1, 7)), int(rng.choice([1, 2, 3, 5])))
        network = convnets.network(rng, shape, bits, top=5)
        images = rng.integers(0, 2**bits, (2, *shape))
        expected = [chain(network, image) for image in images]
        for index, result in enumerate(golden.layers(network, images)):
            assert result.tolist() == [e[index] for e in expected]


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("channels", [3, 70])
def test_against_scipy(channels: int, bits: int) -> None:
    signal = import_module("scipy.signal")
    rng = np.random.default_rng(channels)
    weights = convnets.signs(rng, 5, 3, 4, channels)
    image = rng.integers(0, 2**bits, (8, 9, channels))
    x = np.pad(2 * image - 1 if bits == 1 else image, ((2, 1), (0, 3), (0, 0)))
    sums = [
        np.sum([signal.correlate2d(x[..., c], w[..., c], "valid") for c in range(channels)], axis=0)
        for w in weights
    ]
    expected = np.stack(sums, axis=-1)[::3, ::2]
    layer = Conv2d(weights, padding=(2, 1, 0, 3), stride=(3, 2))
    assert both(net(image.shape, [layer], bits), image) == [[expected.ravel().tolist()]]


@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_against_torch(pad_value: int) -> None:
    torch = needs.torch()
    functional = torch.nn.functional
    rng = np.random.default_rng(pad_value + 1)
    for _ in range(20):
        channels, outputs = int(rng.choice([1, 3, 5, 64, 70])), int(rng.choice([1, 6, 65]))
        kh, kw, sy, sx = (int(k) for k in (*rng.integers(1, 6, 2), *rng.integers(1, 5, 2)))
        top, bottom, left, right = (int(rng.integers(0, k)) for k in (kh, kh, kw, kw))
        weights = convnets.signs(rng, outputs, kh, kw, channels)
        limits = rng.integers(-9, 10, outputs)
        images = rng.integers(0, 2, (2, 7, 8, channels))
        layer = Conv2d(
            weights, limits, stride=(sy, sx), padding=(top, bottom, left, right), pad_value=pad_value
        )
        x = torch.tensor(2.0 * images - 1).permute(0, 3, 1, 2)
        x = functional.pad(x, (left, right, top, bottom), value=pad_value)
        sums = functional.conv2d(x, torch.tensor(weights * 1.0).permute(0, 3, 1, 2), stride=(sy, sx))
        bits = (sums >= torch.tensor(limits)[:, None, None]).double()
        layers: list[Any] = [layer]
        expected = [bits]
        if min(bits.shape[2:]) >= 3:
            pool = MaxPool2d((3, 3), (2, 2))
            if channels % 2:
                pool = MaxPool2d((3, 2), (2, 1), padding=(1, 1, 1, 1))
            layers.append(pool)
            expected.append(functional.max_pool2d(bits, pool.window, pool.stride, pool.padding[0::2]))
        found = both(net((7, 8, channels), layers), images)
        for a, b in zip(found, expected, strict=True):
            assert a == b.permute(0, 2, 3, 1).reshape(2, -1).int().tolist()


# -- fast against golden, files -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(300))
@given(convnets.networks())
def test_random_networks(case: tuple[Network, np.ndarray]) -> None:
    network, images = case
    both(network, images)
    assert xnorfile.loads(xnorfile.dumps(network)) == network


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("channels", [1, 3, 5, 32, 33, 64, 70, 130])
def test_padding_and_word_sizes(channels: int, pad_value: int) -> None:
    rng = np.random.default_rng(channels)
    first = Conv2d(
        convnets.signs(rng, channels, 3, 2, channels), convnets.limits(rng, channels, 6 * channels),
        padding=(2, 1, 1, 0), pad_value=pad_value,
    )  # fmt: skip
    second = Conv2d(convnets.signs(rng, 66, 5, 5, channels), padding=(4, 0, 2, 3), pad_value=pad_value)
    both(net((4, 6, channels), [first, second]), rng.integers(0, 2, (3, 4, 6, channels)))


@pytest.mark.parametrize("bits", [1, 8])
def test_most_taps_do_not_overflow(bits: int) -> None:
    """65,527 taps of the extreme values, at and beside the thresholds that they reach."""
    channels = 65527 // 7
    rows = np.array([1, -1]).reshape(2, 1, 1, 1).repeat(7, 1).repeat(channels, 3)
    top = 7 * channels * (2**bits - 1)
    images = np.array([0, 2**bits - 1]).reshape(2, 1, 1, 1).repeat(6, 1).repeat(channels, 3)
    for limits in (None, [top, -top], [top // 7 * 6, -top // 7 * 6], [top + 1, -top - 1]):
        layer = Conv2d(rows, limits, padding=(1, 0, 0, 0))
        both(net((6, 1, channels), [layer], bits), images)


@pytest.mark.parametrize(("name", "limit"), [("IMAGES", 2), ("BITS", 150), ("WINDOWS", 2 * 8 * 30 * 2)])
def test_blocks(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    """Blocks of images, and of outputs that end in the middle of one."""
    monkeypatch.setattr(fast, name, limit)
    monkeypatch.setattr("xnorcore.reference.packed.LANES", 7)
    rng = np.random.default_rng(4)
    layers = [
        Conv2d(convnets.signs(rng, 70, 3, 3, 1), rng.integers(-9, 9, 70), padding=(1, 1, 1, 1)),
        Conv2d(convnets.signs(rng, 3, 5, 5, 70), rng.integers(-9, 9, 3), padding=(2, 2, 2, 2), stride=(2, 1)),
        Dense(convnets.signs(rng, 4, 54)),
    ]
    both(net((5, 6, 1), layers, 2), rng.integers(0, 4, (5, 5, 6, 1)))
