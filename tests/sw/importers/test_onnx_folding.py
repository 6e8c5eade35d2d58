"""What folds between a sum and its sign, against executions that share nothing with the folding."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.onnx_graphs import Builder, reference, save
from xnorcore.importers import Imported, onnx
from xnorcore.reference import fast

OUTPUTS = 24
TAPS = 7
POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def every(taps: int = TAPS) -> Any:
    """All images of `taps` bits."""
    return np.array(list(itertools.product((0, 1), repeat=taps)), np.uint8)


def halves(rng: np.random.Generator, *shape: int, most: int = 6) -> Any:
    """Numbers that float32 adds and multiplies without rounding, small ones often."""
    return rng.integers(-most, most + 1, shape) / 2


def exact_norm(b: Builder, x: str, rng: np.random.Generator, channels: int = OUTPUTS) -> str:
    """A batch norm that float32 computes exactly: its roots are 1/2, 1, 2 or 4. Some gammas are 0."""
    gamma = rng.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], channels)
    root = rng.choice([0.5, 1.0, 2.0, 4.0], channels)
    parameters = (gamma, halves(rng, channels), halves(rng, channels), root**2)
    return b.node("BatchNormalization", x, *map(b.const, parameters), epsilon=0.0)


def affine(b: Builder, x: str, rng: np.random.Generator) -> str:
    scale = rng.choice([-2.0, -0.5, 0.5, 1.0, 4.0], (1, OUTPUTS))
    return b.node("Add", b.node("Mul", x, b.const(scale)), b.const(halves(rng, 1, OUTPUTS)))


def low_high(b: Builder, x: str, rng: np.random.Generator) -> str:
    limits = np.sort(rng.integers(-4, 5, 2) / 2)
    return b.node("Clip", x, b.const(limits[0]), b.const(limits[1]))


def wide_limits(b: Builder, x: str, rng: np.random.Generator) -> str:
    x = b.node("Max", x, b.const(halves(rng, 1, OUTPUTS)))
    return b.node("Min", b.const(halves(rng, 1, OUTPUTS)), x)


MAPS: dict[str, Callable[[Builder, str, np.random.Generator], str]] = {
    "norm": exact_norm,
    "affine": affine,
    "relu": lambda b, x, rng: b.node("Relu", x),
    "leaky": lambda b, x, rng: b.node("LeakyRelu", x, alpha=0.25),
    "prelu": lambda b, x, rng: b.node("PRelu", x, b.const(rng.choice([0.0, 0.25, 2.0], (OUTPUTS,)))),
    "clip": low_high,
    "relu6": lambda b, x, rng: b.node("Clip", x, b.const(0.0), b.const(6.0)),
    "max, min": wide_limits,
    "hard": lambda b, x, rng: b.node("HardSigmoid", x, alpha=0.25, beta=0.5),
    "threshold": lambda b, x, rng: b.node("ThresholdedRelu", x, alpha=0.5),
    "neg": lambda b, x, rng: b.node("Neg", x),
}  # fmt: skip


def greater(op: str) -> Callable[[Builder, str], str]:
    return lambda b, x: b.node("Where", b.node(op, x, b.const(0.0)), b.const(1.0), b.const(-1.0))


def quant(mode: str, scale: float = 1.0, zero: float = 0.0) -> Callable[[Builder, str], str]:
    return lambda b, x: b.quant(
        "Quant", x, b.const(scale), b.const(zero), b.const(1.0), signed=0, narrow=0, rounding_mode=mode
    )


SIGNS: dict[str, Callable[[Builder, str], str]] = {
    op: greater(op) for op in ("GreaterOrEqual", "Greater", "Less", "LessOrEqual")
}


def network(model: Any, folder: Path) -> Imported:
    result = onnx.load(save(model, folder), inputs="bipolar")
    assert result.report.check.mismatches == 0
    return result


def outer(b: Builder, middle: Callable[[str], str], seed: int) -> Any:
    """Dense, what `middle` writes up to the sign, dense; scores are integers."""
    rng = np.random.default_rng(seed)
    x = middle(b.node("Gemm", "x", b.const(rng.choice([-1.0, 1.0], (OUTPUTS, TAPS))), transB=1))
    return b.model(b.node("Gemm", x, b.const(rng.choice([-1.0, 1.0], (12, OUTPUTS))), transB=1))


def same_scores(result: Imported, expected: Any, images: Any) -> None:
    """Bit for bit: scores here are small multiples of powers of 2, so that float32 has them exactly."""
    found = result.network.affine(fast.run(result.network, images))
    assert np.array_equal(found, expected.reshape(len(images), -1).astype(np.float64))


@pytest.mark.parametrize("seed", some(range(40), 12))
def test_chains_of_maps_on_every_input(tmp_path: Path, seed: int) -> None:
    """Up to 5 maps in any order; all arithmetic is exact in float32, so onnx's evaluator alone decides."""
    rng = np.random.default_rng(seed)
    b = Builder((1, TAPS))
    keys = [str(key) for key in rng.choice(list(MAPS), rng.integers(1, 6))]

    def middle(x: str) -> str:
        for key in keys:
            x = MAPS[key](b, x, rng)
        return list(SIGNS.values())[seed % 4](b, x)

    model = outer(b, middle, seed)
    images = every()
    (expected,) = reference(model, (2.0 * images - 1).astype(np.float32))
    same_scores(network(model, tmp_path), expected, images)


