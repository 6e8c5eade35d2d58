"""ONNX graphs whose first or last weights are real: the host computes these, and the import says so."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from tests.draws import RNG
from tests.sw.cli_tools import runner
from tests.sw.importers.onnx_graphs import Builder, save
from xnorcore import importers, zoo
from xnorcore.errors import ImportFailedError, UsageError
from xnorcore.host.layers import RealAffine, RealConv2d, RealDense, RealMaxPool2d
from xnorcore.importers.onnx import ends_check
from xnorcore.model.layers import has_weights
from xnorcore.reference import fast, golden

Make = Callable[[Builder, str], str]


def real(b: Builder, *shape: int) -> str:
    return b.const(RNG.normal(size=shape))


def first(b: Builder, x: str = "x", **options: Any) -> str:
    """A real convolution of images (1, 3, 8, 8) to (1, 6, 6, 6)."""
    return b.node("Conv", x, real(b, 6, 3, 3, 3), real(b, 6), kernel_shape=[3, 3], **options)


def middle(b: Builder, x: str, channels: int = 6, size: int = 4) -> str:
    """A binary convolution, its batch norm and sign, flattened: 5 channels of size x size."""
    x = b.sign(b.norm(b.node("Conv", x, b.signs(5, channels, 3, 3), kernel_shape=[3, 3]), 5))
    return b.node("Flatten", x)


def both(sign: Make = lambda b, x: b.sign(x), **options: Any) -> Any:
    b = Builder((1, 3, 8, 8))
    x = middle(b, sign(b, b.norm(first(b, **options), 6)))
    x = b.node("Gemm", x, b.signs(12, 80), transB=1)
    x = b.node("Gemm", b.node("Relu", b.norm(x, 12)), real(b, 4, 12), real(b, 4), transB=1)
    return b.model(b.node("Softmax", x, axis=-1))


def quant(b: Builder, x: str, bits: float, signed: int = 0, scale: float = 0.25) -> str:
    return b.quant(
        "Quant",
        x,
        b.const(scale),
        b.const(0.0),
        b.const(bits),
        signed=signed,
        narrow=0,
        rounding_mode="ROUND",
    )


def where(b: Builder, x: str) -> str:
    """Falls: -1 from 0 on, +1 below."""
    return b.node("Where", b.node("GreaterOrEqual", x, b.const(0.0)), b.const(-1.0), b.const(1.0))


def with_quant(b: Builder, x: str) -> str:
    return quant(b, b.node("Relu", x), 2.0)


def pooled(b: Builder, x: str) -> str:
    """Pooling behind the sign: no integer layer is there to do it."""
    return b.node("MaxPool", b.sign(x, 0.5), kernel_shape=[2, 2], strides=[1, 1], pads=[1, 1, 0, 0])


def clipped(b: Builder, x: str) -> str:
    x = b.node("Clip", x, b.const(0.0), b.const(1.0))
    return b.sign(b.node("Sub", x, b.const(0.5)))


def thresholds(b: Builder, x: str) -> str:
    return b.quant("MultiThreshold", x, b.const(np.sort(RNG.normal(size=(6, 3)))))


def averaged(b: Builder, x: str) -> str:
    x = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    return b.sign(x)


KINDS: dict[str, Any] = {
    "sign": both(),
    "falling sign": both(where),
    "Sign": both(lambda b, x: b.node("Sign", x)),
    "clipped": both(clipped),
    "codes": both(with_quant),
    "signed codes": both(lambda b, x: quant(b, x, 3.0, 1)),
    "thresholds": both(thresholds),
    "pooled": both(pooled),
    "averaged": both(averaged),
}  # fmt: skip


def pixels(count: int = 20) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends(kind: str, tmp_path: Path) -> None:
    imported = importers.load(save(KINDS[kind], tmp_path))
    net, report = imported.network, imported.report
    assert net.head is not None
    assert net.tail is not None
    said = " ".join(report.notes)
    assert "Conv 'n0' runs on the host: its weights are real" in said
    assert said.count("runs on the host") == 2
    assert report.check.mismatches == 0
    assert "the head's" in report.check.detail
    assert "the tail's" in report.check.detail
    values = net.encode(pixels())
    assert 0.02 < values.mean() / max(values.max(), 1) < 0.98
    raw = golden.run(net, values)
    np.testing.assert_array_equal(raw, fast.run(net, values))
    assert net.scores(raw).shape == (20, 4)


def test_one_end_alone(tmp_path: Path) -> None:
    b = Builder((1, 3, 8, 8))
    x = b.node("Gemm", middle(b, b.sign(first(b))), b.signs(4, 80), transB=1)
    net = importers.load(save(b.model(x), tmp_path)).network
    assert net.tail is None
    assert net.head is not None
    b = Builder((1, 3, 8, 8))
    x = quant(b, b.node("Sub", "x", b.const(0.5)), 8.0, 1, 1 / 256)
    x = b.node("Gemm", middle(b, x, 3, 6), real(b, 4, 180), transB=1)
    net = importers.load(save(b.model(x), tmp_path)).network
    assert net.head is None
    assert net.tail is not None
    assert net.input.bits == 8
    assert net.tail.shape == (6, 6, 5)
    assert isinstance(net.tail.layers[-1], RealDense)


def test_codes_and_averages_reach_the_tail(tmp_path: Path) -> None:
    b = Builder((1, 3, 8, 8))
    x = b.sign(first(b))
    x = quant(b, b.norm(b.node("Conv", x, b.signs(5, 6, 3, 3), kernel_shape=[3, 3]), 5), 3.0, 1)
    x = b.node("Flatten", b.node("GlobalAveragePool", b.node("MaxPool", x, kernel_shape=[2, 2])))
    x = b.node("MatMul", x, real(b, 5, 4))
    imported = importers.load(save(b.model(x), tmp_path))
    assert imported.network.output_kind == "scores"
    assert imported.network.tail is not None
    assert imported.network.tail.shape == (4, 4, 5)


def test_what_the_layers_are(tmp_path: Path) -> None:
    net = importers.load(save(KINDS["pooled"], tmp_path), inputs="mean=0.5,0.4,0.3:std=0.2").network
    assert net.head is not None
    kinds = [type(layer) for layer in net.head.layers]
    assert kinds == [RealConv2d, RealAffine, RealMaxPool2d]
    assert net.head.pixels is not None
    assert net.head.pixels.shape == (3, 256)
    np.testing.assert_allclose(net.head.pixels[:, 255], [2.5, 3, 3.5], rtol=1e-6)


def test_a_graph_of_floats_that_are_no_pixels(tmp_path: Path) -> None:
    imported = importers.load(save(KINDS["sign"], tmp_path), inputs="int8")
    head = imported.network.head
    assert head is not None
    assert head.pixels is None
    assert "8-bit pixels have no rule; images are floats" in imported.report.notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b, x: b.sign(b.node("Tanh", x)), "Tanh 'n[0-9]+': is no function that the host computes"),
        (lambda b, x: b.node("Sign", b.node("Relu", x)), "what is clipped in front of it may well be 0"),
        (lambda b, x: b.sign(b.node("Exp", x)), "Exp 'n[0-9]+': stands beside real weights"),
        (
            lambda b, x: b.sign(b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)),
            "AveragePool 'n[0-9]+': averages over fewer values",
        ),
        (lambda b, x: b.sign(b.node("Mul", x, b.const(1e38))), "may reach"),
    ],
)
def test_what_the_host_does_not_compute_is_named(make: Make, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=message):
        importers.load(save(both(make), tmp_path))


def test_hosting_can_be_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(KINDS["sign"], tmp_path)
    with pytest.raises(
        ImportFailedError, match=r"Conv 'n0': weights of output 0 are .* not integers of 8 bits"
    ):
        importers.load(path, host=False)
    run = runner(capsys)
    code, _, err = run("import", path, "-o", tmp_path / "n.xnor", "--no-host")
    assert (code, "weights of output 0" in err) == (2, True)
    code, out, _ = run("import", path, "-o", tmp_path / "n.xnor", "--json")
    assert code == 0
    host = json.loads(out)["host"]
    assert host["head"]["layers"] == ["conv2d", "affine"]
    assert host["tail"]["layers"] == ["affine", "clip", "dense"]
    assert zoo.load(tmp_path / "n.xnor") == importers.load(path, name="net").network
    code, out, _ = run("import", path, "-o", tmp_path / "n.xnor", "--force")
    assert "on the host, head: 8 x 8 x 3 to 6 x 6 x 6 values by conv2d, affine; 5,832 MACs per image" in out


def test_real_weights_between_integers_are_refused(tmp_path: Path) -> None:
    b = Builder((1, 3, 8, 8))
    x = b.sign(b.node("Conv", b.sign(first(b)), real(b, 5, 6, 3, 3), kernel_shape=[3, 3]))
    x = b.node("Gemm", b.node("Flatten", x), b.signs(4, 80), transB=1)
    with pytest.raises(ImportFailedError, match="Conv 'n2': weights of output 0"):
        importers.load(save(b.model(x), tmp_path))


def test_a_network_of_real_layers_alone_is_refused(tmp_path: Path) -> None:
    b = Builder((1, 3, 8, 8))
    x = b.node("Gemm", b.node("Flatten", b.node("Relu", first(b))), real(b, 4, 216), transB=1)
    with pytest.raises((ImportFailedError, UsageError), match="weights of output 0"):
        importers.load(save(b.model(x), tmp_path))


@pytest.mark.parametrize("end", ["front", "back"])
def test_the_check_sees_wrong_real_layers(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break what is compared, once for each end."""
    from dataclasses import replace

    from xnorcore.host.head import Head
    from xnorcore.host.tail import Tail
    from xnorcore.importers.onnx import loading

    check = getattr(ends_check, f"check_{end}")

    def broken(executor: Any, part: Any, *rest: Any) -> str:
        if end == "front":
            head = part.head
            layers = [RealAffine([1], [0.01]), *head.layers]
            part = replace(part, head=Head(head.shape, layers, head.thresholds, head.pixels))
        else:
            tail = part.tail
            part = replace(part, tail=Tail(tail.shape, [*tail.layers, RealAffine([1], [1e-3])]))
        return check(executor, part, *rest)

    monkeypatch.setattr(loading, f"check_{end}", broken)
    with pytest.raises(ImportFailedError, match="the check found a difference"):
        importers.load(save(KINDS["sign"], tmp_path))


