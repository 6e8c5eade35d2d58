"""Networks in the manner of the papers, as PyTorch modules: integers are equal, and others named."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from tests.campaigns import some
from tests.sw.cli_tools import runner
from xnorcore import importers
from xnorcore.errors import ImportFailedError, UsageError
from xnorcore.importers.outcome import Imported
from xnorcore.model.network import Add
from xnorcore.reference import fast, golden

torch = needs.torch()

nn, f = torch.nn, torch.nn.functional
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)


def signed(x: Any) -> Any:
    return torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x))


class Sign(nn.Module):
    def forward(self, x: Any) -> Any:
        return signed(x)


class Conv(nn.Conv2d):
    """Weights of one bit; `alpha`: times the mean of their magnitudes."""

    def __init__(self, *sizes: int, alpha: bool = False, **options: Any) -> None:
        super().__init__(*sizes, bias=False, **options)
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        weight = signed(self.weight)
        if self.alpha:
            weight = weight * self.weight.abs().mean(dim=(1, 2, 3), keepdim=True)
        return f.conv2d(x, weight, None, self.stride, self.padding)


class Linear(nn.Linear):
    def forward(self, x: Any) -> Any:
        return f.linear(x, signed(self.weight))


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, step: float, bits: int) -> Any:
        return (x / step).clamp(0, 2**bits - 1).round() * step

    @staticmethod
    def symbolic(g: Any, x: Any, step: float, bits: int) -> Any:
        parts = [g.op("Constant", value_t=torch.tensor(float(one))) for one in (step, 0, bits)]
        return g.op(
            "qonnx.custom_op.general::Quant", x, *parts, signed_i=0, narrow_i=0, rounding_mode_s="ROUND"
        )


class Quant(nn.Module):
    def __init__(self, step: float, bits: int = 2) -> None:
        super().__init__()
        self.step, self.bits = step, bits

    def forward(self, x: Any) -> Any:
        return _Levels.apply(x, self.step, self.bits)


class Sum(nn.Module):
    """What two branches give."""

    def __init__(self, one: Any, two: Any = None) -> None:
        super().__init__()
        self.one, self.two = one, two or nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.one(x) + self.two(x)


def binarynet() -> Any:
    """Courbariaux' and Hubara's network for CIFAR-10, narrow: pixels into weights of one bit."""

    def conv(inputs: int, outputs: int, *pool: Any) -> list[Any]:
        return [Conv(inputs, outputs, 3, padding=1), *pool, nn.BatchNorm2d(outputs), nn.Hardtanh(), Sign()]

    def dense(inputs: int, outputs: int) -> list[Any]:
        return [Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.Hardtanh(), Sign()]

    pool = nn.MaxPool2d(2)
    return nn.Sequential(
        *conv(3, 4), *conv(4, 4, pool), *conv(4, 8), *conv(8, 8, pool), *conv(8, 16), *conv(16, 16, pool),
        nn.Flatten(), *dense(16, 32), *dense(32, 32), Linear(32, 10, bias=False), nn.BatchNorm1d(10),
    )  # fmt: skip


def resnet(*steps: float) -> Any:
    """A residual network for CIFAR-10 with weights of one bit; `steps` of the first block's branches and sum.

    First and last layer are real. Branches are added as values of 2 bits, and the sums compared again.
    """

    def conv(inputs: int, outputs: int, step: float, side: int = 3, stride: int = 1) -> list[Any]:
        layer = Conv(inputs, outputs, side, stride=stride, padding=side // 2, alpha=True)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(), Quant(step)]

    first, second, third = steps
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Quant(first),
        Sum(nn.Sequential(*conv(8, 8, 0.5), *conv(8, 8, second))), nn.BatchNorm2d(8), nn.ReLU(), Quant(third),
        Sum(
            nn.Sequential(*conv(8, 16, 0.5, stride=2), *conv(16, 16, 0.25)),
            nn.Sequential(*conv(8, 16, 0.75, 1, 2)),
        ),
        nn.BatchNorm2d(16), nn.ReLU(), Quant(0.25), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def bireal() -> Any:
    """Bi-Real-18's beginning (arXiv:1808.00278): a sign in front of each convolution, a shortcut around."""

    def block(inputs: int, outputs: int, stride: int = 1) -> Any:
        conv = Conv(inputs, outputs, 3, stride=stride, padding=1, alpha=True)
        shortcut = None
        if stride > 1:
            shortcut = nn.Sequential(
                nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )
        return Sum(nn.Sequential(Sign(), conv, nn.BatchNorm2d(outputs)), shortcut)

    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, 1),
        block(8, 8), block(8, 8), block(8, 16, 2), block(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )  # fmt: skip


def settled(model: Any) -> Any:
    """Give batch norms parameters at random, and statistics that fit."""
    x = torch.tensor(IMAGES / 255, dtype=torch.float32).permute(0, 3, 1, 2)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 0.5
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    with torch.no_grad():
        for _ in range(12):
            model(x)
    return model.eval()


def imported(model: Any, folder: Path, **options: Any) -> Imported:
    path = folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which is about to be the old one
        torch.onnx.export(
            model, torch.zeros(1, 3, 8, 8), str(path), dynamo=False, opset_version=13,
            custom_opsets={"qonnx.custom_op.general": 1},
        )  # fmt: skip
    return importers.load(path, inputs="pixels", **options)


