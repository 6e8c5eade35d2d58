"""Straight-through idioms, weights that differ by rounding, and functions of constant weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tests import needs
from tests.draws import RNG
from tests.sw.importers.onnx_graphs import Builder, reference, save
from xnorcore.errors import ImportFailedError
from xnorcore.importers import Imported, onnx
from xnorcore.importers.onnx.evaluate import evaluate
from xnorcore.importers.onnx.execute import Executor
from xnorcore.importers.onnx.functions import PLAIN, REDUCTIONS, SHAPED
from xnorcore.importers.onnx.graph import Node
from xnorcore.importers.onnx.read import read_model
from xnorcore.reference import fast

TAPS, WIDE = 27, 16


def network(model: Any, folder: Path) -> Imported:
    result = onnx.load(save(model, folder), inputs="bipolar")
    assert result.report.check.mismatches == 0
    return result


def f(b: Builder, x: str) -> str:
    """A soft function that many nodes compute, one of them no operator of the importer's elsewhere."""
    return b.node("Mul", b.node("Erf", b.node("Mul", x, b.const(0.75))), b.const(1.25))


def first_less(b: Builder, x: str, sign: Callable[[Builder, str], str]) -> str:
    soft = b.node("Clip", x, b.const(-1.0), b.const(1.0))
    return b.node("Add", b.node("Sub", sign(b, x), soft), soft)


def written_twice(b: Builder, x: str, sign: Callable[[Builder, str], str]) -> str:
    """The new exporter computes f once for each use."""
    return b.node("Add", b.node("Sub", sign(b, x), f(b, x)), f(b, x))


def soft_first(b: Builder, x: str, sign: Callable[[Builder, str], str]) -> str:
    soft = b.node("Tanh", x)
    return b.node("Add", soft, b.node("Sub", sign(b, x), soft))


def difference_last(b: Builder, x: str, sign: Callable[[Builder, str], str]) -> str:
    return b.node("Add", sign(b, x), b.node("Sub", x, b.node("Identity", x)))


def negated(b: Builder, x: str, sign: Callable[[Builder, str], str]) -> str:
    soft = f(b, x)
    return b.node("Sub", b.node("Add", b.node("Neg", soft), sign(b, x)), b.node("Neg", soft))


def bit(b: Builder, x: str) -> str:
    return b.node("Where", b.node("GreaterOrEqual", x, b.const(0.0)), b.const(1.0), b.const(-1.0))


def falling(b: Builder, x: str) -> str:
    """With a soft function of the other sign, where floats round: 0.99999994 in place of 1."""
    soft = b.node("Tanh", b.node("Mul", x, b.const(-0.0137)))
    return b.node("Add", b.node("Sub", bit(b, x), soft), soft)


IDIOMS = [first_less, written_twice, soft_first, difference_last, negated]


def net(middle: Callable[[Builder, str], str], *, taps: int = TAPS) -> Any:
    b = Builder((1, taps))
    x = b.node("Gemm", "x", b.const(RNG.choice([-1.0, 1.0], (WIDE, taps))), transB=1)
    x = middle(b, x)
    return b.model(b.node("Gemm", x, b.const(RNG.choice([-1.0, 1.0], (5, WIDE))), transB=1))


def plain(model: Any) -> Any:
    """Scores of a `net` whose middle is a sign, by NumPy."""
    from onnx import numpy_helper

    w = [numpy_helper.to_array(t) for t in model.graph.initializer]
    w1 = next(a for a in w if a.shape in ((WIDE, TAPS), (WIDE, TAPS + 1)))
    w2 = next(a for a in w if a.shape == (5, WIDE))
    return lambda x: np.where(x @ w1.T >= 0, 1.0, -1.0) @ w2.T


def scores(result: Imported, bits: Any) -> Any:
    return result.network.affine(fast.run(result.network, bits))


