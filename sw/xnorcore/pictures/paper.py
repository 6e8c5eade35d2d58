"""Strokes on paper, as a camera sees them, to the form that digits of MNIST have.

The steps, all deterministic: shrink to `SIDE` pixels; estimate the paper behind the strokes (a closing, wider
than any stroke, then a blur), which takes shadow and uneven light with it; the strokes are what is darker
than it, as a share of its light; cut them by Otsu's threshold; leave out specks and what touches the edge;
make thin strokes as wide as a pen's in the target; shrink the strokes' box to `box` pixels; put their centre
of mass in the middle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .decoding import pillow

SIDE = 112
"""Longer side of a picture while strokes are looked for."""
_WINDOW = 31
"""Of the closing: wider than a stroke, at `SIDE`."""
_LIGHTER = 1.5
"""Strokes are dark unless light ones would stand out so much more."""
_STRONGEST = 0.99
_LEAST = 0.06
"""Least share of the paper's light that a stroke takes away."""
_PART = 0.12
"""Parts of less than this share of the largest one are specks."""
_STROKE = 0.11
"""Least width of a stroke, as a share of the box's longer side."""

Grey = NDArray[np.float64]


def strokes(grey: NDArray[np.uint8]) -> tuple[Grey, NDArray[np.bool_]]:
    """Find strokes, darker or lighter than what they are on.

    Parameters
    ----------
    grey : array of uint8, shape (height, width)

    Returns
    -------
    strength : array of float64, shape (h, w)
        0 to 1, the picture shrunk so that its longer side has at most `SIDE` pixels.
    mask : array of bool, same shape
        Where strokes are.

    Raises
    ------
    InputError
        If nothing stands out.
    """
    values = np.asarray(_filtered(_small(grey), "GaussianBlur", 1.0), np.float64)
    window = min(_WINDOW, (min(values.shape) - 1) // 2 * 2 + 1)
    above, below = _closed(values, window), 255 - _closed(255 - values, window)
    # A shadow's edge stands out less than strokes do.
    dark, light = (np.quantile(each, _STRONGEST) for each in (above - values, values - below))
    if light > _LIGHTER * dark:
        values, above = 255 - values, 255 - below
    ground = _blurred(above, window / 5)
    share = np.clip((ground - values) / np.maximum(ground, 16), 0, 1)
    at = max(_otsu(share), _LEAST)
    mask = _parts(share > at, share)
    if not mask.any():
        raise InputError("no strokes stand out from the ground; take the picture with more light, or nearer")
    top = float(np.quantile(share[mask], 0.75))
    return np.clip(share / max(top, at), 0, 1), mask


def normalise(grey: NDArray[np.uint8], size: tuple[int, int], box: int) -> NDArray[np.uint8]:
    """Return strokes as MNIST has them: light on black, in a box, their centre of mass in the middle.

    Parameters
    ----------
    grey : array of uint8, shape (height, width)
    size : tuple of int
        Height and width of the result.
    box : int
        Pixels of the strokes' longer side.

    Returns
    -------
    array of uint8, shape `size`

    Raises
    ------
    InputError
        If nothing stands out from the ground.
    """
    strength, mask = strokes(grey)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ink = np.where(mask, np.maximum(strength, 0.5), 0)[part]
    ink = _widen(ink, mask[part])
    longer = max(ink.shape)
    height, width = (max(1, round(n * box / longer)) for n in ink.shape)
    image = pillow().fromarray((ink * 255).astype(np.uint8))
    small = np.asarray(image.resize((width, height), pillow().Resampling.BOX), np.float64)
    return _centred(small, size)


def _small(grey: NDArray[np.uint8]) -> Any:
    image = pillow().fromarray(grey)
    longer = max(image.size)
    if longer > SIDE:
        shape = tuple(max(1, round(n * SIDE / longer)) for n in image.size)
        image = image.resize(shape, pillow().Resampling.BOX)
    return image


def _filtered(image: Any, name: str, size: float) -> Any:
    from PIL import ImageFilter

    return image.filter(getattr(ImageFilter, name)(size))


def _closed(values: Grey, window: int) -> Grey:
    """The largest values around, and of these the smallest around: what is dark and narrower is filled."""
    by = window // 2
    padded = np.pad(values, 2 * by, mode="edge")
    for sign in (1, -1):
        for _ in range(2):
            padded = _largest(sign * padded, window).T * sign
    return padded


def _largest(values: Grey, window: int) -> Grey:
    """The largest of each `window` neighbours along the last axis, by runs of doubled length."""
    run = 1
    while 2 * run <= window:
        values = np.maximum(values[:, :-run], values[:, run:])
        run *= 2
    rest = window - run
    return np.maximum(values[:, : values.shape[1] - rest], values[:, rest:]) if rest else values


def _blurred(values: Grey, size: float) -> Grey:
    image = pillow().fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))
    return np.asarray(_filtered(image, "GaussianBlur", size), np.float64)


