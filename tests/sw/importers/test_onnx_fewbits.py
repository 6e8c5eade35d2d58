"""Import of several bits: every layer's codes against an executor in rationals; what is refused, and how."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.fewbit_graphs import NIL, ROUNDS, Net, exact
from tests.sw.importers.onnx_graphs import Builder, save
from xnorcore.errors import ImportFailedError
from xnorcore.importers import Imported, onnx
from xnorcore.importers.onnx.grids import step_of
from xnorcore.model.layers import has_weights
from xnorcore.model.network import Conv2d, Network
from xnorcore.reference import golden

IMAGES = 40


def pixels(*shape: int, bits: int = 3, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 1 << bits, (IMAGES, *shape))


def imported(net: Net, folder: Path, bits: int = 3) -> Imported:
    return onnx.load(save(net.model(), folder), inputs=f"uint{bits}", host=False)


def check(net: Net, folder: Path, images: Any, *, bits: int = 3) -> Network:
    """Import a net and compare all that its layers give, and its scores and classes."""
    network = imported(net, folder, bits).network
    results = golden.layers(network, np.moveaxis(images, 1, -1) if images.ndim == 4 else images)
    shown = [
        one
        for index, one in enumerate(results)
        if network.values[index + 1].result != "sums"
        and network.pooled_by(index) is None
        and not any(network.layers[reader].name.startswith("turn") for reader in network.readers[index + 1])
    ]
    for one, expected in zip(shown, net.hidden(), strict=True):
        assert len(np.unique(expected)) > 1
        assert np.array_equal(one, expected)
    exact = net.v.astype(np.float64)
    assert np.allclose(network.affine(results[-1]), exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max())
    assert np.array_equal(network.classify(results[-1]), classes(net.v))
    return network


def classes(values: Any) -> Any:
    """The largest of each row, of equal ones the first."""
    return np.array([row.tolist().index(max(row.tolist())) for row in values])


def widths(network: Network) -> list[int]:
    return [layer.weight_width for layer in network.layers if has_weights(layer)]


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (2, {"narrow": 1}), (2, {}), (3, {"signed": 0}), (3, {"narrow": 1, "mode": "FLOOR"}),
        (4, {"signed": 0, "mode": "CEIL", "scale": 0.11}), (2, {"mode": "HALF_UP", "scale": 0.5}),
        (3, {"mode": "HALF_DOWN", "scale": 0.25}), (2, {"mode": "UP"}), (3, {"mode": "DOWN", "scale": 0.25}),
        (2, {"signed": 0, "narrow": 1, "zero": 1.0}), (8, {"scale": 0.02}),
    ],
)  # fmt: skip
def test_activations(bits: int, options: dict[str, Any], tmp_path: Path) -> None:
    images = pixels(17)
    net = Net((17,), images, seed=bits)
    for outputs in (9, 6):
        net.dense(outputs, 3)
        net.norm()
        net.quant(bits, **options)
    net.dense(4)
    network = check(net, tmp_path, images)
    assert network.values[1].bits == bits


@pytest.mark.parametrize("mode", ROUNDS)
def test_values_where_a_level_begins(mode: str, tmp_path: Path) -> None:
    """Sums are whole, levels 2 apart: every other sum is at a place where rounding decides."""
    images = pixels(5)
    net = Net((5,), images, seed=3)
    net.scaled = False
    net.dense(12, 3)
    net.quant(4, mode=mode, scale=2.0)
    net.dense(12, 3)
    net.relu()
    net.quant(3, mode=mode, scale=8.0, zero=1.0, signed=0)
    net.dense(3)
    check(net, tmp_path, images)


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_weights(bits: int, narrow: int, tmp_path: Path) -> None:
    images = pixels(11)
    net = Net((11,), images, seed=bits + narrow)
    net.dense(7, bits, narrow, bias=True)
    net.norm(falls=bool(narrow))  # the negative of the lowest weight is one more than the highest
    net.quant(2)
    net.dense(5, bits, narrow)
    net.norm(falls=False)
    net.sign()
    net.dense(3, bits, narrow)
    network = check(net, tmp_path, images)
    assert widths(network) == [bits] * 3


@pytest.mark.parametrize(("kind", "seed"), [("dense", 0), ("conv", 0), ("branches", 3)])
def test_lowest_weights_in_channels_that_fall(kind: str, seed: int, tmp_path: Path) -> None:
    """-128 has no negative of 8 bits: a layer behind turns the channel around, of signs as of codes."""
    images = pixels(9) if kind == "dense" else pixels(2, 6, 6)[:8]
    net = Net(images.shape[1:], images, seed=seed)

    def layer(outputs: int, *bits: int, pools: bool = False) -> None:
        if kind == "dense":
            net.dense(outputs, 8, 0)
        else:
            net.conv(outputs, 8, 0, pads=1)
        net.norm()
        if bits:
            net.quant(bits[0], narrow=1)
        else:
            net.sign()
        if pools:
            net.pool()

    layer(6, 3)
    layer(8, pools=kind == "conv")
    if kind == "branches":
        before = net.state
        layer(8, 2)
        one, net.state = net.state, before
        layer(8, 2)
        net.add(one)
        net.keep(net.codes[-1] + net.codes[-2])
    net.dense(3, 8, 0)
    result = imported(net, tmp_path)
    network = check(net, tmp_path, images)
    names = [one.name for one in network.layers]
    turned = [number for number in range(len(names)) if f"turn{number}" in names]
    assert len(turned) == (4 if kind == "branches" else 2)
    for number in turned:
        place = names.index(f"turn{number}")
        first, turn = network.layers[place - 1 : place + 1]
        assert has_weights(first) and has_weights(turn) and (first.weights == -128).any()
        assert set(np.unique(turn.weights)) == {-1, 0, 1}
    said = result.report.human().count("with weights of -128 that fall, turned around")
    assert said == len(turned)


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_stored_multiples_of_a_step(bits: int, tmp_path: Path) -> None:
    """As float32 rounds them: what comes out is exactly what the rounded weights give."""
    images = pixels(2, 6, 6)[:12]
    net = Net((2, 6, 6), images, seed=bits)
    net.stored = True
    net.conv(6, bits, pads=1)
    net.norm()
    net.quant(2, signed=0)
    net.conv(5, bits)
    net.norm()
    net.sign()
    net.dense(4, bits)
    network = check(net, tmp_path, images)
    assert max(widths(network)) == bits
    folded = imported(net, tmp_path).report.layers[1].folded
    assert any(
        one.startswith("weights that differ from integers times their scale by up to") for one in folded
    )


def test_stored_multiples_next_to_a_threshold(tmp_path: Path) -> None:
    """A sum of 0 may be anything in floats; where 0 is no sum, nothing turns."""
    for constant, message in (
        (0.0, r"a sum of 0 steps, where the sign or level changes, is so near"),
        (0.3, ""),
    ):
        net = Net((9,), pixels(9), seed=4)
        net.stored = True
        net.dense(6, 4)
        net.node("Add", net.b.const(np.float32(constant)))
        net.v = net.v + Fraction(float(np.float32(constant)))
        net.sign()
        net.dense(3)
        if not message:
            check(net, tmp_path, pixels(9))
            continue
        with pytest.raises(
            ImportFailedError, match=rf"Gemm .*: weights of output \d are integers .* {message}"
        ):
            imported(net, tmp_path)


def test_what_is_taken_is_equal_for_all_inputs(tmp_path: Path) -> None:
    """Thresholds very near to a sum are refused; others are those of the stored weights."""
    images = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)
    taken = []
    for units in (-300, -60, -8, -1, 0, 1, 8, 60, 300):
        net = Net((3,), images, seed=6)
        net.stored = True
        net.dense(3, 6)
        # In the middle of what occurs.
        edge = np.array([np.sort(column)[len(images) // 2] for column in net.v.T]).astype(np.float32)
        edge = edge + units * np.spacing(np.abs(edge))
        net.node("Sub", net.b.const(edge))
        net.v = net.v - exact(edge)
        net.sign()
        net.dense(2)
        try:
            network = imported(net, tmp_path).network
        except ImportFailedError as error:
            assert "is so near to an integer that it may turn there" in str(error)
            continue
        taken.append(units)
        assert np.array_equal(golden.layers(network, images)[0], net.hidden()[0])
    assert taken == [-300, -60, 60, 300]


@pytest.mark.parametrize("error", [0, 1, 3])
def test_how_far_from_a_step_is_rounding(error: int) -> None:
    """One unit of rounding of the number, which two roundings are at most."""
    levels, step = np.array([3, 17, 40, 101, 127]), np.float32(0.013)
    values = levels.astype(np.float32) * step
    values[3] *= 1 + error * np.finfo(np.float32).eps
    found = step_of(values)
    if error == 3:
        assert found is None
        return
    assert found is not None and found[1].tolist() == levels.tolist() and found[2] < Fraction(1, 1 << 23)
    assert abs(found[0] / Fraction(float(step)) - 1) < Fraction(1, 1 << 22)
    for value, level in zip(values.tolist(), levels.tolist(), strict=True):
        assert abs(Fraction(value) - found[0] * level) <= found[2] * found[0] * level


@pytest.mark.parametrize(("axis", "zero"), [(None, None), (0, 3), (1, None)])
def test_integers_and_their_scale(axis: int | None, zero: int | None, tmp_path: Path) -> None:
    """DequantizeLinear of constants, with one scale or one for each output, tells the integers."""
    images, rng = pixels(7), np.random.default_rng(1)
    net = Net((7,), images, seed=1)
    whole = rng.integers(-50, 50, (5, 7))
    scale = rng.uniform(0.01, 3, 1 if axis is None else 5).astype(np.float32)
    given = [(whole.T if axis == 1 else whole).astype(np.int8), scale if scale.size > 1 else scale[0]]
    given += [] if zero is None else [np.full(5, zero, np.int8)]
    names = [net.b.const(one) for one in given]
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    weights = net.b.node("DequantizeLinear", *names, **options)
    net.v = net.v @ ((whole - (zero or 0)) * exact(scale).reshape(-1, 1)).T
    net.node("Gemm", weights, transB=int(axis != 1))
    net.quant(3, scale=20.0)
    net.dense(3)
    network = check(net, tmp_path, images)
    assert network.values[1].bits == 3
    folded = imported(net, tmp_path).report.layers[0].folded
    assert not any("differ" in one for one in folded)


@pytest.mark.parametrize("options", some([{"signed": 0}, {"narrow": 1}, {}], 1))
def test_convolutions(options: dict[str, Any], tmp_path: Path) -> None:
    images = pixels(2, 8, 8)
    net = Net((2, 8, 8), images, seed=5)
    net.conv(4, 2, pads=1)
    net.norm()
    net.relu()
    net.quant(2, signed=0)
    net.pool()
    net.conv(5, 3, pads=1)
    net.norm()
    net.quant(3, **options)
    net.conv(3, 2, pads=1, stride=2)  # zero is no code 0 where codes have a sign
    net.norm()
    net.quant(2, **options)
    net.dense(4)
    network = check(net, tmp_path, images)
    third = network.layers[3]
    assert isinstance(third, Conv2d) and third.pad_value == (0 if "signed" in options else 4 - len(options))


@pytest.mark.parametrize("groups", some([2, 6], 1))
def test_groups(groups: int, tmp_path: Path) -> None:
    images = pixels(2, 6, 6)
    net = Net((2, 6, 6), images, seed=groups)
    net.conv(6, 2, groups=2)
    net.norm()
    net.quant(2)
    net.conv(12, 3, pads=1, groups=groups)
    net.norm()
    net.sign()
    net.dense(4)
    network = check(net, tmp_path, images)
    middle = network.layers[1]
    assert has_weights(middle) and np.count_nonzero(middle.weights.any(axis=(1, 2))) == 12 * 6 // groups


@pytest.mark.parametrize(
    ("size", "stride", "pads", "codes"),
    some(
        [
            (2, 2, 0, False),
            (3, 2, 1, True),
            (2, 2, 0, True),
            (3, 2, 1, False),
            (3, 1, 0, False),
            (3, 1, 0, True),
        ],
        2,
        many=True,
    ),
)  # fmt: skip
def test_averages_of_windows(size: int, stride: int, pads: int, codes: bool, tmp_path: Path) -> None:
    """Read by a product as they are, all values that there can be; or quantised, or by a sign."""
    images = pixels(1, 12, 12)[:16]
    net = Net((1, 12, 12), images, seed=size + stride)
    net.conv(4)
    net.norm()
    if codes:
        net.quant(2, signed=0)
    else:
        net.sign()
    net.average(size, stride, pads)
    scale = Fraction(1, size * size)
    low = NIL if codes else -Fraction(1)
    unit = Fraction(float(np.float32(0.3))) * scale if codes else scale * (1 if pads else 2)
    net.keep(((net.v - low) / unit).astype(int))
    net.conv(5, 2)
    net.norm()
    net.quant(3)
    net.average(2, 1)
    net.norm()
    net.sign()
    net.dense(3)
    check(net, tmp_path, images)


def test_averages_and_multi_thresholds(tmp_path: Path) -> None:
    images = pixels(2, 6, 6)
    net = Net((2, 6, 6), images, seed=6)
    net.conv(4)
    net.norm()
    net.multi(5)
    net.conv(4, 3)
    net.multi(3, shared=True, scale=2.0, bias=0.25)
    net.mean()
    net.dense(4, 3)
    check(net, tmp_path, images)


@pytest.mark.parametrize("factor", [1, 2, -0.5])
def test_a_network_that_ends_in_codes(factor: float, tmp_path: Path) -> None:
    """What they are multiplied by at last counts, too."""
    images = pixels(13)
    net = Net((13,), images, seed=7)
    net.dense(6, 2)
    net.norm()
    net.quant(3, signed=0)
    net.dense(5, 2)
    net.norm()
    net.quant(4)
    if factor != 1:
        net.node("Mul", net.b.const(np.float32(factor)))
        net.v = net.v * Fraction(factor)
    network = check(net, tmp_path, images)
    assert network.output_kind == "scores" and network.values[-1].bound == 15


def test_a_network_that_ends_in_pooled_codes(tmp_path: Path) -> None:
    images = pixels(3, 6, 6)
    net = Net((3, 6, 6), images)
    net.conv(5, 2, pads=1)
    net.norm(falls=False)
    net.quant(2, signed=1)
    net.pool()
    network = imported(net, tmp_path).network
    found = golden.run(network, np.moveaxis(images, 1, -1))
    exact = np.moveaxis(net.v, 1, -1).reshape(len(images), -1).astype(np.float64)
    assert np.allclose(network.affine(found), exact, rtol=1e-6)


def test_signs_among_codes(tmp_path: Path) -> None:
    images = pixels(12, bits=1) * 2 - 1
    net = Net((12,), images, seed=8)
    net.dense(9, 2)
    net.quant(3, scale=1.5)
    net.dense(8, 3)
    net.sign()
    net.dense(6, 3)
    net.norm()
    net.quant(2, narrow=1)
    net.dense(3, 2)
    found = onnx.load(save(net.model(), tmp_path), inputs="bipolar").network
    results = golden.layers(found, (images > 0).astype(int))
    for one, expected in zip(results[:-1], net.hidden(), strict=True):
        assert np.array_equal(one, expected)
    assert [value.coding for value in found.values] == ["sign", "unsigned", "sign", "unsigned", "sum"]


@pytest.mark.parametrize("seed", range(3))
def test_sums_that_are_exactly_0(seed: int, tmp_path: Path) -> None:
    """In float64 they are, of codes that float32 rounds: each layer alone gets them unrounded there."""
    images = pixels(6, seed=seed)
    net = Net((6,), images, seed)
    net.dense(5, 2)
    net.norm()
    net.quant(2, signed=0, scale=0.4)
    net.dense(4, 2)
    net.sign()
    net.dense(3, 2)
    check(net, tmp_path, images)


def test_equal_scores_are_equal(tmp_path: Path) -> None:
    """Offsets that differ by class, of codes that have a sign, do not break ties: the lowest class wins."""
    images = np.array([[a, b, c] for a in range(4) for b in range(4) for c in range(4)])
    net = Net((3,), images, seed=9)
    net.dense(6, 2)
    net.quant(2, narrow=1, scale=9.0)
    weights = np.random.default_rng(0).choice([-1.0, 1.0], (40, 6))
    net.node("Gemm", net.b.const(weights), transB=1)
    net.node("Div", net.b.const(np.float32(18.338)))
    net.node("Mul", net.b.const(np.float32(0.7614)))
    net.node("Add", net.b.const(np.float32(-1.16)))
    net.v = (net.v @ np.vectorize(int, otypes=[object])(weights).T) * 1
    network = imported(net, tmp_path, 2).network
    tied = sum(sorted(row.tolist())[-1] == sorted(row.tolist())[-2] for row in net.v)
    assert tied > 5
    assert np.array_equal(network.classify(golden.run(network, images)), classes(net.v))


def test_weights_that_are_stored_as_they_are(tmp_path: Path) -> None:
    """Ternary weights, and small integers times a power of two, without a quantiser's node."""
    images = pixels(9)
    b = Builder((1, 9))
    rng = np.random.default_rng(3)
    first, second = rng.integers(-1, 2, (6, 9)) * 0.37, rng.integers(-3, 4, (4, 6)) * 0.25
    first[2] = 0
    x = b.sign(b.node("Add", b.node("Gemm", "x", b.const(first), transB=1), b.const(np.full(6, 0.1))))
    network = onnx.load(
        save(b.model(b.node("Gemm", x, b.const(second), transB=1)), tmp_path), inputs="uint3"
    ).network
    assert widths(network) == [2, 3]
    hidden = np.where(images @ np.sign(first).T * np.float32(0.37) + np.float32(0.1) >= 0, 1, -1)
    assert np.allclose(network.affine(golden.run(network, images)), hidden @ second.T)


