"""Checkpoints: a file with a checksum, replaced as a whole, from which training goes on bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from sys import float_info
from typing import Any

import numpy as np

from ..errors import FileFormatError, UsageError
from ..files import container
from ..files.userfile import open_regular, write_file
from ..model.check import brief
from ._torch import torch

_KEY = "xnorcore-checkpoint"
_VERSION = 2
_MAX_HEADER = 1 << 22
MOST_EPOCHS = 1000
"""Epochs of a training whose loss, accuracy and shares are kept."""
_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


@dataclass
class Best:
    """The best epoch so far: most validation images right, then the lower loss.

    Attributes
    ----------
    epoch : int
        Counted from 1; 0 before the first.
    accuracy, loss : float
        On the validation part.
    state : dict
        The model's tensors.
    """

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")
    state: dict[str, torch.Tensor] | None = None

    def offer(self, epoch: int, accuracy: float, loss: float, model: torch.nn.Module) -> None:
        """Keep a copy of `model` if this epoch is better."""
        if (accuracy, -loss) > (self.accuracy, -self.loss):
            self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
            self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}


def save(
    path: Path, run: dict[str, Any], epoch: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer,
    best: Best, history: list[dict[str, Any]] | None = None,
) -> None:  # fmt: skip
    """Write the state after `epoch`; an interruption leaves the previous file whole.

    Parameters
    ----------
    path : pathlib.Path
    run : dict
        What identifies the run (recipe, seed, data), as plain JSON values; `load` compares it.
    epoch : int
        Epochs done, at least 1.
    model, optimizer, best, history
        State to keep.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in (best.state or {}).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    # Not numpy's ascontiguousarray, which makes vectors of scalars.
    arrays = {key: value.detach().cpu().contiguous().numpy() for key, value in tensors.items()}
    header = {
        "version": _VERSION, "run": run, "epoch": epoch,
        "best": {"epoch": best.epoch, "accuracy": best.accuracy, "loss": best.loss}, "history": history or [],
    }  # fmt: skip
    write_file(path, container.dumps(_KEY, header, arrays))


def load(
    path: Path, run: dict[str, Any], epochs: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, Best, list[dict[str, Any]]]:
    """Restore `model` and `optimizer` from a checkpoint of the same run.

    Parameters
    ----------
    path : pathlib.Path
    run : dict
        As `save` got it.
    epochs : int
        Most epochs that can be done.
    model, optimizer
        Overwritten, if the whole file is sound.

    Returns
    -------
    epoch : int
        Epochs done.
    best : Best
    history : list of dict
        As of `remember`.

    Raises
    ------
    UsageError
        If the checkpoint is of another recipe, seed or data.
    FileFormatError
        If the file is damaged or not a checkpoint.
    """
    expected = _expected(model, optimizer)
    try:
        header, tensors = _read(path, expected)
        _same_run(path, header.get("run"), run)
        epoch, best = _progress(header, epochs)
        history = _history(header.get("history", []), epoch)
        _check(tensors, expected)
    except (OSError, ValueError, FileFormatError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileFormatError(f"checkpoint {path}: {reason[:200]}; delete it to start anew") from None
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}}
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in tensors.items():
        part, _, name = key.partition(".")
        value = torch.from_numpy(array.copy())
        if part == "optimizer":
            index, _, name = name.partition(".")
            states.setdefault(int(index), {})[name] = value
        else:
            parts[part][name] = value
    model.load_state_dict(parts["model"])
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    best.state = parts["best"]
    return epoch, best, history


def remember(
    history: list[dict[str, Any]], epoch: int, loss: float, accuracy: float,
    flips: tuple[float, ...], dead: tuple[float, ...],
) -> None:  # fmt: skip
    """Add an epoch to the record of a training; of a long one every second, fourth, ... epoch is kept."""
    history.append({"epoch": epoch, "loss": loss, "accuracy": accuracy, "flips": [*flips], "dead": [*dead]})
    if len(history) > MOST_EPOCHS:
        del history[::2]


