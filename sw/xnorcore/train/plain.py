"""Layers that a trained model has no weights for, and what pads values with a sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError
from ..folding import fold
from ..model.network import Conv2d, Dense
from .branches import At
from .fewbits import Shortcut
from .layers import BinaryConv2d

__all__ = ["halved", "identity", "padding_of"]


def identity(shape: tuple[int, ...], limits: Any, name: str) -> Dense | Conv2d:
    """Return a layer that gives all values as they are, or how many limits each reaches.

    Parameters
    ----------
    shape : tuple of int
        Of what it reads.
    limits : int, array of int or None
        The same for all channels.
    name : str
    """
    channels = shape[-1]
    eye = np.eye(channels, dtype=np.int8)
    if limits is not None:
        limits = np.tile(limits, (channels, *[1] * np.ndim(limits)))
    if len(shape) == 3:
        return Conv2d(eye.reshape(channels, 1, 1, channels), limits, name=name)
    return Dense(eye, limits, name=name)


def halved(at: At, module: Shortcut, where: str) -> Conv2d:
    """Return a layer that gives every second row and column, and new channels of 0.

    Raises
    ------
    UsageError
        If it reads no map of values of several bits with so many channels, or 0 is none of these.
    """
    inputs, outputs = module.inputs, module.outputs
    if not at.coded or len(at.shape) != 3 or at.shape[2] != inputs:
        raise UsageError(
            f"{where}: reads {at.shape}, but must read values of several bits, (height, width, {inputs})"
        )
    if -at.low > at.most:
        raise UsageError(f"{where}: 0 is none of the values that it reads")
    table = np.tile(np.arange(1, at.most + 1), (outputs, 1))
    table[inputs:] = np.where(np.arange(at.most) < -at.low, fold.ALWAYS, fold.NEVER)
    eye = np.eye(outputs, inputs, dtype=np.int8).reshape(outputs, 1, 1, inputs)
    return Conv2d(eye, table, stride=(2, 2), name=f"half{at.value}")


def padding_of(at: At, module: Any) -> int:
    """Return with which integer a layer pads that reads values.

    Raises
    ------
    UsageError
        If the values have a sign, and it pads with something else than 0.
    """
    if not isinstance(module, BinaryConv2d):
        return 0
    if not at.low or not any(module.padding):
        return module.pad_value
    if module.pad_value or -at.low > at.most:
        raise UsageError(
            f"BinaryConv2d: pads values of several bits and a sign with {module.pad_value}, but only 0 may "
            "do that; put Sign in front of it"
        )
    return -at.low
