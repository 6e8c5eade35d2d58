"""What the export reads of PyTorch's own modules."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ._torch import torch

__all__ = ["pair", "place", "stored"]


def pair(value: Any) -> tuple[int, int]:
    """Return a size that may be one number as (vertical, horizontal)."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def place(index: int, module: torch.nn.Module) -> str:
    """Return where a module stands, in messages."""
    return f"module {index} ({type(module).__name__})"


def stored(index: int, norm: Any) -> dict[str, Any]:
    """Return a batch norm as `xnorcore.folding.fold` takes it.

    Raises
    ------
    UsageError
        If it has no running statistics.
    """
    if norm.running_mean is None:
        raise UsageError(f"{place(index, norm)}: has no running statistics; set track_running_stats")
    tensors = {"mean": norm.running_mean, "var": norm.running_var}
    tensors["gamma"] = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    tensors["beta"] = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    return {key: value.detach().cpu().numpy() for key, value in tensors.items()} | {"eps": norm.eps}
