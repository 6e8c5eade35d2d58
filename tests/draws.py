"""The generator of the random values that tests draw: `conftest` begins it anew with each test.

A generator that tests share without that gives each one values that depend on which ran before it: in a
worker of pytest-xdist, on chance.
"""

from __future__ import annotations

import zlib

import numpy as np

RNG = np.random.default_rng(0)


def begin(test: str) -> None:
    """Let `RNG` give the values of a test, by its name."""
    RNG.bit_generator.state = np.random.PCG64(zlib.crc32(test.encode())).state
