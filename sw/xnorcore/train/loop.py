"""The training loop: deterministic given recipe and seed, interruptible after any epoch."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from ..datasets import Dataset
from ..errors import UsageError
from ..model.check import MAX_WEIGHT_BITS
from ..model.network import Network
from .recipe import Recipe
from .run import Progress, Run, values
from .surroundings import deterministic, enough_memory

__all__ = ["Progress", "held_out", "train"]


def train(
    recipe: Recipe,
    data: Dataset | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    checkpoint: Path | None = None,
    resume: bool = False,
    finish: bool = False,
    save: Callable[[Network], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    step: Callable[[int, int, int], None] | None = None,
    record: Callable[[list[dict[str, Any]]], None] | None = None,
) -> Network:
    """Train a network and export it; the held-out part is only used to measure the result.

    Parameters
    ----------
    recipe : Recipe
    data : Dataset, optional
        Default: the recipe's own.
    seed : int
        Of the initial weights, the order of images, the distortions and the validation part.
    device : str
        A PyTorch device: "cpu" or "cuda".
    threads : int
        CPU threads; another number can change the last bit of a float, and so the network.
    checkpoint : pathlib.Path, optional
        Replaced after every epoch. Deleted once `save` has returned: without that, delete it yourself.
    resume : bool
        Go on from `checkpoint` if it exists: on the same device, threads and PyTorch with the same result.
    finish : bool
        Train no more: export the best epoch that `checkpoint` holds.
    save : callable, optional
        Called with the network at the end; if it raises, `checkpoint` stays.
    progress : callable, optional
        Called with a `Progress` after every epoch.
    step : callable, optional
        Called with (epoch, batches done, batches in all) after every batch.
    record : callable, optional
        Called before `save` with what `Progress` says of each epoch of the whole run.

    Returns
    -------
    Network
        The best epoch as integer network. Its metadata holds the recipe, the seed, the split, and
        ``accuracy``: the share of the held-out images that the *integer* network gets right.

    Raises
    ------
    UsageError
        If the device is unknown, the recipe asks for what the data has not, the memory does not suffice,
        training diverges, `checkpoint` exists but neither `resume` nor `finish` is set or the run is another
        one, or there is none to finish from.
    FileFormatError
        If the checkpoint is damaged.
    """
    if data is None:
        data = datasets.load(recipe.dataset)
    exists = _check_checkpoint(checkpoint, resume=resume, finish=finish)
    _check(recipe, data, seed)
    with deterministic(seed, threads, device), enough_memory(recipe):
        run = Run(recipe, data, seed, device)
        if checkpoint is not None and exists:
            run.load(checkpoint)
        while not run.over and not finish:
            report = run.step(step)
            if checkpoint is not None:
                run.save(checkpoint)
            if progress is not None:
                progress(report)
        network = run.export()
    if record is not None:
        record(run.history)
    if save is not None:
        save(network)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    return network


def _check_checkpoint(checkpoint: Path | None, *, resume: bool, finish: bool) -> bool:
    """Return whether there is one; refuse where that is not what was asked for."""
    exists = checkpoint is not None and checkpoint.exists()
    if exists and not (resume or finish):
        raise UsageError(
            f"checkpoint {checkpoint} exists; go on with --resume, end it with --finish, or delete it"
        )
    if finish and not exists:
        raise UsageError(f"no checkpoint {checkpoint} to finish from; train first")
    return exists


def _check(recipe: Recipe, data: Dataset, seed: int) -> None:
    """Refuse, before the work, a seed that is none, and what a recipe asks of data that has it not."""
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"seed is {seed}, but must be 0 to {(1 << 32) - 1}")
    images, shape = len(data.train_labels), data.train_images.shape[1:]
    place = f"recipe {recipe.name!r}"
    if recipe.validation > images - 2:
        raise UsageError(
            f"{place}: validation is {recipe.validation}, but must leave 2 of the {images} images to train on"
        )
    if recipe.threshold is not None and recipe.threshold > data.maximum:
        raise UsageError(
            f"{place}: threshold is {recipe.threshold}, but the data's values end at {data.maximum}: "
            "all bits would be the same"
        )
    side = min(shape[:2])
    if recipe.augment.shift >= side > 1:
        raise UsageError(
            f"{place}: augment, shift is {recipe.augment.shift:g}, but must be less than the {side} pixels "
            "of the shorter side"
        )
    weights = recipe.weights(shape, len(data.classes))
    if weights > MAX_WEIGHT_BITS:
        raise UsageError(
            f"{place}: {weights:,} weights, the limit is {MAX_WEIGHT_BITS:,}; use smaller layers"
        )


def held_out(recipe: Recipe, data: Dataset, count: int) -> bytes:
    """Return the first `count` held-out images, as the network reads them, and labels as an .npz file.

    Its arrays are ``images`` and ``labels``, both uint8.
    """
    file = io.BytesIO()
    images = values(recipe, data.test_images[:count])
    np.savez_compressed(file, images=images, labels=data.test_labels[:count])
    return file.getvalue()
