"""Random networks of few channels, whose maps a device may write as kernel rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..isa.device import DeviceConfig
from ..isa.packed import field_bits
from ..model.layers import Conv2d, Dense, InputSpec, MaxPool2d
from ..model.network import Network
from .random_networks import signs

__all__ = ["random_rows", "rows_network"]


def rows_network(
    rng: np.random.Generator,
    widths: tuple[int, ...],
    size: tuple[int, int] = (6, 7),
    *,
    pads: tuple[tuple[int, int], ...] = ((1, 0),),
    strides: tuple[int, ...] = (1,),
    pool: bool = False,
    kernel: int = 3,
    most: int = 1,
    name: str = "rows",
) -> Network:
    """Return convolutions one behind the other, of three columns each, as long as maps are large enough.

    A dense layer ends it.

    Parameters
    ----------
    rng : Generator
    widths : tuple of int
        Channels of each.
    size : tuple of int
        Of the image, which has 3 channels of 2 bits.
    pads : tuple of (int, int)
        By turns, of all but the first: columns of padding on each side, and their value.
    strides : tuple of int
        Likewise.
    pool : bool
        The first map is pooled.
    kernel : int
        Rows of all kernels but the first.
    most : int
        Largest weight, likewise; above 1, all smaller ones and 0 are there, too.
    name : str
    """
    height, across, channels = *size, 3
    layers: list[Any] = []
    for number, outputs in enumerate(widths):
        (pad, value), step = pads[number % len(pads)] if number else (1, 0), strides[number % len(strides)]
        rows, step = (kernel, step) if number else (3, 1)
        top = pad * (rows // 2)
        if height + 2 * top < rows or across + 2 * pad < 3:
            break
        weights = signs(rng, outputs, rows, 3, channels)
        if most > 1 and number:
            weights = rng.integers(-most, most + 1, weights.shape)
        reach = int((rows * 3 * channels) ** 0.5) * (1 if number else 4)
        limits = rng.integers(-reach, reach + 1, outputs)
        around = (top, top, pad, pad)
        layers.append(
            Conv2d(
                weights, limits, stride=(step, step), padding=around, pad_value=value, name=f"conv{number}"
            )
        )
        height, across = (height + 2 * top - rows) // step + 1, (across + 2 * pad - 3) // step + 1
        if pool and number == 0:
            layers.append(MaxPool2d())
            height, across = height // 2, across // 2
        channels = outputs
    layers.append(Dense(signs(rng, 4, height * across * channels), name="end"))
    return Network(name, InputSpec((*size, 3), 2), layers)


def random_rows(rng: np.random.Generator, config: DeviceConfig, name: str) -> Network:
    """Return one that may fit a device with `packed_rows` that reads images in windows.

    Parameters
    ----------
    rng : Generator
    config : DeviceConfig
    name : str
    """
    few = field_bits(int(rng.integers(1, 3)), config.geometry.width)
    count = int(rng.integers(2, 5))
    pads = [(int(rng.random() < 0.7), int(rng.integers(-1, 1))) for _ in range(count)]
    return rows_network(
        rng,
        tuple(int(rng.integers(1, few + 3)) for _ in range(count)),
        (int(rng.integers(8, 14)), int(rng.integers(8, 14))),
        pads=tuple(pads),
        strides=tuple(int(rng.integers(1, 3)) for _ in range(2)),
        pool=rng.random() < 0.2,
        kernel=int(rng.choice([1, 3])),
        most=3 if config.code_bits > 1 and rng.random() < 0.3 else 1,
        name=name,
    )