def _otsu(share: Grey) -> float:
    """The threshold between two groups of values in 0 to 1 that are most alike in themselves."""
    counts, edges = np.histogram(share, 128, (0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.nan_to_num(apart)))])


def _parts(mask: NDArray[np.bool_], share: Grey) -> NDArray[np.bool_]:
    """Leave out specks, and what lies along the edge if there is something else."""
    labels = label(mask)
    count = int(labels.max())
    if not count:
        return mask
    weight = np.bincount(labels.ravel(), share.ravel(), count + 1)
    weight[0] = 0
    edge = np.ones_like(mask)
    edge[1:-1, 1:-1] = False
    touching = np.bincount(labels[edge & mask], minlength=count + 1) > 2
    inner = np.where(touching, 0, weight)
    if inner.max() > _PART * weight.max():
        weight = inner
    return (weight >= _PART * weight.max())[labels] & mask


def label(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the connected parts of a mask, corners included, from 1 on; 0 is outside."""
    count = mask.size
    labels = np.where(mask, np.arange(1, count + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        height, width = mask.shape
        around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        spread = np.where(mask, np.maximum.reduce(around), 0)
        # Follow each number to that of the pixel it stands for: far parts are joined in few rounds.
        spread = np.where(mask, np.maximum(spread, spread.ravel()[np.maximum(spread, 1) - 1]), 0)
        if (spread == labels).all():
            break
        labels = spread
    return np.unique(labels, return_inverse=True)[1].reshape(mask.shape) + (0 if (labels == 0).any() else 1)


def _widen(ink: Grey, mask: NDArray[np.bool_]) -> Grey:
    """Make thin strokes as wide as those that networks were trained with."""
    inside = np.pad(mask, 1)
    border = mask & ~(inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:])
    width = 2 * mask.sum() / max(int(border.sum()), 1)
    more = round((_STROKE * max(mask.shape) - float(width)) / 2)
    if more <= 0:
        return ink
    padded = pillow().fromarray((np.pad(ink, more) * 255).astype(np.uint8))
    return np.asarray(_filtered(padded, "MaxFilter", 2 * more + 1), np.float64) / 255


def _centred(small: Grey, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Put the centre of mass in the middle; what does not fit is cut off."""
    result = np.zeros(size, np.uint8)
    total = max(float(small.sum()), 1e-9)
    starts = []
    for axis, length in enumerate(size):
        middle = float((small.sum(axis=1 - axis) * (np.arange(small.shape[axis]) + 0.5)).sum() / total)
        room = length - small.shape[axis]
        start = round(length / 2 - middle)
        starts.append(min(max(start, min(room, 0)), max(room, 0)))
    y, x = starts
    target = result[max(y, 0) : y + small.shape[0], max(x, 0) : x + small.shape[1]]
    source = small[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1]]
    target[...] = np.rint(source).astype(np.uint8)
    return result
