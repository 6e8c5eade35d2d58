"""The first 50 networks of ``xnorcore verify --random 50 --devices 5``, in parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import some
from xnorcore.verify import campaign
from xnorcore.verify.random_devices import random_configs

COUNT, PART = 50, 10
DEVICES = random_configs(0, COUNT // PART)
"""One for each part: the simulator has to be built for each."""


@pytest.mark.parametrize("first", some(range(0, COUNT, PART), always=1))
def test_random_networks(first: int, tmp_path: Path) -> None:
    done = campaign.run(0, PART, DEVICES, first=first, total=COUNT, keep=str(tmp_path))
    assert [(failure.found, failure.command) for failure in done.failures] == []
    assert done.count == PART and done.values > 1000 and not list(tmp_path.iterdir())
