"""Signs that are added to the sums of the product that reads them, against an executor in rationals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.fewbit_graphs import Net, exact
from tests.sw.importers.onnx_graphs import save
from xnorcore.errors import ImportFailedError
from xnorcore.importers import onnx
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, Dense
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

DEVICE = DeviceConfig(Geometry(2, 8, 16), 24, code_bits=3)
IMAGES = np.random.default_rng(3).integers(0, 4, (12, 2, 3, 4))


def begun() -> Net:
    net = Net((2, 3, 4), IMAGES)
    net.scaled = False
    net.conv(7, 2, pads=1)
    net.norm(falls=True)
    net.sign()
    return net


def product(net: Net, *, flat: bool) -> None:
    """A product of weights -1 and +1 that keeps the shape; its batch norm falls in some channels."""
    if flat:
        net.v = net.v.reshape(len(net.v), -1)
        weights = net.rng.choice([-1.0, 1.0], (net.v.shape[1],) * 2)
        net.node("Gemm", net.b.const(weights), transB=1)
        net.v = net.v @ exact(weights).T
    else:
        weights = net.rng.choice([-1.0, 1.0], (7, 7, 3, 3))
        net.node("Conv", net.b.const(weights), pads=[1] * 4, kernel_shape=[3, 3])
        v = np.pad(net.v, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=exact(0.0)[()])
        windows = np.lib.stride_tricks.sliding_window_view(v, (3, 3), (2, 3))
        net.v = np.einsum("nchwyx,ocyx->nohw", windows, exact(weights))


def block(net: Net, *, flat: bool, scale: float = 1.0) -> None:
    """`scale` multiplies the sums."""
    signs = net.state
    product(net, flat=flat)
    net.norm(falls=True)
    net.node("Mul", net.b.const(np.float32(scale)))
    net.v = net.v * exact(scale)
    net.add(signs)


@pytest.mark.parametrize(
    ("flat", "scale"), some([(False, 1.0), (True, 1.0), (False, -0.75), (True, 2.5)], 2, many=True)
)
def test_signs_are_added_as_weights(flat: bool, scale: float, tmp_path: Path) -> None:
    """Two blocks; sums have either parity where padding is 0, and one where all taps are there."""
    net = begun()
    if flat:
        net.node("Flatten")
        net.v = net.v.reshape(len(net.v), -1)
    for _ in range(2):
        block(net, flat=flat, scale=scale)
        net.relu()
        net.node("Sub", net.b.const(np.float32(0.25)))
        net.v = net.v - exact(0.25)
        net.sign()
    net.dense(3, 2)
    result = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, layers = result.network, np.moveaxis(IMAGES, 1, -1)
    assert [type(layer) for layer in network.layers[1:]] == [*[Dense if flat else Conv2d] * 2, Dense]
    assert "signs that it reads, added as weights" in result.report.layers[1].folded
    assert 1 < result.report.layers[1].bits[0] <= 8
    found = golden.layers(network, layers)
    codes = [np.asarray(one).reshape(12, -1).tolist() for one in net.hidden()]
    assert [layer.reshape(12, -1).tolist() for layer in found[1:-1]] == codes[1:]
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(found, fast.layers(network, layers), strict=True))
    if any(np.abs(layer.weights).max() > 15 for layer in network.layers if isinstance(layer, Dense | Conv2d)):
        return  # more than a device has
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(layers) == found[-1]).all()


def test_what_does_not_depend_on_the_sums(tmp_path: Path) -> None:
    """A channel with gamma 0 hands on the sign, or is constant; one with a great gamma does not see it."""
    net = begun()
    signs = net.state
    product(net, flat=False)
    gamma = np.array([0, 0, 0, 500, -500, 1, 1], np.float32)
    beta = np.array([0.5, 3, -3, 0, 250, 0, 9], np.float32)
    net.node("BatchNormalization", *map(net.b.const, (gamma, beta, np.zeros(7), np.ones(7))), epsilon=0.0)
    net.v = net.v * exact(gamma).reshape(-1, 1, 1) + exact(beta).reshape(-1, 1, 1)
    net.add(signs)
    net.sign()
    net.dense(3, 2)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    found = golden.layers(network, np.moveaxis(IMAGES, 1, -1))
    wanted = np.moveaxis(net.codes[1], 1, -1)
    assert found[1].reshape(wanted.shape).tolist() == wanted.tolist()
    assert 0 < wanted[..., 0].mean() < 1 and wanted[..., 1].all() and not wanted[..., 2].any()


def other_signs(net: Net) -> None:
    signs = net.state
    product(net, flat=False)
    net.norm()
    net.sign()
    product(net, flat=False)
    net.norm()
    net.add(signs)
    net.sign()


def several_bits(net: Net) -> None:
    block(net, flat=False)
    net.quant(2, signed=1, scale=0.5)


def far(net: Net) -> None:
    """Sums of 140 taps, of which all but the largest turn nothing."""
    net.dense(140, 2)
    net.sign()
    signs = net.state
    product(net, flat=True)
    net.node("Mul", net.b.const(np.float32(1 / 135)))
    net.v = net.v / 135
    net.add(signs)
    net.sign()


def lowest(net: Net) -> None:
    signs = net.state
    net.conv(7, 8, 0, pads=1)
    net.node("Neg")
    net.v = -net.v
    net.add(signs)
    net.sign()


def twice(net: Net) -> None:
    signs = net.state
    block(net, flat=False)
    net.add(signs)
    net.sign()


def pooled(net: Net) -> None:
    signs = net.state
    product(net, flat=False)
    net.node("MaxPool", kernel_shape=[1, 1], strides=[1, 1])
    net.add(signs)
    net.sign()


def scores(net: Net) -> None:
    block(net, flat=False)


def multiplied(net: Net) -> None:
    signs = net.state
    product(net, flat=False)
    left = net.state
    net.state = signs
    net.node("Mul", net.b.const(np.float32(0.5)))
    net.add(left)
    net.sign()


def strided(net: Net) -> None:
    signs = net.state
    net.conv(7, 2, pads=1, stride=2)
    left = net.state
    net.state = signs
    net.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    net.node("Add", left[0])
    net.v = np.zeros((12, 7, 2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_signs, r"Add .*: adds signs to the sums of Conv .*, which reads others: only .* to 2 bits or"),
        (several_bits, r"Add .*: adds signs to sums in front of a quantiser of several bits; quantise both"),
        (far, r"Add .*: channel 0: .* turns at sums of -134 and 136, which makes a weight of 13\d, but"),
        (lowest, r"Add .*: follows weights of -128, .*, in channel 0 of Conv .*, which falls; use narrow"),
        (twice, r"Add .*: adds signs to the sums of Conv .* behind pooling, values .* or other signs; add"),
        (pooled, r"Add .*: adds signs to the sums of Conv .* behind pooling, values"),
        (scores, r"Add .*: stands behind the last layer, whose scores only affine maps may follow"),
        (
            multiplied,
            r"BipolarQuant .*: reads the sums of Conv .*; branch .*, and multiply its values in both",
        ),
        (strided, r"MaxPool .*: pools values that another branch reads as they are"),
    ],
)
def test_what_is_refused(change: Callable[[Net], Any], message: str, tmp_path: Path) -> None:
    net = begun()
    change(net)
    if change is not scores:
        net.dense(3, 2)
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(net.model(), tmp_path), inputs="uint2")
