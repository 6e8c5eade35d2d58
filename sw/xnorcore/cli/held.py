"""A network by name, as a file, or as the one that a device holds."""

from __future__ import annotations

from pathlib import Path

from .. import zoo
from ..model.network import Network
from ..runtime.accelerator import Accelerator
from ..runtime.known import held

__all__ = ["HELD", "user_network"]

HELD = "held"
"""In place of a network's name: what the device holds."""


def user_network(name: str, url: str | None, timeout: float = 1.0) -> Network:
    """Return the network that a command was given.

    Parameters
    ----------
    name : str
        As of `zoo.load`; or `HELD`, where there is a device.
    url : str or None
        Of the device, as of `Accelerator.open`.
    timeout : float
        Of an answer, in seconds.

    Raises what `zoo.load`, `Accelerator.open` and `held` do.
    """
    if name != HELD or url is None or Path(name).exists():
        return zoo.load(name)
    with Accelerator.open(url, timeout=timeout) as device:
        return held(device.info)
