"""Checkpoints: a safetensors file, replaced as a whole, from which training goes on bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import FileFormatError, UsageError
from ..files.xnorfile import atomic_write
from ._torch import torch

_KEY = "xnorcore-checkpoint"


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
    best: Best,
) -> None:  # fmt: skip
    """Write the state after `epoch`; an interruption leaves the previous file whole.

    Parameters
    ----------
    path : pathlib.Path
    run : dict
        What identifies the run (recipe, seed), as plain JSON values; `load` compares it.
    epoch : int
        Epochs done.
    model, optimizer, best
        State to keep.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in (best.state or {}).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    arrays = {key: np.ascontiguousarray(value.detach().cpu().numpy()) for key, value in tensors.items()}
    header = {
        "run": run, "epoch": epoch,
        "best": {"epoch": best.epoch, "accuracy": best.accuracy, "loss": best.loss},
    }  # fmt: skip
    atomic_write(path, safetensors.numpy.save(arrays, metadata={_KEY: json.dumps(header)}))


def load(
    path: Path, run: dict[str, Any], model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, Best]:
    """Restore `model` and `optimizer` from a checkpoint of the same run.

    Returns
    -------
    epoch : int
        Epochs done.
    best : Best

    Raises
    ------
    UsageError
        If the checkpoint is of another recipe or seed.
    FileFormatError
        If the file is damaged or not a checkpoint.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {key: torch.from_numpy(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        if header["run"] != run:
            raise UsageError(
                f"checkpoint {path} is of another recipe or seed; use those again, or delete it to start anew"
            )
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in parts["optimizer"].items():
            index, _, name = key.partition(".")
            states.setdefault(int(index), {})[name] = value
        model.load_state_dict(parts["model"])
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        best = Best(**header["best"], state=parts["best"])
        return int(header["epoch"]), best
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise FileFormatError(f"checkpoint {path}: {reason}; delete it to start anew") from None