def quantiser(x: Any, mode: str, scale: float, zero: float) -> Any:
    """QONNX's Quant without sign, one bit, once more."""
    y = np.clip(x / np.float32(scale) + np.float32(zero), 0, 1)
    half = {"ROUND": np.rint(y), "HALF_EVEN": np.rint(y), "HALF_UP": np.floor(y + 0.5), "UP": np.ceil(y)}
    more = {"FLOOR": np.floor(y), "DOWN": np.floor(y), "CEIL": np.ceil(y), "HALF_DOWN": np.ceil(y - 0.5)}
    more |= {"ROUND_TO_ZERO": np.floor(y), "DPU": np.rint(y)}
    return ({**half, **more}[mode] - np.float32(zero)) * np.float32(scale)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.25, 4.0, 2.0])
@pytest.mark.parametrize(
    "mode",
    ["ROUND", "FLOOR", "CEIL", "HALF_UP", "HALF_DOWN", "UP", "DOWN", "HALF_EVEN", "ROUND_TO_ZERO", "DPU"],
)
def test_one_bit_quantiser_without_sign(tmp_path: Path, mode: str, scale: float, relu: bool) -> None:
    """Sums are odd: with 2 as their unit, half a scale, a scale and 0 are all reached."""
    seed = len(mode) + int(4 * scale)
    rng = np.random.default_rng(seed)
    shift = rng.integers(-3, 4, (1, OUTPUTS)) * scale / 2
    zero = float(rng.choice([0.0, 0.0, 0.5]))
    b = Builder((1, TAPS))

    def middle(x: str) -> str:
        x = b.node("Add", b.node("Mul", x, b.const(scale / 2)), b.const(shift))
        return quant(mode, scale, zero)(b, b.node("Relu", x) if relu else x)

    model = outer(b, middle, seed)
    result = network(model, tmp_path)
    w1, w2 = (np.asarray(t) for t in _weights(model))
    images = every()
    z = ((2.0 * images - 1) @ w1.T * scale / 2 + shift).astype(np.float32)
    y = quantiser(np.maximum(z, 0) if relu else z, mode, scale, zero)
    assert len(np.unique(y)) == (1 if relu and zero and mode in ("CEIL", "UP") else 2)
    same_scores(result, y @ w2.T, images)


def _weights(model: Any) -> list[Any]:
    from onnx import numpy_helper

    arrays = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [array for array in arrays if array.shape in ((OUTPUTS, TAPS), (12, OUTPUTS))]