@pytest.mark.parametrize("sign", [bit, lambda b, x: b.node("Sign", x)], ids=["where", "sign"])
@pytest.mark.parametrize("idiom", IDIOMS)
def test_straight_through_activations(tmp_path: Path, idiom: Any, sign: Any) -> None:
    """27 taps, so that torch.sign never is 0; the soft function is gone from the network."""
    model = net(lambda b, x: idiom(b, x, sign))
    result = network(model, tmp_path)
    assert any(note.startswith("straight-through sums") for note in result.report.notes)
    bits = RNG.integers(0, 2, (200, TAPS), np.uint8)
    assert np.array_equal(scores(result, bits), plain(model)(2.0 * bits - 1))


def test_rounding_of_the_idiom_is_no_difference(tmp_path: Path) -> None:
    """28 taps: a sum of 0 is reached, where values a little off +-1 decide; the next layer's sums as well."""
    w = np.where(np.arange(WIDE**2).reshape(WIDE, WIDE) % 3, 1.0, -1.0)

    def middle(b: Builder, x: str) -> str:
        return falling(b, b.node("Gemm", falling(b, x), b.const(w), transB=1))

    model = net(middle, taps=TAPS + 1)
    result = network(model, tmp_path)
    bits = RNG.integers(0, 2, (300, TAPS + 1), np.uint8)
    hidden = _hidden(model)(2.0 * bits - 1) @ w.T
    assert (hidden == 0).any()
    expected = np.where(hidden >= 0, 1.0, -1.0) @ _last(model).T
    assert np.array_equal(scores(result, bits), expected)
    assert "only in float64" in result.report.check.detail


def _large(scale: float, order: int) -> Any:
    """Sums to 27 times `scale` as the soft function, in several orders; the next layer reads 16 of them."""

    def middle(b: Builder, x: str) -> str:
        soft = b.node("Mul", x, b.const(scale))
        if order == 0:
            return b.node("Add", b.node("Sub", bit(b, x), soft), soft)
        if order == 1:
            return b.node("Add", soft, b.node("Sub", bit(b, x), soft))
        return b.node("Sub", soft, b.node("Sub", soft, bit(b, x)))

    def twice(b: Builder, x: str) -> str:
        w = np.where(np.arange(WIDE**2).reshape(WIDE, WIDE) % 3, 1.0, -1.0)
        w[:, 0] = np.sign(w[:, 1:].sum(axis=1) % 4 - 1.5)
        x = b.node("Gemm", middle(b, x), b.const(w), transB=1)
        return bit(b, b.node("Add", x, b.const(0.5)))

    return net(middle), net(twice)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("scale", [3e6, 1e7, 1e8])
def test_a_function_too_large_for_the_sum_to_cancel(tmp_path: Path, scale: float, order: int) -> None:
    """Behind 2**24, float32 holds even integers alone: 1 - f + f is 0 or 2. In front of scores and signs."""
    models = _large(scale, order)
    x = (2.0 * RNG.integers(0, 2, (100, TAPS)) - 1).astype(np.float32)
    (found,) = reference(models[0], x)
    assert np.abs(found - plain(models[0])(x)).max() >= 1
    for model in models:
        with pytest.raises(
            ImportFailedError, match=r"(Add|Sub) '.*straight-through sum .* float32, it differs"
        ):
            network(model, tmp_path)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("scale", [1e-3, 0.37, 1e2, 1e4, 6e5])
def test_a_function_that_cancels_but_for_rounding(tmp_path: Path, scale: float, order: int) -> None:
    """Up to 27 * 6e5, below 2**24; scores are those of onnx's evaluator, up to rounding."""
    for model in _large(scale, order):
        result = network(model, tmp_path)
        bits = RNG.integers(0, 2, (100, TAPS), np.uint8)
        (expected,) = reference(model, (2.0 * bits - 1).astype(np.float32))
        found = scores(result, bits)
        assert np.abs(found - expected.reshape(found.shape)).max() < 0.1


def _arrays(model: Any) -> Any:
    from onnx import numpy_helper

    return [numpy_helper.to_array(t) for t in model.graph.initializer]


def _hidden(model: Any) -> Any:
    w1 = next(a for a in _arrays(model) if a.shape == (WIDE, TAPS + 1))
    return lambda x: np.where(x @ w1.T >= 0, 1.0, -1.0)


