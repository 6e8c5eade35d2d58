"""Real layers on the host: the stated order of operations bit for bit, torch in float64, refusals."""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import needs
from tests.draws import RNG
from xnorcore.errors import InputError, NetworkError
from xnorcore.host import compute as computing
from xnorcore.host import parts
from xnorcore.host.compute import compute
from xnorcore.host.head import Head
from xnorcore.host.layers import (
    Real,
    RealAffine,
    RealAveragePool2d,
    RealClip,
    RealConv2d,
    RealDense,
    RealMaxPool2d,
)
from xnorcore.host.tail import Tail
from xnorcore.model.network import Conv2d, Dense, InputSpec, Network
from xnorcore.reference import fast, golden

F = np.float32


def real(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(F)


def plainly(layer: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Section 10 of docs/numerics.md, number by number."""
    if isinstance(layer, RealDense):
        flat = x.ravel()
        result = []
        for output, row in enumerate(layer.weights):
            total = F(0) if layer.bias is None else layer.bias[output]
            for weight, value in zip(row, flat, strict=True):
                total = F(total + F(weight * value))
            result.append(total)
        return np.array(result)
    shape = layer.output_shape(x.shape)
    result = np.empty(shape, F)
    top, _, left, _ = layer.padding
    window = layer.weights.shape[1:3] if isinstance(layer, RealConv2d) else layer.window
    for y, column, c in np.ndindex(*shape):
        total = F(0)
        if isinstance(layer, RealConv2d) and layer.bias is not None:
            total = layer.bias[c]
        if isinstance(layer, RealMaxPool2d):
            total = F(-np.inf)
        for ky, kx in np.ndindex(*window):
            row, place = y * layer.stride[0] + ky - top, column * layer.stride[1] + kx - left
            if not (0 <= row < x.shape[0] and 0 <= place < x.shape[1]):
                continue
            if isinstance(layer, RealConv2d):
                per = layer.weights.shape[3]
                first = c // (shape[2] // layer.groups) * per
                for i in range(per):
                    total = F(total + F(layer.weights[c, ky, kx, i] * x[row, place, first + i]))
            else:
                value = x[row, place, c]
                total = max(total, value) if isinstance(layer, RealMaxPool2d) else F(total + value)
        if isinstance(layer, RealAveragePool2d):
            total = F(total / F(window[0] * window[1]))
        result[y, column, c] = total
    return result


LAYERS: list[Real] = [
    RealConv2d(real(6, 3, 2, 4), real(6), stride=(2, 1), padding=(1, 0, 1, 0)),
    RealConv2d(real(6, 5, 1, 2), padding=(2, 2, 0, 0), groups=2),
    RealConv2d(real(8, 3, 3, 1), real(8), groups=4, stride=(1, 3)),
    RealMaxPool2d((3, 2), (2, 2), (1, 1, 0, 1)),
    RealAveragePool2d((2, 3), padding=(1, 0, 0, 2)),
    RealDense(real(5, 7 * 6 * 4), real(5)),
    RealDense(real(3, 7 * 6 * 4)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.kind)
@pytest.mark.parametrize("block", [1, 1 << 17])
def test_the_order_of_operations_is_the_stated_one(
    layer: Real, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "BLOCK", block)
    x = real(3, 7, 6, 4)
    found = compute([layer], x)
    assert found.dtype == F
    for one, image in zip(found, x, strict=True):
        np.testing.assert_array_equal(one, plainly(layer, image))


def test_affine_and_clip_round_each_step() -> None:
    x = real(5, 2, 3, 4)
    scale, offset = real(4), real(4)
    found = compute([RealAffine(scale, offset), RealClip(-0.5, 1)], x)
    for place in np.ndindex(*x.shape):
        c = place[-1]
        value = F(F(x[place] * scale[c]) + offset[c])
        assert found[place] == min(max(value, F(-0.5)), F(1))
    assert compute([RealClip(), RealClip(None, 0.25)], x).max() == F(0.25)


def test_layers_are_what_torch_computes_in_float64() -> None:
    torch = needs.torch()
    x = real(2, 9, 8, 4)
    layers: list[Real] = [
        RealConv2d(real(6, 3, 3, 2), real(6), stride=(1, 2), padding=(1, 1, 1, 1), groups=2),
        RealAffine(real(6), real(6)), RealClip(-1, 1), RealMaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)),
        RealAveragePool2d((2, 2), (1, 1)), RealDense(real(5, 4 * 6), real(5)),
    ]  # fmt: skip
    every: list[Any] = layers
    conv, affine, _, _, _, dense = every
    f = torch.nn.functional
    y = torch.tensor(x).double().permute(0, 3, 1, 2)
    weights = torch.tensor(conv.weights).double().permute(0, 3, 1, 2)
    y = f.conv2d(y, weights, torch.tensor(conv.bias).double(), (1, 2), 1, groups=2)
    y = y * torch.tensor(affine.scale)[:, None, None] + torch.tensor(affine.offset)[:, None, None]
    y = f.avg_pool2d(f.max_pool2d(f.hardtanh(y), 3, 2, 1), 2, 1).permute(0, 2, 3, 1).reshape(2, -1)
    y = f.linear(y, torch.tensor(dense.weights).double(), torch.tensor(dense.bias).double())
    assert np.abs(compute(layers, x) - y.numpy()).max() < 1e-5


# Head and tail.


def network(**changes: Any) -> Network:
    rng = np.random.default_rng(3)
    head = Head(
        (8, 6, 2),
        [RealConv2d(rng.normal(size=(5, 3, 3, 2)), padding=(1, 1, 1, 1)), RealMaxPool2d((2, 2))],
        rng.normal(1.5, 1, size=(5, 1)), np.linspace(-1, 1, 256)[np.newaxis],
    )  # fmt: skip
    conv = Conv2d(rng.choice([-1, 1], (4, 2, 2, 5)), rng.integers(-4, 4, 4))
    tail = Tail((3, 2, 4), [RealAveragePool2d((3, 2)), RealDense(rng.normal(size=(3, 4)))])
    return Network("n", InputSpec((4, 3, 5)), [conv], **({"head": head, "tail": tail} | changes))


@pytest.mark.parametrize(
    ("side", "channels", "kernel", "stride"), [(67, 3, 11, 4), (32, 3, 3, 1), (30, 3, 7, 2), (10, 64, 3, 1)]
)
def test_rounding_stays_within_1e_5_of_a_deviation(
    side: int, channels: int, kernel: int, stride: int
) -> None:
    """A first convolution beside float64: what a batch norm makes of it differs by less than 1e-5."""
    weights, pixels = real(16, kernel, kernel, channels), RNG.integers(0, 256, (2, side, side, channels))
    images = (pixels / 255).astype(F)
    found = compute([RealConv2d(weights, stride=(stride, stride))], images)
    taps = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (kernel, kernel), (1, 2))
    wanted = np.einsum("nyxchw,ohwc->nyxo", taps[:, ::stride, ::stride], weights.astype(np.float64))
    error = np.abs(found - wanted).max(axis=(0, 1, 2)) / wanted.std(axis=(0, 1, 2))
    assert 0 < error.max() < 1e-5


def test_a_network_with_a_head_and_a_tail() -> None:
    net = network()
    assert (net.image_shape, net.outputs, net.class_count) == ((8, 6, 2), 24, 3)
    images = RNG.integers(0, 256, (50, 8, 6, 2))
    values = net.encode(images)
    assert values.shape == (50, 60)
    assert 0.2 < values.mean() < 0.8
    raw = golden.run(net, values)
    np.testing.assert_array_equal(raw, fast.run(net, values))
    scores = net.scores(raw)
    assert (scores.dtype, scores.shape) == (F, (50, 3))
    np.testing.assert_array_equal(net.classify(raw), scores.argmax(axis=1))
    # Of a device's scores as well: its user need not know that there is a tail.
    np.testing.assert_array_equal(net.classify(scores), scores.argmax(axis=1))
    for bad, message in ((scores[:, :2], "not those of the network's tail"), (scores * np.nan, "not finite")):
        with pytest.raises(InputError, match=message):
            net.classify(bad)
    assert net.tail is not None
    # Bits are -1 and +1 to a tail.
    np.testing.assert_array_equal(
        scores, compute(net.tail.layers, (2.0 * raw - 1).astype(F).reshape(50, 3, 2, 4))
    )


def test_pixels_and_the_floats_that_they_stand_for_are_the_same() -> None:
    net = network()
    assert net.head is not None
    assert net.head.pixels is not None
    images = RNG.integers(0, 256, (5, 8, 6, 2))
    for floats in (net.head.pixels[0][images], net.head.pixels[0][images].astype(np.float64)):
        np.testing.assert_array_equal(net.encode(images), net.encode(floats))
    np.testing.assert_array_equal(net.encode(images[0]), net.encode(images[:1].reshape(1, -1)))


def test_blocks_of_images_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    images = RNG.integers(0, 256, (7, 8, 6, 2), np.uint8)
    whole = net.encode(images)
    scores = net.scores(golden.run(net, whole))
    monkeypatch.setattr(parts, "VALUES", 3 * 8 * 6 * 5)
    done: list[tuple[int, int]] = []
    assert net.head is not None
    np.testing.assert_array_equal(net.head.run(images, progress=lambda *pair: done.append(pair)), whole)
    assert done == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_array_equal(net.scores(golden.run(net, whole)), scores)
    assert net.encode(images[:0]).shape == (0, 60)


def test_a_channel_has_its_own_pixels_and_thresholds() -> None:
    pixels = np.stack([np.arange(17), -np.arange(17)]).astype(F)
    head = Head((1, 2, 2), [], [[3, 5, 5], [-9, -4, 0]], pixels)
    found = head.run(np.array([[[[4, 9], [5, 4]]]]))
    np.testing.assert_array_equal(found, [[1, 1, 3, 2]])
    assert head.maximum == 16


def test_codes_scores_and_scales_go_to_the_tail() -> None:
    dense = Dense(RNG.choice([-1, 1], (4, 6)))
    tail = Tail((4,), [RealDense(real(2, 4))])
    net = Network("n", InputSpec((6,)), [dense], scale=[0.5] * 4, offset=[1, 2, 3, 4], tail=tail)
    raw = golden.run(net, RNG.integers(0, 2, (9, 6)))
    expected = compute(tail.layers, (raw * 0.5 + [1, 2, 3, 4]).astype(F))
    np.testing.assert_array_equal(net.scores(raw), expected)
    codes = Network("n", InputSpec((6,)), [Dense(dense.weights, [[-1, 1]] * 4)], tail=tail)
    raw = golden.run(codes, RNG.integers(0, 2, (9, 6)))
    assert set(np.unique(raw)) <= {0, 1, 2}
    np.testing.assert_array_equal(codes.scores(raw), compute(tail.layers, raw.astype(F)))


def test_networks_are_equal_if_their_ends_are() -> None:
    net = network()
    assert net == network()
    assert net != network(head=None)
    assert net != network(tail=None)
    assert net.head is not None
    other = Head(net.head.shape, net.head.layers, net.head.thresholds)
    assert net != network(head=other)
    assert net.with_layer(0, net.layers[0]) == net


# What is refused.

CONV = RealConv2d(real(4, 3, 3, 2))
BAD: dict[str, tuple[Any, str]] = {
    "nan": (lambda: RealDense([[1.0, np.nan]]), "holds nan, but must be finite"),
    "overflow": (lambda: RealDense([[1e39]]), "holds inf"),
    "empty": (lambda: RealDense(np.zeros((0, 3))), r"shape is \(0, 3\)"),
    "axes": (lambda: RealConv2d(np.zeros((3, 3))), "must have 4 axes"),
    "text": (lambda: RealDense([["a"]]), "not an array of numbers"),
    "bias": (lambda: RealDense(real(2, 3), real(3)), "3 values, but there are 2 outputs"),
    "kernel": (lambda: RealConv2d(real(1, 16, 1, 1)), r"kernel: \(16, 1\) must be 2 integers from 1 to 15"),
    "stride": (lambda: RealConv2d(real(1, 1, 1, 1), stride=(0, 1)), "stride: .* from 1 to 15"),
    "padding": (lambda: RealConv2d(real(1, 3, 1, 1), padding=(0, 0, 1, 0)), "less than the window's side"),
    "groups": (lambda: RealConv2d(real(4, 1, 1, 1), groups=3), "groups: 3 must .* divides the 4 outputs"),
    "window": (lambda: RealMaxPool2d((256, 1)), "window: .* from 1 to 255"),
    "clip": (lambda: RealClip(1, 0), "low is 1.0, above high, 0.0"),
    "no limit": (lambda: RealClip(None), "has no limit"),
    "clip nan": (lambda: RealClip(float("nan")), "holds nan"),
    "affine": (lambda: RealAffine([1, 2], [1]), "must have the same"),
    "channels": (lambda: Head((8, 8, 3), [CONV], [[0]]), "head, layer 0: .* of 2 channels"),
    "fit": (lambda: Head((2, 8, 2), [CONV], [[0]]), "does not fit the padded map"),
    "flat": (lambda: Tail((128,), [CONV]), "takes a map"),
    "inputs": (lambda: Tail((128,), [RealDense(real(2, 3))]), "takes 3 values, but reads 128"),
    "layer": (lambda: Head((8,), cast(Any, [Dense([[1]])]), [[0]]), "Dense is no real layer; known: Real"),
    "many": (lambda: Head((8,), [RealClip()] * 33, [[0]]), "found 33, the limit is 32"),
    "shape": (lambda: Head((8, 8), [], [[0]]), r"\(8, 8\) must be \(values,\)"),
    "image": (lambda: Head((1 << 11, 1 << 10, 1), [], [[0]]), "at most 1048576 values"),
    "map": (lambda: Head((1000, 1000, 1), [RealConv2d(real(5, 1, 1, 1))], [[0]]), "gives 5000000 values"),
    "reach": (
        lambda: Head((2,), [RealAffine([1e30], [0]), RealAffine([1e10], [0])], [[0]]),
        "layer 1: may reach 1.05e.46",
    ),
    "falling": (lambda: Head((2,), [], [[1, 0]]), "rising order"),
    "steps": (lambda: Head((2,), [], np.zeros((1, 256))), "1 to 255"),
    "pixels": (lambda: Head((2,), [], [[0]], np.zeros((3, 256))), "1 or 2 channels, 2 to 256"),
    "far": (lambda: Head((2,), [], [[0]], [[0, 2e6]]), "beyond"),
    "input": (lambda: network(head=Head((4, 3, 4), [], [[0]])), r"gives \(4, 3, 4\), but .* \(4, 3, 5\)"),
    "bits": (lambda: network(head=Head((4, 3, 5), [], [[0, 1]])), "0 to 2, which 1-bit inputs"),
    "result": (lambda: network(tail=Tail((24,), [])), r"reads \(24,\), but .* gives \(3, 2, 4\)"),
    "classes": (lambda: network(classes=4), "1 to the 3 outputs"),
    "no head": (lambda: network(head=3), "int is not a Head"),
    "no tail": (lambda: network(tail=3), "int is not a Tail"),
    "result's reach": (
        lambda: Network(
            "n", InputSpec((1,)), [Dense([[1]])], scale=[1e30], tail=Tail((1,), [RealAffine([1e10], [0])])
        ),
        "tail, layer 0: may reach",
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_what_is_not_legal_is_refused_by_name(make: tuple[Any, str]) -> None:
    with pytest.raises(NetworkError, match=make[1]):
        make[0]()


def test_too_many_numbers_or_products_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_STORED", 71)
    with pytest.raises(NetworkError, match="store 72 numbers, the limit is 71"):
        Head((8, 8, 2), [CONV], [[0]])
    monkeypatch.undo()
    monkeypatch.setattr(parts, "MAX_WORK", 36 * 72 - 1)
    with pytest.raises(NetworkError, match="2592 operations for an image, the limit is 2591"):
        Head((8, 8, 2), [CONV], [[0]])
    with pytest.raises(NetworkError, match="4225 operations for an image, the limit is 2591"):
        Tail((65, 65, 1), [RealMaxPool2d((65, 65))])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((1, 8, 6, 3), np.uint8),
            r"shape \(1, 8, 6, 3\), but must have \(n, 8, 6, 2\) or \(n, 96\)",
        ),
        (np.full((1, 96), 256), "pixel 256, but pixels are 0 to 255"),
        (np.full((1, 96), -1), "pixel -1"),
        (np.full((1, 96), np.nan), "not finite"),
        (np.full((1, 96), 1e300), "beyond"),
        (np.zeros((1, 96), complex), "complex128"),
        ([[1], [1, 2]], "not an array"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network().encode(images)


def test_a_head_of_numbers_takes_no_pixels() -> None:
    with pytest.raises(InputError, match="no rule for pixels; give them as floats"):
        Head((2,), [], [[0]]).run(np.zeros((1, 2), np.uint8))


def test_bounds_hold() -> None:
    x = np.clip(real(20, 6, 6, 4) * 2, -3, 3)
    kinds: list[Real] = [
        RealConv2d(real(3, 3, 3, 4), real(3)), RealDense(real(4, 144), real(4)), RealAffine(real(4), real(4)),
        RealClip(-1, 0.5), RealClip(5, None), RealClip(None, -7), RealMaxPool2d((2, 2)),
        RealAveragePool2d((2, 2)),
    ]  # fmt: skip
    for layer, sign in itertools.product(kinds, (1, -1)):
        assert np.abs(compute([layer], F(sign) * x)).max() <= layer.bound(3)
    assert RealClip(-1, 0.5).bound(3) == 1
    assert RealClip(5, None).bound(3) == 5
