"""Averages over a whole map, with anything behind them: the same weights at every position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.fewbit_graphs import Net
from tests.sw.importers.onnx_graphs import save
from xnorcore.errors import ImportFailedError
from xnorcore.importers import onnx
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, Dense, GlobalSum
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

DEVICE = DeviceConfig(Geometry(2, 8, 16), 24, code_bits=3)
IMAGES = np.random.default_rng(3).integers(0, 4, (8, 2, 4, 3))


def begun(*, signs: bool) -> Net:
    net = Net((2, 4, 3), IMAGES)
    net.conv(5, 2, pads=1)
    net.norm(falls=True)
    if signs:
        net.sign()
    else:
        net.quant(2, signed=0, scale=0.3)
    return net


def averaged(net: Net) -> None:
    net.node("GlobalAveragePool")
    net.v = net.v.sum(axis=(2, 3), keepdims=True) / (4 * 3)


def one(net: Net, outputs: int, **attributes: Any) -> None:
    """A convolution of 1 x 1."""
    name, weights = net.weights((outputs, net.v.shape[1], 1, 1), 2, 1)
    net.node("Conv", name, kernel_shape=[1, 1], **attributes)
    net.v = np.einsum("nchw,oc->nohw", net.v, weights[:, :, 0, 0])


def quantised(net: Net) -> None:
    averaged(net)
    net.quant(3, signed=0, scale=0.1)
    net.dense(3, 2)


def convolved(net: Net) -> None:
    averaged(net)
    one(net, 6)
    net.relu()
    net.quant(2, signed=0, scale=0.2)
    one(net, 3)


def hidden(net: Net) -> None:
    net.mean()
    net.dense(4, 2)
    net.norm()
    net.sign()
    net.dense(3, 2)


def normed(net: Net) -> None:
    averaged(net)
    net.norm()
    net.sign()
    net.dense(3, 2)


def of_sums(net: Net) -> None:
    one(net, 4)
    averaged(net)
    net.quant(3, signed=1, scale=0.3)
    net.dense(3, 2)


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("change", some([quantised, convolved, hidden, normed, of_sums], 2))
def test_averages_in_front_of_hidden_layers(
    change: Callable[[Net], None], signs: bool, tmp_path: Path
) -> None:
    net = begun(signs=signs)
    change(net)
    result = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, flat = result.network, np.moveaxis(IMAGES, 1, -1)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Conv2d, Dense, Dense]
    average = network.layers[1]
    assert isinstance(average, Dense) and average.inputs == 4 * 3 * 5
    assert "average, as the same weights at 12 positions" in result.report.layers[1].folded
    found = golden.layers(network, flat)
    codes = [np.asarray(one).reshape(8, -1).tolist() for one in net.hidden()]
    assert [layer.reshape(8, -1).tolist() for layer in found[:-1]] == codes and len(codes) == 2
    assert len(np.unique(found[1], axis=0)) > 1
    assert np.allclose(network.affine(found[-1]), net.v.reshape(8, -1).astype(np.float64), rtol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(found, fast.layers(network, flat), strict=True))
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(flat) == found[-1]).all()


def test_a_last_convolution_of_averages_reads_global_sums(tmp_path: Path) -> None:
    net = begun(signs=True)
    averaged(net)
    one(net, 3)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    assert [type(layer) for layer in network.layers] == [Conv2d, GlobalSum, Dense]
    scores = network.affine(golden.run(network, np.moveaxis(IMAGES, 1, -1)))
    assert np.allclose(scores, net.v.reshape(8, -1).astype(np.float64), rtol=1e-6)


def padded(net: Net) -> None:
    averaged(net)
    one(net, 3, pads=[1, 1, 1, 1])


def unquantised(net: Net) -> None:
    averaged(net)
    net.norm()
    net.dense(3, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            padded,
            r"Conv .*: reads one value of each channel with a kernel of 1 x 1 and padding .1, 1, 1, 1.; use",
        ),
        (unquantised, r"Gemm .*: reads the sums of BatchNormalization .* without a sign or a quantiser in"),
    ],
)
def test_what_is_refused(change: Callable[[Net], None], message: str, tmp_path: Path) -> None:
    net = begun(signs=False)
    change(net)
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(net.model(), tmp_path), inputs="uint2")