def _last(model: Any) -> Any:
    return next(a for a in _arrays(model) if a.shape == (5, WIDE))


def test_straight_through_output_bits(tmp_path: Path) -> None:
    b = Builder((1, TAPS))
    w = RNG.choice([-1.0, 1.0], (WIDE, TAPS))
    model = b.model(first_less(b, b.node("Gemm", "x", b.const(w), transB=1), bit))
    result = network(model, tmp_path)
    bits = RNG.integers(0, 2, (100, TAPS), np.uint8)
    assert result.network.output_kind == "bits"
    assert np.array_equal(fast.run(result.network, bits), (2.0 * bits - 1) @ w.T >= 0)


WEIGHTS: dict[str, Callable[[Builder, str], str]] = {
    "tanh": lambda b, w: soft_first(b, w, bit),
    "clamp": lambda b, w: first_less(b, w, bit),
    "itself": lambda b, w: b.node("Add", b.node("Sub", b.node("Sign", w), w), w),
    "scaled": lambda b, w: scaled(b, w),
    "sign of tanh": lambda b, w: b.node("Sign", b.node("Tanh", w)),
    "hard sigmoid": lambda b, w: b.node(
        "Sub", b.node("Mul", b.node("Round", b.node("HardSigmoid", w)), b.const(2.0)), b.const(1.0)
    ),
    "standardised": lambda b, w: bit(
        b, b.node("Div", b.node("Sub", w, b.node("ReduceMean", w)), b.node("ReduceL2", w))
    ),
    "softsign, relu, max": lambda b, w: bit(
        b, b.node("Sub", b.node("Relu", b.node("Softsign", w)), b.node("ReduceMax", b.node("Neg", w)))
    ),
}


def scaled(b: Builder, w: str) -> str:
    """As ReActNet and XNOR-Net: mean(|w|) * sign(w), straight-through."""
    scale = b.node("ReduceMean", b.node("Abs", w), b.const(np.array([1])), keepdims=1)
    hard = b.node("Mul", b.node("Sign", w), scale)
    soft = b.node("Clip", w, b.const(-1.0), b.const(1.0))
    return b.node("Add", b.node("Sub", hard, soft), soft)


@pytest.mark.parametrize("key", WEIGHTS)
def test_functions_of_constant_weights(tmp_path: Path, key: str) -> None:
    """Compared with onnx's evaluator, whose weights are a little off +-a where the idiom rounds."""
    b = Builder((1, TAPS))
    first = WEIGHTS[key](b, b.const(RNG.normal(size=(WIDE, TAPS))))
    x = bit(b, b.node("Sub", b.node("Gemm", "x", first, transB=1), b.const(0.123)))
    model = b.model(b.node("Gemm", x, WEIGHTS[key](b, b.const(RNG.normal(size=(5, WIDE)))), transB=1))
    result = network(model, tmp_path)
    bits = RNG.integers(0, 2, (200, TAPS), np.uint8)
    (expected,) = reference(model, (2.0 * bits - 1).astype(np.float32))
    found = scores(result, bits)
    assert np.abs(found - expected.reshape(found.shape)).max() < 1e-4
    assert np.array_equal(np.rint(found / 1e-3), np.rint(expected.reshape(found.shape) / 1e-3))


@pytest.mark.parametrize("layout", ["Conv", "Gemm", "MatMul"])
def test_stored_weights_that_differ_by_rounding(tmp_path: Path, layout: str) -> None:
    """A few units in the last place; the row's most frequent magnitude is taken, and the report says so."""
    b = Builder((1, 3, 3, 3) if layout == "Conv" else (1, TAPS))
    signs = RNG.choice([-1.0, 1.0], (WIDE, TAPS)).astype(np.float32)
    scale = (RNG.random((WIDE, 1)) + 0.5).astype(np.float32)
    steps = RNG.choice([0, 0, 0, 1, -1, 2], (WIDE, TAPS))
    steps[:, :18] = 0
    weights = signs * scale * (1 + steps * np.float32(2**-23)).astype(np.float32)
    if layout == "Conv":
        x = b.node("Conv", "x", b.const(weights.reshape(WIDE, 3, 3, 3)))
    elif layout == "Gemm":
        x = b.node("Gemm", "x", b.const(weights), transB=1)
    else:
        x = b.node("MatMul", "x", b.const(weights.T.copy()))
    result = network(b.model(b.node("Flatten", x)), tmp_path)
    assert np.array_equal(np.asarray(result.network.scale, np.float32), (np.abs(weights[:, 0])))
    assert any("differ from -a and +a by rounding" in note for note in result.report.notes)


