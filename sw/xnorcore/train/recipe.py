"""Recipes: everything that fixes a training run except the seed. No PyTorch needed to read them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from ..errors import UsageError


@dataclass(frozen=True)
class Augment:
    """Random distortions of the training images, new in every epoch.

    Parameters
    ----------
    rotation : float
        Largest rotation, in degrees.
    stretch : float
        Largest relative change of height and width, and largest shear.
    shift : float
        Largest shift, in pixels, in both directions.
    """

    rotation: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    name : str
        Name of the network.
    dataset : str
        Key of `xnorcore.train.data.DATASETS`.
    hidden : tuple of int
        Neurons of each hidden layer.
    head : {"affine", "scores"}
        "scores": the class is the largest integer score, which a device can find by itself.
        "affine": a batch norm behind the scores, kept with the network and applied on the host.
    epochs : int
        Passes over the training part.
    batch : int
        Images per optimizer step, at least 2.
    learning_rate : float
        Of Adam at the start; it falls to 0 along half a cosine.
    label_smoothing : float
        Of the cross-entropy loss, 0 to below 1.
    validation : int
        Images of the training part that are not trained on, but choose the best epoch.
    augment : Augment

    Raises
    ------
    UsageError
        If a value is out of range.
    """

    name: str
    dataset: str
    hidden: tuple[int, ...]
    head: Literal["affine", "scores"] = "scores"
    epochs: int = 200
    batch: int = 64
    learning_rate: float = 1e-2
    label_smoothing: float = 0.1
    validation: int = 200
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        def check(key: str, legal: bool, limit: str) -> None:
            if not legal:
                value = getattr(self, key)
                raise UsageError(f"recipe {self.name!r}: {key} is {value!r}, but must be {limit}")

        sizes = bool(self.hidden) and all(1 <= size <= 65536 for size in self.hidden)
        check("hidden", sizes, "sizes of 1 to 65536")
        check("head", self.head in ("affine", "scores"), "'affine' or 'scores'")
        check("epochs", self.epochs >= 1, "at least 1")
        check("batch", self.batch >= 2, "at least 2: batch norm needs two images")
        check("learning_rate", self.learning_rate > 0 and isfinite(self.learning_rate), "positive and finite")
        check("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1")
        check("validation", self.validation >= 1, "at least 1 image, to choose the best epoch")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # 50,432 weight bits: small enough for the block RAM of an iCE40 UP5K.
        Recipe("digits", "digits", hidden=(256, 128), augment=Augment(rotation=6, stretch=0.06, shift=0.4)),
    )
}
"""Recipes that come with the package, by name."""
