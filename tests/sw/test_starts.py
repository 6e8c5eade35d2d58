"""One stored number gives a start value of any planes: the sum that it makes is the number itself."""

from __future__ import annotations

import numpy as np
import pytest

from xnorcore.isa.machine.memories import wrapped
from xnorcore.isa.starts import MAX_PLANES, plane_starts, stored_starts


@pytest.mark.parametrize("acc_width", [10, 11, 18, 32])
@pytest.mark.parametrize("planes", range(1, MAX_PLANES + 1))
def test_planes_put_a_start_value_together(planes: int, acc_width: int) -> None:
    rng = np.random.default_rng(planes)
    half = 1 << (acc_width - 1)
    starts = np.array([-half, -1, 0, 1, half - 1, *rng.integers(-half, half, 500)])
    stored = stored_starts(starts, planes, acc_width)
    assert stored.min() >= -half and stored.max() < half
    acc = np.zeros_like(starts)
    for plane in range(planes):
        part = plane_starts(stored, plane, acc_width)
        # The gateware joins it to the doubled accumulator without adding.
        assert not plane or set(part.tolist()) <= {0, 1}
        acc = wrapped(2 * acc + part, acc_width)
    assert np.array_equal(acc, starts)


def test_the_first_plane_takes_what_is_left_of_the_number() -> None:
    """Where nothing wraps, a plane's part is the number without the bits that later ones take."""
    starts = np.array([-300, -5, 0, 7, 300])
    stored = stored_starts(starts, 4, 16)
    assert np.array_equal(wrapped(plane_starts(stored, 0, 16), 13), starts >> 3)
    bits = [plane_starts(stored, plane, 16) for plane in range(1, 4)]
    assert np.array_equal(np.stack(bits), np.stack([starts >> 2 & 1, starts >> 1 & 1, starts & 1]))
    assert np.array_equal(stored_starts(starts, 1, 16), starts)
