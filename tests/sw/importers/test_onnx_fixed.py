"""Real shortcuts in fixed point: networks in the manner of Bi-Real's, against PyTorch with that rounding."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from tests.campaigns import some
from tests.sw.cli_tools import runner
from xnorcore import importers
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, ImportFailedError, UsageError
from xnorcore.files import xnorfile
from xnorcore.importers.onnx.fixed import step_for
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Conv2d
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

torch = needs.torch()

from tests.sw.importers.test_onnx_papers import IMAGES, Conv, bireal, imported, settled  # noqa: E402

nn, f = torch.nn, torch.nn.functional
DEVICE = DeviceConfig(
    Geometry(1, 8, 16), 22, code_bits=8, result_lanes=2, value_depth=2048, act_depth=8192, weight_depth=4096,
    program_depth=512,
)  # fmt: skip


class Activation(nn.Module):
    """The sign, with the gradient of a polynomial (Liu et al., 2018), as the authors write it."""

    def forward(self, x: Any) -> Any:
        inside = torch.where(x < 0, x * x + 2 * x, -x * x + 2 * x)
        soft = torch.where(x.abs() < 1, inside, torch.sign(x))
        return torch.sign(x).detach() - soft.detach() + soft


class HardConv(nn.Conv2d):
    """Weights' signs times the mean of their magnitudes in each output, straight-through."""

    def forward(self, x: Any) -> Any:
        scale = self.weight.abs().mean(dim=(1, 2, 3), keepdim=True).detach()
        hard, soft = scale * torch.sign(self.weight), self.weight.clamp(-1, 1)
        return f.conv2d(x, hard.detach() - soft.detach() + soft, None, self.stride, self.padding)


def value(x: Any, step: float | None) -> Any:
    """The nearest odd number of half steps, of 8 bits."""
    return x if step is None else (torch.clamp(torch.round(x / step - 0.5), -128, 127) + 0.5) * step


class Block(nn.Module):
    """x + BN(conv(sign(x))); a map that is halved gains channels of 0, or has a `real` shortcut of 1 x 1."""

    step: float | None = None
    bits = 8

    def __init__(self, inputs: int, outputs: int, stride: int = 1, real: bool = False) -> None:
        super().__init__()
        self.activation, self.norm = Activation(), nn.BatchNorm2d(outputs)
        if real and stride > 1:
            short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.short = nn.Sequential(short, nn.BatchNorm2d(outputs))
        self.conv = HardConv(inputs, outputs, 3, stride, 1, bias=False)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Any) -> Any:
        change, step = self.norm(self.conv(self.activation(x))), self.step
        if hasattr(self, "short"):
            x = self.short(x)
        elif self.stride > 1:
            x = value(f.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more)), step)
        if step is not None:
            half = 1 << self.bits - 1
            change = torch.clamp(torch.round(change / step), -half, half - 1) * step
        return value(x + change, step)


class BiReal(nn.Module):
    """A narrow network; the first layer's weights are real, or signs."""

    def __init__(
        self, *, real: bool, widths: tuple[int, ...] = (8, 8, 12, 12), projects: bool = False
    ) -> None:
        super().__init__()
        width = widths[0]
        first = nn.Conv2d(3, width, 3, padding=1, bias=False) if real else Conv(3, width, 3, padding=1)
        self.first = nn.Sequential(first, nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(Block(a, b, 1 + (b > a), projects) for a, b in pairwise(widths)))
        self.end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))

    def forward(self, x: Any) -> Any:
        return self.end(self.blocks(value(self.first(x), self.blocks[0].step)))


