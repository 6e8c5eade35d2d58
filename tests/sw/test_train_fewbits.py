"""Weights and activations of several bits, with learned steps, and residual blocks: exported exactly."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore.datasets import Dataset
from xnorcore.errors import NetworkError, UsageError
from xnorcore.folding.steps import fold_steps
from xnorcore.reference import fast, golden

torch = needs.torch()

from tests.sw.test_train_conv import stripes  # noqa: E402
from tests.sw.test_train_export import one_thread, shake, signal  # noqa: E402, F401
from xnorcore.isa.device import DeviceConfig, Geometry  # noqa: E402
from xnorcore.model.layers import has_weights  # noqa: E402
from xnorcore.model.network import Add, Network  # noqa: E402
from xnorcore.runtime.accelerator import Accelerator  # noqa: E402
from xnorcore.train import RECIPES, Conv, Progress, Recipe, train  # noqa: E402
from xnorcore.train.export import to_network  # noqa: E402
from xnorcore.train.fewbits import Quant, QuantConv2d, QuantLinear, Residual  # noqa: E402
from xnorcore.train.layers import BinaryConv2d, BinaryLinear, Sign  # noqa: E402
from xnorcore.train.run import Run  # noqa: E402
from xnorcore.verify.ask import machine_url  # noqa: E402

nn = torch.nn
F64 = torch.float64
AROUND = (1, 1, 1, 1)


def norm(channels: int, maps: bool = True) -> Any:
    return (nn.BatchNorm2d if maps else nn.BatchNorm1d)(channels).double()


# Modules.


def test_a_step_by_hand() -> None:
    """LSQ's gradients: rounding passes, not what is clipped; of the step, what rounding adds, or the end."""
    quant = Quant(2)
    with torch.no_grad():
        quant.step.fill_(0.5)
    x = torch.tensor([[-0.3, 0.25, 0.3, 0.75, 1.2, 1.3, 9.0]], dtype=F64, requires_grad=True)
    y = quant(x)
    # Half a step and one and a half go to the even ones, 0 and 2.
    assert y.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0, 1.5, 1.5]]
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0, 1, 1, 1, 1, 1, 0]]
    rounded = [0.0, -0.5, 1 - 0.6, 2 - 1.5, 2 - 2.4, 3 - 2.6, 3.0]
    assert quant.step.grad.item() == pytest.approx(sum(rounded) / (7 * 3) ** 0.5)
    assert quant.places() == [(Fraction(1, 4), False), (Fraction(3, 4), True), (Fraction(5, 4), False)]
    with torch.no_grad():
        quant.step.fill_(1 / 3)
    assert quant.exact() == Fraction(171, 512) and quant(x).max().item() == 3 * 171 / 512
    with torch.no_grad():
        quant.step.fill_(-1.0)
    quant.clip()
    assert quant.step.item() > 0


@pytest.mark.parametrize(("bits", "levels"), [(2, [-1, 0, 0, 0, 1]), (3, [-3, -2, 0, 1, 3])])
def test_weights_are_the_nearest_levels(bits: int, levels: list[int]) -> None:
    layer = QuantLinear(5, 1, bits)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, -0.5, 0.0, 0.4, 0.9]]))
    assert layer.binary_weights().tolist() == [levels]
    layer(torch.arange(5.0, dtype=F64)[None]).sum().backward()
    top = levels[-1]
    assert layer.weight.grad is not None and layer.weight.grad.tolist() == [
        [0, top, 2 * top, 3 * top, 4 * top]
    ]


def test_places_that_are_reached_or_not() -> None:
    """Twice the sum, from places 2, 4 and 5: at 2 only what lies above, at 4 the place itself."""
    plain: dict[str, Any] = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "var": 1.0, "eps": 0.0}
    places = [(Fraction(2), False), (Fraction(4), True), (Fraction(5), True)]
    rows, found = fold_steps(
        [[1, 0], [0, -1]], places, **plain | {"gamma": [1.0, -1.0]}, input_scale=Fraction(2)
    )
    assert rows.tolist() == [[1, 0], [0, 1]] and found.tolist() == [[2, 2, 3]] * 2
    with pytest.raises(NetworkError, match="channel 1 falls and has a weight of -128, whose negative 8 bits"):
        fold_steps([[1, -128], [0, -128]], places, **plain | {"gamma": [1.0, -1.0]})