def test_binarynet(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = settled(binarynet())
    network = imported(model, tmp_path).network
    assert network.head is None and network.tail is None and network.input.bits == 8
    raw = fast.run(network, IMAGES)
    np.testing.assert_array_equal(raw, golden.run(network, IMAGES))
    with torch.no_grad():
        wanted = model.double()(torch.tensor(IMAGES / 255).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(network.affine(raw), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(network.classify(raw), wanted.argmax(axis=1))
    assert len(set(network.classify(raw))) > 2


@pytest.mark.parametrize("steps", some([(0.5, 0.25, 0.7), (0.3, 0.3, 0.5)], 1))
def test_residual_networks_of_commensurable_steps(steps: tuple[float, ...], tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = settled(resnet(*steps))
    network = imported(model, tmp_path).network
    assert network.head is not None and network.tail is not None
    assert sum(isinstance(layer, Add) for layer in network.layers) == 2
    values = network.encode(IMAGES)
    double = model.double()
    with torch.no_grad():
        x = torch.tensor(IMAGES / 255).permute(0, 3, 1, 2)
        numbers = double[:3](x).permute(0, 2, 3, 1).reshape(len(x), -1).numpy() / float(np.float32(steps[0]))
        wanted = double(x).numpy()
    # A value of the real first layer may differ only next to where its quantiser turns, in its steps.
    differ = values != np.rint(np.clip(numbers, 0, 3))
    assert (np.abs(numbers[differ] % 1 - 0.5) < 1e-5).all()
    same = ~differ.any(axis=1)
    assert same.sum() >= 29
    raw = fast.run(network, values)
    assert np.abs(network.scores(raw) - wanted)[same].max() < 1e-5
    np.testing.assert_array_equal(network.classify(raw)[same], wanted[same].argmax(axis=1))


def test_steps_without_a_ratio_are_named(tmp_path: Path) -> None:
    message = r"Add '/4/Add': adds values in steps of 0\.5 to values in steps of 0\.30*\d*, exactly more than"
    with pytest.raises(ImportFailedError, match=message):
        imported(settled(resnet(0.3, 0.5, 0.5)), tmp_path)


def test_real_shortcuts_are_named(tmp_path: Path) -> None:
    """Sums of real numbers are no integers: each would take a value of some 16 bits from layer to layer."""
    message = r"MaxPool '/2/MaxPool': gives real numbers that .* and Add '/3/Add' read: a shortcut around"
    with pytest.raises(ImportFailedError, match=message):
        imported(settled(bireal()), tmp_path)


@pytest.mark.parametrize(("within", "times"), [(1e-6, (5, 3)), (0.15, (3, 2))])
def test_steps_can_be_rounded(within: float, times: tuple[int, int], tmp_path: Path) -> None:
    """What is imported is the source with other steps, and equal to it; the report says what they change."""
    torch.manual_seed(2)
    model = settled(resnet(0.3, 0.5, 0.5))
    found = imported(model, tmp_path, round_steps=within, images=IMAGES)
    steps, classes = found.report.rounded
    assert steps.startswith(f"steps of 0.5 and 0.300000012 are taken as {times[0]} and {times[1]} times 0.1")
    assert found.report.check.mismatches == 0 and "not exact: steps of" in found.report.human()
    # The same model, with these steps.
    unit = float(steps.split(" times ")[1].split(":")[0])
    assert unit == pytest.approx(0.5 / times[0], rel=2**-15)
    model[3].step, model[4].one[-1].step = times[1] * unit, times[0] * unit
    network, changed = found.network, model.double()
    add = next(number for number, layer in enumerate(network.layers) if isinstance(layer, Add))
    assert sorted(map(network.reads[add].count, set(network.reads[add]))) == sorted(times)
    with torch.no_grad():
        x = torch.tensor(IMAGES / 255).permute(0, 3, 1, 2)
        wanted = changed(x).numpy()
        model[3].step, model[4].one[-1].step = 0.3, 0.5
        before = model(x).numpy()
    scores = network.scores(fast.run(network, network.encode(IMAGES)))
    assert (scores.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.9, (
        "but where the head is at a threshold"
    )
    count = int((before.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    told = int(classes.split(" class for ")[1].split(" of ")[0])
    assert abs(told - count) <= 1 and classes.endswith("of 30 of the images given")


def test_what_cannot_be_rounded(tmp_path: Path) -> None:
    model = settled(resnet(0.3, 0.5, 0.5))
    with pytest.raises(
        ImportFailedError, match=r"Add '/4/Add': adds .*; no such ratio is within 1e-09 of this"
    ):
        imported(model, tmp_path, round_steps=1e-9)
    for wrong in (0.0, 0.6, float("nan")):
        with pytest.raises(UsageError, match=r"round_steps is .*, but must be above 0, and at most 0\.5"):
            imported(model, tmp_path, round_steps=wrong)
    with pytest.raises(UsageError, match=r"images to compare with are pixels of shape \(n, 8, 8, 3\); found"):
        imported(model, tmp_path, round_steps=0.1, images=IMAGES[:, 1:])
    with pytest.raises(UsageError, match=r"is seen on pixels, and these inputs are none; .* --inputs pixels"):
        importers.load(tmp_path / "net.onnx", inputs="uint3", round_steps=0.1)


def test_the_command_says_that_it_is_not_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportFailedError):
        imported(settled(resnet(0.3, 0.5, 0.5)), tmp_path)
    run, pixels, out = runner(capsys), tmp_path / "pixels.npy", tmp_path / "net.xnor"
    np.save(pixels, IMAGES)
    given = ("import", tmp_path / "net.onnx", "-o", out)
    assert run(*given, "--compare", pixels)[0] == 2 and run(*given)[0] == 2 and not out.exists()
    code, text, _ = run(*given, "--round-steps", "0.02", "--compare", pixels)
    assert code == 0 and out.exists()
    assert "not exact" in text and "of 30 of the images given" in text
