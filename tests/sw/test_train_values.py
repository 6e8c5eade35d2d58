"""Training with shortcuts of 8 bits: values that saturate, changes in their steps, exported exactly."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests import needs
from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Add, Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

torch = needs.torch()

from tests.sw.test_train_conv import stripes  # noqa: E402
from tests.sw.test_train_export import one_thread, shake, signal  # noqa: E402, F401
from tests.sw.test_train_fewbits import AROUND, norm, scores_of  # noqa: E402
from xnorcore.train import (  # noqa: E402
    BinaryConv2d,
    BinaryLinear,
    Quant,
    Residual,
    Shortcut,
    Sign,
    to_network,
)

nn = torch.nn
F64 = torch.float64
DEVICE = DeviceConfig(
    Geometry(1, 8, 16), 22, code_bits=8, result_lanes=2, value_depth=2048, act_depth=8192, weight_depth=2048,
    program_depth=512,
)  # fmt: skip


def values_of(step: float) -> Any:
    quant = Quant(8, signed=True)
    with torch.no_grad():
        quant.step.fill_(step)
    return quant


def blocks(values: Any, bits: int = 4, times: int = 1, widths: tuple[int, ...] = (8, 8, 12, 12)) -> list[Any]:
    """Blocks of a sign, a convolution, a batch norm and a change; wider ones halve the map."""
    found = []
    for inputs, outputs in pairwise(widths):
        halves = outputs > inputs
        body = nn.Sequential(
            Sign(), BinaryConv2d(inputs, outputs, stride=(2, 2) if halves else (1, 1), padding=AROUND),
            norm(outputs), Quant(bits, signed=True, like=values, times=times),
        )  # fmt: skip
        found.append(Residual(body, Shortcut(inputs, outputs) if halves else None, values=values))
    return found


def residual(step: float, **options: Any) -> Any:
    values = values_of(step)
    return nn.Sequential(
        BinaryConv2d(2, 8, padding=AROUND), norm(8), values, *blocks(values, **options),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), BinaryLinear(12, 4),
    )  # fmt: skip


def in_place(network: Network) -> int:
    (section,) = compile_network(network, DEVICE).sections
    return sum(one.adding is not None for one in section.descriptors)


def on_device(network: Network, images: Any, wanted: Any) -> None:
    with Accelerator.open(machine_url(DEVICE)) as device:
        device.load(network)
        np.testing.assert_array_equal(device.infer(images), wanted)


@pytest.mark.parametrize(("step", "bits"), some([(1 / 40, 4), (1 / 16, 8), (1 / 100, 3)], 2, many=True))
def test_the_network_is_the_model(step: float, bits: int) -> None:
    """Floats of 64 bits are the integers; sums reach both ends of the values."""
    torch.manual_seed(bits)
    images, x = signal((8, 7, 2), 2)
    model = shake(residual(step, bits=bits), x)
    network = to_network(model, "values", (8, 7, 2), input_bits=2)
    layers = golden.layers(network, images)
    np.testing.assert_array_equal(layers[-1], fast.run(network, images))
    adds = [(number, one) for number, one in enumerate(network.layers) if isinstance(one, Add)]
    assert [(one.offset, one.most) for _, one in adds] == [(1 << bits - 1, 255)] * 3
    with torch.no_grad():
        for count, (number, _) in enumerate(adds, 4):
            wanted = model[:count](x).permute(0, 2, 3, 1).reshape(len(x), -1).numpy()
            np.testing.assert_array_equal(
                (layers[number].astype(int) - 128) * float(model[2].exact()), wanted
            )
    if step < 1 / 16:
        assert {0, 255} <= set(layers[adds[-1][0]].ravel().tolist())
    np.testing.assert_allclose(network.scores(layers[-1]), scores_of(model, x), rtol=1e-9, atol=1e-9)
    assert in_place(network) == 4
    on_device(network, images[:4], layers[-1][:4])


def test_changes_in_steps_of_several() -> None:
    torch.manual_seed(1)
    images, x = signal((8, 7, 2), 2)
    network = to_network(shake(model := residual(1 / 64, times=4), x), "values", (8, 7, 2), input_bits=2)
    assert sorted(map(network.reads[-3].count, set(network.reads[-3]))) == [1, 4]
    raw = golden.run(network, images)
    np.testing.assert_allclose(network.scores(raw), scores_of(model, x), rtol=1e-9, atol=1e-9)
    with pytest.raises(CompileError, match=r"joins values of 4 and 8 bits, .* values in place"):
        compile_network(network, DEVICE)


def test_real_ends() -> None:
    """The head gives values, which are added to as they are; the tail reads their means."""
    torch.manual_seed(2)
    values = values_of(1 / 32)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), values, *blocks(values), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(12, 5),
    ).double()  # fmt: skip
    pixels = (np.arange(256) / 127.5 - 1)[np.newaxis]
    images = np.random.default_rng(1).integers(0, 256, (20, 9, 8, 2), dtype=np.uint8)
    x = torch.from_numpy(pixels[0][images]).permute(0, 3, 1, 2)
    shake(model, x)
    network = to_network(model, "real", (9, 8, 2), pixels=pixels)
    found = network.scores(raw := golden.run(network, network.encode(images)))
    # A value of the head may differ next to where its quantiser turns.
    assert (np.abs(found - scores_of(model, x)).max(axis=1) < 1e-5).sum() >= 18
    inner = Network("inner", network.input, network.layers, reads=network.reads)
    assert in_place(inner) == 4
    on_device(inner, network.encode(images)[:3], raw[:3])


def test_gradients_pass_within_the_values() -> None:
    values = values_of(0.5)
    x = torch.tensor([[-70.0, -3.0, 63.0, 70.0]], dtype=F64, requires_grad=True)
    y = values.held(2 * x)
    assert y.tolist() == [[-64.0, -6.0, 63.5, 63.5]]
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0, 2, 0, 0]]
    change = Quant(3, signed=True, like=values, times=2)
    assert change.step is values.step and change.exact() == 1
    assert change(torch.tensor([[-9.0, -0.6, 0.5, 1.5, 9.0]], dtype=F64)).tolist() == [[-4, -1, 0, 2, 3]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quant(3, times=2), "times is 2, but must be 1, or, of another's step, 2 to 32"),
        (lambda: Quant(3, like=values_of(1), times=3), "times is 3, but must be 1"),
        (
            lambda: Residual(nn.Sequential(), values=Quant(8)),
            "values have 8 bits, without sign, but must have 8",
        ),
        (lambda: Shortcut(8, 4), "8 channels become 4, but must become no fewer"),
    ],
)
def test_wrong_modules(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def built(*more: Any, values: Any = None) -> Any:
    values = values or values_of(0.25)
    return nn.Sequential(BinaryConv2d(2, 8, padding=AROUND), norm(8), values, *more)


def other() -> Any:
    body = nn.Sequential(Sign(), BinaryConv2d(8, 8, padding=AROUND), norm(8), (own := values_of(0.5)))
    return built(Residual(body, values=own))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (other(), r"module 3 \(Residual\): has values in steps of 0\.5, and adds in steps of 0\.25; give"),
        (built(Shortcut(4, 8)), r"module 3 \(Shortcut\): reads \(6, 6, 8\), but must read .* width, 4\)"),
        (built(BinaryConv2d(8, 4, padding=AROUND, pad_value=1)), "pads values of several bits and a sign"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_named(model: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_network(model, "bad", (6, 6, 2), input_bits=2)


def test_a_convolution_reads_values_with_a_sign() -> None:
    """Padding with 0 is that with the level of 0."""
    torch.manual_seed(3)
    images, x = signal((6, 6, 2), 2)
    model = built(
        BinaryConv2d(8, 6, padding=AROUND), norm(6), Sign(), nn.Flatten(), BinaryLinear(216, 3),
        norm(3, False),
    )  # fmt: skip
    network = to_network(shake(model, x), "signed", (6, 6, 2), input_bits=2)
    np.testing.assert_allclose(
        network.scores(golden.run(network, images)), scores_of(model, x), rtol=1e-9, atol=1e-9
    )


@pytest.mark.campaign
def test_training_from_the_start() -> None:
    """Noisy stripes: a small network learns them; the integers classify as it does, on a device as well."""
    torch.manual_seed(4)
    data = stripes(240)
    x = torch.from_numpy(data.train_images.astype(np.float64) / 16).floor().permute(0, 3, 1, 2)
    values = values_of(1 / 16)
    model = nn.Sequential(
        BinaryConv2d(2, 8, padding=AROUND), norm(8), values, *blocks(values), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), BinaryLinear(12, 3), norm(3, False),
    )  # fmt: skip
    labels = torch.from_numpy(data.train_labels.astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        for part in torch.randperm(len(x)).split(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[part]), labels[part]).backward()
            optimizer.step()
            for module in model.modules():
                if hasattr(module, "clip"):
                    module.clip()
    model.eval()
    network = to_network(model, "stripes", (12, 11, 2), input_bits=4)
    images = data.test_images // 16
    raw = golden.run(network, images)
    wanted = scores_of(model, torch.from_numpy(images.astype(np.float64)).permute(0, 3, 1, 2))
    np.testing.assert_allclose(network.scores(raw), wanted, rtol=1e-9, atol=1e-9)
    assert (network.classify(raw) == data.test_labels).mean() > 0.9
    assert values.step.item() != 1 / 16 and in_place(network) == 4
    on_device(network, images[:5], raw[:5])


def real_shortcuts(*, first: bool) -> Any:
    """Blocks that add real numbers, behind a first layer of real weights or of signs."""
    found = [Residual(nn.Sequential(*one.body[:-1]), one.shortcut) for one in blocks(None, bits=8)]
    stem = nn.Conv2d(2, 8, 3, padding=1, bias=False) if first else BinaryConv2d(2, 8, padding=AROUND)
    return nn.Sequential(
        stem, nn.BatchNorm2d(8), *found, nn.AdaptiveAvgPool2d(1), nn.Flatten(), BinaryLinear(12, 4)
    ).double()


@pytest.mark.parametrize(("first", "bits"), [(False, 8), (True, 6)])
def test_real_shortcuts_in_fixed_point(first: bool, bits: int) -> None:
    """The network has what the model has, rounded: values in one step, of which signs and sums stay near."""
    torch.manual_seed(3)
    images, x = signal((8, 7, 2), 2)
    model = shake(real_shortcuts(first=first), x)
    options: dict[str, Any] = {"pixels": np.arange(4.0)[None]} if first else {"input_bits": 2}
    with pytest.raises(UsageError, match=r"module 2 .Residual.: a branch does not end in .* fixed_point=8"):
        to_network(model, "real", (8, 7, 2), **options)
    network = to_network(model, "real", (8, 7, 2), **options, fixed_point=bits, images=x)
    how, classes = network.metadata["exported"]["rounded"]
    assert f"3 additions give are values of 8 bits, and what layers add to them changes of {bits}, in" in how
    step, values = float(how.split("steps of ")[1]), network.encode(images)
    layers = golden.layers(network, values)
    np.testing.assert_array_equal(layers[-1], fast.run(network, values))
    # The first block, from what it reads in the network: the sum differs by the rounding of the change.
    add = next(number for number, one in enumerate(network.layers) if isinstance(one, Add))
    (begin,) = {*network.reads[add]} & set(range(2))
    read = (layers[begin - 1] if begin else values).reshape(len(x), 8, 7, 8).astype(np.float64) - 128
    with torch.no_grad():
        wanted = model[2](torch.tensor(read * step).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy() / step
    found, half = layers[add].reshape(wanted.shape) - 128.0, 1 << bits - 1
    inside = (np.abs(wanted - read) < half - 1) & (np.abs(wanted) < 127)
    assert inside.mean() > 0.8 and (np.abs(found - wanted)[inside] <= 0.5 + 1e-9).all()
    exact = scores_of(model, x)
    scores = network.scores(layers[-1])
    assert np.corrcoef(scores.ravel(), exact.ravel())[0, 1] > 0.9
    differ = int((scores.argmax(axis=1) != exact.argmax(axis=1)).sum())
    assert abs(int(classes.split(" class for ")[1].split(" of ")[0]) - differ) <= 1


def test_what_fixed_point_needs() -> None:
    torch.manual_seed(3)
    _, x = signal((8, 7, 2), 2)
    model = shake(real_shortcuts(first=False), x)
    for wrong in (1, 9, True):
        with pytest.raises(UsageError, match=r"fixed_point is .*, but must be 2 to 8 bits of a change"):
            to_network(model, "real", (8, 7, 2), input_bits=2, fixed_point=wrong, images=x)
    with pytest.raises(
        UsageError,
        match=r"fixed_point needs images: what the model reads, an array of finite numbers of shape",
    ):
        to_network(model, "real", (8, 7, 2), input_bits=2, fixed_point=8)
    for images, says in (
        (x.numpy().transpose(0, 2, 3, 1), "does not read images of"), ([1.0], "does not read images of"),
        ([float("nan")], "needs images"), (["a"], "needs images"), ([[1], [1, 2]], "needs images"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            to_network(model, "real", (8, 7, 2), input_bits=2, fixed_point=8, images=images)
    plain = residual(1 / 40)
    assert "exported" not in to_network(shake(plain, x), "v", (8, 7, 2), input_bits=2, fixed_point=8).metadata
