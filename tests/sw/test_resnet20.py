"""A network of the shape of CIFAR-10's ResNet-20 as PyTorch computes it, in floats of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import needs
from tests.sw.resnets import resnet20
from xnorcore.model.layers import Conv2d
from xnorcore.model.network import Network
from xnorcore.reference import fast
from xnorcore.verify.random_networks import random_images

torch = needs.torch()


class Residual:
    """The network as PyTorch computes it, with values that are signed and 8 bits, and saturate."""

    def __init__(self, network: Network) -> None:
        self.layers: dict[str, Any] = {layer.name: layer for layer in network.layers}

    def change(self, name: str, x: Any, stride: int = 1) -> Any:
        """A convolution, normalised, and quantised to so many levels around 0."""
        layer: Conv2d = self.layers[name]
        assert layer.thresholds is not None
        first, second = (torch.tensor(layer.thresholds[:, level], dtype=torch.float64) for level in (0, 1))
        weights = torch.tensor(layer.weights, dtype=torch.float64).permute(0, 3, 1, 2)
        sums = torch.nn.functional.conv2d(x, weights, stride=stride, padding=1)
        shape = (-1, 1, 1)
        quantised = torch.floor((sums - first.reshape(shape)) / (second - first).reshape(shape) + 1)
        return torch.clamp(quantised, 0, layer.steps)

    def __call__(self, images: np.ndarray) -> Any:
        x = torch.tensor(images, dtype=torch.float64).permute(0, 3, 1, 2)
        zero = self.layers["sign1"].thresholds[0]
        values = self.change("stem", x) - zero
        number = 1
        while f"conv{number}" in self.layers:
            signs = torch.where(values >= 0, 1.0, -1.0).double()
            channels = len(self.layers[f"conv{number}"].weights)
            stride = 2 if channels > values.shape[1] else 1
            change = self.change(f"conv{number}", signs, stride)
            shortcut = torch.zeros_like(change)
            shortcut[:, : values.shape[1]] = values[:, :, ::stride, ::stride]
            # What signs are compared with moves by what a change of nothing is.
            following = self.layers.get(f"sign{number + 1}")
            after = following.thresholds[0] if following else zero + 4
            values, zero = torch.clamp(shortcut + change - (after - zero), -128, 127), after
            number += 1
        weights = torch.tensor(self.layers["end"].weights, dtype=torch.float64)
        assert number == 19 and values.abs().max() < 127
        return (values + int(zero)).sum(dim=(2, 3)) @ weights.T


@pytest.mark.campaign
def test_it_is_what_pytorch_computes() -> None:
    one = resnet20()
    images = random_images(np.random.default_rng(1), one, 100)
    with torch.no_grad():
        wanted = Residual(one)(images).numpy()
    assert np.array_equal(fast.run(one, images), wanted)
    assert len(np.unique(wanted)) > 900
