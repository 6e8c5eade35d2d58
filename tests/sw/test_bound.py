"""The compiler's accumulator width holds every partial sum, plane by plane.

`tests/formal/test_pe.py` proves the accumulator exact as long as, at every beat, start value and reach of the
words fit; here both are followed through the layers that the compiler makes.
"""

from __future__ import annotations

import numpy as np
import pytest

from xnorcore.compiler.lower import lower_conv, lower_dense, lower_pixels, lower_windows
from xnorcore.compiler.nest import Lowered, Region, Windows
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, Dense


def needed_bits(lowered: Lowered, width: int) -> int:
    """Bits of an accumulator for the largest number at any beat of a position, whatever words come."""
    planes, double = lowered.nest.count("plane"), lowered.descriptor.double
    words = lowered.weights.shape[1] // lowered.tiles
    last = planes - 1 if double else 0
    largest = 0
    for start in lowered.starts.reshape(-1).tolist():
        total, reach = 0, 0
        for plane in range(planes):
            if plane and double:
                total, reach = 2 * total, 2 * reach
            if not plane or double:
                # The first plane's share, and a bit for each further one.
                total += start >> last - plane & 1 if plane else start >> last
            reach += words * width // 2
            largest = max(largest, total + reach, reach - total - 1)
    return int(largest).bit_length() + 1


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1, 1], shape)


@pytest.mark.parametrize("seed", range(40))
def test_no_partial_sum_overflows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = int(rng.choice([8, 32, 64]))
    config = DeviceConfig(Geometry(1, 8, width), acc_width=32)
    inputs, outputs = int(rng.integers(1, 300)), int(rng.integers(1, 20))
    limit = int(rng.choice([3, inputs, 100_000]))
    thresholds = None if rng.random() < 0.3 else rng.integers(-limit, limit + 1, outputs)
    dense = Dense(signs(rng, outputs, inputs), thresholds)
    words = -(-inputs // width)
    lowered = [lower_dense(dense, Region(1, 1, inputs, words), config, False, "dense")]
    lowered += [lower_pixels(dense, int(rng.integers(2, 9)), words, config, "pixels")]
    lowered += [lower_dense(dense, Region(3, 4, inputs, words), config, True, "summed")]
    channels = int(rng.integers(1, 40))
    padding = (1, 1, 1, 1) if rng.random() < 0.5 else (0, 0, 0, 0)
    conv = Conv2d(signs(rng, outputs, 3, 3, channels), thresholds, padding=padding)
    pitch = -(-channels // width)
    lowered += [lower_conv(conv, None, Region(6, 6, channels, pitch), config, "conv")]
    planes = int(rng.integers(1, 9))
    used = 3 * channels
    for whole, column in ((False, used), (False, -(-used // 4) * 4), (True, 3 * used)):
        window, values = (column, column) if whole else (3 * column, used)
        windows = Windows(whole, window, column, values, column, 4, 100, 400, max(planes, 2), planes == 1)
        lowered += [lower_windows(conv, None, windows, 4, config, "windows")]
    for layer in lowered:
        assert needed_bits(layer, width) <= layer.acc_bits
