"""How a picture becomes the pixels that a network's own rule is for: the entry ``pictures`` in its metadata.

It is ``{"fit": HOW}`` with one of `FITS`, and where it applies ``"invert": true`` (light and dark are
exchanged) and ``"box": n`` (``paper``: pixels of the strokes' longer side). A network without it that was
trained with a published data set takes that set's; others are ``crop``. A picture that has the network's size
already, and not a light edge where the rule makes a dark one, is taken as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, InputError
from ..model.network import Network
from . import paper
from .decoding import pillow

KEY = "pictures"
"""Key in `Network.metadata`."""
FITS = ("paper", "crop", "pad", "stretch")
"""Strokes on paper; the middle of the picture; all of it, with an edge; all of it, out of shape."""

_PUBLISHED: dict[str, dict[str, Any]] = {
    "mnist": {"fit": "paper", "box": 20},
    "digits": {"fit": "paper", "box": 8},
    "fashion": {"fit": "pad", "invert": True},
}
"""By data set: what its images were made like."""
_MAXIMUM = {"digits": 16}
"""Largest pixel of published data sets whose pixels do not reach 255."""


@dataclass(frozen=True)
class PictureRule:
    """How pictures become pixels.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels (1 or 3) of the result.
    fit : str
        One of `FITS`.
    invert : bool
        Exchange light and dark.
    box : int
        With ``paper``: pixels of the strokes' longer side.
    maximum : int
        Largest pixel.
    """

    shape: tuple[int, int, int]
    fit: str = "crop"
    invert: bool = False
    box: int = 0
    maximum: int = 255

    @property
    def text(self) -> str:
        """The rule in words."""
        height, width, channels = self.shape
        how = {
            "paper": f"strokes found on paper, in a box of {self.box}, centred",
            "crop": "the middle",
            "pad": "all of it, with an edge",
            "stretch": "all of it, stretched",
        }[self.fit]
        return (
            f"{how}; {width} x {height}, {'grey' if channels == 1 else 'colour'}"
            f"{', light and dark exchanged' if self.invert else ''}"
        )

    def plain(self) -> dict[str, Any]:
        """Return the metadata entry."""
        value: dict[str, Any] = {"fit": self.fit}
        if self.invert:
            value["invert"] = True
        if self.fit == "paper":
            value["box"] = self.box
        return value

    def pixels(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what a network sees of a picture.

        Parameters
        ----------
        picture : array of uint8, shape (height, width, 1 or 3)

        Returns
        -------
        array of uint8, shape `shape`
            0 to `maximum`.

        Raises
        ------
        InputError
            If no strokes are found on paper.
        """
        height, width, channels = self.shape
        picture = _channels(picture, channels)
        same = picture.shape == self.shape
        if self.fit == "paper":
            if same and not _light_edge(picture[..., 0]):
                found = picture
            else:
                found = paper.normalise(picture[..., 0], (height, width), self.box)[..., np.newaxis]
        else:
            found = picture if same else _fitted(picture, self)
            if self.invert and not (same and not _light_edge(picture.mean(axis=2))):
                found = 255 - found
        if self.maximum == 255:
            return np.ascontiguousarray(found)
        return np.rint(found.astype(np.float64) * self.maximum / 255).astype(np.uint8)


def rule(network: Network, fit: str | None = None, invert: bool | None = None) -> PictureRule:
    """Return a network's rule for pictures.

    Parameters
    ----------
    network : Network
    fit : str, optional
        In place of its own, one of `FITS`.
    invert : bool, optional
        In place of its own.

    Raises
    ------
    FileFormatError
        If the network's own entry is damaged.
    InputError
        If its inputs are no picture of 1 or 3 channels.
    """
    shape = _shape(network)
    recipe = network.metadata.get("recipe")
    trained = recipe.get("dataset") if isinstance(recipe, dict) else None
    trained = trained if isinstance(trained, str) else ""
    stored = network.metadata.get(KEY, _PUBLISHED.get(trained, {"fit": "crop"}))
    found = _parse(network, stored, shape)
    if fit is not None and fit != found.fit:
        found = replace(found, fit=fit, box=_box(shape), invert=False)
    if invert is not None:
        found = replace(found, invert=invert)
    return replace(found, maximum=_maximum(network, trained))


