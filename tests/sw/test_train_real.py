"""Export of models whose first and last layers are real: the host computes what PyTorch does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore.errors import UsageError
from xnorcore.files import xnorfile
from xnorcore.reference import fast, golden

torch = needs.torch()

from tests.sw.test_train_export import one_thread, shake  # noqa: E402, F401
from xnorcore.train.export import to_network  # noqa: E402
from xnorcore.train.layers import BinaryConv2d, BinaryLinear, Sign  # noqa: E402

nn = torch.nn
F64 = torch.float64
PIXELS = (np.arange(256) / 127.5 - 1)[np.newaxis]


def lenet() -> Any:
    """In the manner of XNOR-Net's: first and last layer real, small."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 5, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.BatchNorm2d(6), Sign(), nn.Dropout(0.1), BinaryConv2d(6, 8, (3, 3), alpha=True), nn.MaxPool2d(2),
        nn.BatchNorm2d(8), Sign(), nn.Flatten(), BinaryLinear(8 * 4, 16, alpha=True), nn.BatchNorm1d(16),
        nn.ReLU(), nn.Linear(16, 4),
    ).double()  # fmt: skip


def bitnet() -> Any:
    """A real last layer that reads bits of a map; averaged, flattened from (channel, y, x)."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding="valid", groups=2, bias=False), nn.Hardtanh(), Sign(),
        BinaryConv2d(4, 8, (3, 3)), nn.BatchNorm2d(8), Sign(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 5), nn.BatchNorm1d(5),
    ).double()  # fmt: skip


def inner_signs(model: Any, x: Any) -> Any:
    """What reads the first sign."""
    for module in model:
        if isinstance(module, Sign):
            return x
        x = module(x)
    raise AssertionError


@pytest.mark.parametrize("make", [lenet, bitnet])
def test_real_ends_are_exported(make: Any) -> None:
    torch.manual_seed(1)
    model = make()
    images = np.random.default_rng(1).integers(0, 256, (40, 14, 14, 2), dtype=np.uint8)
    x = torch.from_numpy(PIXELS[0][images]).permute(0, 3, 1, 2)
    shake(model, x)
    net = to_network(model, "real", (14, 14, 2), pixels=PIXELS)
    assert net == xnorfile.loads(xnorfile.dumps(net))
    values = net.encode(images)
    with torch.no_grad():
        numbers = inner_signs(model, x).permute(0, 2, 3, 1).reshape(40, -1).numpy()
        true = model(x).numpy()
    differ = values != (numbers >= 0)
    assert (np.abs(numbers[differ]) < 1e-5).all()
    same = ~differ.any(axis=1)
    assert same.sum() > 30
    raw = golden.run(net, values)
    assert np.abs(net.scores(raw) - true)[same].max() < 1e-5
    np.testing.assert_array_equal(net.classify(raw)[same], true[same].argmax(axis=1))


def test_a_trained_network_keeps_its_accuracy() -> None:
    """Two classes of stripes, a few steps: integers and host are as right as the float model."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 150)
    stripes = np.where((np.indices((14, 14))[labels] // 2) % 2, 190, 60)
    images = np.clip(stripes[..., np.newaxis] + rng.normal(0, 60, (150, 14, 14, 2)), 0, 255).astype(np.uint8)
    model = lenet()
    x, y = torch.from_numpy(PIXELS[0][images]).permute(0, 3, 1, 2), torch.from_numpy(labels)
    for _ in range(15):
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for values in model.parameters():
                values.sub_(0.05 * values.grad.sign())
        for module in model:
            if isinstance(module, (BinaryConv2d, BinaryLinear)):
                module.clip()
    model.eval()
    net = to_network(model, "stripes", (14, 14, 2), pixels=PIXELS)
    with torch.no_grad():
        right = int((model(x).argmax(1) == y).sum())
    found = net.classify(fast.run(net, net.encode(images)))
    assert int((found == labels).sum()) == right > 125


def alexnet() -> Any:
    """XNOR-Net's, of its full size: 58 Mbit of binary weights, conv1 and fc8 real."""

    def conv(inputs: int, outputs: int, kernel: int) -> Any:
        side = kernel // 2
        return BinaryConv2d(
            inputs,
            outputs,
            (kernel, kernel),
            padding=(side, side, side, side),
            alpha=True,
            dtype=torch.float32,
        )

    def dense(inputs: int) -> Any:
        return BinaryLinear(inputs, 4096, torch.float32, alpha=True)

    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), nn.BatchNorm2d(96), nn.ReLU(), nn.MaxPool2d(3, 2), nn.BatchNorm2d(96),
        Sign(), conv(96, 256, 5), nn.MaxPool2d(3, 2), nn.BatchNorm2d(256),
        Sign(), conv(256, 384, 3), nn.BatchNorm2d(384), Sign(), conv(384, 384, 3), nn.BatchNorm2d(384),
        Sign(), conv(384, 256, 3), nn.MaxPool2d(3, 2), nn.BatchNorm2d(256), Sign(), nn.Flatten(),
        dense(9216), nn.BatchNorm1d(4096), Sign(), dense(4096), nn.BatchNorm1d(4096), nn.ReLU(),
        nn.Linear(4096, 1000),
    )  # fmt: skip