@pytest.mark.parametrize("op", ["Round", "Floor", "Ceil"])
@pytest.mark.parametrize("clip", ["clip", "hard sigmoid", "shifted"])
def test_rounding_of_what_is_clipped(tmp_path: Path, op: str, clip: str) -> None:
    """What the first binarized networks wrote: round(clip((x + 1) / 2, 0, 1)) * 2 - 1."""
    b = Builder((1, TAPS))

    def middle(x: str) -> str:
        x = b.node("Mul", x, b.const(0.25))
        if clip == "hard sigmoid":
            x = b.node("HardSigmoid", x, alpha=0.5, beta=0.5)
        else:
            x = b.node("Clip", b.node("Add", x, b.const(0.5)), b.const(0.0), b.const(1.0))
        if clip == "shifted":
            x = b.node("Sub", b.node("Neg", x), b.const(2.0))
        return b.node("Sub", b.node("Mul", b.node(op, x), b.const(2.0)), b.const(1.0))

    model = outer(b, middle, 5)
    images = every()
    (expected,) = reference(model, (2.0 * images - 1).astype(np.float32))
    same_scores(network(model, tmp_path), expected, images)


@pytest.mark.parametrize(("bits", "limit"), [(2.0, 1.5), (4.0, 1.25), (8.0, 2.0)])
def test_wide_quantiser_that_a_clip_leaves_two_values(tmp_path: Path, bits: float, limit: float) -> None:
    """Quant to many bits of what lies between 0 and about one step: 0 or 1 step, decided half to even."""
    b = Builder((1, TAPS))

    def middle(x: str) -> str:
        x = b.node("Clip", b.node("Mul", x, b.const(0.5)), b.const(0.0), b.const(limit))
        return b.quant("Quant", x, b.const(1.5), b.const(0.0), b.const(bits), signed=0, narrow=0)

    model = outer(b, middle, 6)
    w1, w2 = _weights(model)
    images = every()
    z = np.clip((2.0 * images - 1) @ w1.T / 2, 0, limit)
    same_scores(network(model, tmp_path), np.rint(z / 1.5) * 1.5 @ w2.T, images)


@pytest.mark.parametrize("variance", [0.0, -1e-6, 1e-45])
def test_batch_norm_of_variance_zero(tmp_path: Path, variance: float) -> None:
    """A dead neuron: epsilon alone stands under the root; sums at the mean decide exactly."""
    rng = np.random.default_rng(3)
    b = Builder((1, TAPS))
    values = np.where(np.arange(OUTPUTS) % 2, variance, rng.random(OUTPUTS) + 0.5)
    mean = np.where(np.arange(OUTPUTS) % 3, rng.integers(-3, 4, OUTPUTS) * 2 + 1, 0.5)
    gamma = rng.choice([-1.5, -1.0, 0.75], OUTPUTS)

    def middle(x: str) -> str:
        parameters = map(b.const, (gamma, np.zeros(OUTPUTS), mean, values))
        return greater("GreaterOrEqual")(b, b.node("BatchNormalization", x, *parameters))

    model = outer(b, middle, 3)
    images = every()
    w1, w2 = _weights(model)
    y = np.where(((2.0 * images - 1) @ w1.T - mean) * gamma >= 0, 1, -1)
    same_scores(network(model, tmp_path), y @ w2.T, images)


CURVES: dict[str, Callable[[Decimal], Decimal]] = {
    "Tanh": lambda x: 1 - 2 / ((2 * x).exp() + 1),
    "Sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Softplus": lambda x: (1 + x.exp()).ln(),
    "Elu": lambda x: x if x > 0 else x.exp() - 1,
    "Relu": lambda x: max(x, Decimal(0)),
    "LeakyRelu": lambda x: x if x > 0 else x * Decimal(float(np.float32(0.01))),
}