def rounded(model: Any, step: float, bits: int) -> Any:
    """Scores of all images in float64, with values and changes rounded."""
    for block in model.blocks:
        block.step, block.bits = step, bits
    with torch.no_grad():
        return model.double()(torch.tensor(IMAGES / 255).permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize(("real", "bits"), some([(True, 8), (False, 6), (True, 5)], 2, many=True))
def test_real_shortcuts_in_fixed_point(real: bool, bits: int, tmp_path: Path) -> None:
    """The network is the model with the same rounding; how near that is to the model itself, is said."""
    torch.manual_seed(1)
    model = settled(BiReal(real=real))
    found = imported(model, tmp_path, fixed_point=bits, images=IMAGES)
    network, (how, classes, signs) = found.network, found.report.rounded
    assert network.metadata["imported"]["rounded"] == [how, classes, signs]
    assert f"3 additions give are values of 8 bits, and what layers add to them changes of {bits}, in" in how
    with torch.no_grad():
        exact = model(torch.tensor(IMAGES / 255, dtype=torch.float32).permute(0, 3, 1, 2)).numpy()
    wanted = rounded(model, float(how.split(" steps of ")[1]), bits)
    values = network.encode(IMAGES)
    raw = fast.run(network, values)
    scores = network.scores(raw)
    # A value of the real first layer may differ next to where its quantiser turns.
    same = np.abs(scores - wanted).max(axis=1) < 1e-4
    assert same.sum() >= len(IMAGES) - 3
    differ = int((wanted.argmax(axis=1) != exact.argmax(axis=1)).sum())
    assert abs(int(classes.split(" class for ")[1].split(" of ")[0]) - differ) <= 1
    # Of random weights, nearly all signs stay, and scores go up and down together.
    assert float(signs.split("values ")[1].split("%")[0]) > (93 if bits > 5 else 85)
    assert np.corrcoef(scores.ravel(), exact.ravel())[0, 1] > (0.9 if bits > 5 else 0.7)
    assert np.array_equal(raw, golden.run(network, values))
    if not real:
        # Sums of pixels are many for codes of 8 bits, and such a stem is no multiplication of 16 bits.
        with pytest.raises(
            CompileError, match=r"'conv0' has thresholds of channel \d+ that no multiplication"
        ):
            compile_network(network, DEVICE)
        return
    (section,) = compile_network(network, DEVICE).sections
    assert sum(one.adding is not None for one in section.descriptors) == 4
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(replace(network, head=None, tail=None))
        assert np.array_equal(device.infer(values), raw)


@pytest.mark.campaign
@pytest.mark.parametrize(("projects", "added", "cycles"), [(False, 19, 190_000), (True, 21, 321_100)])
def test_a_network_of_the_shape_of_resnet20(projects: bool, added: int, cycles: int, tmp_path: Path) -> None:
    """All layers change values of 8 bits in place, on a device as wide as the first map."""
    torch.manual_seed(0)
    model = BiReal(real=True, widths=(16,) * 7 + (32,) * 6 + (64,) * 6, projects=projects)
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.rand(4, 3, 32, 32))
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which is about to be the old one
        torch.onnx.export(model.eval(), torch.zeros(1, 3, 32, 32), str(path), dynamo=False, opset_version=13)
    network = importers.load(path, inputs="pixels", fixed_point=8).network
    inner = replace(network, head=None, tail=None)
    config = replace(DEVICE, geometry=Geometry(1, 16, 16), value_depth=8192, act_depth=30000)
    program = compile_network(inner, config)
    assert sum(one.adding is not None for one in program.sections[0].descriptors) == added
    assert cycles <= program.cycles < cycles + 100
    values = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 16), np.uint8)
    with Accelerator.open(machine_url(config)) as device:
        device.load(inner)
        assert np.array_equal(device.infer(values), fast.run(inner, values))


def test_without_the_option_it_is_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    for real, message in (
        (
            True,
            r"gives real numbers that .* read: .*, or let the import do it \(--fixed-point, in Python fix",
        ),
        (
            False,
            r"reads the sums of Conv .*; a shortcut of real numbers can be imported in fixed point \(--fix",
        ),
    ):
        with pytest.raises(ImportFailedError, match=message):
            imported(settled(BiReal(real=real)), tmp_path)


def projected(*, padding: int = 0, side: int = 1) -> Any:
    """Bi-Real's manner on maps of 8 x 8: the second stage begins with an average and real weights."""
    model = bireal()
    stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    model[0], model[2] = stem, nn.Identity()
    if padding or side > 1:
        model[5].two[1] = nn.Conv2d(8, 16, side, padding=padding, bias=False)
    return model


