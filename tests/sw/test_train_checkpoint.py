"""Checkpoints: of other data, damaged, hostile; and that none goes before the network is safe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as read_container

from xnorcore.errors import FileFormatError, UsageError
from xnorcore.files import container, xnorfile
from xnorcore.train import Dataset, Recipe

from .test_train import SMALL, blobs, torch

__all__ = ["torch"]

KEY = "xnorcore-checkpoint"


def begin(path: Path, data: Dataset, recipe: Recipe = SMALL, epoch: int = 2) -> None:
    """Train, and be interrupted after an epoch."""
    from xnorcore.train import train

    def interrupt(state: Any) -> None:
        if state.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, checkpoint=path, progress=interrupt)


def changed(**arrays: Any) -> Dataset:
    return replace(blobs(), **arrays)


def other(name: str, index: tuple[int, ...]) -> Dataset:
    """The same data but for one value."""
    array = getattr(blobs(), name).copy()
    array[index] = array[index] - 1 if array[index] else 1
    return changed(**{name: array})


OTHER_DATA: dict[str, Callable[[], Dataset]] = {
    "one pixel": lambda: other("train_images", (7, 1, 2, 1)),
    "one label": lambda: other("train_labels", (3,)),
    "one test pixel": lambda: other("test_images", (29, 3, 4, 1)),
    "one test label": lambda: other("test_labels", (0,)),
    "fewer images": lambda: changed(
        train_images=blobs().train_images[:-3], train_labels=blobs().train_labels[:-3]
    ),
    "another order": lambda: changed(
        train_images=blobs().train_images[::-1], train_labels=blobs().train_labels[::-1]
    ),
    "other classes": lambda: changed(classes=("a", "c", "b")),
    "another split": lambda: changed(split="first third"),
}


@pytest.mark.parametrize("kind", OTHER_DATA)
@pytest.mark.parametrize("how", ["resume", "finish"])
def test_other_data_under_the_same_name_is_refused(torch: Any, tmp_path: Path, kind: str, how: str) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"
    begin(path, blobs())
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is of other data: images or labels of 'none' have changed since"):
        train(SMALL, OTHER_DATA[kind](), checkpoint=path, resume=how == "resume", finish=how == "finish")
    assert path.read_bytes() == before
    train(SMALL, blobs(), checkpoint=path, resume=how == "resume", finish=how == "finish")


def test_another_run_is_named(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"
    begin(path, blobs())
    for recipe in (replace(SMALL, batch=17), replace(SMALL, hidden=(12,)), replace(SMALL, hidden=(500, 500))):
        with pytest.raises(UsageError, match="is of another recipe; use the same again, or delete it"):
            train(recipe, blobs(), checkpoint=path, resume=True)
    with pytest.raises(UsageError, match="is of another recipe and seed; use the same"):
        train(replace(SMALL, batch=17), blobs(), seed=5, checkpoint=path, resume=True)


def test_every_flipped_byte_is_seen(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"
    begin(path, blobs())
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    places = {8, 20, len(whole) - 1, *rng.integers(0, len(whole), 60).tolist()}
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"^checkpoint .*; delete it to start anew") as caught:
            train(SMALL, blobs(), checkpoint=path, resume=True)
        assert "\n" not in str(caught.value)
    for damaged in (
        b"",
        whole[:7],
        whole[:100],
        whole[:-1],
        whole + b"\0",
        whole.replace(b"xnorc", b"other"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match="delete it to start anew"):
            train(SMALL, blobs(), checkpoint=path, resume=True)


def _set(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Any], None]:
    def apply(header: Any, tensors: Any) -> None:
        tensors[name] = change(tensors[name])

    return apply


def _at(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = value
        return array

    return change


WEIGHTS, MOMENT = "model.linears.0.weight", "optimizer.0.exp_avg"
HOSTILE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "NaN weight": (_set(WEIGHTS, _at(np.nan)), f"{WEIGHTS} holds values that are not finite"),
    "infinite moment": (_set(MOMENT, _at(-np.inf)), f"{MOMENT} holds values that are not finite"),
    "NaN in the best": (
        _set("best.norms.0.running_var", _at(np.nan)),
        "best.norms.0.running_var holds values",
    ),
    "integer weights": (_set(WEIGHTS, lambda w: w.astype(np.int64)), f"{WEIGHTS} is int64 .* must be F64"),
    "integer moments": (_set(MOMENT, lambda w: w.astype(np.int32)), f"{MOMENT} is int32 .* must be F64"),
    "float32 weights": (
        _set(WEIGHTS, lambda w: w.astype(np.float32)),
        f"{WEIGHTS} is float32 .* must be F64",
    ),
    "another shape": (_set(WEIGHTS, lambda w: w.T.copy()), f"{WEIGHTS} is float64 .* but must be F64"),
    "scalar weights": (_set(WEIGHTS, lambda w: w[:1, :1].copy()), f"{WEIGHTS} is float64"),
    "missing": (lambda h, t: t.pop(MOMENT), f"missing or do not belong: '{MOMENT}'"),
    "too many": (lambda h, t: t.update({"model.x": t[WEIGHTS]}), "missing or do not belong: 'model.x'"),
    "no part": (lambda h, t: t.update({"x": t[WEIGHTS]}), "missing or do not belong: 'x'"),
    "epoch text": (lambda h, t: h.update(epoch="2"), "epoch is '2', but must be 1 to 4"),
    "epoch true": (lambda h, t: h.update(epoch=True), "epoch is True, but must be 1 to 4"),
    "epoch 0": (lambda h, t: h.update(epoch=0), "epoch is 0, but must be 1 to 4"),
    "epoch large": (lambda h, t: h.update(epoch=10**40), "epoch is an integer of 133 bits, but must be"),
    "epoch missing": (lambda h, t: h.pop("epoch"), "epoch is None"),
    "best text": (lambda h, t: h["best"].update(accuracy="1"), "best accuracy is '1', but must be a number"),
    "best negative": (lambda h, t: h["best"].update(loss=-1.0), "best loss is -1.0, but must be a number"),
    "best epoch": (lambda h, t: h["best"].update(epoch=3), "best epoch is 3, but must be 1 to 2"),
    "best list": (lambda h, t: h.update(best=[1]), "does not say which epoch is the best"),
    "run list": (lambda h, t: h.update(run=[]), "holds no description of its run"),
    "version": (lambda h, t: h.update(version=1), "written by another version"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_right_checksum_over_wrong_contents_is_refused(torch: Any, tmp_path: Path, kind: str) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"
    begin(path, blobs())
    data = path.read_bytes()
    header = container.read_description(data, KEY, "a checkpoint", 1 << 20)
    del header["sha256"]
    tensors = dict(read_container(data))
    path.write_bytes(container.dumps(KEY, header, tensors))
    assert path.read_bytes() == data
    change, message = HOSTILE[kind]
    change(header, tensors)
    path.write_bytes(container.dumps(KEY, header, tensors))
    for how in ("resume", "finish"):
        with pytest.raises(FileFormatError, match=f"^checkpoint .*{message}.*; delete it to start anew"):
            train(SMALL, blobs(), checkpoint=path, resume=how == "resume", finish=how == "finish")


@pytest.mark.parametrize("text", ["1e400", "NaN", "[" * 5000])
def test_numbers_that_json_does_not_have(torch: Any, tmp_path: Path, text: str) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"
    metadata = {KEY: f'{{"version": 2, "epoch": {text}}}'}
    raw = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(FileFormatError, match=r"^checkpoint .*; delete it to start anew"):
        train(SMALL, blobs(), checkpoint=path, resume=True)


def test_a_pipe_is_no_checkpoint(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train import train

    os.mkfifo(tmp_path / "c")
    with pytest.raises(UsageError, match="not a regular file"):
        train(SMALL, blobs(), checkpoint=tmp_path / "c", resume=True)


def test_the_checkpoint_stays_until_the_network_is_saved(torch: Any, tmp_path: Path) -> None:
    from xnorcore.train import train

    path = tmp_path / "c"

    def fails(network: Any) -> None:
        raise UsageError("no room")

    with pytest.raises(UsageError, match="no room"):
        train(SMALL, blobs(), checkpoint=path, save=fails)
    first = train(SMALL, blobs(), checkpoint=path, finish=True)
    assert path.exists()
    kept: list[Any] = []
    again = train(SMALL, blobs(), checkpoint=path, resume=True, save=kept.append)
    assert kept == [again] and not path.exists()
    assert xnorfile.dumps(first) == xnorfile.dumps(again) == xnorfile.dumps(train(SMALL, blobs()))


def test_a_state_that_is_not_finite_never_becomes_a_checkpoint(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xnorcore.train import run as runs
    from xnorcore.train import train

    path = tmp_path / "c"
    begin(path, blobs())
    before = path.read_bytes()
    step = runs.Run.step

    def poisoned(self: Any, told: Any = None) -> Any:
        with torch.no_grad():
            self.model.norms[0].running_var[2] = float("nan")
        return step(self, told)

    monkeypatch.setattr(runs.Run, "step", poisoned)
    with pytest.raises(UsageError, match=r"diverged in epoch 3: norms\.0\.running_var is not finite"):
        train(SMALL, blobs(), checkpoint=path, resume=True)
    assert path.read_bytes() == before

    def loud(self: Any, *_: Any) -> Any:
        return torch.tensor(float("inf"), requires_grad=True)

    monkeypatch.setattr(runs.Run, "step", step)
    monkeypatch.setattr(runs.Run, "_loss", loud)
    with pytest.raises(
        UsageError, match="diverged in epoch 3: the loss is not finite; use a learning_rate below"
    ):
        train(SMALL, blobs(), checkpoint=path, resume=True)
    assert path.read_bytes() == before
