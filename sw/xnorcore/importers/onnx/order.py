"""The check's own order of an image: whole arrays, transposed; nothing of what the importer derives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError

_COLOURS = (1, 2, 3, 4)
"""Channels of usual images."""


def to_source(
    values: NDArray[Any], shape: tuple[int, ...], source: tuple[int, ...], channels_last: bool
) -> NDArray[Any]:
    """Return images, row-major (y, x, channel), as the framework's input.

    Parameters
    ----------
    values : array, shape (n, values)
    shape : tuple of int
        (height, width, channels) or (values,).
    source : tuple of int
        The framework's shape, without the batch.
    channels_last : bool
        Asked only where the sizes do not say where the channels are.

    Raises
    ------
    ImportFailedError
        If the framework's shape is not that of such images.
    """
    images = values.reshape(len(values), *shape)
    if len(shape) == 3:
        height, width, channels = shape
        first, last = (channels, height, width), (height, width, channels)
        # Axes of one value, and the batch, do not count; what is left must be one of the two orders.
        sizes = [size for size in source if size > 1]
        fits = [sizes == [size for size in order if size > 1] for order in (first, last)]
        if height == 1 and not any(fits) and source[-1] == width:
            fits[0] = int(np.prod(source)) == width * channels  # axes before the length are the channels'
        if len(sizes) <= 1:
            fits = [int(np.prod(source)) == height * width * channels] * 2
        if not any(fits):
            raise ImportFailedError(
                f"the check found a difference: images {shape} are not of the source's shape {source}"
            )
        if not (channels_last if all(fits) else fits[1]):
            images = np.moveaxis(images, 3, 1)
    return images.reshape(len(values), *source)


def check_shape(source: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Check that an image has its channels where its sizes say they are.

    For images that are flattened and of which no node tells the channels: there any order gives the right
    scores. Any other order is checked by executing it.

    Raises
    ------
    ImportFailedError
        If the network's images have another shape.
    """
    if len(source) != 3 or (source[0] in _COLOURS) == (source[2] in _COLOURS):
        return
    expected = source if source[2] in _COLOURS else (*source[1:], source[0])
    if shape != tuple(expected):
        raise ImportFailedError(
            f"the check found a difference: the source's images are {source}, so that the network's should "
            f"be {tuple(expected)}, and not {shape}"
        )
