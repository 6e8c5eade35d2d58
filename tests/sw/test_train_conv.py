"""Convolutional training: the packaged network, and, where PyTorch is installed, layers and export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore import zoo
from xnorcore.compiler import compile as compiler
from xnorcore.errors import UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.reference import fast, golden
from xnorcore.train import RECIPES, Augment, Conv, Dataset, Recipe

PADDED = (1, 0, 2, 1)
NETS: dict[str, dict[str, Any]] = {
    "pool first": {"convs": (Conv(9, pool=(2, 2)), Conv(7, (2, 3)))},
    "pool last": {"convs": (Conv(9, pool=(2, 3), pool_first=False), Conv(7, (2, 1)))},
    "pool first, then zero padding": {"convs": (Conv(8, pool=(3, 2)), Conv(6, padding=PADDED))},
    "pool first, then dense": {"convs": (Conv(33, (3, 2), (2, 1), pool=(2, 2)),), "hidden": (5,)},
    "padding with data": {"convs": (Conv(6), Conv(5, padding=PADDED, pad_value=-1, pool=(2, 2)))},
    "padded image": {"convs": (Conv(6, (5, 3), (2, 2), padding=(2, 2, 1, 0)), Conv(4, (1, 1), pool=(2, 2)))},
}


@pytest.fixture
def torch() -> Iterator[Any]:
    module = needs.torch()
    threads = module.get_num_threads()
    module.set_num_threads(1)  # the models are tiny: threads would only wait for each other
    yield module
    module.set_num_threads(threads)


def stripes(count: int = 120) -> Dataset:
    """Three classes of 12x11x2 noisy images: flat, lying and standing stripes."""
    rng = np.random.default_rng(2)
    labels = (np.arange(count) % 3).astype(np.uint8)
    images = rng.integers(0, 60, (count, 12, 11, 2))
    images[labels == 1, ::2] += 140
    images[labels == 2, :, ::2] += 140
    images, half = images.astype(np.uint8), count // 2
    return Dataset(
        images[:half], labels[:half], images[half:], labels[half:],
        bits=8, maximum=255, classes=("flat", "lying", "standing"), split="two halves",
    )  # fmt: skip


SMALL = Recipe(
    "small", "none", hidden=(), epochs=3, batch=10, validation=12, precision="float32", convs=(
        Conv(16, (3, 4), (2, 2)), Conv(12, (2, 2), pool=(2, 2))
    ), augment=Augment(shift=1, mirror=True),
)  # fmt: skip


# The packaged network: no PyTorch, no data set.


def test_packaged_fashion_reaches_its_stated_accuracy() -> None:
    network = zoo.load("fashion")
    images, labels = zoo.test_images("fashion")
    assert images.shape == (100, 28, 28, 1) and images.max() == 255
    right = network.classify(fast.run(network, images)) == labels
    assert right.sum() == 87
    assert network.metadata["held_out_images"] == 10_000
    assert network.metadata["accuracy"] == 8_962 / 10_000 >= 0.88
    assert Recipe.parse(network.metadata["recipe"]) == RECIPES["fashion"]
    assert np.array_equal(fast.run(network, images[:2]), golden.run(network, images[:2]))


def test_packaged_fashion_is_small_and_fills_the_array() -> None:
    network = zoo.load("fashion")
    assert network.weight_bits <= 100_000
    assert network.scale is None and network.offset is None
    program = compiler.compile_network(network, DeviceConfig(Geometry(1, 32, 32)))
    cycles = program.beats + sum(layer.drains for layer in program.layers) + 12 * len(program.layers)
    assert network.macs / (cycles * 1024) >= 0.90
    assert program.used["act_depth"] <= 2048


# Recipes.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels is 0, but must be 1 to 65536"),
        ({"kernel": (3, 8)}, r"kernel is \(3, 8\), but must be 1 to 7 each"),
        ({"stride": (0, 1)}, r"stride is \(0, 1\), but must be 1 to 4 each"),
        ({"padding": (0, 0, 3, 0)}, r"padding is \(0, 0, 3, 0\), but must be at least 0, and less than"),
        ({"pad_value": 2}, "pad_value is 2, but must be -1, 0 or"),
        ({"pool": (2, 4)}, r"pool is \(2, 4\), but must be None, or 2 or 3 each"),
    ],
)
def test_convolution_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(Conv(4), **change)


def test_recipe_refuses_what_could_not_be_folded() -> None:
    pooled, padded = Conv(8, pool=(2, 2)), Conv(8, padding=(1, 1, 1, 1), pad_value=-1)
    with pytest.raises(UsageError, match=r"pads with -1 behind pooling .*; use pool_first=False"):
        replace(SMALL, convs=(pooled, padded))
    replace(SMALL, convs=(replace(pooled, pool_first=False), padded))
    replace(SMALL, convs=(pooled, replace(padded, pad_value=0)))


def test_recipes_survive_json_and_keep_their_form() -> None:
    for recipe in (SMALL, *RECIPES.values()):
        assert Recipe.parse(json.loads(json.dumps(recipe.plain()))) == recipe
    assert RECIPES["digits"].plain() == zoo.load("digits").metadata["recipe"]


@pytest.mark.parametrize("stored", [{}, {"hidden": 3, "augment": {}}, {"hidden": [1], "augment": {"x": 1}}])
def test_stored_recipe_that_is_none_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="stored recipe cannot be read"):
        Recipe.parse(stored)


# Layers and export.


@pytest.mark.parametrize("head", ["scores", "affine"])
@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("net", NETS)
def test_export_equals_the_model_in_every_bit(torch: Any, net: str, bits: int, head: str) -> None:
    from xnorcore.train.export import to_network
    from xnorcore.train.model import BinaryNet

    torch.manual_seed(len(net) + bits)
    options: dict[str, Any] = {"hidden": ()} | NETS[net]
    shape = (9, 10, 2)
    model = BinaryNet(shape, classes=4, input_bits=bits, head=head, **options)
    images = np.random.default_rng(bits).integers(0, 1 << bits, (8, *shape), dtype=np.uint8)
    negative = 0
    for norm in model.norms:
        size = len(norm.weight)
        with torch.no_grad():
            norm.weight.copy_(torch.randn(size))
            norm.weight[0] = 0.0
            norm.bias.copy_(torch.randn(size) * 0.5)
        negative += int((norm.weight < 0).sum())
    model.train()
    for _ in range(30):  # running mean and variance that fit the sums: signs of both kinds everywhere
        model(torch.from_numpy(images))
    model.eval()
    with torch.no_grad():
        *hidden, scores = model.trace(torch.from_numpy(images))
        logits = model(torch.from_numpy(images))
    assert negative > 2 and 0.02 < float((hidden[-1] > 0).double().mean()) < 0.98
    network = to_network(model, "random", shape)
    results = golden.layers(network, images)
    kinds = [type(layer).__name__ for layer in network.layers]
    # What the model traces are the results behind pooling.
    ends = [i for i in range(len(kinds) - 1) if kinds[i + 1] != "MaxPool2d"]
    convs = [*options["convs"], *[None] * len(options["hidden"])]
    for end, theirs, conv, norm in zip(ends, hidden, convs, model.norms, strict=False):
        bits_out = theirs.numpy() > 0
        if conv is not None and conv.pool and conv.pool_first:
            swapped = (norm.weight < 0).numpy()
            bits_out = bits_out ^ np.tile(swapped, bits_out.shape[1] // len(swapped))
        assert np.array_equal(results[end], bits_out)
    assert np.array_equal(results[-1], scores.numpy())
    assert np.array_equal(network.classify(results[-1]), logits.argmax(1).numpy())
    assert np.array_equal(fast.run(network, images), results[-1])


def test_float32_model_is_exported_as_the_numbers_it_holds(torch: Any) -> None:
    from xnorcore.train.run import Run

    run = Run(SMALL, stripes(), 1, "cpu")
    run.step()
    network = run.export()
    assert run.model.linears[0].weight.dtype == torch.float32
    model = run.model.double().eval()
    with torch.no_grad():
        scores = model.trace(torch.from_numpy(run.data.test_images))[-1]
    assert np.array_equal(fast.run(network, run.data.test_images), scores.numpy())


def test_convolutional_training_learns_deterministically(torch: Any) -> None:
    from xnorcore.train import train

    data = stripes()
    network = train(replace(SMALL, epochs=12, learning_rate=3e-2), data, seed=0)
    right = network.classify(fast.run(network, data.test_images)) == data.test_labels
    assert network.metadata["accuracy"] == np.mean(right) > 0.8
    assert network == train(replace(SMALL, epochs=12, learning_rate=3e-2), data, seed=0)
    assert Recipe.parse(network.metadata["recipe"]) == replace(SMALL, epochs=12, learning_rate=3e-2)


def test_model_refuses_maps_that_vanish_and_flat_images(torch: Any) -> None:
    from xnorcore.train.model import BinaryNet

    with pytest.raises(UsageError, match=r"nothing is left of a map of \(4, 4, 2\)"):
        BinaryNet((4, 4, 2), (), 3, input_bits=8, convs=(Conv(4, pool=(3, 3)),))
    with pytest.raises(UsageError, match=r"images of \(32,\) cannot be convolved"):
        BinaryNet(32, (), 3, input_bits=8, convs=(Conv(4),))


# Distortions.


def test_whole_shifts_are_sharp_and_each_as_likely(torch: Any) -> None:
    from xnorcore.train.augment import augment

    image = np.zeros((9, 7, 7, 1), np.uint8)
    image[:, 3, 3] = 200
    images = torch.from_numpy(np.repeat(image, 100, axis=0))
    moved = augment(images, Augment(shift=1), 255, torch.Generator().manual_seed(0)).numpy()
    assert moved.dtype == np.uint8 and set(np.unique(moved)) == {0, 200}
    counts = (moved == 200).sum(axis=0)[2:5, 2:5]
    assert counts.sum() == 900 and counts.min() > 70 and counts.max() < 130


def test_mirror_turns_half_of_the_images(torch: Any) -> None:
    from xnorcore.train.augment import augment

    images = torch.arange(2 * 3 * 1, dtype=torch.uint8).reshape(1, 2, 3, 1).repeat(400, 1, 1, 1)
    moved = augment(images, Augment(mirror=True), 255, torch.Generator().manual_seed(0))
    turned = (moved == images.flip(2)).flatten(1).all(1)
    assert ((moved == images).flatten(1).all(1) ^ turned).all()
    assert 150 < int(turned.sum()) < 250
