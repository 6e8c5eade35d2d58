"""Public layers: alpha, input scale; export of a user's own Sequential, bit for bit or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore.errors import UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.scaling import InputScale
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

torch = needs.torch()

from xnorcore.train.export import to_network  # noqa: E402
from xnorcore.train.layers import BinaryConv2d, BinaryLinear, Sign  # noqa: E402
from xnorcore.train.model import BinaryNet  # noqa: E402
from xnorcore.train.recipe import Conv  # noqa: E402

nn = torch.nn
F64 = torch.float64


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shake(model: Any, images: Any) -> Any:
    """Give every batch norm random parameters, some of them negative or 0, and statistics that fit."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
            with torch.no_grad():
                module.weight.copy_(torch.randn(len(module.weight)))
                module.weight[0] = 0.0
                module.bias.copy_(torch.randn(len(module.bias)) * 0.5)
    model.train()
    for _ in range(30):
        model(images)
    return model.eval()


def signal(shape: tuple[int, ...], bits: int, count: int = 60) -> tuple[np.ndarray, Any]:
    """Return random images and what torch reads: (count, channels, height, width), -1 and +1 or integers."""
    images = np.random.default_rng(bits).integers(0, 1 << bits, (count, *shape), dtype=np.uint8)
    values = torch.from_numpy(images).to(F64)
    values = 2 * values - 1 if bits == 1 else values
    return images, values.permute(0, 3, 1, 2) if len(shape) == 3 else values


# Layers.


def test_alpha_is_the_mean_of_the_latent_weights_and_gets_a_gradient() -> None:
    layer = BinaryLinear(3, 2, alpha=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.25, 0.75], [-1.0, 0.0, 0.5]]))
    x = torch.tensor([[1.0, 1.0, -1.0]], dtype=F64)
    assert layer.scales().tolist() == [0.5, 0.5]
    y = layer(x)
    assert y.tolist() == [[(1 - 1 - 1) * 0.5, (-1 + 1 - 1) * 0.5]]
    y.sum().backward()
    # By hand: alpha * x for the signs, and sum * sign(w) / 3 for alpha; the slope of |w| at 0 is 0.
    expected = [[0.5 - 1 / 3, 0.5 + 1 / 3, -0.5 - 1 / 3], [0.5 + 1 / 3, 0.5, -0.5 - 1 / 3]]
    assert layer.weight.grad is not None
    assert np.allclose(layer.weight.grad.numpy(), expected)


def test_input_scale_is_the_mean_magnitude_per_position() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5, 6))
    layer = BinaryConv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 0, 0, 1), alpha=True, input_scale=True)
    y = layer(torch.from_numpy(x)).detach().numpy()
    weights, alpha = layer.binary_weights(), np.abs(layer.weight.detach().numpy()).mean((1, 2, 3))
    bits = np.pad(np.where(x >= 0, 1, -1), ((0, 0), (0, 0), (1, 0), (0, 1)))
    size = np.pad(np.abs(x), ((0, 0), (0, 0), (1, 0), (0, 1)))
    for n, o, i, j in np.ndindex(*y.shape):
        window = np.s_[n, :, 2 * i : 2 * i + 2, j : j + 3]
        total = (bits[window].transpose(1, 2, 0) * weights[o]).sum()
        assert np.isclose(y[n, o, i, j], total * alpha[o] * size[window].mean())
    dense = BinaryLinear(5, 2, input_scale=True)
    x = rng.normal(size=(3, 5))
    expected = np.where(x >= 0, 1, -1) @ dense.binary_weights().T * np.abs(x).mean(1, keepdims=True)
    assert np.allclose(dense(torch.from_numpy(x)).detach().numpy(), expected)


def test_layers_refuse() -> None:
    with pytest.raises(UsageError, match=r"BinaryLinear: weights of shape \(0, 3\); every size must be at"):
        BinaryLinear(3, 0)
    with pytest.raises(UsageError, match="input_scale with padding of -1 has no meaning; use pad_value=0"):
        BinaryConv2d(3, 2, padding=(1, 1, 1, 1), pad_value=-1, input_scale=True)


# A recipe's model with alpha, and with dropout.


@pytest.mark.parametrize("head", ["scores", "affine"])
@pytest.mark.parametrize("bits", [1, 5])
def test_alpha_folds_exactly(head: str, bits: int) -> None:
    torch.manual_seed(bits)
    convs = (Conv(9, pool=(2, 2)), Conv(7, (2, 3), padding=(1, 0, 0, 1)))
    model = BinaryNet((9, 10, 2), (11, 6), 4, input_bits=bits, head=head, convs=convs, alpha=True)
    images, _ = signal((9, 10, 2), bits)
    shake(model, torch.from_numpy(images))
    network = to_network(model, "alpha", (9, 10, 2))
    with torch.no_grad():
        *hidden, scores = model.trace(torch.from_numpy(images))
        classes = model(torch.from_numpy(images)).argmax(1)
    results = golden.layers(network, images)
    assert 0.02 < np.mean(results[-2]) < 0.98
    assert np.array_equal(results[-2], hidden[-1].numpy() > 0)
    assert np.array_equal(results[-1], scores.numpy())
    assert np.array_equal(network.classify(results[-1]), classes.numpy())
    assert (network.scale is not None) == (head == "affine")


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = BinaryNet(30, (8,), 3, input_bits=1, dropout=(0.5, 0.5))
    images = torch.ones(64, 30, dtype=torch.uint8)
    model.train()
    assert len(model(images).unique(dim=0)) > 3
    assert len(model.eval()(images).unique(dim=0)) == 1


