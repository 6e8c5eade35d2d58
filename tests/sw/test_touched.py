"""Convolutions of 1 x 1 with weights of 0: only words with others are read, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.sw import fewbits
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.nest import Region
from xnorcore.compiler.touched import Touched, touched
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Conv2d, Dense, InputSpec, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images, signs

EYE = np.eye(20, dtype=np.int8).reshape(20, 1, 1, 20)


def layer(weights: np.ndarray, **options: Any) -> Conv2d:
    return Conv2d(weights, np.zeros(len(weights)), **options)


def test_which_words_are_read() -> None:
    def found(weights: np.ndarray, pitch: int, columns: int, **options: Any) -> Touched | None:
        return touched(layer(weights, **options), Region(1, 1, weights.shape[3], pitch), columns, 8)

    assert found(EYE, 3, 8) == Touched(0, 1, 1, 0, 1, 8, 8)
    twice = np.concatenate([EYE[:16, ..., :16]] * 2, axis=3)
    assert found(twice, 4, 8) == Touched(0, 1, 2, 2, 1, 8, 8)
    assert found(twice, 4, 16) is None  # one tile has all of them
    assert found(np.concatenate([EYE[:16, ..., :16]] * 3, axis=3), 6, 16) is None
    assert found(EYE, 3, 4) is None  # two tiles read one word, and the next two another one
    assert found(EYE[::-1], 3, 8) is None  # a word of four channels comes first
    assert found(EYE[[*range(8, 16), *range(8)]], 3, 8) == Touched(1, 1, 1, 0, -1, 8, 8)
    assert found(EYE, 3, 8, padding=(0, 0, 0, 0)) is not None
    assert found(np.zeros((8, 1, 1, 20), np.int8), 3, 8) is None
    wide = np.zeros((4, 1, 1, 48), np.int8)
    wide[0, ..., [8, 16, 32, 40]] = 1
    assert found(wide, 6, 8) == Touched(1, 2, 2, 3, 0, 8, 8)
    wide[0, ..., 47] = 0
    wide[0, ..., 0] = 1
    assert found(wide, 6, 8) is None  # 3 words and 2: no rule
    assert touched(Conv2d(np.zeros((4, 3, 3, 8)), np.zeros(4)), Region(3, 3, 8, 1), 8, 8) is None


def grouped(seed: int = 0) -> Network:
    """A convolution of 1 x 1 in three groups, between others."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((24, 1, 1, 24), int)
    for group in range(3):
        part = slice(8 * group, 8 * group + 8)
        weights[part, 0, 0, part] = rng.choice([-2, -1, 1], (8, 8))
    layers = [
        Conv2d(signs(rng, 24, 3, 3, 17), fewbits.limits(rng, 24, 3, 20), name="first"),
        Conv2d(weights, fewbits.limits(rng, 24, 2, 20), stride=(1, 2), name="grouped"),
        Dense(signs(rng, 3, 24 * 4 * 2)),
    ]
    return Network("grouped", InputSpec((6, 6, 17), 2), layers)


@pytest.mark.parametrize(
    "options",
    [{}, {"weight_depth": 64}, {"weight_depth": 64, "threshold_depth": 16, "store_words": 1 << 14}],
    ids=["whole", "passes", "store"],
)
def test_groups(options: dict[str, int]) -> None:
    config = DeviceConfig(Geometry(1, 8, 8), 20, code_bits=2, **options)
    network = grouped()
    program = compile_network(network, config)
    beats = {one.name: one.beats for one in program.layers}
    # 4 x 2 positions, 3 tiles, 2 planes, one word of three, 3 signs a weight.
    assert beats["grouped"] == 8 * 3 * 2 * 1 * 3
    assert bool(options) == (program.passes > 1 or program.streams)
    if program.passes > 1:
        assert program.sections[1].parts[0] == (1, 1)  # cut between tiles
    with Accelerator.open(machine_url(config)) as device:
        images = random_images(np.random.default_rng(1), network, 2)
        seen = observe(device, network, images.reshape(2, -1))
        found = checks(network, "machine", seen, images.reshape(2, -1), golden.layers(network, images))
        assert {one.verdict for one in found} <= {"equal", "-"}, found