def test_a_residual_network_with_real_ends(tmp_path: Path) -> None:
    """Two blocks of few bits; the shortcut of the first begins at the head's quantiser."""
    b = Builder((1, 3, 8, 8))
    x = with_quant(b, b.norm(first(b), 6))
    for number in range(2):
        y = x
        for _ in range(2):
            y = b.node("Conv", y, b.signs(6, 6, 3, 3), kernel_shape=[3, 3], pads=[1] * 4)
            y = with_quant(b, b.norm(y, 6))
        x = b.node("Add", y, x)
        x = with_quant(b, x) if number else x
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    imported = importers.load(save(b.model(b.node("Gemm", x, real(b, 4, 6), real(b, 4), transB=1)), tmp_path))
    net = imported.network
    assert net.head is not None
    assert net.tail is not None
    assert net.tail.shape == (6, 6, 6)
    assert sum(len(reads) > 1 for reads in net.reads) == 2
    assert imported.report.check.mismatches == 0
    raw = golden.run(net, net.encode(pixels(5)))
    np.testing.assert_array_equal(raw, fast.run(net, net.encode(pixels(5))))
    assert len(np.unique(raw)) > 2


# The networks of the papers.


def test_xnor_nets_lenet(tmp_path: Path) -> None:
    """LeNet-5 as XNOR-Net trains it: first and last layer real, batch norm in front of signs."""
    torch = needs.torch()
    nn, f = torch.nn, torch.nn.functional
    torch.manual_seed(3)

    class Binary(nn.Module):
        """Batch norm, sign, a layer whose weights are signs times their mean magnitude, ReLU."""

        def __init__(self, layer: Any, channels: int, flat: bool = False) -> None:
            super().__init__()
            self.layer, self.norm, self.flat = layer, nn.BatchNorm2d(channels, eps=1e-4), flat

        def forward(self, x: Any) -> Any:
            x = self.norm(x)
            x = torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x))
            weights = self.layer.weight
            alpha = weights.abs().mean(dim=tuple(range(1, weights.ndim)), keepdim=True)
            weights = torch.where(weights >= 0, alpha, -alpha)
            if self.flat:
                return f.relu(f.linear(x.flatten(1), weights, self.layer.bias))
            return f.relu(f.conv2d(x, weights, self.layer.bias))

    model = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20, eps=1e-4), nn.ReLU(), nn.MaxPool2d(2),
        Binary(nn.Conv2d(20, 50, 5), 20), nn.MaxPool2d(2), Binary(nn.Linear(800, 500), 50, True),
        nn.Linear(500, 10),
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    model.eval()
    path = tmp_path / "lenet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which is about to be the old one
        torch.onnx.export(model, torch.zeros(1, 1, 28, 28), str(path), dynamo=False, opset_version=13)
    net = importers.load(path).network
    assert net.head is not None
    assert net.tail is not None
    assert [len(layer.weights) for layer in net.layers if has_weights(layer)] == [50, 500]
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
    found = net.scores(fast.run(net, net.encode(images)))
    with torch.no_grad():
        x = torch.tensor(images / 255).permute(0, 3, 1, 2)
        double = model.double()
        norm = double[4].norm(double[:4](x)).permute(0, 2, 3, 1).reshape(50, -1).numpy()
        true = double(x).numpy()
    # Bits may differ only within 1e-5 of a threshold; then classes and scores are the same.
    differ = net.encode(images) != (norm >= 0)
    assert (np.abs(norm[differ]) < 1e-5).all()
    same = ~differ.any(axis=1)
    assert same.sum() >= 45
    assert np.abs(found - true)[same].max() < 1e-5
    np.testing.assert_array_equal(
        net.classify(fast.run(net, net.encode(images)))[same], true[same].argmax(axis=1)
    )