# A user's own Sequential.


def test_sequential_with_torchs_flatten_equals_golden() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        BinaryConv2d(2, 8, (3, 3), alpha=True), nn.MaxPool2d(2), nn.BatchNorm2d(8, dtype=F64),
        nn.Hardtanh(), Sign(),
        BinaryConv2d(8, 6, (2, 2), padding=(1, 1, 0, 0)), nn.BatchNorm2d(6, dtype=F64, affine=False), Sign(),
        nn.MaxPool2d((2, 3), stride=2), nn.Flatten(), nn.Dropout(0.3),
        BinaryLinear(6 * 2 * 1, 9, alpha=True), Sign(),
        BinaryLinear(9, 4, alpha=True),
    )  # fmt: skip
    images, values = signal((9, 10, 2), 8)
    shake(model, values)
    network = to_network(model, "own", (9, 10, 2), input_bits=8)
    with torch.no_grad():
        hidden = model[:-1](values).numpy()
        classes = model(values).argmax(1).numpy()
    results = golden.layers(network, images)
    assert 0.02 < np.mean(results[-2]) < 0.98
    assert np.array_equal(results[-2], hidden > 0)
    assert np.array_equal(network.classify(results[-1]), classes)
    assert np.array_equal(fast.run(network, images), results[-1])


def test_sequential_that_starts_with_flatten_reads_images_in_their_order() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Flatten(), BinaryLinear(3 * 4 * 2, 12), nn.BatchNorm1d(12, dtype=F64), Sign(), BinaryLinear(12, 3),
        nn.BatchNorm1d(3, dtype=F64),
    )  # fmt: skip
    images, values = signal((3, 4, 2), 1)
    shake(model, values)
    network = to_network(model, "flat", (3, 4, 2), input_bits=1)
    with torch.no_grad():
        bits, classes = model[:4](values).numpy() > 0, model(values).argmax(1).numpy()
    results = golden.layers(network, images)
    assert np.array_equal(results[0], bits)
    assert np.array_equal(network.classify(results[1]), classes)


# The input scale K: golden computes it in fixed point.


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("head", ["scores", "affine"])
def test_input_scale_is_computed_to_a_few_thousandths(bits: int, alpha: bool, head: str) -> None:
    torch.manual_seed(bits)
    convs = (Conv(16), Conv(12, (2, 3), padding=(1, 0, 1, 1)))
    model = BinaryNet(
        (6, 7, 2), (20,), 4, input_bits=bits, head=head, convs=convs, alpha=alpha, input_scale=True
    )
    images, _ = signal((6, 7, 2), bits, 200)
    shake(model, torch.from_numpy(images))
    network = to_network(model, "k", (6, 7, 2))
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).numpy()
    if head == "scores":
        logits /= model.temperature
    raw = golden.run(network, images)
    scores = network.affine(raw)
    # A value that is almost 0 in front of a sign may fall on its other side; that is rare.
    close = np.abs(scores - logits).max(1) < 5e-3 * np.abs(logits).max()
    assert close.mean() > 0.9
    assert (network.classify(raw) == logits.argmax(1))[close].mean() > 0.98


def test_input_scale_then_sign_then_ordinary_layers() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(
        BinaryLinear(30, 24), nn.BatchNorm1d(24, dtype=F64),
        BinaryLinear(24, 16, alpha=True, input_scale=True), nn.BatchNorm1d(16, dtype=F64), Sign(),
        BinaryLinear(16, 3),
    )  # fmt: skip
    images, values = signal((30,), 1, 200)
    shake(model, values)
    network = to_network(model, "mixed", (30,), input_bits=1)
    with torch.no_grad():
        bits = model[:5](values).numpy() > 0
    assert np.mean(golden.layers(network, images)[2] == bits) > 0.99


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_scale_bits_give_a_network_that_a_device_runs(bits: int) -> None:
    """Signs behind K equal the model's but at the edge of a step; the device's are the golden's."""
    torch.manual_seed(bits)
    model = nn.Sequential(
        BinaryConv2d(2, 11, padding=(1, 1, 1, 1)), nn.BatchNorm2d(11, dtype=F64),
        BinaryConv2d(11, 16, padding=(1, 1, 1, 1), alpha=True, input_scale=True, scale_bits=bits),
        nn.BatchNorm2d(16, dtype=F64), Sign(), nn.MaxPool2d(2), nn.Flatten(), BinaryLinear(144, 3),
    )  # fmt: skip
    images, values = signal((6, 6, 2), 4, 50)
    shake(model, values)
    network = to_network(model, "scaled", (6, 6, 2), input_bits=4)
    scale = network.layers[1]
    assert isinstance(scale, InputScale) and scale.bits == bits
    with torch.no_grad():
        signs = model[:5](values).permute(0, 2, 3, 1).reshape(50, -1).numpy() > 0
    assert np.mean(golden.layers(network, images)[2] == signs) > 0.99
    lanes = {"code_bits": 8, "result_lanes": 2, "scale_depth": 64}
    with Accelerator.open(machine_url(DeviceConfig(Geometry(1, 16, 16), **lanes))) as device:
        device.load(network)
        assert np.array_equal(device.infer(images), golden.run(network, images))