def _maximum(network: Network, trained: str) -> int:
    from ..model import pixels

    if network.head is not None:
        return network.head.maximum or 255
    stored = network.metadata.get(pixels.KEY)
    if isinstance(stored, dict):
        most = stored.get("maximum", 255)
        return most if type(most) is int and 1 <= most <= 255 else 255
    if trained in _MAXIMUM:
        return min(_MAXIMUM[trained], network.input.maximum)
    return 255 if network.input.bits == 1 else network.input.maximum


def _shape(network: Network) -> tuple[int, int, int]:
    shape = network.image_shape
    if len(shape) == 1 or shape[:2] == (1, 1):
        side = isqrt(prod(shape))
        shape = (side, side, 1) if side * side == prod(shape) else shape
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise InputError(
            f"network {network.name!r} takes {' x '.join(map(str, shape))} values, which are no picture of 1 "
            "or 3 channels; give it an .npy file"
        )
    return shape[0], shape[1], shape[2]


def _box(shape: tuple[int, int, int]) -> int:
    return max(1, round(min(shape[:2]) * 20 / 28))


def _parse(network: Network, stored: Any, shape: tuple[int, int, int]) -> PictureRule:
    if isinstance(stored, dict) and set(stored) <= {"fit", "invert", "box"}:
        fit, invert = stored.get("fit"), stored.get("invert", False)
        box = stored.get("box", _box(shape))
        # Paper has strokes and no colours.
        legal = fit in FITS and not (fit == "paper" and shape[2] != 1)
        sized = type(box) is int and 1 <= box <= min(shape[:2])
        if legal and isinstance(fit, str) and type(invert) is bool and sized:
            return PictureRule(shape, fit, invert, box)
    raise FileFormatError(
        f"network {network.name!r}: metadata {KEY!r} must be {{'fit': one of {', '.join(FITS)}}}, perhaps "
        f"with 'invert': true or false, and 'box': 1 to {min(shape[:2])}; 'paper' is for one channel"
    )


def _channels(picture: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if picture.shape[2] == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=2)
    return np.asarray(pillow().fromarray(picture).convert("L"))[..., np.newaxis]


def _light_edge(grey: NDArray[Any]) -> bool:
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(np.median(edge) > 127)


def _fitted(picture: NDArray[np.uint8], wanted: PictureRule) -> NDArray[np.uint8]:
    """Crop, pad or stretch to the target's size."""
    height, width, channels = wanted.shape
    tall, wide = picture.shape[:2]
    image = pillow().fromarray(picture[..., 0] if channels == 1 else picture)
    how = pillow().Resampling.BILINEAR
    if wanted.fit == "stretch":
        found = np.asarray(image.resize((width, height), how))
    elif wanted.fit == "pad":
        scale = min(width / wide, height / tall)
        inner = max(1, min(width, round(wide * scale))), max(1, min(height, round(tall * scale)))
        small = np.asarray(image.resize(inner, how))
        top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
        around = ((top, height - inner[1] - top), (left, width - inner[0] - left), (0, 0))
        found = np.pad(small, around[: small.ndim], mode="edge")
    else:
        scale = max(width / wide, height / tall)
        across, down = width / scale, height / scale
        # Rounding may lead out of the picture by the last bit.
        left, top = max((wide - across) / 2, 0.0), max((tall - down) / 2, 0.0)
        part = left, top, min(left + across, wide), min(top + down, tall)
        found = np.asarray(image.resize((width, height), how, part))
    return found.reshape(wanted.shape)