def real_shortcut(model: Any, values: Any) -> Any:
    """What the second stage's shortcut makes of maps (n, height, width, channels), in float64."""
    with torch.no_grad():
        return model[5].two.double()(torch.tensor(values).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def test_a_shortcut_with_real_weights(tmp_path: Path) -> None:
    """Its values are the real ones, but for the rounding of weights and values; a device runs it all."""
    torch.manual_seed(1)
    model = settled(projected())
    found = imported(model, tmp_path, fixed_point=8, images=IMAGES)
    network, (how, classes, signs) = found.network, found.report.rounded
    assert "4 additions" in how and "; 1 convolution of a shortcut has weights of 5 bits" in how
    assert float(signs.split("values ")[1].split("%")[0]) > 95
    assert int(classes.split(" class for ")[1].split(" of ")[0]) <= 6
    values, step = network.encode(IMAGES), float(how.split(" steps of ")[1].split(";")[0])
    layers = golden.layers(network, values)
    assert all(np.array_equal(a, b) for a, b in zip(layers, fast.layers(network, values), strict=True))
    (place,) = [n for n, one in enumerate(network.layers) if isinstance(one, Conv2d) and one.weight_width > 2]
    layer: Any = network.layers[place]
    reads = network.reads[place][0] - 1
    assert layer.kernel == layer.stride == (2, 2) and int(np.abs(layer.weights).max()) == 15
    inside = (layers[reads].reshape(-1, *network.shapes[reads + 1]).astype(np.float64) - 127.5) * step
    wanted = real_shortcut(model, inside)
    error = np.abs(
        (layers[place].reshape(wanted.shape) - 127.5) * step - np.clip(wanted, -127.5 * step, 127.5 * step)
    )
    # Half a step of the values; of each weight half of a 15th of the largest, times what it meets.
    conv, norm = model[5].two[1:]
    real = (conv.weight[:, :, 0, 0].T * norm.weight / (norm.running_var + 1e-5).sqrt()).detach().numpy()
    largest = np.abs(real).max(axis=0)
    # The scale is up to a 128th larger than it need be.
    assert (np.abs(layer.weights[:, 1, 0].T * largest / 15 - real) <= (0.5 + 15 / 128) * largest / 15).all()
    met = np.abs(inside).reshape(30, 4, 2, 4, 2, 8).sum(axis=(2, 4, 5)) / 4
    assert (error <= 0.5 * step + 1.01 * met[..., None] * largest / 15 / 2 + step / 64).all()
    assert error.mean() < step
    inner = replace(network, head=None, tail=None)
    cycles = []
    for config, added in ((DEVICE, 6), (replace(DEVICE, value_depth=0), 0)):
        program = compile_network(inner, config)
        assert sum(one.adding is not None for one in program.sections[0].descriptors) == added
        cycles.append(program.cycles)
        with Accelerator.open(machine_url(config)) as device:
            device.load(inner)
            assert np.array_equal(device.infer(values), layers[-1].reshape(len(values), -1))
    assert cycles[0] < 0.65 * cycles[1]


def test_real_weights_in_shortcuts_of_few_bits(tmp_path: Path) -> None:
    """As ResNet's, of 1 x 1 and a stride of 2, right behind the first layer; all runs in place."""
    torch.manual_seed(1)
    model = settled(BiReal(real=True, widths=(8, 12, 12, 16), projects=True))
    network = imported(model, tmp_path, fixed_point=6, images=IMAGES).network
    values, inner = network.encode(IMAGES), replace(network, head=None, tail=None)
    raw = golden.run(inner, values)
    assert np.array_equal(raw, fast.run(inner, values))
    with torch.no_grad():
        exact = model(torch.tensor(IMAGES / 255, dtype=torch.float32).permute(0, 3, 1, 2)).numpy()
    assert np.corrcoef(network.scores(raw).ravel(), exact.ravel())[0, 1] > 0.9
    program = compile_network(inner, DEVICE)
    # The image's values, two layers for each shortcut with weights, and one without.
    assert [one.adding is not None for one in program.sections[0].descriptors] == [True] * 6 + [False]
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(inner)
        assert np.array_equal(device.infer(values), raw)
    with pytest.raises(
        CompileError, match=r"joins values of 6 and 8 bits, which a device cannot but for val"
    ):
        compile_network(inner, replace(DEVICE, value_depth=0))


def test_what_cannot_be_in_fixed_point(tmp_path: Path) -> None:
    torch.manual_seed(1)
    message = (
        r"Conv '/5/two/two.1/Conv': has real weights, in a branch that is added to others: those of a con"
    )
    with pytest.raises(ImportFailedError, match=message):
        imported(settled(projected(padding=1, side=3)), tmp_path, fixed_point=8)
    for wrong in (1, 9, True):
        with pytest.raises(UsageError, match=r"fixed_point is .*, but must be 2 to 8 bits of a change"):
            importers.load(tmp_path / "net.onnx", fixed_point=wrong)
    with pytest.raises(UsageError, match=r"fixed_point is 8, but .* is no \.onnx file"):
        importers.load(tmp_path, fixed_point=8)


def test_changes_of_few_bits_take_larger_steps() -> None:
    """Two bits are -2 to 1 steps: where changes are as large as values, more than 8 bits just hold."""
    rng = np.random.default_rng(0)
    values, changes = list(rng.normal(size=(2, 1000)) * 3), list(rng.normal(size=(2, 1000)))
    steps = [step_for(values, changes, bits) for bits in (2, 4, 8)]
    held = 2 * np.abs(values).max() / 256
    assert steps[0] > 4 * held and steps[0] > steps[1] > steps[2] and held / 2 < steps[2] < 2 * held


def test_the_command_says_that_it_is_not_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    with pytest.raises(ImportFailedError):
        imported(settled(BiReal(real=True)), tmp_path)
    run, pixels, out = runner(capsys), tmp_path / "pixels.npy", tmp_path / "net.xnor"
    np.save(pixels, IMAGES)
    given = ("import", tmp_path / "net.onnx", "-o", out, "--inputs", "pixels")
    code, text, _ = run(*given, "--fixed-point", "8", "--compare", pixels)
    assert code == 0 and text.count("not exact") == 3 and "of the signs of the shortcuts' values 9" in text
    notes = xnorfile.load(out).metadata["imported"]["rounded"]
    assert len(notes) == 3 and notes[1] in text
