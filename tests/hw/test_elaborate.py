"""Every corner of the legal geometries elaborates; only that of 1,024 PEs of 128 bits would take a minute."""

from __future__ import annotations

import pytest
from amaranth.hdl import Fragment

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.shells.sim import SimTop

from ..campaigns import some

CORNERS = [
    (1, 4, 8), (8, 4, 8), (1, 128, 8), (1, 4, 128), (1, 128, 128), (8, 128, 8), (8, 4, 128),
    (3, 20, 40), (5, 72, 24),
]  # fmt: skip


def modules(element: object) -> int:
    """Elaborate all of a design and count its modules."""
    fragment = Fragment.get(element, None)
    return 1 + sum(modules(child) for child, *_ in fragment.subfragments)


@pytest.mark.parametrize("corner", some(CORNERS, 2))
def test_corner(corner: tuple[int, int, int]) -> None:
    rows, columns, width = corner
    pes = rows * columns
    assert modules(SimTop(DeviceConfig(Geometry(rows, columns, width)))) > pes