@pytest.mark.parametrize("head", ["scores", "affine"])
def test_K_in_all_layers_but_the_first(head: str) -> None:
    """As the paper has it: right behind each other, and in the last layer, whose K the host multiplies by."""
    torch.manual_seed(5)
    convs = (Conv(9), Conv(12, (2, 3), padding=(1, 0, 1, 1)))
    scales = {"alpha": True, "input_scale": True, "scale_bits": 3}
    model = BinaryNet((6, 7, 2), (20,), 4, input_bits=4, head=head, convs=convs, **scales)
    images, _ = signal((6, 7, 2), 4, 200)
    shake(model, torch.from_numpy(images))
    network = to_network(model, "k", (6, 7, 2))
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).numpy()
    logits /= model.temperature if head == "scores" else 1
    raw = golden.run(network, images)
    close = np.abs(network.affine(raw) - logits).max(1) < 5e-3 * np.abs(logits).max()
    assert close.mean() > 0.8
    lanes = {"code_bits": 3, "result_lanes": 2, "scale_depth": 64, "weight_depth": 4096}
    with Accelerator.open(machine_url(DeviceConfig(Geometry(1, 16, 16), 20, **lanes))) as device:
        device.load(network)
        assert np.array_equal(device.infer_values(images), raw)


def test_magnitudes_of_scale_bits() -> None:
    """Steps of an eighth that saturate at both ends, negative ones turned over; a gradient below the ends."""
    layer = BinaryLinear(6, 2, input_scale=True, scale_bits=6)
    x = torch.tensor([[0.0, 0.3, 9.0, -0.01, -0.3, -9.0]], dtype=F64, requires_grad=True)
    held = layer.magnitudes(x)
    assert held.tolist() == [[0, 0.25, 31 / 8, 0, 0.25, 31 / 8]]
    held.sum().backward()
    assert x.grad.tolist() == [[0, 1, 0, -1, -1, 0]]
    for bits, scaled in ((8, False), (1, True), (17, True)):
        with pytest.raises(UsageError, match=r"scale_bits is .*, but must be 0, or 2 to 16 with input_scale"):
            BinaryLinear(6, 2, input_scale=scaled, scale_bits=bits)


def dense(*modules: Any) -> Any:
    return nn.Sequential(BinaryLinear(6, 5), *modules, BinaryLinear(5, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(6, 2)), r"module 0 \(Linear\): has real weights; use BinaryLinear or"),
        (dense(nn.ReLU()), r"module 1 \(ReLU\): gives real-valued activations, as in Binary-Weight-Networks"),
        (
            dense(nn.BatchNorm1d(5)),
            r"module 2 \(BinaryLinear\): reads real-valued activations, as in Binary-W",
        ),
        (dense(nn.BatchNorm1d(5, track_running_stats=False), Sign()), "has no running statistics"),
        (
            nn.Sequential(BinaryLinear(6, 5, input_scale=True), Sign(), BinaryLinear(5, 2)),
            r"module 0 \(BinaryLinear\): an input scale K needs real values of a layer before it",
        ),
        (
            nn.Sequential(
                BinaryConv2d(2, 3, (1, 1)),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(3),
                BinaryConv2d(3, 2, (1, 1), input_scale=True),
            ),
            r"module 1 \(MaxPool2d\): sums that meet an input scale are not pooled",
        ),
        (nn.Sequential(Sign(), BinaryLinear(6, 2)), r"module 0 \(Sign\): is not expected here; the order is"),
        (nn.Sequential(BinaryLinear(6, 2), nn.LayerNorm(2)), r"module 1 \(LayerNorm\): is not expected here"),
        (nn.Sequential(nn.Dropout()), "the model has no layer with weights"),
        (
            nn.Sequential(BinaryConv2d(2, 3, (1, 1)), Sign(), nn.MaxPool2d(2, padding=1), nn.Flatten()),
            r"module 2 \(MaxPool2d\): padding, dilation and ceil_mode cannot run",
        ),
    ],
)
def test_sequential_refused_by_name(model: Any, message: str) -> None:
    shape = (2, 3, 2) if isinstance(model[0], BinaryConv2d) else (6,)
    with pytest.raises(UsageError, match=message):
        to_network(model, "refused", shape, input_bits=1)


def test_sequential_needs_its_input_bits() -> None:
    with pytest.raises(UsageError, match="give input_bits, 1 for -1 and"):
        to_network(nn.Sequential(BinaryLinear(6, 2)), "unknown", (6,))
