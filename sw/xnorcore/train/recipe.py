"""Recipes: everything that fixes a training run except the seed. No PyTorch needed to read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import Any, Literal

from ..errors import UsageError
from ..model.check import MAX_LAYERS, MAX_NAME, MAX_SIZE, brief, is_int
from ..model.limits import MOST_STEPS
from .parts import UNDISTORTED, Augment, Conv, is_number

__all__ = ["Augment", "Conv", "Recipe"]

MAX_EPOCHS, MAX_BATCH, MAX_IMAGES = 1_000_000, 1 << 20, 1 << 31
MAX_PATH = 4096
MAX_RATE = 100.0
"""Highest learning rate: latent weights lie in -1 to 1, and higher ones teach nothing, but may overflow."""


_LATER: dict[str, Any] = {
    "convs": [], "precision": "float64", "loss": "cross_entropy", "threshold": None, "dropout_input": 0.0,
    "dropout": 0.0, "alpha": False, "input_scale": False, "balanced": False, "patience": None,
    "activation_bits": 1, "weight_bits": 1, "real_first": False, "real_last": False, "scale_bits": 0,
}  # fmt: skip
"""Options that came after the first recipes, and their defaults."""


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    name : str
        Name of the network.
    dataset : str
        Key of `xnorcore.datasets.DATASETS`.
    hidden : tuple of int
        Neurons of each hidden dense layer; may be empty behind convolutions.
    head : {"affine", "scores"}
        "scores": the class is the largest integer score, which a device can find by itself.
        "affine": a batch norm behind the scores, kept with the network and applied on the host.
    epochs : int
        Passes over the training part, at most 1,000,000.
    batch : int
        Images per optimizer step, 2 to 1,048,576.
    learning_rate : float
        Of Adam at the start, above 0, at most 100; it falls to 0 along half a cosine.
    label_smoothing : float
        Of the cross-entropy loss, 0 to below 1.
    loss : {"cross_entropy", "squared_hinge"}
        "squared_hinge": each class's logit on its own side of -1 or +1, as in Courbariaux et al.
    validation : int
        Images of the training part that are not trained on, but choose the best epoch.
    augment : Augment
    convs : tuple of Conv
        Convolutions in front of the dense layers.
    precision : {"float32", "float64"}
        Of the training. Either way sums are exact integers, and the network is exact; float32 is faster.
    threshold : int, optional
        The network reads one bit per value: +1 where a value of the data set is at least this, else -1.
        Distortions come before that. Without it the network reads the values as they are.
    dropout_input, dropout : float
        Share of the inputs, and of the hidden values, that are set to 0 in training, 0 to below 1.
    alpha : bool
        XNOR-Net's factor per output in all layers but the last; it folds into the thresholds.
    input_scale : bool
        XNOR-Net's K in all layers but the first. Not with pooling.
    balanced : bool
        Each class as often as the largest one, its images repeated.
    patience : int, optional
        End after so many epochs without a better one.
    activation_bits : int
        Of what hidden layers give: 1, signs; 2 to 8, with a step of each layer that is learned. Devices with
        `code_bits` run 2 and 3, with a results unit those of more whose thresholds are a multiplication.
    weight_bits : int
        1: -1 and +1; 2: also 0; up to 8.
    real_first, real_last : bool
        Whether the first layer has real weights, and the last: the host computes them. The first reads pixels
        as numbers from -1 to 1.
    scale_bits : int
        With `input_scale`: 2 to 16, of the values that K is the mean of, and up to 8 on devices with
        `scale_depth`, where 2 to 4 take far fewer cycles; 0, K is in fixed-point numbers that no device has.

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
    augment: Augment = UNDISTORTED
    convs: tuple[Conv, ...] = ()
    precision: Literal["float32", "float64"] = "float64"
    loss: Literal["cross_entropy", "squared_hinge"] = "cross_entropy"
    threshold: int | None = None
    dropout_input: float = 0.0
    dropout: float = 0.0
    alpha: bool = False
    input_scale: bool = False
    balanced: bool = False
    patience: int | None = None
    activation_bits: int = 1
    weight_bits: int = 1
    real_first: bool = False
    real_last: bool = False
    scale_bits: int = 0

    def __post_init__(self) -> None:
        def check(key: str, legal: bool, limit: str) -> None:
            if not legal:
                raise UsageError(
                    f"recipe {brief(self.name)}: {key} is {brief(getattr(self, key))}, but must be {limit}"
                )

        def whole(key: str, least: int, most: int) -> bool:
            return is_int(getattr(self, key)) and least <= getattr(self, key) <= most

        named = isinstance(self.name, str) and self.name.isprintable() and 1 <= len(self.name) <= MAX_NAME
        check("name", named, f"1 to {MAX_NAME} printable characters")
        placed = (
            isinstance(self.dataset, str)
            and self.dataset.isprintable()
            and 1 <= len(self.dataset) <= MAX_PATH
        )
        check("dataset", placed, f"1 to {MAX_PATH} printable characters")
        sizes = all(is_int(size) and 1 <= size <= MAX_SIZE for size in self.hidden)
        check("hidden", sizes and bool(self.hidden or self.convs), f"sizes of 1 to {MAX_SIZE}")
        # Pooling is a layer of its own, the scores are one, and an input scale is one per layer.
        most = (MAX_LAYERS - 1) // 3
        if len(self.hidden) + len(self.convs) > most:
            raise UsageError(
                f"recipe {self.name!r}: {len(self.hidden)} hidden sizes and {len(self.convs)} convolutions, "
                f"but there must be at most {most} in all"
            )
        check("head", self.head in ("affine", "scores"), "'affine' or 'scores'")
        check("epochs", whole("epochs", 1, MAX_EPOCHS), f"1 to {MAX_EPOCHS}")
        check("batch", whole("batch", 2, MAX_BATCH), f"2 to {MAX_BATCH}: batch norm needs two images")
        rate = is_number(self.learning_rate) and 0 < self.learning_rate <= MAX_RATE
        check("learning_rate", rate, f"above 0, and at most {MAX_RATE:g}")
        smoothing = is_number(self.label_smoothing) and 0 <= self.label_smoothing < 1
        check("label_smoothing", smoothing, "0 to below 1")
        check("validation", whole("validation", 1, MAX_IMAGES), "at least 1 image, to choose the best epoch")
        check("precision", self.precision in ("float32", "float64"), "'float32' or 'float64'")
        losses = ("cross_entropy", "squared_hinge")
        check("loss", self.loss in losses, " or ".join(map(repr, losses)))
        hinge = self.loss == "squared_hinge"
        check("label_smoothing", not (hinge and self.label_smoothing), "0 with a hinge loss")
        check("threshold", self.threshold is None or whole("threshold", 1, 255), "1 to 255, or left out")
        patient = self.patience is None or whole("patience", 1, MAX_EPOCHS)
        check("patience", patient, f"1 to {MAX_EPOCHS}, or left out")
        for key in ("dropout_input", "dropout"):
            check(key, is_number(getattr(self, key)) and 0 <= getattr(self, key) < 1, "0 to below 1")
        for key in ("activation_bits", "weight_bits"):
            check(key, whole(key, 1, 8), "1 to 8")
        self._several(check)
        self._real(check)
        pooled = self.input_scale and any(conv.pool for conv in self.convs)
        check("input_scale", not pooled, "false with pooling")
        legal = self.scale_bits == 0 if not self.input_scale else whole("scale_bits", 2, 16)
        check("scale_bits", self.scale_bits == 0 or legal, "0, or 2 to 16 with input_scale")
        for before, conv in pairwise(self.convs):
            # Found out only at the end of training otherwise: gamma may have become negative by then.
            if before.pool and before.pool_first and any(conv.padding) and conv.pad_value:
                raise UsageError(
                    f"recipe {self.name!r}: a convolution pads with {conv.pad_value:+d} behind pooling in "
                    "front of a batch norm, which cannot be folded if gamma is negative; use pool_first=False"
                )

    def _several(self, check: Callable[[str, bool, str], None]) -> None:
        """Check what goes together with several bits."""
        few = self.activation_bits == self.weight_bits == 1
        check("input_scale", few or not self.input_scale, "false with several bits")
        check("alpha", self.weight_bits == 1 or not self.alpha, "false with weights of several bits")
        sums, before = 0, None
        for number, conv in enumerate(self.convs):
            where = f"recipe {self.name!r}: convolution {number}"
            real = self.real_first and not number
            if conv.pool and conv.pool_first and not (few or real):
                raise UsageError(
                    f"{where} pools in front of a batch norm, which cannot be folded with several bits if "
                    "gamma is negative; use pool_first=False"
                )
            if conv.pad_value and self.activation_bits > 1 and any(conv.padding):
                raise UsageError(
                    f"{where} pads with {conv.pad_value:+d}; values of several bits are padded with 0"
                )
            sums = sums + 1 if conv.add else 1
            if not conv.add:
                before = None if real else conv
                continue
            if self.activation_bits == 1:
                raise UsageError(
                    f"{where} adds what it reads; signs are not added: use activation_bits of 2 or more"
                )
            if before is None or before.channels != conv.channels:
                read = "the image" if before is None else f"{before.channels} channels"
                raise UsageError(f"{where} adds {read} to its {conv.channels} channels; give both as many")
            most = sums * ((1 << self.activation_bits) - 1)
            if most > MOST_STEPS:
                raise UsageError(
                    f"{where} makes sums up to {most}, the limit is {MOST_STEPS}; put one without add between"
                )

    def _real(self, check: Callable[[str, bool, str], None]) -> None:
        """Check what goes together with real layers."""
        if not (self.real_first or self.real_last):
            return
        ends = int(self.real_first) + int(self.real_last)
        least = len(self.convs) + len(self.hidden) + 1 > ends
        check(
            "real_first" if self.real_first else "real_last", least, "false, or a layer of integers between"
        )
        check("input_scale", not self.input_scale, "false with real layers")
        check("threshold", self.threshold is None or not self.real_first, "left out with real_first")
        check("head", self.head == "scores" or not self.real_last, "'scores' with real_last")
        for key, number, other in (("real_first", 0, False), ("real_last", -1, True)):
            if not getattr(self, key) or not self.convs or (key == "real_last" and self.hidden):
                continue
            conv = self.convs[number]
            if conv.pool and conv.pool_first is other:
                raise UsageError(
                    f"recipe {self.name!r}: with {key}, this convolution must pool "
                    f"{'its signs' if other else 'its sums'}: use pool_first={not other}"
                )
        first = self.convs[0] if self.convs and self.real_first else Conv(1)
        if first.padding[::2] != first.padding[1::2] or first.pad_value:
            raise UsageError(
                f"recipe {self.name!r}: with real_first, the first convolution pads both sides alike, with 0"
            )

    def weights(self, shape: tuple[int, ...], classes: int) -> int:
        """Count the weights of the network, for images of `shape` (height, width, channels).

        Raises
        ------
        UsageError
            If nothing is left of a map.
        """
        total, size = 0, (shape[0], shape[1], shape[2])
        for conv in self.convs:
            total += prod(conv.kernel) * size[2] * conv.channels
            size = conv.output_shape(size)
        return total + sum(a * b for a, b in pairwise((prod(size), *self.hidden, classes)))

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON holds it; `parse` is the inverse.

        Options that came later are left out at their defaults, so that older recipes keep their form.
        """
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        convs = [(conv, {"add": False}) for conv in values["convs"]]
        for part, defaults in ((values, _LATER), (values["augment"], {"mirror": False}), *convs):
            for key, default in defaults.items():
                if part[key] == default:
                    del part[key]
        return values

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Recipe:
        """Rebuild a recipe from the metadata of a network that it trained.

        Raises
        ------
        UsageError
            If it is not a recipe, or a value is out of range.
        """
        try:
            values = dict(stored)
            values["hidden"] = tuple(values["hidden"])
            values["augment"] = Augment(**values["augment"])
            values["convs"] = tuple(Conv(**conv) for conv in values.get("convs", ()))
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise UsageError(f"stored recipe cannot be read: {error}") from None