# Export.


def dense() -> Any:
    return nn.Sequential(
        QuantLinear(20, 30), norm(30, False), Quant(2), QuantLinear(30, 16, 3), norm(16, False), Sign(),
        BinaryLinear(16, 12, alpha=True), norm(12, False), Quant(3), QuantLinear(12, 4),
    )  # fmt: skip


def pooled() -> Any:
    return nn.Sequential(
        BinaryConv2d(2, 8, padding=AROUND), norm(8), Quant(2), nn.MaxPool2d(2),
        QuantConv2d(8, 12, padding=AROUND), norm(12), Quant(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        BinaryLinear(12, 4), norm(4, False),
    )  # fmt: skip


def residual() -> Any:
    """A block that adds what it reads, one of sums with signs inside, one whose shortcut is a convolution."""
    once, twice = Quant(2), Quant(2)
    one = Residual(nn.Sequential(BinaryConv2d(8, 8, padding=AROUND), norm(8), once))
    two = Residual(
        nn.Sequential(
            QuantConv2d(8, 6, padding=AROUND), norm(6), Sign(), BinaryConv2d(6, 8, (1, 1)), norm(8), once
        )
    )
    three = Residual(
        nn.Sequential(BinaryConv2d(8, 12, stride=(2, 2), padding=AROUND), norm(12), twice),
        nn.Sequential(BinaryConv2d(8, 12, (1, 1), stride=(2, 2)), norm(12), twice),
    )
    return nn.Sequential(
        BinaryConv2d(2, 8, padding=AROUND),
        norm(8),
        once,
        one,
        two,
        three,
        nn.Flatten(),
        BinaryLinear(12 * 16, 4),
    )


MODELS = {"dense": (dense, (20,)), "pooled": (pooled, (8, 8, 2)), "residual": (residual, (8, 8, 2))}


def scores_of(model: Any, x: Any) -> np.ndarray:
    with torch.no_grad():
        return model(x).numpy()


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_network_is_the_model(name: str, bits: int) -> None:
    make, shape = MODELS[name]
    torch.manual_seed(bits)
    images, x = signal(shape, bits)
    model = shake(make(), x)
    network = to_network(model, name, shape, input_bits=bits)
    raw = golden.run(network, images)
    np.testing.assert_array_equal(raw, fast.run(network, images))
    wanted = scores_of(model, x)
    assert len(np.unique(wanted.argmax(axis=1))) > 1
    np.testing.assert_allclose(network.scores(raw), wanted, rtol=1e-9, atol=1e-9)
    config = DeviceConfig(Geometry(1, 8, 16), 24, code_bits=3, act_depth=4096, weight_depth=2048)
    with Accelerator.open(machine_url(config)) as device:
        device.load(network)
        np.testing.assert_array_equal(device.infer(images[:3]), raw[:3])


def test_a_real_first_layer_in_front_of_a_quantiser() -> None:
    """The head gives codes, and the tail reads what a quantiser gives."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), Quant(2), QuantConv2d(6, 8), nn.BatchNorm2d(8),
        Quant(3), nn.Flatten(), nn.Linear(8 * 16, 5),
    ).double()  # fmt: skip
    pixels = (np.arange(256) / 127.5 - 1)[np.newaxis]
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 2), dtype=np.uint8)
    x = torch.from_numpy(pixels[0][images]).permute(0, 3, 1, 2)
    shake(model, x)
    network = to_network(model, "real", (8, 8, 2), pixels=pixels)
    assert network.input.bits == 2 and network.head is not None and network.tail is not None
    values = network.encode(images)
    with torch.no_grad():
        numbers = model[:2](x).permute(0, 2, 3, 1).reshape(40, -1).numpy() / float(model[2].exact())
    differ = values != np.rint(np.clip(numbers, 0, 3))
    assert (np.abs(numbers[differ] % 1 - 0.5) < 1e-5).all()
    same = ~differ.any(axis=1)
    assert same.sum() > 30
    found = network.scores(golden.run(network, values))
    assert np.abs(found - scores_of(model, x))[same].max() < 1e-5


def block(*modules: Any, shortcut: Any = None) -> Any:
    return nn.Sequential(
        BinaryLinear(6, 4), norm(4, False), Quant(2), Residual(nn.Sequential(*modules), shortcut)
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            block(BinaryLinear(4, 4), norm(4, False), Quant(3)),
            r"module 3 \(Residual\): adds values in steps of 0\.92\d+ and of 0\.60\d+, whose integers do",
        ),
        (block(BinaryLinear(4, 4), norm(4, False)), r"module 3 \(Residual\): a branch does not end in xnor"),
        (block(BinaryLinear(4, 4), norm(4, False), Sign()), r"module 3 \(Residual\): a branch does not end"),
        (
            nn.Sequential(BinaryLinear(6, 6), Sign(), Residual(nn.Sequential(BinaryLinear(6, 6)))),
            r"module 2 \(Residual\): reads the image or signs, but only values of several bits are added",
        ),
        (block(nn.Linear(4, 4), Quant(2)), r"module 3\.body\.0 \(Linear\): has real weights"),
        (
            nn.Sequential(BinaryLinear(6, 4), Quant(2), BinaryLinear(4, 4, input_scale=True)),
            r"module 1 \(Quant\): an input scale K behind it has no meaning; use Sign",
        ),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_named(model: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_network(model, "bad", (6,), input_bits=1)


def test_pooling_in_front_of_a_negative_factor() -> None:
    model = nn.Sequential(
        BinaryConv2d(1, 2), nn.MaxPool2d(2), norm(2), Quant(2), nn.Flatten(), BinaryLinear(8, 2)
    )
    assert len(to_network(model, "good", (6, 6, 1), input_bits=1).layers) == 3
    with torch.no_grad():
        model[2].weight[1] = -1.0
    with pytest.raises(
        UsageError, match=r"module 1 \(MaxPool2d\): pools in front of .* put it behind the quant"
    ):
        to_network(model, "bad", (6, 6, 1), input_bits=1)


@pytest.mark.parametrize(
    "make", [lambda: Quant(1), lambda: QuantLinear(3, 2, 9), lambda: QuantConv2d(3, 2, bits=True)]
)
def test_bits_out_of_range(make: Any) -> None:
    with pytest.raises(UsageError, match=r"bits is .*, but must be 2 to 8"):
        make()


# Recipes.


SMALL = Recipe(
    "small", "none", hidden=(16,), epochs=2, batch=10, validation=12, learning_rate=3e-2, activation_bits=2,
    weight_bits=2, convs=(
        Conv(8, (3, 4), (2, 2)), Conv(8, padding=AROUND, add=True), Conv(8, padding=AROUND, add=True),
        Conv(12, (2, 2), pool=(2, 2), pool_first=False),
    ),
)  # fmt: skip
RECIPES_ = {
    "w1a2": replace(SMALL, weight_bits=1, convs=SMALL.convs[::3]),
    "ternary weights": replace(SMALL, activation_bits=1, convs=SMALL.convs[::3]),
    "residual": replace(SMALL, weight_bits=1, alpha=True, activation_bits=3),
    "all": replace(SMALL, head="affine"),
    **{
        name: replace(RECIPES[name], epochs=1, batch=10, validation=10)
        for name in ("cifar10-residual", "digits-bwn")
    },
}


def data_for(recipe: Recipe) -> Dataset:
    """Stripes; for the packaged recipes, random images of their data set's shape."""
    if recipe.dataset not in ("cifar10", "digits"):
        return stripes()
    shape, bits = ((32, 32, 3), 8) if recipe.dataset == "cifar10" else ((8, 8, 1), 5)
    images = np.random.default_rng(3).integers(0, 1 << bits, (40, *shape), dtype=np.uint8)
    labels = (np.arange(40) % 10).astype(np.uint8)
    return Dataset(
        images[:30], labels[:30], images[30:], labels[30:],
        bits=bits, maximum=(1 << bits) - 1, classes=tuple("0123456789"), split="random",
    )  # fmt: skip


def trained(recipe: Recipe) -> tuple[Any, Network]:
    run = Run(recipe, data_for(recipe), 1, "cpu")
    while not run.over:
        run.step()
    return run, run.export()


@pytest.mark.parametrize("name", RECIPES_)
def test_the_integer_network_is_the_trained_one(name: str) -> None:
    """On held-out data: every score, and with a quantiser in front of them every code."""
    recipe = RECIPES_[name]
    run, network = trained(recipe)
    images = run.data.test_images
    model = run.model.double().eval()
    with torch.no_grad():
        *_, last, scores = model.trace(torch.from_numpy(images))
        logits = model.logits(scores).numpy()
    found = fast.layers(network, images)
    step = float(model.quants[-1].exact()) if recipe.activation_bits > 1 else 1.0
    codes = found[-2] if recipe.activation_bits > 1 else 2.0 * found[-2] - 1
    np.testing.assert_array_equal(codes * step, last.numpy())
    np.testing.assert_array_equal(found[-1] * step, scores.numpy())
    np.testing.assert_array_equal(network.classify(found[-1]), logits.argmax(axis=1))
    assert sum(isinstance(layer, Add) for layer in network.layers) == sum(conv.add for conv in recipe.convs)
    if recipe.activation_bits > 1:
        steps = [quant.step.item() for quant in model.quants]
        assert len(set(steps)) == len(steps) - sum(conv.add for conv in recipe.convs)
        assert all(step != Quant(recipe.activation_bits).step.item() for step in steps), "they are learned"
    widths = {layer.weight_width for layer in network.layers if has_weights(layer)}
    assert widths == {recipe.weight_bits}
    assert Recipe.parse(network.metadata["recipe"]) == recipe


ENDS = {
    "signs": replace(
        SMALL, activation_bits=1, weight_bits=1, alpha=True, real_first=True, real_last=True,
        convs=(Conv(8, (3, 4), (2, 2), padding=(1, 1, 0, 0), pool=(2, 2)), Conv(12, (2, 2))),
    ),
    "codes, and maps at the end": replace(
        SMALL, hidden=(), real_first=True, real_last=True,
        convs=(Conv(8, (3, 4), (2, 2)), Conv(12, (2, 2), pool=(2, 2), pool_first=False)),
    ),
    "dense": replace(SMALL, hidden=(16, 12), convs=(), real_first=True),
    "only the last": replace(SMALL, convs=(), real_last=True),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_real_ends_are_trained(name: str) -> None:
    recipe = ENDS[name]
    run, network = trained(recipe)
    assert (network.head is not None, network.tail is not None) == (recipe.real_first, recipe.real_last)
    images = run.data.test_images
    model = run.model.double().eval()
    with torch.no_grad():
        *_, scores = model.trace(torch.from_numpy(images))
        logits = model.logits(scores).numpy()
        values = network.encode(images)
        same = np.ones(len(images), np.bool_)
        if recipe.real_first:
            first = (model.convs or model.linears)[0]
            x = model.pixels.double()[torch.from_numpy(images).long()]
            x = first(x.permute(0, 3, 1, 2) if recipe.convs else x.flatten(1))
            if recipe.convs and recipe.convs[0].pool:
                x = nn.functional.max_pool2d(x, recipe.convs[0].pool)
            x = model.norms[0](x)
            x = (x.permute(0, 2, 3, 1) if recipe.convs else x).reshape(len(images), -1).numpy()
            scale = float(model.quants[0].exact()) if recipe.activation_bits > 1 else 1.0
            exact = np.rint(np.clip(x / scale, 0, 3)) if recipe.activation_bits > 1 else x >= 0
            differ = values != exact
            near = np.abs(x / scale % 1 - 0.5) if recipe.activation_bits > 1 else np.abs(x)
            assert (near[differ] < 1e-4).all()
            same = ~differ.any(axis=1)
    assert same.sum() > 50
    raw = fast.run(network, values)
    np.testing.assert_array_equal(raw, golden.run(network, values))
    np.testing.assert_array_equal(network.classify(raw)[same], logits[same].argmax(axis=1))
    assert network.metadata["accuracy"] == np.mean(network.classify(raw) == run.data.test_labels)
    assert Recipe.parse(network.metadata["recipe"]) == recipe


def test_training_learns_and_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe, path = replace(SMALL, epochs=8), tmp_path / "small.checkpoint"
    network = train(recipe, stripes(), seed=0)
    assert network.metadata["accuracy"] > 0.8

    def stop(state: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, stripes(), seed=0, checkpoint=path, progress=stop)
    assert train(recipe, stripes(), seed=0, checkpoint=path, resume=True) == network


CONVS = SMALL.convs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_bits": 9}, "activation_bits is 9, but must be 1 to 8"),
        ({"weight_bits": 0}, "weight_bits is 0, but must be 1 to 8"),
        ({"alpha": True}, "alpha is True, but must be false with weights of several bits"),
        ({"input_scale": True, "convs": ()}, "input_scale is True, but must be false with several bits"),
        ({"activation_bits": 1}, "convolution 1 adds what it reads; signs are not added"),
        ({"convs": (CONVS[1],)}, "convolution 0 adds the image to its 8 channels; give both as many"),
        (
            {"convs": (Conv(4), CONVS[1])},
            "convolution 1 adds 4 channels to its 8 channels; give both as many",
        ),
        (
            {"convs": (Conv(8, pool=(2, 2)),)},
            "convolution 0 pools in front of a batch norm, .*use pool_first",
        ),
        (
            {"convs": (Conv(8, padding=AROUND, pad_value=1),)},
            r"convolution 0 pads with \+1; values of several bits are padded with 0",
        ),
        ({"convs": CONVS[:2], "real_first": True}, "convolution 1 adds the image to its 8 channels"),
        (
            {"convs": (), "real_first": True, "real_last": True},
            "real_first is True, but must be false, or a layer of integers between",
        ),
        (
            {"threshold": 3, "real_first": True, "convs": ()},
            "threshold is 3, but must be left out with real_first",
        ),
        ({"head": "affine", "real_last": True}, "head is 'affine', but must be 'scores' with real_last"),
        (
            {"convs": (CONVS[3],), "real_first": True},
            "with real_first, this convolution must pool its sums: use pool_first=True",
        ),
        (
            {
                "convs": (CONVS[0], Conv(3, pool=(2, 2))),
                "hidden": (),
                "real_last": True,
                "activation_bits": 1,
                "weight_bits": 1,
            },
            "with real_last, this convolution must pool its signs: use pool_first=False",
        ),
        (
            {"convs": (Conv(8, padding=(1, 0, 1, 1)),), "real_first": True},
            "with real_first, the first convolution pads both sides alike, with 0",
        ),
        (
            {"activation_bits": 7, "convs": CONVS[:3]},
            "convolution 2 makes sums up to 381, the limit is 255; put one without add between",
        ),
    ],
)
def test_recipes_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("change", [{"stride": (2, 1)}, {"padding": (0, 1, 1, 1)}, {"pool": (2, 2)}])
def test_what_adds_keeps_its_size(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="add is True, but must be false, but where a map keeps its size"):
        Conv(**{"channels": 4, "padding": AROUND, "add": True} | change)