def test_the_report_says_the_bits(tmp_path: Path) -> None:
    net = Net((5,), pixels(5), seed=2)
    net.dense(4, 3)
    net.quant(2)
    net.dense(3, 2)
    report = imported(net, tmp_path).report
    assert [layer.bits for layer in report.layers] == [(3, 3, 2), (2, 2, 0)]
    assert "weights of 3, reads values of 3, values of 2" in report.human()
    assert report.layers[0].memory_bits == 3 * 20 + 32 * 4 * 3
    # A device counts in halves.
    for layer in report.layers:
        assert (
            2 ** (layer.accumulator_bits - 3) <= layer.accumulator_bound < 2 ** (layer.accumulator_bits - 2)
        )
    first = report.layers[0]
    assert report.as_json()["layers"][0]["accumulator_bits"] == first.accumulator_bits
    assert f"within +-{first.accumulator_bound:,}: {first.accumulator_bits} bits" in report.human()


def test_an_old_exporter_has_no_domain(tmp_path: Path) -> None:
    images = pixels(6)
    net = Net((6,), images, seed=4)
    net.dense(5, 3)
    net.quant(3)
    net.dense(3, 3)
    model = net.model()
    for node in model.graph.node:
        node.domain = ""
        for attribute in [one for one in node.attribute if one.name == "rounding_mode"]:
            node.attribute.remove(attribute)
    network = onnx.load(save(model, tmp_path), inputs="uint3").network
    assert np.array_equal(golden.layers(network, images)[0], net.hidden()[0])


