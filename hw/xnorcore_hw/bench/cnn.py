"""What ``bench cnn`` measures: a network for 32 x 32 colour images, and the packaged one for clothes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from xnorcore import zoo
from xnorcore.boards import find_device
from xnorcore.cli.console import Console
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, Dense, InputSpec, Layer, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import fast
from xnorcore.verify.ask import sim_url

from .figure import CLAIMS, Figure
from .workload import causes, random_images, simulate

__all__ = ["cnn", "random_cnv"]

_CONVOLUTIONS = ((64, 64), (128, 128), (256, 256))
_DENSE = (512, 512, 10)
_FASHION = Geometry(1, 32, 32)
_BOARD = "ulx3s-25f"
"""The smallest board that has convolution."""
_IMAGES = 16


def random_cnv(seed: int = 0) -> Network:
    """Return CNV with random weights, and thresholds that leave its hidden bits balanced.

    32 x 32 x 3 values of 8 bits; valid 3 x 3 convolutions 64-64-pool-128-128-pool-256-256; dense 512-512-10.
    """
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    channels = 3
    for stage, pair in enumerate(_CONVOLUTIONS):
        layers += [MaxPool2d()] if stage else []
        for outputs in pair:
            weights = rng.integers(0, 2, (outputs, 3, 3, channels), dtype=np.int8) * np.int8(2) - np.int8(1)
            thresholds = rng.integers(-20, 21, outputs)
            if not layers:
                # The values 0 to 255 have a mean.
                thresholds = 30 * thresholds + 255 * weights.sum(axis=(1, 2, 3), dtype=np.int64) // 2
            layers.append(Conv2d(weights, thresholds))
            channels = outputs
    for index, outputs in enumerate(_DENSE):
        weights = rng.integers(0, 2, (outputs, channels), dtype=np.int8) * np.int8(2) - np.int8(1)
        layers.append(Dense(weights, rng.integers(-20, 21, outputs) if index < len(_DENSE) - 1 else None))
        channels = outputs
    return Network("CNV", InputSpec((32, 32, 3), 8), layers)


def cnn(console: Console) -> Iterator[Figure]:
    """CNV at three geometries, one image at a time; the fast model; the packaged network for clothes."""
    network = random_cnv()
    for key, geometry in (
        ("cnv-one", Geometry(1, 32, 32)),
        ("cnv-wide", Geometry(1, 64, 64)),
        ("cnv-strips", Geometry(4)),
    ):
        url = f"sim:rows={geometry.rows},columns={geometry.columns},width={geometry.width}"
        measured = simulate(console, url, network, 2, alone=True)
        cycles = measured.cycles_per_image
        assert cycles is not None
        yield CLAIMS[key].figure(cycles, {"url": url, **measured.as_dict()}, causes=causes(measured))
        if geometry == Geometry():
            first = compile_network(network, DeviceConfig(geometry)).layers[0].beats
            yield CLAIMS["cnv-first"].figure(first / cycles, {"beats": first})

    images = random_images(network, 32)
    fast.run(network, images[:1])
    # Time of the processor: the limit is for one core, whatever else the machine does.
    started = time.process_time()
    fast.run(network, images)
    each = (time.process_time() - started) / len(images) * 1e3
    yield CLAIMS["cnv-fast"].figure(each, {})

    if "fashion" in zoo.names():
        network = zoo.load("fashion")
        for key, config in (
            ("fashion", DeviceConfig(_FASHION)), ("fashion-board", find_device(_BOARD).config),
        ):  # fmt: skip
            rows = config.geometry.rows  # all with an image, also in the last batch
            measured = simulate(console, sim_url(config), network, -(-_IMAGES // rows) * rows)
            assert measured.efficiency is not None
            detail = {"url": sim_url(config), "array": str(config.geometry), **measured.as_dict()}
            yield CLAIMS[key].figure(measured.efficiency, detail, causes=causes(measured))