def test_the_executor_leaves_the_source_as_it_is_in_float32(tmp_path: Path) -> None:
    """What is taken for something else is taken so in float64 alone, and where a part begins inside."""

    model = net(falling)
    path = save(model, tmp_path)
    add = next(node for node in model.graph.node if node.op_type == "Add")
    where = next(node for node in model.graph.node if node.op_type == "Where").output[0]
    executor = Executor(read_model(path), {add.output[0]: where})
    x = (2.0 * RNG.integers(0, 2, (50, TAPS)) - 1).astype(np.float32)
    (stored,) = executor.run({"x": x}, [model.graph.output[0].name], batch=1)
    (double,) = executor.run({"x": x}, [model.graph.output[0].name], batch=1, double=True)
    assert np.allclose(stored, np.concatenate(reference(model, x)[0][:, None]), atol=1e-5)
    assert np.array_equal(double, plain(model)(x.astype(np.float64)))
    assert not np.array_equal(stored.astype(np.float64), double)


NUMERIC: dict[str, dict[str, Any]] = {
    **{op: {} for op in (*PLAIN, *sorted(SHAPED))}, **{op: {"keepdims": 1} for op in REDUCTIONS},
}  # fmt: skip
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("Elu", {"alpha": 0.5}), ("Selu", {"alpha": 2.0, "gamma": 3.0}), ("Celu", {"alpha": 0.75}),
    ("HardSigmoid", {"alpha": 0.75, "beta": 0.25}), ("LeakyRelu", {"alpha": 0.25}),
    ("ThresholdedRelu", {"alpha": 0.25}), ("Gelu", {"approximate": "tanh"}), ("ReduceMax", {"keepdims": 0}),
    ("Gemm", {"transB": 1, "alpha": 0.5, "beta": 2.0}), ("MatMul", {}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes"), [*NUMERIC.items(), *OTHERS])
def test_functions_of_constants_are_those_of_the_evaluator(op: str, attributes: dict[str, Any]) -> None:
    b = Builder((1, 1))
    x = RNG.normal(size=(4, 4)).astype(np.float32)
    if op in ("Asin", "Acos", "Atanh", "Acosh", "Log"):
        x = np.abs(np.tanh(x)) + (op == "Acosh")
    extra = {"PRelu": [RNG.random(4)], "Gemm": [x.T.copy(), x[0]], "MatMul": [x.T.copy()], "ReduceSum": [[1]]}
    others = [np.asarray(a, np.int64 if op == "ReduceSum" else np.float32) for a in extra.get(op, [])]
    b.node(op, "x", *map(b.const, others), **attributes)
    expected: Any
    (expected,) = ReferenceEvaluator(b.model(b.nodes[-1].output[0])).run(None, {"x": x})
    node = Node(op, "n", tuple(b.nodes[-1].input), ("y",), attributes)
    found = evaluate(node, [x, *others], b.opset)
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.allclose(found, expected, rtol=2e-5, atol=2e-6)


class _Torch:
    """Modules of the kinds that people publish, made where torch is installed."""

    @staticmethod
    def build(torch: Any, kind: str) -> Any:
        nn, functional = torch.nn, torch.nn.functional

        def ste(x: Any) -> Any:
            hard = torch.where(x >= 0, 1.0, -1.0)
            soft = torch.tanh(x) if kind == "tanh" else torch.clamp(x, -1, 1)
            return hard.detach() - soft.detach() + soft

        def sign(x: Any) -> Any:
            return torch.where(x >= 0, 1.0, -1.0)

        class Binary(nn.Module):
            def __init__(self, inputs: int, outputs: int, conv: bool) -> None:
                super().__init__()
                self.conv = conv
                self.w = nn.Parameter(torch.randn(outputs, inputs, *((3, 3) if conv else ())) / 5)
                self.bias = nn.Parameter(torch.randn(1, outputs, 1, 1))

            def forward(self, x: Any) -> Any:
                w = ste(self.w) if kind in ("tanh", "clamp") else sign(self.w)
                if not self.conv:
                    return functional.linear(x, w)
                x = functional.conv2d(x, w)
                return x + self.bias.expand_as(x) if kind == "expand" else x

        def tail(channels: int) -> list[Any]:
            parts = {
                "relu": [nn.ReLU(), nn.BatchNorm2d(channels)], "two": [nn.BatchNorm2d(channels)] * 2,
                "prelu": [nn.BatchNorm2d(channels), nn.PReLU(channels)],
                "hardtanh": [nn.BatchNorm2d(channels), nn.Hardtanh(), nn.BatchNorm2d(channels)],
                "pool": [nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(channels), nn.LeakyReLU(0.1)],
            }  # fmt: skip
            return parts.get(kind, [nn.BatchNorm2d(channels)])

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.two = Binary(2, 8, True), Binary(8, 8, True)
                self.a, self.b = nn.Sequential(*tail(8)), nn.Sequential(*tail(8)[-1:])
                self.last = Binary(8 * 16, 5, False)

            def forward(self, x: Any) -> Any:
                act = ste if kind in ("tanh", "clamp") else sign
                x = act(self.a(self.one(sign(x))))
                x = x if kind == "pool" else act(self.b(self.two(x)))
                return self.last(x.flatten(1))

        torch.manual_seed(5)
        net = Net().eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_().mul_(2)
                module.running_var.uniform_(0.5, 9)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        return net


@pytest.mark.parametrize("dynamo", [False, True], ids=["script", "dynamo"])
@pytest.mark.parametrize("kind", ["tanh", "clamp", "expand", "relu", "two", "prelu", "hardtanh", "pool"])
def test_torch_modules_by_both_exporters(tmp_path: Path, kind: str, dynamo: bool) -> None:
    torch = needs.torch()
    size = 10 if kind == "pool" else 8
    net, path = _Torch.build(torch, kind), tmp_path / "net.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        net(torch.zeros(1, 2, size, size))
        torch.onnx.export(net, (torch.randn(1, 2, size, size),), str(path), dynamo=dynamo, opset_version=18)
    result = onnx.load(path)
    images = RNG.normal(size=(50, 2, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.tensor(images)).numpy()
    bits = (images.transpose(0, 2, 3, 1) >= 0).astype(np.uint8)
    assert np.abs(scores(result, bits) - expected).max() < 1e-3


def test_names_that_stand_for_others_between(tmp_path: Path) -> None:
    """Identity nodes around straight-through sums: what is exact is found by the names behind them."""
    b = Builder((1, 12))
    b.annotation = "BIPOLAR"
    latent = b.const(np.random.default_rng(2).normal(size=(6, 12)) * 3.3)
    f = b.node("Identity", b.node("Mul", latent, b.const(-0.17)))
    weights = b.node("Add", b.node("Sub", b.node("Sign", latent), f), f)
    z = b.node("Gemm", "x", b.node("Identity", b.node("Identity", weights)), transB=1)
    inside = b.node("Clip", z, b.const(-1.0), b.const(1.0))
    x = b.node("Add", b.node("Sub", b.sign(z), inside), b.node("Identity", inside))
    model = b.model(b.node("Gemm", b.node("Identity", x), b.signs(3, 6), transB=1))
    report = onnx.load(save(model, tmp_path)).report
    assert report.check.mismatches == 0
    assert any(repr(weights) in note and repr(x) in note for note in report.notes), (weights, x, report.notes)
