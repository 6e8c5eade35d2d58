"""The integer layers of XNOR-Net's AlexNet (arXiv:1603.05279), of any width: weights at random."""

from __future__ import annotations

import numpy as np

from xnorcore.model.network import Conv2d, Dense, InputSpec, MaxPool2d, Network

__all__ = ["alexnet"]


def alexnet(divide: int = 1, side: int = 27) -> Network:
    """What lies between the real first convolution and the real last layer.

    Parameters
    ----------
    divide : int
        By how much channels and neurons are fewer.
    side : int
        Rows and columns of the first map: twice 4n + 3, and one less.
    """
    rng = np.random.default_rng([divide, side])

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(0, 2, shape, np.int8) * 2 - 1

    def limits(outputs: int, taps: int) -> np.ndarray:
        reach = int(taps**0.5)
        return rng.integers(-reach, reach + 1, outputs)

    def conv(outputs: int, inputs: int, kernel: int) -> Conv2d:
        weights = draw(outputs // divide, kernel, kernel, inputs // divide)
        side = kernel // 2
        return Conv2d(weights, limits(len(weights), weights[0].size), padding=(side, side, side, side))

    pool = MaxPool2d((3, 3), (2, 2))
    last = (((side - 1) // 2 - 1) // 2) ** 2 * (256 // divide)
    wide = 4096 // divide
    layers = [
        conv(256, 96, 5), pool, conv(384, 256, 3), conv(384, 384, 3), conv(256, 384, 3), pool,
        Dense(draw(wide, last), limits(wide, last)), Dense(draw(wide, wide)),
    ]  # fmt: skip
    return Network("alexnet", InputSpec((side, side, 96 // divide), 1), layers)