def _history(found: Any, epoch: int) -> list[dict[str, Any]]:
    """Return the record of a training, if it is one: of its own epochs, all of the same layers."""

    def number(value: Any) -> bool:
        return type(value) is float and isfinite(value)

    def sound(each: Any) -> bool:
        if not isinstance(each, dict) or set(each) != {"epoch", "loss", "accuracy", "flips", "dead"}:
            return False
        shares = each["flips"], each["dead"]
        return (
            type(each["epoch"]) is int
            and 1 <= each["epoch"] <= epoch
            and number(each["loss"])
            and number(each["accuracy"])
            and all(isinstance(share, list) and all(map(number, share)) for share in shares)
        )

    if not isinstance(found, list) or len(found) > MOST_EPOCHS or not all(map(sound, found)):
        raise FileFormatError("its record of epochs is damaged")
    if len({(len(each["flips"]), len(each["dead"])) for each in found}) > 1:
        raise FileFormatError("its record of epochs is of several networks")
    return found


def _expected(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[str, list[int]]]:
    """Return dtype and shape of every tensor of a checkpoint."""
    expected: dict[str, tuple[str, list[int]]] = {}
    for name, value in model.state_dict().items():
        for part in ("model", "best"):
            expected[f"{part}.{name}"] = _TYPES[value.dtype], list(value.shape)
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    for index, value in enumerate(parameters):
        expected[f"optimizer.{index}.step"] = "F32", []
        for name in ("exp_avg", "exp_avg_sq"):
            expected[f"optimizer.{index}.{name}"] = _TYPES[value.dtype], list(value.shape)
    return expected


def _read(path: Path, expected: dict[str, tuple[str, list[int]]]) -> tuple[dict[str, Any], container.Tensors]:
    """Return header and tensors as they are, whatever run they are of, if nobody has changed them."""
    most = _MAX_HEADER + 8 * sum(prod(shape) for _, shape in expected.values())
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FileFormatError(f"more than {most} bytes; this recipe's has fewer")
    header = container.read_description(data, _KEY, "a checkpoint", _MAX_HEADER)
    if header.get("version") != _VERSION:
        raise FileFormatError("written by another version of xnorcore")
    tensors = container.read_tensors(data, None)
    if header.pop("sha256", None) != container.digest(header, tensors):
        raise FileFormatError("checksum mismatch: the file is damaged")
    return header, tensors


def _same_run(path: Path, found: Any, run: dict[str, Any]) -> None:
    if not isinstance(found, dict):
        raise FileFormatError("holds no description of its run")
    other = [key for key in run if found.get(key) != run[key]]
    if "data" in other and set(other) <= {"data", "split"}:
        raise UsageError(
            f"checkpoint {path} is of other data: images or labels of {run['recipe']['dataset']!r} have "
            "changed since; bring those back, or delete it to start anew"
        )
    if other:
        raise UsageError(
            f"checkpoint {path} is of another {' and '.join(other)}; use the same again, or delete it to "
            "start anew"
        )


def _progress(header: dict[str, Any], epochs: int) -> tuple[int, Best]:
    """Return the epochs done and the best one, without its tensors."""
    epoch, best = header.get("epoch"), header.get("best")
    if type(epoch) is not int or not 1 <= epoch <= epochs:
        raise FileFormatError(f"epoch is {brief(epoch)}, but must be 1 to {epochs}")
    if not isinstance(best, dict) or set(best) != {"epoch", "accuracy", "loss"}:
        raise FileFormatError("does not say which epoch is the best")
    if type(best["epoch"]) is not int or not 1 <= best["epoch"] <= epoch:
        raise FileFormatError(f"best epoch is {brief(best['epoch'])}, but must be 1 to {epoch}")
    for key, most in (("accuracy", 1.0), ("loss", float_info.max)):
        if type(best[key]) is not float or not 0 <= best[key] <= most:
            raise FileFormatError(f"best {key} is {brief(best[key])}, but must be a number, 0 to {most:g}")
    return epoch, Best(**best)


def _check(tensors: container.Tensors, expected: dict[str, tuple[str, list[int]]]) -> None:
    if set(tensors) != set(expected):
        names = brief(", ".join(sorted(set(tensors) ^ set(expected))), 100)
        raise FileFormatError(f"tensors that are missing or do not belong: {names}")
    for name, (dtype, shape) in expected.items():
        array = tensors[name]
        if container.dtype_name(array) != dtype or list(array.shape) != shape:
            raise FileFormatError(
                f"tensor {name} is {array.dtype} {array.shape}, but must be {dtype} {shape}"
            )
        if not np.isfinite(array).all():
            raise FileFormatError(f"tensor {name} holds values that are not finite")