@pytest.mark.campaign
def test_xnor_nets_alexnet() -> None:
    """The head by itself, and everything behind its bits, on one image."""
    torch.manual_seed(0)
    model = alexnet()
    images = np.random.default_rng(0).integers(0, 256, (1, 227, 227, 3), np.uint8)
    x = torch.from_numpy(PIXELS[0][images]).permute(0, 3, 1, 2)
    for module in model:
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.cat([x, x.flip(2), x.flip(3), -x]).float())
        net = to_network(model.eval(), "alexnet", (227, 227, 3), pixels=PIXELS)
        values = net.encode(images)
        numbers = inner_signs(model.double(), x).permute(0, 2, 3, 1).reshape(1, -1).numpy()
        bits = torch.from_numpy(2.0 * values.reshape(1, 27, 27, 96) - 1).permute(0, 3, 1, 2)
        true = model[5:](bits).numpy()
    assert net.weight_bits == 58_236_928
    differ = values != (numbers >= 0)
    assert (np.abs(numbers[differ]) < 1e-5).all()
    raw = fast.run(net, values)
    assert np.abs(net.scores(raw) - true).max() < 1e-5
    np.testing.assert_array_equal(net.classify(raw), true.argmax(axis=1))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [nn.Linear(6, 4), nn.GELU(), Sign(), BinaryLinear(4, 2)],
            r"module 1 \(GELU\): is nothing that the host",
        ),
        ([BinaryLinear(6, 4), nn.ReLU(), nn.Tanh(), nn.Linear(4, 2)], r"module 2 \(Tanh\): is nothing"),
        (
            [nn.Conv2d(1, 2, 3, dilation=2), Sign(), BinaryLinear(4, 2)],
            r"module 0 \(Conv2d\): padding_mode 'zeros' or dilation \(2, 2\)",
        ),
        ([nn.Linear(5, 4), Sign(), BinaryLinear(4, 2)], r"module 0 \(Linear\): real dense takes 5 values"),
    ],
)
def test_what_the_host_does_not_compute_is_named(modules: list[Any], message: str) -> None:
    shape = (8, 8, 1) if isinstance(modules[0], nn.Conv2d) else (6,)
    with pytest.raises(UsageError, match=message):
        to_network(nn.Sequential(*modules), "bad", shape, input_bits=1)


def test_pixels_are_for_real_layers() -> None:
    with pytest.raises(UsageError, match="does not begin with real layers"):
        to_network(nn.Sequential(BinaryLinear(6, 2)), "n", (6,), input_bits=1, pixels=PIXELS)