def refused(b: Builder, x: str) -> Any:
    """The rest of a net behind something that is refused."""
    return b.model(b.node("Gemm", x, b.signs(2, 4), transB=1))


def _quant(b: Builder, x: str, scale: Any = 0.5, bits: float = 2.0, **attributes: Any) -> str:
    numbers = [b.const(np.asarray(one, np.float32)) for one in (scale, 0.0, bits)]
    return b.quant("Quant", x, *numbers, **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes})


def _dequantised(b: Builder, scale: Any, **options: Any) -> str:
    return b.node("DequantizeLinear", b.const(np.ones((4, 5), np.int8)), b.const(scale), **options)


def _gemm(b: Builder, weights: Any = None) -> str:
    weights = b.signs(4, 5) if weights is None else weights
    return b.node("Gemm", "x", weights, transB=1)


def _steep(b: Builder) -> str:
    return _quant(b, b.const(np.random.default_rng(0).normal(size=(4, 5))), np.linspace(0.1, 0.5, 5)[None])


REFUSED: dict[str, tuple[Callable[[Builder], str], str]] = {
    "many levels": (lambda b: _quant(b, _gemm(b), bits=9.0), "gives 512 levels between layers, the limit is"),
    "scales": (
        lambda b: _quant(b, _gemm(b), np.full((1, 4), [0.1, 0.2, 0.3, 0.4])),
        r"scale is 0\.1\d* for one channel and 0\.2\d* for another, but must be one constant value for all",
    ),
    "no scale": (lambda b: _quant(b, _gemm(b), -0.5), "scale is -0.5, but must be above 0"),
    "not monotone": (
        lambda b: _quant(b, b.node("Abs", _gemm(b)), bits=3.0),
        r"Abs .*channel 0 rises and falls: it is not monotone",
    ),
    "float weights": (
        lambda b: _quant(b, _gemm(b, b.const(np.random.default_rng(0).normal(size=(4, 5))))),
        "weights of output 0 are .*not integers of 8 bits times one scale: they are not quantised",
    ),
    "weights in 9 bits": (
        lambda b: _quant(b, _gemm(b, _quant(b, b.const(np.full((4, 5), [1, 9, -99, 100, 155.0])), 0.5, 10))),
        "weights of output 0 reach 155 times their scale; the limit is -128 to 127",
    ),
    "scales within an output": (
        lambda b: _quant(b, _gemm(b, _steep(b))),
        "weights of output 0 have several scales, by Quant",
    ),
    "falling thresholds": (
        lambda b: b.quant("MultiThreshold", _gemm(b), b.const(np.zeros((4, 3))), out_scale=-1.0),
        "out_scale is -1, but must be above 0",
    ),
    "scales that do not fit": (
        lambda b: _quant(b, _gemm(b, _dequantised(b, np.ones(3), axis=0))),
        r"DequantizeLinear .*: has 3 scales, which do not fit axis 0 of \(4, 5\)",
    ),
    "scales of blocks": (
        lambda b: _quant(b, _gemm(b, _dequantised(b, np.ones((4, 5))))),
        r"DequantizeLinear .*: has scales of blocks, which is not supported; give it one for each output",
    ),
    "relu of codes": (
        lambda b: b.node("Relu", _quant(b, _gemm(b))),
        r"Relu .*: gives more than two values, and Gemm .* reads them without",
    ),
}  # fmt: skip