@pytest.mark.parametrize("seed", range(16))
def test_several_batch_norms_and_curves_against_decimals(tmp_path: Path, seed: int) -> None:
    """Random floats: 60 digits of each channel's value at each sum, and its sign, are the thresholds."""
    rng = np.random.default_rng(100 + seed)
    b = Builder((1, TAPS))
    steps: list[Any] = []

    def middle(x: str) -> str:
        for position in range(int(rng.integers(2, 5))):
            p = [rng.normal(size=OUTPUTS), rng.normal(size=OUTPUTS), rng.normal(size=OUTPUTS),
                 rng.random(OUTPUTS) + 0.25]  # fmt: skip
            p = [values.astype(np.float32) for values in p]
            x = b.node("BatchNormalization", x, *map(b.const, p))
            steps.append(p)
            if position % 2 == seed % 2:
                key = list(CURVES)[int(rng.integers(len(CURVES)))]
                x = b.node(key, x)
                steps.append(key)
        return greater("GreaterOrEqual")(b, x)

    model = outer(b, middle, seed)
    result = network(model, tmp_path)
    w1, w2 = _weights(model)
    images = every()
    sums = (2 * images.astype(int) - 1) @ w1.T.astype(int)
    bits = np.empty(sums.shape)
    with localcontext() as context:
        context.prec = 60
        for channel in range(OUTPUTS):
            table = {int(s): _decimal(int(s), channel, steps) for s in np.unique(sums[:, channel])}
            bits[:, channel] = [1 if table[int(s)] >= 0 else -1 for s in sums[:, channel]]
    same_scores(result, bits @ w2.T, images)


def _decimal(s: int, channel: int, steps: list[Any]) -> Decimal:
    value, eps = Decimal(s), Decimal(float(np.float32(1e-5)))
    for step in steps:
        if isinstance(step, str):
            value = CURVES[step](value)
        else:
            gamma, beta, mean, variance = (Decimal(float(p[channel])) for p in step)
            value = gamma * (value - mean) / (variance + eps).sqrt() + beta
    return value


@pytest.mark.parametrize("seed", range(12))
def test_maps_around_a_pooling(tmp_path: Path, seed: int) -> None:
    """Relu, batch norms and clips before and behind the pooling of sums; exact in float32."""
    rng = np.random.default_rng(50 + seed)
    b = Builder((1, 2, 5, 5))
    x = b.node("Conv", "x", b.const(rng.choice([-1.0, 1.0], (OUTPUTS, 2, 2, 2))))
    keys = ["norm", "relu", "leaky", "clip", "neg", "relu6"]
    for _ in range(int(rng.integers(0, 3))):
        x = MAPS[str(rng.choice(keys))](b, x, rng)
    x = b.node("MaxPool", x, **POOL)
    for _ in range(int(rng.integers(1, 3))):
        x = MAPS[str(rng.choice(keys))](b, x, rng)
    x = b.node("Flatten", list(SIGNS.values())[seed % 4](b, x))
    model = b.model(b.node("Gemm", x, b.const(rng.choice([-1.0, 1.0], (6, 4 * OUTPUTS))), transB=1))
    result = network(model, tmp_path)
    images = rng.integers(0, 2, (60, 5, 5, 2), np.uint8)
    (expected,) = reference(model, (2.0 * images.transpose(0, 3, 1, 2) - 1).astype(np.float32))
    same_scores(result, expected, images)


def test_sign_behind_relu_is_zero_or_one(tmp_path: Path) -> None:
    """torch.sign(relu(x)): 0 is reached, and is one of the two values."""
    b = Builder((1, TAPS))
    model = outer(b, lambda x: b.node("Sign", b.node("Relu", x)), 8)
    images = every()
    (expected,) = reference(model, (2.0 * images - 1).astype(np.float32))
    same_scores(network(model, tmp_path), expected, images)


def test_relu_behind_a_sign_is_two_other_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    b = Builder((1, 2, 5, 5))
    x = b.sign(b.node("Conv", "x", b.const(rng.choice([-1.0, 1.0], (OUTPUTS, 2, 2, 2)))))
    x = b.node("Relu", b.node("MaxPool", x, **POOL))
    model = b.model(b.node("Gemm", b.node("Flatten", x), b.const(np.ones((3, 4 * OUTPUTS))), transB=1))
    result = network(model, tmp_path)
    assert np.all(np.asarray(result.network.scale) == 0.5)


