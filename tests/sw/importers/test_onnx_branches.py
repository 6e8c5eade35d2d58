"""Branches that additions join: residual networks, against an executor in rationals, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
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
from xnorcore.model.network import Add, Concat, Conv2d, GlobalSum
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

DEVICE = DeviceConfig(Geometry(2, 8, 16), 24, code_bits=3)


def residual(
    images: Any, *, signed: int, zero: float = 0, bits: int = 2, scales: tuple[float, float] = (0.25, 0.5)
) -> Net:
    """Two residual blocks, of which the first changes size: sums that are compared again, or read.

    `scales` are those of the shortcuts; the other branches have 0.25 and 0.5.
    """
    net = Net((2, 6, 6), images)

    def quantised(outputs: int, scale: float = 0.3, **options: Any) -> None:
        net.conv(outputs, 2, **options)
        net.norm(falls=bool(outputs % 2))
        net.quant(bits, signed=signed, narrow=signed, scale=scale, zero=zero)

    quantised(5, pads=1)
    trunk = net.state
    quantised(5, pads=1)
    quantised(7, 0.25, stride=2, pads=1)
    left = net.state
    net.state = trunk
    quantised(7, scales[0], stride=2, pads=1)
    net.add(left)
    net.norm(falls=True)
    net.relu()
    net.quant(bits, signed=0, scale=scales[1])
    trunk = net.state
    quantised(7, 0.5, pads=1)
    net.quant(bits, signed=0, scale=0.5)
    net.add(trunk)
    quantised(4, pads=1)
    net.quant(3, signed=1, scale=0.2)
    net.mean()
    net.dense(3, 2)
    return net


@pytest.mark.parametrize(
    ("signed", "zero", "scales"),
    some([(0, 0, (0.25, 0.5)), (1, 1, (0.75, 1)), (1, 0, (0.125, 0.75))], 2, many=True),
)
def test_residual_networks(signed: int, zero: float, scales: tuple[float, float], tmp_path: Path) -> None:
    """Of branches with one scale, and with scales of 3, 2, 1/2 and 3/2 to 1."""
    images = np.random.default_rng(3).integers(0, 4, (8, 2, 6, 6))
    net = residual(images, signed=signed, zero=zero, scales=scales)
    imported = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, flat = imported.network, np.moveaxis(images, 1, -1)
    kinds = [type(layer) for layer in network.layers]
    assert kinds.count(Add) == 2 and kinds[-2] is GlobalSum
    found = golden.layers(network, flat)
    codes = [
        layer for value, layer in zip(network.values[1:-1], found, strict=False) if value.result == "codes"
    ]
    wanted = {one.tobytes() for one in (np.asarray(each, np.uint8) for each in net.hidden())}
    assert wanted <= {np.ascontiguousarray(layer).tobytes() for layer in codes}
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(found, fast.layers(network, flat), strict=True))
    added = [one for one in imported.report.layers if one.kind == "add"]
    assert len(added) == 2 and all(one.source_nodes for one in added)
    ratios = [Fraction(scale) / unit for scale, unit in zip(scales, map(Fraction, (0.25, 0.5)), strict=True)]
    times = [sorted((ratio.numerator, ratio.denominator)) for ratio in ratios]
    adds = [n for n, layer in enumerate(network.layers) if isinstance(layer, Add)]
    assert [sorted(Counter(network.reads[n]).values()) for n in adds] == times
    assert [bool(one.folded) for one in added] == [ratio != 1 for ratio in ratios]
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(flat) == found[-1]).all()


def test_vectors(tmp_path: Path) -> None:
    """Sums of dense layers, of more than two, one with a sign behind it."""
    images = np.random.default_rng(4).integers(0, 4, (20, 6))
    net = Net((6,), images)

    def quantised(outputs: int, scale: float = 0.4) -> None:
        net.dense(outputs, 2)
        net.norm(falls=False)
        net.quant(2, signed=0, scale=scale)

    quantised(5)
    first = net.state
    quantised(5)
    net.add(first)
    second = net.state
    quantised(5)
    net.add(second)
    net.norm()
    net.sign()
    net.dense(3, 2)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    found = golden.layers(network, images)
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert [type(layer) for layer in network.layers].count(Add) == 2
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(images) == found[-1]).all()


def added_signs(images: Any, use: str) -> Net:
    """Signs are added as residual networks with bits do it, and what reads the sums is what `use` says."""
    net = Net((2, 6, 6), images, seed=7)

    def signs(outputs: int, falls: bool = True) -> None:
        net.conv(outputs, 2, pads=1)
        net.norm(falls=falls)
        net.sign()
        if use == "lowest":  # zero padding is that of the lowest values
            net.node("Add", net.b.const(np.float32(1)))
            net.v = net.v + 1

    signs(5)
    trunk = net.state
    signs(5)
    if use == "scaled":
        net.node("Mul", net.b.const(np.float32(2)))
        net.v = net.v * 2
    net.add(trunk)
    if use == "three":
        trunk = net.state
        net.conv(5, 2)
        net.norm()
        net.sign()
        other = net.state
        net.state = trunk
        net.conv(5, 3)
        net.sign()
        net.add(other)
    elif use in ("chain", "odd"):  # the sum is the next block's shortcut
        trunk = net.state
        signs(5)
        net.add(trunk)
    elif use == "codes":  # and added to what has several bits
        net.state, trunk = trunk, net.state
        net.conv(5, 2, pads=1)
        net.norm(falls=False)
        net.quant(2, signed=1, narrow=1, scale=2.0)
        net.add(trunk)
    if use in ("sign", "scaled", "chain"):
        net.norm()
        net.sign()
        if use == "sign":
            net.pool()
    elif use == "quant":
        net.norm(falls=False)
        net.relu()
        net.quant(3, signed=0, scale=0.3)
    if use != "mean":
        net.conv(4, 3, pads=int(use != "codes"))
        net.norm()
        net.quant(2, signed=1)
    net.mean()
    net.dense(3, 2)
    return net


@pytest.mark.parametrize(
    "use", some(["sign", "odd", "mean", "codes", "scaled", "lowest", "product", "quant", "three", "chain"], 6)
)
def test_additions_of_signs(use: str, tmp_path: Path) -> None:
    """What reads the sums has its weights for each of what is added; a device runs that."""
    images = np.random.default_rng(8).integers(0, 4, (8, 2, 6, 6))
    net = added_signs(images, use)
    imported = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, flat = imported.network, np.moveaxis(images, 1, -1)
    found = golden.layers(network, flat)
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    wanted = {np.asarray(one, np.uint8).tobytes() for one in net.hidden()}
    assert wanted <= {np.ascontiguousarray(layer).astype(np.uint8).tobytes() for layer in found}
    assert all(np.array_equal(a, b) for a, b in zip(found, fast.layers(network, flat), strict=True))
    places = [n for n, layer in enumerate(network.layers) if isinstance(layer, Concat)]
    assert len(places) == 1 + (use in ("chain", "odd", "three"))
    said = imported.report.layers[places[0]]
    assert said.kind == "concat" and said.folded == ("an addition, as weights of what reads it",)
    if use == "scaled":
        reader: Any = network.layers[network.readers[places[0] + 1][0]]
        assert set(np.unique(np.abs(reader.weights))) == {0, 1, 2}
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(flat) == found[-1]).all()


def test_sums_at_a_threshold_behind_a_factor(tmp_path: Path) -> None:
    """What rounds there is executed again from the signs on, in the precision that they have."""
    images = np.random.default_rng(8).integers(0, 4, (8, 2, 6, 6))
    net = Net((2, 6, 6), images, seed=1)
    states = []
    for bits in (2, 3):
        net.conv(5, bits, pads=1)
        net.sign()
        net.node("Mul", net.b.const(np.float32(2)))
        net.v = net.v * 2
        states.append(net.state)
    net.add(states[0])
    net.mean()
    net.dense(3, 2)
    found = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    raw = golden.run(found.network, np.moveaxis(images, 1, -1))
    assert np.allclose(found.network.affine(raw), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert found.report.check.rounded


@pytest.mark.parametrize("join", ["add", "concat"])
def test_pooling_in_front_of_what_falls(join: str, tmp_path: Path) -> None:
    """Pooled as complements, which only a chain's next layer can read; here another one turns them around."""
    images = np.random.default_rng(8).integers(0, 4, (8, 2, 8, 8))
    net = Net((2, 8, 8), images, seed=5)
    net.conv(4, 2, pads=1)
    net.sign()
    trunk, found = net.state, []
    for _ in range(2):
        net.state = trunk
        net.conv(4, 2, pads=1)
        net.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        net.v = net.v.reshape(8, 4, 4, 2, 4, 2).max(axis=(3, 5))
        net.norm()
        net.sign()
        found.append(net.state)
    (net.add if join == "add" else net.concat)(found[0])
    net.conv(3, 2)
    net.norm()
    net.sign()
    net.mean()
    net.dense(3, 2)
    result = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, flat = result.network, np.moveaxis(images, 1, -1)
    layers = golden.layers(network, flat)
    assert np.allclose(network.affine(layers[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    wanted = {np.asarray(one, np.uint8).tobytes() for one in net.hidden()}
    assert wanted <= {np.ascontiguousarray(layer).astype(np.uint8).tobytes() for layer in layers}
    assert sum(layer.name.startswith("turned") for layer in network.layers) == 2
    assert result.report.human().count("channels that fall behind a pooling, turned around") == 2
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(flat) == layers[-1]).all()


def dense_block(images: Any, *, signs: bool) -> Net:
    """Maps put beside all before them, bits or codes, one of them twice; read by products and flattened."""
    net = Net((2, 4, 4), images)

    def quantised(outputs: int) -> None:
        net.conv(outputs, 2, pads=1)
        net.norm(falls=bool(outputs % 2))
        if signs:
            net.sign()
        else:
            net.quant(2, signed=0, scale=0.3)

    quantised(5)
    first = net.state
    quantised(4)
    second = net.state
    net.state = first
    quantised(3)
    net.concat(second, second)
    third = net.state
    quantised(2)
    if not signs:
        net.concat(third)
    net.dense(3, 2)
    return net


@pytest.mark.parametrize("signs", [False, True])
def test_concatenations(signs: bool, tmp_path: Path) -> None:
    images = np.random.default_rng(6).integers(0, 4, (8, 2, 4, 4))
    net = dense_block(images, signs=signs)
    imported = onnx.load(save(net.model(), tmp_path), inputs="uint2")
    network, flat = imported.network, np.moveaxis(images, 1, -1)
    joins = [layer for layer in network.layers if isinstance(layer, Concat)]
    assert len(joins) == 2 - signs and [one.kind for one in imported.report.layers].count("concat") == len(
        joins
    )
    found = golden.layers(network, flat)
    layers = [found[n].reshape(8, -1) for n, one in enumerate(network.layers[:-1]) if isinstance(one, Conv2d)]
    assert [one.tolist() for one in layers] == [one.tolist() for one in net.hidden()]
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        assert (device.infer(flat) == found[-1]).all()


def test_flattened_maps_are_put_together(tmp_path: Path) -> None:
    """Flattened by channel, they are channels of one map all the same; what reads them has their order."""
    images = np.random.default_rng(7).integers(0, 4, (8, 2, 4, 4))
    net = Net((2, 4, 4), images)
    parts = []
    for outputs in (3, 2):
        if parts:
            net.state = parts[0]
        net.conv(outputs, 2, pads=1)
        net.norm(falls=False)
        net.quant(2, signed=0, scale=0.5)
        parts.append(net.state)
    flat = []
    for state in parts:
        net.state = state
        net.node("Flatten")
        flat.append((net.x, net.v.reshape(8, -1)))
    net.state = flat[1]
    net.concat(flat[0])
    net.dense(3, 2)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    found = golden.run(network, np.moveaxis(images, 1, -1))
    assert np.allclose(network.affine(found), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert network.layers[-2].output_shape(*network.shapes[1:3]) == (4, 4, 5)


def test_a_second_quantiser_that_changes_nothing_is_left_out(tmp_path: Path) -> None:
    images = np.random.default_rng(5).integers(0, 4, (9, 6))
    for scale, layers in ((0.4, 2), (0.6, 3)):
        net = Net((6,), images)
        net.dense(5, 2)
        net.norm(falls=False)
        net.quant(2, signed=0, scale=0.4)
        net.quant(2, signed=0, scale=scale)
        net.dense(3, 2)
        network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
        assert len(network.layers) == layers
        scores = network.affine(golden.run(network, images))
        assert np.allclose(scores, net.v.astype(np.float64), rtol=1e-6, atol=1e-5)


def branch(change: Callable[[Net, tuple[str, Any]], None], **options: Any) -> Net:
    """A layer, another one behind it, and what `change` makes of both."""
    net = Net((2, 6, 6), np.zeros((1, 2, 6, 6), int))
    net.conv(4, 2, pads=1)
    net.norm(falls=False)
    net.quant(**{"bits": 2, "signed": 0, "scale": 0.3, **options})
    trunk = net.state
    net.conv(4, 2, pads=1)
    net.norm(falls=False)
    change(net, trunk)
    return net


def quantised_and_added(net: Net, trunk: tuple[str, Any], *, scale: float = 0.3, bits: int = 2) -> None:
    net.quant(bits, signed=0, scale=scale)
    net.add(trunk)


def ended(change: Callable[[Net, tuple[str, Any]], None]) -> Callable[[], Net]:
    def made() -> Net:
        net = branch(change)
        net.dense(3, 2)
        return net

    return made


def sums(net: Net, trunk: tuple[str, Any]) -> None:
    net.add(trunk)


def other_scale(net: Net, trunk: tuple[str, Any]) -> None:
    quantised_and_added(net, trunk, scale=0.25)


def falling_scale(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.node("Neg")
    net.add(trunk)


def great_ratio(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.node("Mul", net.b.const(np.float32(80)))
    net.add(trunk)


def too_many(net: Net, trunk: tuple[str, Any]) -> None:
    quantised_and_added(net, trunk, bits=8)


def signs_(net: Net, trunk: tuple[str, Any]) -> None:
    net.sign()
    net.add(trunk)


def other_shape(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.node("Reshape", net.b.const(np.array([1, 144])))
    left = net.x
    net.state = trunk
    net.node("Transpose", perm=[0, 2, 3, 1])
    net.node("Reshape", net.b.const(np.array([1, 144])))
    net.node("Add", left)
    net.v = net.v.reshape(1, 144)


def put_beside(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.25)
    net.concat(trunk)


def put_beside_a_smaller_map(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.pool()
    net.node("Flatten")
    left = net.x
    net.state = trunk
    net.node("Flatten")
    net.node("Concat", left, axis=1)
    net.v = np.zeros((1, 180))


def put_beside_a_constant(net: Net, trunk: tuple[str, Any]) -> None:
    quantised_and_added(net, trunk)
    net.node("Concat", net.b.const(np.zeros((1, 2, 6, 6), np.float32)), axis=1)
    net.v = np.zeros((1, 6, 6, 6))


def put_together_on_no_axis(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    left, shape = net.x, net.v.shape
    net.state = trunk
    net.node("Concat", left, axis=7)
    net.v = np.zeros((shape[0], 2 * shape[1], *shape[2:]))


def put_together(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.concat(trunk)


def put_together_and_pooled(net: Net, trunk: tuple[str, Any]) -> None:
    put_together(net, trunk)
    net.node("MaxPool", kernel_shape=[1, 1], strides=[1, 1])


def bits_put_together_and_pooled(net: Net, trunk: tuple[str, Any]) -> None:
    net.state = trunk
    net.conv(4, 2, pads=1)
    net.sign()
    bits = net.state
    net.conv(4, 2, pads=1)
    net.sign()
    net.concat(bits)
    net.node("MaxPool", kernel_shape=[1, 1], strides=[1, 1])


def multiplied(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    net.node("Mul", trunk[0])


def pooled(net: Net, trunk: tuple[str, Any]) -> None:
    net.quant(2, signed=0, scale=0.3)
    left = net.x
    net.state = trunk
    net.node("MaxPool", kernel_shape=[1, 1], strides=[1, 1])
    net.node("Add", left)


def two_signs(net: Net, trunk: tuple[str, Any], scale: float = 1.0) -> None:
    net.state = trunk
    net.conv(4, 2, pads=1)
    net.sign()
    one = net.state
    net.conv(4, 2, pads=1)
    net.sign()
    if scale != 1:
        net.node("Mul", net.b.const(np.float32(scale)))
        net.v = net.v * Fraction(float(np.float32(scale)))
    net.add(one)


def signs_of_other_scales(net: Net, trunk: tuple[str, Any]) -> None:
    two_signs(net, trunk, 0.1)


def signs_that_count_often(net: Net, trunk: tuple[str, Any]) -> None:
    two_signs(net, trunk, 2.0)
    weights = np.zeros((4, 4, 1, 1))
    weights[0, :2, 0, 0] = 100, 1
    weights[1:, 0] = 1
    net.node("Conv", net.b.const(weights))
    net.sign()


def padded_signs(net: Net, trunk: tuple[str, Any]) -> None:
    two_signs(net, trunk)
    pads = net.b.const(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    net.node("Pad", pads, net.b.const(np.float32(0.5)))
    net.v = np.pad(net.v, ((0, 0), (0, 0), (1, 1), (1, 1)))
    net.conv(4, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (sums, r"Add .*: reads the sums of Conv .* without a sign or a quantiser in between"),
        (
            other_scale,
            r"Add .*: adds values in steps of 0\.25 to values in .* 0\.3\d*, exactly more than 2\^22 to more "
            r"than 2\^22 \(nearly 5 to 6\): .* limits are 64 and 256; give both branches one quantiser, or",
        ),
        (great_ratio, r"exactly 80 to 1: in integers it counts 81 values and has 244 levels"),
        (falling_scale, r"Add .*: adds values in steps of -0\.3\d* to .*, of which one falls where"),
        (put_beside, r"Concat .*: joins values from 0 in steps of 0\.25 and values from 0 in steps of 0\.3"),
        (put_together_and_pooled, r"MaxPool .*: pools what Concat 'n8' puts together; pool in front of it"),
        (bits_put_together_and_pooled, r"MaxPool .*: pools what Concat .* puts together; pool in front"),
        (put_beside_a_smaller_map, r"Concat .*: joins values of the shapes \(6, 6, 4\) and \(3, 3, 4\); put"),
        (put_together_on_no_axis, r"Concat .*: has axis 7, but its inputs have 4 axes; join channels"),
        (put_beside_a_constant, r"Concat .*: puts constants beside values, which is not supported"),
        (too_many, r"Add .*: gives 259 levels, the limit is 256: 8 bits; quantise to fewer"),
        (signs_, r"Add .*: adds values of one bit, -1 and 1, .* to values of several; quantise both"),
        (
            signs_of_other_scales,
            r"Add .*: adds values in steps of 0\.2.* to values in steps of 2, .*; give both branches one",
        ),
        (
            signs_that_count_often,
            r"Conv .*: has weights of 100 for sums that Add .* makes of signs, .* counts 2 times: more",
        ),
        (padded_signs, r"Conv .*: pads with 0\.5, but sums of signs can be padded with -2, 0, 2 alone"),
        (other_shape, r"Add .*: adds values of the shape \(6, 6, 4\) in another order; transpose or reshape"),
        (multiplied, r"Mul .*: joins two computed tensors, .*: of branches, only those run that Add joins"),
        (pooled, r"MaxPool .*: pools values that another branch reads as they are; pool behind"),
    ],
)  # fmt: skip
def test_what_is_refused(
    change: Callable[[Net, tuple[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(ended(change)().model(), tmp_path), inputs="uint2")


@pytest.mark.parametrize("join", [quantised_and_added, put_together])
def test_what_joins_does_not_end_a_graph(join: Any, tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"(Add|Concat) .*: ends the graph"):
        onnx.load(save(branch(join).model(), tmp_path), inputs="uint2")


def test_a_network_of_branches_has_1x1_layers_of_its_own(tmp_path: Path) -> None:
    net = residual(np.random.default_rng(3).integers(0, 4, (4, 2, 6, 6)), signed=0)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    same = [
        layer
        for layer in network.layers
        if isinstance(layer, Conv2d)
        and layer.kernel == (1, 1)
        and np.count_nonzero(layer.weights) == layer.outputs
    ]
    # Behind the first sum; a second quantiser of other levels; not one of the same.
    assert len(same) >= 2