BAD_NUMBERS = [*product(range(3), (float("nan"), float("inf"), -float("inf"), None)), (0, 0.0), (1, 3e38)]


@pytest.mark.parametrize(("place", "bad"), BAD_NUMBERS)
@pytest.mark.parametrize("role", ["image", "weights", "values"])
def test_numbers_of_a_quantiser(role: str, place: int, bad: float | None, tmp_path: Path) -> None:
    """Each of scale, zero point and bit width: not finite, huge, or (None) not constant."""
    b = Builder((1, 5))

    def quant(x: str) -> str:
        numbers = [b.const(np.float32(one)) for one in (0.5, 0.0, 2.0)]
        if bad is None:
            numbers[place] = b.node("ReduceMax", "x", keepdims=0)
        else:
            numbers[place] = b.const(np.float32(bad))
        return b.quant("Quant", x, *numbers, signed=1, narrow=0, rounding_mode="ROUND")

    weights = b.const(np.random.default_rng(0).integers(-2, 2, (4, 5)) / 2)
    weights = quant(weights) if role == "weights" else weights
    x = b.node("Gemm", quant("x") if role == "image" else "x", weights, transB=1)
    x = quant(x) if role == "values" else _quant(b, x)
    with pytest.raises(ImportFailedError):
        onnx.load(save(refused(b, x), tmp_path), inputs="uint3" if role != "image" else None)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    begin, message = REFUSED[name]
    b = Builder((1, 5))
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(refused(b, begin(b)), tmp_path), inputs="uint3", host=False)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"pads": [1] * 4, "count_include_pad": 0},
            "AveragePool .*averages over fewer values where its window",
        ),
        ({"kernel_shape": [7, 7], "strides": [1, 1]}, "AveragePool .*gives 344 different averages"),
        ({"kernel_shape": [2, 2], "strides": [5, 5]}, "AveragePool .*strides is .5, 5."),
    ],
)
def test_averages_that_are_refused(attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    b = Builder((1, 2, 12, 12))
    x = _quant(b, b.node("Conv", "x", b.signs(4, 2, 3, 3)), bits=3.0)
    x = b.node("AveragePool", x, **{"kernel_shape": [3, 3], "strides": [3, 3], **attributes})
    x = b.node("Conv", x, b.signs(4, 4, 1, 1))
    model = b.model(b.node("Flatten", x))
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(model, tmp_path), inputs="uint3")


