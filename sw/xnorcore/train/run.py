"""One training run: model, optimizer and data, epoch after epoch, and the export of the best one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..datasets import Dataset, stratified_split
from ..errors import UsageError
from ..model import pixels
from ..model.network import Network
from ..pictures.rules import KEY as PICTURES
from ..reference import fast
from . import checkpoint as checkpoints
from ._torch import nn, torch
from .augment import augment
from .export import to_network
from .model import BinaryNet
from .recipe import Recipe

__all__ = ["Progress", "Run", "values"]


@dataclass(frozen=True)
class Progress:
    """State after one epoch.

    Attributes
    ----------
    epoch, epochs : int
        Epochs done, and in all.
    loss : float
        Mean training loss of the epoch.
    accuracy : float
        Of the binarized model on the validation part.
    best_epoch : int
        The epoch that would be exported now.
    best_accuracy : float
        Its accuracy on the validation part.
    flips : tuple of float
        For each layer, the share of weights that are others than before the epoch.
    dead : tuple of float
        For each hidden layer, the share of channels that are always 0, or never, on the validation part.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    best_epoch: int
    best_accuracy: float
    flips: tuple[float, ...] = ()
    dead: tuple[float, ...] = ()


class Run:
    """Model, optimizer and data of one training.

    Parameters
    ----------
    recipe : Recipe
    data : Dataset
    seed : int
    device : str
        A PyTorch device.
    """

    def __init__(self, recipe: Recipe, data: Dataset, seed: int, device: str) -> None:
        self.recipe, self.data, self.seed, self.device = recipe, data, seed, device
        self.identity: dict[str, Any] = {"recipe": recipe.plain(), "seed": seed, "split": data.split}
        self.epoch = 0
        self.best = checkpoints.Best()
        self.history: list[dict[str, Any]] = []
        kept, chosen = stratified_split(data.train_labels, recipe.validation, seed)
        self.images, self.labels = self._move(kept)
        self.validation_images, self.validation_labels = self._move(chosen)
        self.model = BinaryNet(
            data.train_images.shape[1:], recipe.hidden, len(data.classes),
            input_bits=data.bits if recipe.threshold is None else 1,
            head=recipe.head, convs=recipe.convs, dropout=(recipe.dropout_input, recipe.dropout),
            alpha=recipe.alpha, input_scale=recipe.input_scale, scale_bits=recipe.scale_bits,
            activation_bits=recipe.activation_bits, weight_bits=recipe.weight_bits,
            real=(recipe.real_first, recipe.real_last), maximum=data.maximum,
            dtype=getattr(torch, recipe.precision),
        ).to(device)  # fmt: skip
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)

    @property
    def _key(self) -> dict[str, Any]:
        """What a checkpoint must agree with: the data may have changed under the same name."""
        return self.identity | {"data": self.data.digest}

    def _move(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(self.data.train_images[indices])
        labels = torch.from_numpy(self.data.train_labels[indices].astype(np.int64))
        return images.to(self.device), labels.to(self.device)

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or the last better one is too long ago."""
        patience = self.recipe.patience
        waited = patience is not None and self.epoch - self.best.epoch >= patience
        return self.epoch >= self.recipe.epochs or waited

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of this run; raises as `checkpoint.load`."""
        self.epoch, self.best, self.history = checkpoints.load(
            path, self._key, self.recipe.epochs, self.model, self.optimizer
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        checkpoints.save(path, self._key, self.epoch, self.model, self.optimizer, self.best, self.history)

    def step(self, told: Callable[[int, int, int], None] | None = None) -> Progress:
        """Train for one epoch, then offer the result as the best one."""
        # A generator per epoch: nothing random has to be kept in a checkpoint.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        images, labels = self.images, self.labels
        if self.recipe.balanced:
            chosen = balanced(labels, generator)
            images, labels = images[chosen], labels[chosen]
        images = self._read(augment(images, self.recipe.augment, self.data.maximum, generator))
        if self.recipe.dropout_input or self.recipe.dropout:
            torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(images), generator=generator).to(self.device)
        batches = [b for b in order.split(self.recipe.batch) if len(b) > 1]
        self.model.train()
        before = self.model.weights()
        total = 0.0
        for index, batch in enumerate(batches):
            done = (self.epoch + index / len(batches)) / self.recipe.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * (1 + cos(pi * done)) / 2
            loss = self._loss(self.model(images[batch]), labels[batch], self.recipe.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.model.clip()
            total += loss.item()
            if not isfinite(total):
                self._diverged("the loss")
            if told is not None:
                told(self.epoch + 1, index + 1, len(batches))
        accuracy, loss, dead = self._validate()
        self._check_finite(loss)
        self.epoch += 1
        self.best.offer(self.epoch, accuracy, loss, self.model)
        mean, best = total / len(batches), self.best
        pairs = zip(before, self.model.weights(), strict=True)
        flips = tuple((a != b).double().mean().item() for a, b in pairs)
        checkpoints.remember(self.history, self.epoch, mean, accuracy, flips, dead)
        return Progress(
            self.epoch, self.recipe.epochs, mean, accuracy, best.epoch, best.accuracy, flips, dead
        )

    def _check_finite(self, loss: float) -> None:
        """Refuse a state from which nothing can be exported, before it becomes a checkpoint."""
        if not isfinite(loss):
            self._diverged("the loss of the validation part")
        for name, value in self.model.state_dict().items():
            if not torch.isfinite(value).all():
                self._diverged(name)

    def _diverged(self, what: str) -> NoReturn:
        raise UsageError(
            f"recipe {self.recipe.name!r}: training diverged in epoch {self.epoch + 1}: {what} is not "
            f"finite; use a learning_rate below {self.recipe.learning_rate:g}"
        )

    def _read(self, images: torch.Tensor) -> torch.Tensor:
        """Return the values that the network reads."""
        at = self.recipe.threshold
        return images if at is None else (images >= at).to(torch.uint8)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        if self.recipe.loss == "squared_hinge":
            sides = 2 * nn.functional.one_hot(labels, logits.shape[1]) - 1
            return (1 - sides * logits).clamp(min=0).square().sum(1).mean()
        return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)

    def _validate(self) -> tuple[float, float, tuple[float, ...]]:
        """Return accuracy and loss of the validation part, and the share of dead channels by hidden layer."""
        self.model.eval()
        with torch.no_grad():
            traces = [self.model.trace(self._read(part)) for part in self.validation_images.split(1000)]
            logits = torch.cat([self.model.logits(trace[-1]) for trace in traces])
            right = (logits.argmax(1) == self.validation_labels).double().mean()
            dead = []
            for number, channels in enumerate(self.model.channels()):
                bits = torch.cat([trace[number].reshape(-1, channels) > 0 for trace in traces])
                dead.append((bits.all(0) | ~bits.any(0)).double().mean().item())
            return right.item(), self._loss(logits, self.validation_labels).item(), tuple(dead)

    def export(self) -> Network:
        """Fold the best epoch, and measure the integer network on the held-out part."""
        if self.best.state is not None:
            self.model.load_state_dict(self.best.state)
        data = self.data
        network = to_network(self.model, self.recipe.name, data.train_images.shape[1:])
        images, metadata = values(self.recipe, data.test_images), dict(self.identity)
        if self.recipe.threshold is not None:
            metadata[pixels.KEY] = pixels.threshold(self.recipe.threshold, data.maximum)
        right = network.classify(fast.run(network, network.encode(images))) == data.test_labels
        metadata |= {
            "classes": list(data.classes),
            "best_epoch": self.best.epoch,
            "validation_accuracy": self.best.accuracy,
            "held_out_images": len(right),
            "accuracy": float(np.mean(right)),
            "trained_with": f"torch {torch.__version__}",
        }
        if data.pictures is not None:
            metadata[PICTURES] = data.pictures
        if self.epoch < self.recipe.epochs:
            metadata["epochs_done"] = self.epoch
        return replace(network, metadata=metadata)


def balanced(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return indices with every class as often as the largest: all its images, and random ones again."""
    parts = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
    most = max(map(len, parts))
    chosen = []
    for part in parts:
        again = torch.randint(len(part), (most - len(part),), generator=generator).to(part.device)
        chosen += [part, part[again]]
    return torch.cat(chosen)


def values(recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Return the values that the network reads: uint8."""
    return images if recipe.threshold is None else (images >= recipe.threshold).astype(np.uint8)
