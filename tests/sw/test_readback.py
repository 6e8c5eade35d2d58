"""The programs that read weights and thresholds back: every device can run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xnorcore.errors import UsageError
from xnorcore.isa.check import validate_descriptors
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER, pack_descriptor
from xnorcore.isa.program import Block
from xnorcore.isa.protocol import Space
from xnorcore.link.session import Session
from xnorcore.runtime.readback import Readback
from xnorcore.verify.random_devices import random_config

from ..campaigns import some
from .fake_device import FakeDevice


class Checked(Readback):
    """Validates what it would run, and finds every memory as it was written."""

    count = 0

    def _run(self, **fields: int) -> None:
        memory = [0] * self.config.program_depth
        words = pack_descriptor({"end": 1, **fields})
        memory[HEADER.words : HEADER.words + len(words)] = words
        validate_descriptors(memory, self.config, HEADER.words)
        self.count += 1

    def _write(self, block: Block) -> None:
        pass

    def _read(self, space: Space, bank: int, address: int, words: int) -> bytes:
        return bytes(words * self.config.geometry.width // 8)

    def _compare(self, *values: Any) -> None:
        pass


def check(config: DeviceConfig, weights: int, thresholds: int) -> int:
    found, size = Checked(Session(FakeDevice()), config), config.geometry.width // 8
    found.weights([Block(Space.WEIGHTS, 0, 0, bytes(weights * size))])
    found.thresholds([Block(Space.THRESHOLDS, 0, 0, bytes(4 * thresholds))])
    return found.count


@pytest.mark.parametrize("seed", some(range(60), 15))
def test_every_device_can_run_them(seed: int) -> None:
    """Up to full memories, of whatever sizes."""
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    for filled in (1.0, float(rng.random()), 0.0):
        counts = (max(1, round(depth * filled)) for depth in (config.weight_depth, config.threshold_depth))
        assert check(config, *counts) >= 2


def test_more_thresholds_than_weight_words() -> None:
    config = DeviceConfig(Geometry(2, 8, 16), weight_depth=64, threshold_depth=256, act_depth=4096)
    assert check(config, 11, 66) == 1 + 2


def test_too_little_memory_is_said() -> None:
    """Less than the patterns take, for their results or at all."""
    for width, act_depth in ((32, 64), (64, 128), (64, 120)):
        config = DeviceConfig(Geometry(1, width // 4, width), act_depth=act_depth)
        with pytest.raises(UsageError, match=r"no room to read its weights back: \d+ words .*verify=False"):
            check(config, 4, 4)