def test_maximum_in_front_of_what_falls(tmp_path: Path) -> None:
    b = Builder((1, 2, 6, 6))
    x = b.node("MaxPool", b.node("Conv", "x", b.signs(4, 2, 3, 3)), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Flatten", _quant(b, b.node("Mul", x, b.const(np.float32(-0.1)))))
    model = b.model(b.node("Gemm", x, b.signs(3, 16), transB=1))
    with pytest.raises(ImportFailedError, match=r"MaxPool .*pools in front of what falls in channel 0"):
        onnx.load(save(model, tmp_path), inputs="uint3")


def bent(net: Net) -> None:
    net.norm()


def bent_and_cut(net: Net) -> None:
    net.norm()
    net.relu()


def pooled_first(net: Net) -> None:
    net.pool()
    net.norm(falls=False)


@pytest.mark.parametrize("between", [bent, bent_and_cut, pooled_first])
@pytest.mark.parametrize("end", ["quant", "multi", "sign"])
def test_a_batch_norm_behind_a_quantiser(between: Callable[[Net], None], end: str, tmp_path: Path) -> None:
    """What is quantised and asked again, channel by channel, is a layer of 1 x 1."""
    images = np.random.default_rng(8).integers(0, 4, (8, 2, 4, 4))
    net = Net((2, 4, 4), images, seed=1)
    net.conv(4, 2, pads=1)
    net.norm(falls=False)
    net.quant(3, signed=0, scale=0.3)
    between(net)
    if end == "quant":
        net.quant(2, signed=1, scale=0.4)
    elif end == "multi":
        net.multi(3)
    else:
        net.sign()
    net.dense(3, 2)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    found = golden.run(network, np.moveaxis(images, 1, -1))
    assert np.allclose(network.affine(found), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert np.unique(found).size > 3 or (between is bent_and_cut and end == "sign"), "nothing is below 0"