@pytest.mark.parametrize("expand", ["node", "initializer"])
def test_one_value_per_channel_expanded_to_the_map(tmp_path: Path, expand: str) -> None:
    """``bias.expand_as(x)``: an Expand to the shape of x, or a constant of that shape."""
    rng = np.random.default_rng(10)
    bias = halves(rng, 1, 8, 1, 1)
    b = Builder((1, 2, 6, 6))
    x = b.node("Conv", "x", b.const(rng.choice([-1.0, 1.0], (8, 2, 3, 3))), pads=[1, 1, 1, 1])
    if expand == "node":
        wide = b.node("Expand", b.const(bias), b.node("Shape", x))
    else:
        wide = b.const(np.broadcast_to(bias, (1, 8, 6, 6)))
    x = b.node("Mul", b.node("Add", x, wide), b.const(np.full((8, 6, 6), -0.5)))
    x = b.node("Flatten", greater("Greater")(b, x))
    model = b.model(b.node("Gemm", x, b.const(rng.choice([-1.0, 1.0], (5, 288))), transB=1))
    result = network(model, tmp_path)
    images = rng.integers(0, 2, (40, 6, 6, 2), np.uint8)
    (expected,) = reference(model, (2.0 * images.transpose(0, 3, 1, 2) - 1).astype(np.float32))
    same_scores(result, expected, images)


def test_scores_behind_two_batch_norms(tmp_path: Path) -> None:
    """Scale and offset hold the product of two roots, rounded once."""
    rng = np.random.default_rng(11)
    b = Builder((1, TAPS))
    p = [[values.astype(np.float32) for values in (rng.normal(size=4), rng.normal(size=4), rng.normal(size=4),
          rng.random(4) + 0.5)] for _ in range(2)]  # fmt: skip
    x = b.node("Gemm", "x", b.const(rng.choice([-1.0, 1.0], (4, TAPS))), transB=1)
    for q in p:
        x = b.node("BatchNormalization", x, *map(b.const, q), epsilon=0.0)
    result = network(b.model(x), tmp_path)
    with localcontext() as context:
        context.prec = 60
        for channel in range(4):
            (g1, b1, m1, v1), (g2, b2, m2, v2) = ([Decimal(float(v[channel])) for v in q] for q in p)
            scale = g1 * g2 / (v1.sqrt() * v2.sqrt())
            offset = g2 * (-g1 * m1 / v1.sqrt() + b1 - m2) / v2.sqrt() + b2
            assert np.asarray(result.network.scale)[channel] == float(scale)
            assert np.asarray(result.network.offset)[channel] == float(offset)


def test_thresholds_are_those_of_fold_batchnorm(tmp_path: Path) -> None:
    """Two foldings, one of forms and one of sets, agree on a plain batch norm."""
    from xnorcore.folding.fold import fold_batchnorm
    from xnorcore.model.layers import Dense

    rng = np.random.default_rng(12)
    b = Builder((1, TAPS))
    w = rng.choice([-1.0, 1.0], (OUTPUTS, TAPS))
    p = [values.astype(np.float32) for values in (rng.normal(size=OUTPUTS), rng.normal(size=OUTPUTS),
         rng.normal(size=OUTPUTS) * 3, rng.random(OUTPUTS))]  # fmt: skip
    x = b.node("BatchNormalization", b.node("Gemm", "x", b.const(w), transB=1), *map(b.const, p))
    model = b.model(greater("GreaterOrEqual")(b, x))
    first = network(model, tmp_path).network.layers[0]
    weights, thresholds = fold_batchnorm(
        w.astype(int), gamma=p[0], beta=p[1], mean=p[2], var=p[3], eps=float(np.float32(1e-5))
    )
    assert isinstance(first, Dense)
    assert np.array_equal(first.weights, weights) and np.array_equal(np.asarray(first.thresholds), thresholds)
