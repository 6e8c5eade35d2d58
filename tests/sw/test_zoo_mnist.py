"""The packaged MNIST networks: no PyTorch, no data set."""

from __future__ import annotations

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.reference import fast, golden
from xnorcore.train import RECIPES, Recipe

FIGURES = {
    # Right of the 10,000 test images, right of the 500 packaged ones, weight bits.
    "mnist-tfc": (9_480, 482, 59_008),
    "mnist-sfc": (9_803, 493, 334_336),
    "mnist-lfc": (9_894, 495, 2_910_208),
}


@pytest.mark.parametrize("name", FIGURES)
def test_reaches_its_stated_accuracy(name: str) -> None:
    whole, part, weight_bits = FIGURES[name]
    network = zoo.load(name)
    images, labels = zoo.test_images(name)
    assert images.shape == (500, 28, 28, 1) and images.max() == 1
    right = network.classify(fast.run(network, images)) == labels
    assert right.sum() == part
    assert network.metadata["held_out_images"] == 10_000
    assert network.metadata["accuracy"] == whole / 10_000
    # The packaged images are the first of the 10,000.
    assert 500 - part <= 10_000 - whole
    assert np.array_equal(fast.run(network, images[:9]), golden.run(network, images[:9]))
    assert network.weight_bits == weight_bits


@pytest.mark.parametrize("name", FIGURES)
def test_says_how_it_was_made(name: str) -> None:
    metadata = zoo.load(name).metadata
    assert Recipe.parse(metadata["recipe"]) == RECIPES[name]
    assert metadata["seed"] == 0 and metadata["recipe"]["validation"] == 5000
    assert metadata["pixels"] == {"threshold": 128}
    assert metadata["split"] == "standard: 60,000 to train on, 10,000 held out"
