"""CIFAR-10's ResNet-20 of one-bit weights and activations, with a shortcut of 8 bits around each layer."""

from __future__ import annotations

import numpy as np

from xnorcore.model.network import Network
from xnorcore.verify.random_chains import chain_network


def resnet20() -> Network:
    """Random weights; 20 layers with weights, of which 19 change values."""
    widths = (16,) * 7 + (32,) * 6 + (64,) * 6
    rng, bits = np.random.default_rng(20), (6, 3)
    return chain_network(
        rng, widths, size=(32, 32), bits=bits, end="values", image=8, classes=10, name="resnet20"
    )


def work(network: Network) -> int:
    """Multiplications of the 20 layers: signs and shortcuts are none."""
    layers = zip(network.layers, network.layer_macs, strict=True)
    return sum(macs for layer, macs in layers if layer.name.startswith(("stem", "conv", "end")))
